//! A stream as it is on the server: plain HTTP, past the proxy and with nothing of ours between.

use std::fmt;
use std::net::SocketAddr;

use durstream_tests::failure::{Context, Result};
use durstream_tests::http;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What a case expects to find on the server.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Expected {
    path: String,
    /// There is no such stream.
    #[serde(default)]
    missing: bool,
    /// The texts of a JSON stream's messages.
    messages: Option<Vec<String>>,
    /// The bytes of any other.
    text: Option<String>,
    closed: Option<bool>,
    content_type: Option<String>,
    ttl_seconds: Option<String>,
    expires_at: Option<String>,
}

impl Expected {
    pub(crate) fn check(&self, server: SocketAddr) -> Result {
        let head = http::send(server, "HEAD", &self.path, &[], b"")?;
        if self.missing {
            return same("HEAD", &404, &head.status);
        }
        same("HEAD", &200, &head.status)?;
        if let Some(closed) = self.closed {
            let value = head.header("Stream-Closed").unwrap_or_default();
            same("closed", &closed, &value.eq_ignore_ascii_case("true"))?;
        }
        for (name, expected) in [
            ("Content-Type", &self.content_type),
            ("Stream-TTL", &self.ttl_seconds),
            ("Stream-Expires-At", &self.expires_at),
        ] {
            if expected.is_some() {
                same(name, &expected.as_deref(), &head.header(name))?;
            }
        }
        if let Some(messages) = &self.messages {
            same("messages", messages, &messages_of(&pages(server, &self.path)?)?)?;
        }
        if let Some(text) = &self.text {
            let bytes = pages(server, &self.path)?.concat();
            same("bytes", text, &String::from_utf8_lossy(&bytes).into_owned())?;
        }
        Ok(())
    }
}

pub(crate) fn same<T: PartialEq + fmt::Debug>(what: &str, expected: &T, seen: &T) -> Result {
    if expected == seen {
        return Ok(());
    }
    Err(format!("{what}:\n    expected {expected:?}\n    seen     {seen:?}").into())
}

/// Every page of a stream that exists.
fn pages(address: SocketAddr, path: &str) -> Result<Vec<Vec<u8>>> {
    let mut pages = Vec::new();
    let mut offset = "-1".to_owned();
    loop {
        let query = format!("{path}?offset={offset}");
        let answer = http::get(address, &query)?;
        if answer.status != 200 {
            return Err(format!("GET {query} answered {}", answer.status).into());
        }
        let is_end = answer.header("stream-up-to-date") == Some("true");
        let next = answer.header("stream-next-offset").unwrap_or_default().to_owned();
        pages.push(answer.body);
        match next {
            _ if is_end => return Ok(pages),
            next if next.is_empty() || next == offset => {
                return Err(format!("GET {query} leads nowhere").into());
            }
            next => offset = next,
        }
    }
}

/// The messages of JSON pages, each as the server keeps it, to the byte.
fn messages_of(pages: &[Vec<u8>]) -> Result<Vec<String>> {
    let mut messages = Vec::new();
    for page in pages {
        let found: Vec<&RawValue> = serde_json::from_slice(page).context("a page")?;
        messages.extend(found.iter().map(|message| message.get().to_owned()));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_bytes() {
        let pages = [b"[ {\"a\" : 1.0e2, \"a\":2},\n 9007199254740993]".to_vec(), b"[]".to_vec()];
        let found = messages_of(&pages).unwrap();
        assert_eq!(found, ["{\"a\" : 1.0e2, \"a\":2}", "9007199254740993"]);
        assert!(messages_of(&[b"[1".to_vec()]).is_err());
    }
}

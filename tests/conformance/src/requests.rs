//! What an adapter sent, as the proxy saw it: pure.

use std::collections::BTreeMap;

use durstream_tests::failure::Result;
use durstream_tests::proxy::Entry;
use serde::Deserialize;

/// What a case expects of the requests to one path.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Expected {
    path: String,
    /// Only these; all without.
    method: Option<String>,
    /// Only those with these headers.
    #[serde(default, rename = "where")]
    with: BTreeMap<String, String>,
    /// How many; without one, any but none.
    count: Option<usize>,
    /// Of the answers, in the order of the requests; 0 for none.
    statuses: Option<Vec<u16>>,
    /// Headers every one of them carried, with these values.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Headers none of them carried.
    #[serde(default)]
    lacks_headers: Vec<String>,
    /// Query parameters every one of them carried, with these values.
    #[serde(default)]
    params: BTreeMap<String, String>,
}

impl Expected {
    fn is_about(&self, entry: &Entry) -> bool {
        let path = entry.target.split('?').next().unwrap_or_default();
        path == self.path
            && self.method.as_ref().is_none_or(|method| entry.method == *method)
            && self.with.iter().all(|(name, value)| entry.header(name) == Some(value))
    }

    pub(crate) fn check(&self, log: &[Entry]) -> Result {
        let found: Vec<&Entry> = log.iter().filter(|entry| self.is_about(entry)).collect();
        let lines =
            || found.iter().map(|entry| format!("\n    {}", line(entry))).collect::<String>();
        let fail = |text: String| Err(format!("{text}; sent:{}", lines()).into());
        // Nothing said about no request would say nothing.
        let count_is_right = self.count.map_or(!found.is_empty(), |count| found.len() == count);
        if !count_is_right {
            let expected = self.count.map_or("at least 1".to_owned(), |count| count.to_string());
            return fail(format!("expected {expected} requests, seen {}", found.len()));
        }
        let statuses: Vec<u16> = found.iter().map(|entry| status(entry)).collect();
        if let Some(expected) = self.statuses.as_ref().filter(|expected| **expected != statuses) {
            return fail(format!("expected the statuses {expected:?}, seen {statuses:?}"));
        }
        for entry in &found {
            for (name, value) in &self.headers {
                let seen = entry.header(name);
                if seen != Some(value.as_str()) {
                    return fail(format!("expected {name}: {value}, seen {seen:?}"));
                }
            }
            if let Some(name) = self.lacks_headers.iter().find(|name| entry.header(name).is_some())
            {
                return fail(format!("expected no {name}, seen {:?}", entry.header(name)));
            }
            for (name, value) in &self.params {
                let seen = param(&entry.target, name);
                if seen.as_ref() != Some(value) {
                    return fail(format!("expected the parameter {name}={value}, seen {seen:?}"));
                }
            }
        }
        Ok(())
    }
}

/// What the client was answered, 0 for nothing.
fn status(entry: &Entry) -> u16 {
    entry.answer.as_ref().map_or(0, |answer| answer.status)
}

fn line(entry: &Entry) -> String {
    let names = ["producer-epoch", "producer-seq"].map(|name| entry.header(name).unwrap_or("-"));
    let [epoch, seq] = names;
    let (method, target, status) = (&entry.method, &entry.target, status(entry));
    format!("{method} {target} epoch {epoch} seq {seq}, {} bytes: {status}", entry.body_bytes)
}

/// A query parameter, decoded.
fn param(target: &str, name: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .map(|(key, value)| (decoded(key), decoded(value)))
        .find(|(key, _)| key == name)
        .map(|p| p.1)
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Vec<Entry> {
        let entry = |method: &str, target: &str| Entry {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("X-Tenant".to_owned(), "a".to_owned())],
            ..Entry::default()
        };
        vec![entry("PUT", "/x?k=a%26b&l=c+d"), entry("POST", "/x"), entry("POST", "/xy")]
    }

    fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn holds(method: &str, change: impl FnOnce(&mut Expected)) -> bool {
        let (path, method) = ("/x".to_owned(), Some(method.to_owned()));
        let mut expected = Expected { path, method, ..Expected::default() };
        change(&mut expected);
        expected.check(&log()).is_ok()
    }

    #[test]
    fn requests_are_counted_by_path_and_method() {
        assert!(holds("POST", |expected| expected.count = Some(1)));
        assert!(!holds("POST", |expected| expected.count = Some(2)));
        assert!(holds("HEAD", |expected| expected.count = Some(0)));
        assert!(!holds("HEAD", |_| ()));
        let with = |value| names(&[("X-Tenant", value)]);
        assert!(holds("POST", |expected| expected.with = with("a")));
        assert!(!holds("POST", |expected| expected.with = with("b")));
        assert!(holds("POST", |expected| expected.statuses = Some(vec![0])));
        assert!(!holds("POST", |expected| expected.statuses = Some(vec![200])));
    }

    #[test]
    fn headers_and_parameters_are_exact() {
        let headers = |value| names(&[("x-tenant", value)]);
        assert!(holds("POST", |expected| expected.headers = headers("a")));
        assert!(!holds("POST", |expected| expected.headers = headers("b")));
        assert!(!holds("POST", |expected| expected.lacks_headers = vec!["x-tenant".to_owned()]));
        let params = || names(&[("k", "a&b"), ("l", "c d")]);
        assert!(holds("PUT", |expected| expected.params = params()));
        assert!(!holds("PUT", |expected| expected.params = names(&[("k", "a")])));
        assert!(!holds("POST", |expected| expected.params = params()));
    }
}

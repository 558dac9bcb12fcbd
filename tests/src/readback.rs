//! Reads a whole stream with plain HTTP.

use std::net::SocketAddr;

use serde_json::Value;

use crate::failure::{Context, Result};
use crate::http::{self, Response};

/// Every event of a JSON stream, in order. A stream that does not exist has none.
pub fn read_stream(address: SocketAddr, stream_path: &str) -> Result<Vec<Value>> {
    let mut events = Vec::new();
    for page in read_pages(address, stream_path)? {
        events.extend(serde_json::from_slice::<Vec<Value>>(&page).context(stream_path)?);
    }
    Ok(events)
}

/// Every byte of a stream. A stream that does not exist has none.
pub fn read_bytes(address: SocketAddr, stream_path: &str) -> Result<Vec<u8>> {
    Ok(read_pages(address, stream_path)?.concat())
}

/// Every page of a stream as it came. A stream that does not exist has none.
pub fn read_pages(address: SocketAddr, stream_path: &str) -> Result<Vec<Vec<u8>>> {
    let mut pages = Vec::new();
    let mut offset = "-1".to_owned();
    loop {
        let path = format!("/v1/stream{stream_path}?offset={}", encoded(&offset));
        let answer = http::get(address, &path)?;
        match answer.status {
            200 => {}
            404 => return Ok(pages),
            status => return Err(format!("GET {path} answered {status}").into()),
        }
        let further = next(&answer, &offset).context(&path)?;
        pages.push(answer.body);
        match further {
            Some(further) => offset = further,
            None => return Ok(pages),
        }
    }
}

/// Where to read on, or that the end is reached.
fn next(answer: &Response, offset: &str) -> Result<Option<String>> {
    if answer.header("stream-up-to-date").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    match answer.header("stream-next-offset") {
        Some(further) if further != offset => Ok(Some(further.to_owned())),
        _ => Err("neither Stream-Up-To-Date nor a new Stream-Next-Offset".into()),
    }
}

/// Offsets are opaque, so everything that may mean something in a query is escaped.
fn encoded(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request per text and returns the request lines.
    fn serve(listener: &TcpListener, answers: &[&str]) -> Vec<String> {
        let answer = |text: &&str| {
            let (mut socket, _) = listener.accept().unwrap();
            let lines = BufReader::new(socket.try_clone().unwrap()).lines();
            let head: Vec<String> =
                lines.map(|line| line.unwrap()).take_while(|line| !line.is_empty()).collect();
            socket.write_all(text.as_bytes()).unwrap();
            head[0].clone()
        };
        answers.iter().map(answer).collect()
    }

    fn read(answers: &[&str]) -> (Result<Vec<Value>>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            let requests = scope.spawn(|| serve(&listener, answers));
            let events = read_stream(address, "/demo/x");
            (events, requests.join().unwrap())
        })
    }

    #[test]
    fn pages_are_followed_to_the_end() {
        let (events, requests) = read(&[
            "HTTP/1.1 200 OK\r\nStream-Next-Offset: a&b\r\nContent-Length: 5\r\n\r\n[1,2]",
            "HTTP/1.1 200 OK\r\nStream-Up-To-Date: true\r\nStream-Next-Offset: c\r\n\r\n[3]",
        ]);
        assert_eq!(events.unwrap(), [1, 2, 3]);
        assert_eq!(
            requests,
            [
                "GET /v1/stream/demo/x?offset=-1 HTTP/1.1",
                "GET /v1/stream/demo/x?offset=a%26b HTTP/1.1"
            ]
        );
    }

    #[test]
    fn a_missing_stream_is_empty() {
        let (events, _) = read(&["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]);
        assert!(events.unwrap().is_empty());
    }

    #[test]
    fn a_stream_that_leads_nowhere_is_an_error() {
        for answer in [
            "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
            "HTTP/1.1 200 OK\r\nStream-Next-Offset: -1\r\nContent-Length: 2\r\n\r\n[]",
            "HTTP/1.1 200 OK\r\nStream-Up-To-Date: true\r\nContent-Length: 1\r\n\r\n[",
        ] {
            assert!(read(&[answer]).0.is_err(), "{answer:?} was taken");
        }
    }
}

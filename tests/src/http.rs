//! As much HTTP/1.1 as reading a stream back takes, so that no client under test judges itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::failure::{Context, Result};

const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_HEAD_BYTES: u64 = 64 * 1024;

/// An answer, whole.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body, decoded from its transfer coding.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header; names match in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let matching = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        matching.map(|(_, value)| value.as_str())
    }
}

/// One GET on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Result<Response> {
    send(address, "GET", path, &[], b"")
}

/// One GET on a connection of its own, each step of which takes so long at most.
pub fn get_within(address: SocketAddr, path: &str, limit: Duration) -> Result<Response> {
    send_within(address, "GET", path, &[], b"", limit)
}

/// One request on a connection of its own.
pub fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response> {
    send_within(address, method, path, headers, body, TIMEOUT)
}

/// One request on a connection of its own, each step of which takes so long at most.
pub fn send_within(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    limit: Duration,
) -> Result<Response> {
    let doing = || format!("{method} http://{address}{path}");
    let mut socket = TcpStream::connect_timeout(&address, limit).context(doing())?;
    socket.set_read_timeout(Some(limit)).context(doing())?;
    socket.set_write_timeout(Some(limit)).context(doing())?;
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n"
    );
    socket.write_all(&[head.as_bytes(), body].concat()).context(doing())?;
    read_response(method, BufReader::new(socket)).context(doing())
}

/// Reads the answer to one request.
fn read_response(method: &str, mut reader: impl BufRead) -> Result<Response> {
    let (status, headers) = read_head(&mut reader)?;
    let mut response = Response { status, headers, body: Vec::new() };
    let chunked = response
        .header("transfer-encoding")
        .is_some_and(|coding| coding.to_ascii_lowercase().ends_with("chunked"));
    if method == "HEAD" || matches!(status, 204 | 304) {
        return Ok(response);
    }
    if chunked {
        response.body = read_chunks(&mut reader)?;
    } else if let Some(length) = response.header("content-length") {
        let length = length.parse::<u64>().context("Content-Length")?;
        read_exactly(&mut reader, length, &mut response.body)?;
    } else {
        reader.read_to_end(&mut response.body).context("the body")?;
    }
    Ok(response)
}

fn read_head(reader: &mut impl BufRead) -> Result<(u16, Vec<(String, String)>)> {
    let mut head = reader.take(MAX_HEAD_BYTES);
    let status_line = read_line(&mut head)?;
    let mut words = status_line.split(' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|word| word.parse().ok());
    let Some(status) = status.filter(|_| version.starts_with("HTTP/1.")) else {
        return Err(format!("not an HTTP/1.1 answer: {status_line:?}").into());
    };
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut head)?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').ok_or("a header without a colon")?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line).context("a line of the answer")?;
    if !line.ends_with('\n') {
        return Err("the answer ends too early".into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_chunks(reader: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = u64::from_str_radix(digits, 16).context("a chunk's length")?;
        if length == 0 {
            // Trailers, if any, up to the empty line.
            while !read_line(reader)?.is_empty() {}
            return Ok(body);
        }
        read_exactly(reader, length, &mut body)?;
        if !read_line(reader)?.is_empty() {
            return Err("a chunk is longer than it says".into());
        }
    }
}

fn read_exactly(reader: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> Result {
    let got = reader.take(length).read_to_end(body).context("the body")?;
    if got as u64 == length { Ok(()) } else { Err("the body ends too early".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, text: &str) -> Result<Response> {
        read_response(method, text.as_bytes())
    }

    #[test]
    fn a_body_with_its_length() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nStream-Next-Offset:  7 \r\n\r\n[]more";
        let response = read("GET", text).unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.header("stream-next-offset"), Some("7"));
        assert_eq!(response.header("stream-closed"), None);
        assert_eq!(response.body, b"[]");
    }

    #[test]
    fn a_body_in_chunks() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
        let text =
            format!("{head}4;name=x\r\n[1,2\r\nA\r\n,3,4,5,6,7\r\n1\r\n]\r\n0\r\nT: x\r\n\r\n");
        assert_eq!(read("GET", &text).unwrap().body, b"[1,2,3,4,5,6,7]");
    }

    #[test]
    fn a_body_that_ends_with_the_connection() {
        let text = "HTTP/1.0 404 Not Found\r\n\r\nno such stream";
        let response = read("GET", text).unwrap();
        assert_eq!((response.status, response.body.as_slice()), (404, &b"no such stream"[..]));
    }

    #[test]
    fn no_content_has_no_body() {
        let text = "HTTP/1.1 204 No Content\r\n\r\nleft over";
        assert_eq!(read("GET", text).unwrap().body, b"");
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(read("HEAD", text).unwrap().body, b"");
    }

    #[test]
    fn what_is_cut_short_or_wrong_is_refused() {
        for text in [
            "",
            "HTTP/1.1 200",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[]",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n[]",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]]\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ] {
            assert!(read("GET", text).is_err(), "{text:?} was taken");
        }
    }
}

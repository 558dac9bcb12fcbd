//! Who talks through the proxy: a client and a server.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use durstream_tests::proxy::Proxy;

pub(crate) const LONG: Duration = Duration::from_secs(30);

/// What the server saw of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) body: Vec<u8>,
    pub(crate) whole: bool,
}

/// A server that says yes to everything, and how in its own words:
/// `/chunked` in chunks, `/endless` until the end of the connection, `/early` without reading,
/// `/slow` after a while, `/never` not at all.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    name: &'static str,
    seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, name, seen: Arc::default(), connections: Arc::default() };
        let own = server.clone();
        thread(move || {
            for socket in listener.incoming() {
                own.connections.fetch_add(1, Ordering::SeqCst);
                let (own, socket) = (own.clone(), socket.unwrap());
                thread(move || while own.serve(&socket).is_some() {});
            }
        });
        server
    }

    fn serve(&self, mut socket: &TcpStream) -> Option<()> {
        let mut reader = BufReader::with_capacity(1 << 16, socket);
        let head = read_head(&mut reader)?;
        let line = head[0].clone();
        if line.contains("/early") {
            self.note(Seen { line, body: Vec::new(), whole: false });
            socket.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nbig").unwrap();
            return None;
        }
        if line.contains("/never") {
            let _ = socket.read_to_end(&mut Vec::new());
            self.note(Seen { line, body: b"left".to_vec(), whole: true });
            return None;
        }
        let mut body = Vec::new();
        let whole = read_body(&mut reader, &head, &mut body);
        self.note(Seen { line: line.clone(), body: body.clone(), whole });
        if !whole {
            return None;
        }
        if line.contains("/slow") {
            std::thread::sleep(Duration::from_millis(300)); // longer than the proxy looks away
        }
        let text = if line.contains("/echo") { body } else { self.name.as_bytes().to_vec() };
        let first = "HTTP/1.1 200 OK\r\nX-Server: yes\r\n";
        let mut answer = if line.starts_with("HEAD") {
            format!("{first}Content-Length: 1000\r\n\r\n").into_bytes()
        } else if line.contains("/nothing") {
            b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()
        } else if line.contains("/chunked") {
            format!("{first}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n")
                .into_bytes()
        } else if line.contains("/endless") {
            format!("{first}\r\n").into_bytes()
        } else {
            format!("{first}Content-Length: {}\r\n\r\n", text.len()).into_bytes()
        };
        let has_text =
            !line.starts_with("HEAD") && !line.contains("/nothing") && !line.contains("/chunked");
        if has_text {
            answer.extend(text);
        }
        socket.write_all(&answer).ok()?;
        (!line.contains("/endless")).then_some(())
    }

    fn note(&self, seen: Seen) {
        self.seen.lock().unwrap().push(seen);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until so many requests were seen.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Seen> {
        wait_until(|| self.seen().len() >= count);
        self.seen()
    }
}

pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < LONG, "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn thread(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().spawn(run).unwrap();
}

fn read_head(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        match line.trim_end() {
            "" => return Some(lines),
            text => lines.push(text.to_owned()),
        }
    }
}

fn value<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter().filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name).map(|p| p.1)
}

/// Whether the body came in full.
fn read_body(reader: &mut impl BufRead, head: &[String], body: &mut Vec<u8>) -> bool {
    if value(head, "Transfer-Encoding").is_none() {
        let length = value(head, "Content-Length").map_or(0, |length| length.parse().unwrap());
        return fill(reader, length, body);
    }
    loop {
        let mut line = String::new();
        let Ok(1..) = reader.read_line(&mut line) else { return false };
        let digits = line.trim().split(';').next().unwrap();
        let Ok(length) = u64::from_str_radix(digits, 16) else { return false };
        if !fill(reader, length, body) || reader.read_line(&mut line).is_err() {
            return false;
        }
        if length == 0 {
            return true;
        }
    }
}

fn fill(reader: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> bool {
    let before = body.len();
    let _ = reader.take(length).read_to_end(body);
    (body.len() - before) as u64 == length
}

/// A client's connection.
pub(crate) struct Client(pub(crate) BufReader<TcpStream>);

/// What a client got: an answer's first line and body, or how the connection ended.
pub(crate) type Got = Result<(String, String), ErrorKind>;

pub(crate) fn ok(body: &str) -> Got {
    Ok(("HTTP/1.1 200 OK".to_owned(), body.to_owned()))
}

pub(crate) const RESET: Got = Err(ErrorKind::ConnectionReset);
pub(crate) const ENDED: Got = Err(ErrorKind::UnexpectedEof);

impl Client {
    pub(crate) fn of(proxy: &Proxy) -> Self {
        let socket = TcpStream::connect(proxy.address()).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        Self(BufReader::new(socket))
    }

    pub(crate) fn send(&mut self, method: &str, target: &str, body: &[u8]) -> Got {
        let head = format!("{method} {target} HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        self.raw(&[head.as_bytes(), body].concat())
    }

    pub(crate) fn post(&mut self, body: &str) -> Got {
        self.send("POST", "/x?y=1", body.as_bytes())
    }

    pub(crate) fn raw(&mut self, request: &[u8]) -> Got {
        // A reset is told once: to the write, if it was there before it.
        match self.0.get_mut().write_all(request).map_err(|error| error.kind()) {
            Err(ErrorKind::ConnectionReset) => RESET,
            _ => self.receive(request.starts_with(b"HEAD")),
        }
    }

    pub(crate) fn write(&mut self, request: &[u8]) {
        self.0.get_mut().write_all(request).unwrap();
    }

    pub(crate) fn receive(&mut self, is_head: bool) -> Got {
        let mut first = String::new();
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            let bytes = self.0.read_line(&mut line).map_err(|error| error.kind())?;
            if bytes == 0 {
                return ENDED;
            }
            match line.trim_end() {
                "" => break,
                text if first.is_empty() => first = text.to_owned(),
                text => head.push(text.to_owned()),
            }
        }
        let chunked = value(&head, "Transfer-Encoding").is_some();
        let length = value(&head, "Content-Length").map(|length| length.parse::<u64>().unwrap());
        let mut body = Vec::new();
        if is_head || first.contains(" 204") {
        } else if chunked {
            assert!(read_body(&mut self.0, &head, &mut body));
        } else if let Some(length) = length {
            let read = (&mut self.0).take(length).read_to_end(&mut body);
            read.map_err(|error| error.kind())?;
            if body.len() as u64 != length {
                return ENDED;
            }
        } else {
            self.0.read_to_end(&mut body).map_err(|error| error.kind())?;
        }
        Ok((first, String::from_utf8(body).unwrap()))
    }
}

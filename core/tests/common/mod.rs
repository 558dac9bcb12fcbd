//! A server that takes everything, as little of one as can be: so that what is measured beside it
//! is the library.

#![allow(dead_code, unreachable_pub, reason = "each test and benchmark takes what it needs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use durstream_core::{DurableStream, IdempotentProducer, Options};

/// Answers every request under a tuple with 200 and its echo (PROTOCOL.md 5.2.1).
pub struct Sink {
    address: SocketAddr,
    gate: Arc<RwLock<()>>,
}

impl Sink {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let gate = Arc::new(RwLock::new(()));
        let own = gate.clone();
        thread(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let gate = own.clone();
                thread(move || while answer(&socket, &gate).is_some() {});
            }
        });
        Sink { address, gate }
    }

    /// Holds every answer back until dropped.
    pub fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().expect("no connection panics")
    }

    /// The URL of a stream there; any other will do as well.
    pub fn url(&self) -> String {
        format!("http://{}/sink", self.address)
    }

    pub fn producer(&self, content_type: &str, options: Options) -> IdempotentProducer {
        producer(&self.url(), content_type, options)
    }
}

/// A producer of a stream that is not asked for first.
pub fn producer(url: &str, content_type: &str, options: Options) -> IdempotentProducer {
    let stream = DurableStream::connect(Options::new().url(url).content_type(content_type))
        .expect("options are right");
    IdempotentProducer::open(&stream, "numbers", options).expect("options are right")
}

/// Where nobody listens.
pub fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}/nowhere", listener.local_addr().expect("its address"))
}

/// Where one request is answered with this body, in one piece or in chunks.
pub fn serve_once(content_type: &str, body: &'static [u8], is_length_known: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/once", listener.local_addr().expect("its address"));
    let length = match is_length_known {
        true => format!("Content-Length: {}", body.len()),
        false => "Transfer-Encoding: chunked".to_owned(),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nStream-Next-Offset: 1\r\n\
         Stream-Up-To-Date: true\r\n{length}\r\n\r\n"
    );
    thread(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        let mut request = BufReader::new(socket.try_clone().expect("the same socket")).lines();
        while request.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        socket.write_all(head.as_bytes()).expect("the head is taken");
        for part in body.chunks(if is_length_known { body.len() } else { 60_000 }) {
            let (size, end) = match is_length_known {
                true => (String::new(), ""),
                false => (format!("{:x}\r\n", part.len()), "\r\n"),
            };
            for bytes in [size.as_bytes(), part, end.as_bytes()] {
                socket.write_all(bytes).expect("the body is taken");
            }
        }
        if !is_length_known {
            socket.write_all(b"0\r\n\r\n").expect("the end is taken");
        }
    });
    url
}

#[expect(clippy::disallowed_methods, reason = "it waits for threads")]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(300), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn thread(body: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name("sink".into()).spawn(body).expect("a thread starts");
}

/// Serves one request; `None` at the end of the connection.
fn answer(mut socket: &TcpStream, gate: &RwLock<()>) -> Option<()> {
    let mut reader = BufReader::with_capacity(256 * 1024, socket);
    let (mut epoch, mut seq, mut length) = (0u64, 0u64, 0u64);
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.split_once(':') else {
            if line == "\r\n" { break } else { continue }
        };
        let number = || value.trim().parse().unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "producer-epoch" => epoch = number(),
            "producer-seq" => seq = number(),
            "content-length" => length = number(),
            _ => {}
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    drop(gate.read());
    let text = format!(
        "HTTP/1.1 200 OK\r\nProducer-Epoch: {epoch}\r\nProducer-Seq: {seq}\r\n\
         Stream-Next-Offset: {seq}\r\nContent-Length: 0\r\n\r\n"
    );
    socket.write_all(text.as_bytes()).ok()
}

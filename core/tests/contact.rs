//! What the log says of a host that does not answer, in a process of its own: there is one log.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use common::wait_until;
use durstream_core::{DurableStream, LogLevel, Options, set_log_sink};

/// Answers every request as a server that has just created the stream.
fn serve(listener: TcpListener) {
    let body = move || {
        for connection in listener.incoming() {
            let (mut connection, mut head) = (connection.unwrap(), Vec::new());
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                connection.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            let answer = "HTTP/1.1 201 Created\r\nstream-next-offset: 0\r\nconnection: close\r\n\
                          content-length: 0\r\n\r\n";
            connection.write_all(answer.as_bytes()).unwrap();
        }
    };
    std::thread::Builder::new().spawn(body).unwrap();
}

#[test]
fn the_first_failed_contact_is_told_and_its_end() {
    let lines: Arc<Mutex<Vec<(LogLevel, String)>>> = Arc::default();
    let log = lines.clone();
    set_log_sink(move |line| log.lock().unwrap().push((line.level(), line.text().to_owned())));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let create = || {
        let options =
            Options::new().url(format!("http://user:s3cret@{address}/s")).max_retries(2u64);
        DurableStream::create(options, "").wait()
    };
    assert!(create().is_err());
    wait_until("the warning", || !lines.lock().unwrap().is_empty());
    serve(TcpListener::bind(address).unwrap());
    create().unwrap();
    wait_until("the end of the outage", || lines.lock().unwrap().len() > 1);
    let lines = lines.lock().unwrap();
    let [(LogLevel::Warning, lost), (LogLevel::Info, back)] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert!(
        lost.starts_with(&format!("cannot reach http://{address}: Connection refused")),
        "{lost}"
    );
    assert!(back.starts_with(&format!("http://{address} answers again, after ")), "{back}");
}

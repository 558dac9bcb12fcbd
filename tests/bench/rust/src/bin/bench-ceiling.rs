//! The ceiling: bodies prepared beforehand, sent by one thread over several connections in turn, as
//! many as our client uses unless told. Nothing is gathered, checked, kept or reported.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use durstream_bench_programs::{Clock, Job, Result, answer, idle_report};
use durstream_core::OPTIONS;

fn main() -> Result<()> {
    let job = Job::from_arguments()?;
    let address = job.url.strip_prefix("http://").ok_or("an http URL")?;
    let (host, path) = address.split_at(address.find('/').ok_or("a URL with a path")?);
    let target = Target { host, path, content_type: job.content_type() };
    let mut first = Connection::open(&target)?;
    first.send(&target.request("PUT", "", b""))?;
    let status = first.receive()?;
    if !matches!(status, 200 | 201) {
        return Err(format!("PUT {path} answered {status}").into());
    }
    let line = if job.is_idle() {
        idle(&job, &target, &mut first)?
    } else {
        replay(&job, &target, first)?
    };
    answer(&line)
}

/// The option's value in this job, or our client's default.
fn option(job: &Job, name: &str) -> Result<usize> {
    let default = OPTIONS.iter().find(|option| option.name == name).map(|option| option.default);
    let value = job.get(name).or(default).ok_or_else(|| format!("no option `{name}`"))?;
    Ok(value.parse()?)
}

fn replay(job: &Job, target: &Target<'_>, first: Connection) -> Result<String> {
    let requests = prepare(job, target, option(job, "max_batch_bytes")?);
    let mut connections = vec![first];
    while connections.len() < option(job, "max_in_flight")? {
        connections.push(Connection::open(target)?);
    }
    let clock = Clock::start();
    // The first is waited for: until then the server knows no producer to follow.
    connections[0].exchange(&requests[0])?;
    let mut sent = 1;
    let mut received = 1;
    let mut repeats = 0;
    while received < requests.len() {
        while sent < requests.len() && sent - received < connections.len() {
            let at = sent % connections.len();
            connections[at].send(&requests[sent])?;
            sent += 1;
        }
        let at = received % connections.len();
        // One that overtook its predecessor is sent again.
        while connections[at].receive()? == 409 {
            repeats += 1;
            connections[at].send(&requests[received])?;
        }
        received += 1;
    }
    let no_calls = Instant::now().elapsed();
    Ok(clock.report(no_calls, 0, requests.len() as u64 + repeats, repeats))
}

fn prepare(job: &Job, target: &Target<'_>, max_batch_bytes: usize) -> Vec<Vec<u8>> {
    let json = job.content_type() == "application/json";
    let mut requests = Vec::new();
    let mut messages = job.messages.iter().cycle().take(job.events).peekable();
    while messages.peek().is_some() {
        let mut body = Vec::with_capacity(max_batch_bytes);
        while let Some(message) = messages
            .next_if(|message| body.is_empty() || body.len() + message.len() + 2 <= max_batch_bytes)
        {
            if json {
                body.push(if body.is_empty() { b'[' } else { b',' });
            }
            body.extend_from_slice(message);
        }
        if json {
            body.push(b']');
        }
        requests.push(target.request("POST", &producer_headers(requests.len()), &body));
    }
    requests
}

fn producer_headers(sequence: usize) -> String {
    format!("Producer-Id: bench\r\nProducer-Epoch: 0\r\nProducer-Seq: {sequence}\r\n")
}

fn idle(job: &Job, target: &Target<'_>, connection: &mut Connection) -> Result<String> {
    let mut waits = Vec::with_capacity(job.events);
    for (sequence, message) in job.messages.iter().cycle().take(job.events).enumerate() {
        let request = target.request("POST", &producer_headers(sequence), message);
        let started = Instant::now();
        connection.exchange(&request)?;
        waits.push(started.elapsed());
    }
    Ok(idle_report(&waits))
}

/// The stream.
struct Target<'a> {
    host: &'a str,
    path: &'a str,
    content_type: &'static str,
}

impl Target<'_> {
    fn request(&self, method: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let Target { host, path, content_type } = self;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {length}\r\n{headers}\r\n"
        );
        [head.as_bytes(), body].concat()
    }
}

struct Connection {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
    line: String,
}

impl Connection {
    fn open(target: &Target<'_>) -> Result<Self> {
        let socket = TcpStream::connect(target.host)?;
        socket.set_nodelay(true)?;
        let reader = BufReader::new(socket.try_clone()?);
        Ok(Connection { socket, reader, line: String::new() })
    }

    fn send(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.socket.write_all(request)?)
    }

    /// Sends and expects the write to be taken.
    fn exchange(&mut self, request: &[u8]) -> Result<()> {
        self.send(request)?;
        match self.receive()? {
            200 | 204 => Ok(()),
            status => Err(format!("a write was answered {status}").into()),
        }
    }

    /// The status of the next answer, read to its end; anything but success and 409 is an error.
    fn receive(&mut self) -> Result<u16> {
        self.next_line()?;
        let status: u16 = self.line.split(' ').nth(1).unwrap_or_default().parse()?;
        let mut length = 0;
        while self.next_line()? > 2 {
            let (name, value) = self.line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        let body = std::io::copy(&mut self.reader.by_ref().take(length), &mut std::io::sink())?;
        match status {
            200 | 201 | 204 | 409 if body == length => Ok(status),
            _ => Err(format!("answered {status}").into()),
        }
    }

    fn next_line(&mut self) -> Result<usize> {
        self.line.clear();
        Ok(self.reader.read_line(&mut self.line)?)
    }
}

//! The same events over one, a hundred and ten thousand streams, a producer each.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::throughput;
use std::time::Duration;

use crate::contestant::Contestant;
use crate::messages::{Kind, Messages};
use crate::run::{self, Measured, Program, STREAM_PATH, Watch, log_of, stream_url};
use crate::whole::lab::{Lab, Task};
use crate::whole::store::Point;
use durstream_tests::failure::{Context, Result};
use durstream_tests::server::Server;
use durstream_tests::signals;

pub(crate) const STREAMS: [usize; 3] = [1, 100, 10_000];
const EVENTS: usize = 200_000;
const BYTES: usize = 100;
/// Of many streams so many are read back.
const READ_BACK: usize = 200;
const CONNECTIONS: usize = 32;
/// What takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn measure(lab: &Lab<'_>) -> Result<Vec<Point>> {
    let messages = lab.messages(Kind::Json, BYTES)?;
    let mut points = Vec::new();
    for streams in STREAMS {
        for who in &lab.contestants {
            lab.say(&format!("{streams} streams: {}", who.id.title()));
            let mut point = Point::of(who.id, Kind::Json.name()).at("streams", streams);
            let events = lab.events(EVENTS).max(streams);
            let result = one(lab, who, &messages, events, streams)
                .map(|measured| throughput::add(&mut point, events, &measured));
            lab.note(&mut point, result)?;
            points.push(point);
        }
    }
    Ok(points)
}

fn one(
    lab: &Lab<'_>,
    who: &Contestant,
    messages: &Messages,
    events: usize,
    streams: usize,
) -> Result<Measured> {
    let server = Server::start(lab.tree)?;
    create(&server, streams)?;
    let options = vec![format!("streams={streams}")];
    let task = Task { mode: "streams", events, round_trip_ms: 0, options, time: Duration::ZERO };
    let command = lab.job(messages, &task).command(who, &stream_url(&server.url()));
    let watch = Watch::start(&server);
    let mut program = Program::spawn(command, &log_of(lab.tree, who.id)?)?;
    program.next_line_within(LIMIT)?;
    let mut measured: Measured = serde_json::from_str(&program.line).context(&program.line)?;
    measured.around = watch.end(&program);
    program.end()?;
    for number in (0..streams).step_by(streams.div_ceil(READ_BACK)) {
        let path = format!("{STREAM_PATH}-{number}");
        run::check(&server, &path, messages, events / streams).context(&path)?;
    }
    Ok(measured)
}

/// Creates the streams over a few connections: the server puts each on a disk before it answers.
fn create(server: &Server, streams: usize) -> Result {
    let next = AtomicUsize::new(0);
    let work = || -> Result {
        let mut connection = Connection::open(server)?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= streams {
                return Ok(());
            }
            signals::check()?;
            connection.create(number)?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS.min(streams))
            .map(|_| scope.spawn(|| work().context("creating streams")))
            .collect();
        let mut joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.try_for_each(|done| done.unwrap_or_else(|_| Err("a thread panicked".into())))
    })
}

struct Connection {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Connection {
    fn open(server: &Server) -> Result<Self> {
        let socket = TcpStream::connect(server.address()).context("connecting")?;
        socket.set_nodelay(true).context("connecting")?;
        let reader = BufReader::new(socket.try_clone().context("connecting")?);
        Ok(Self { socket, reader })
    }

    fn create(&mut self, number: usize) -> Result {
        let head = format!(
            "PUT /v1/stream{STREAM_PATH}-{number} HTTP/1.1\r\nHost: bench\r\n\
             Content-Type: application/json\r\nContent-Length: 0\r\n\r\n"
        );
        self.socket.write_all(head.as_bytes()).context("a PUT")?;
        let status = self.line()?;
        if !status.contains(" 201") {
            return Err(format!("answered {status:?}").into());
        }
        // Such an answer has no body.
        while self.line()? != "\r\n" {}
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line).context("the answer")? {
            0 => Err("the answer ends too early".into()),
            _ => Ok(line),
        }
    }
}

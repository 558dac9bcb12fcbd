//! `bench-delay ADDRESS MS`: a long line to a server. What arrives goes on after half of the round
//! trip, in the order it came, whatever its connection: requests do not overtake each other in here.
//! Prints its URL, and ends when its standard input does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use durstream_bench_programs::{Result, answer};

/// One thread per connection and direction, so a small one.
const STACK_BYTES: usize = 256 * 1024;
const PIECE_BYTES: usize = 64 * 1024;

/// Bytes under way; none is the end of their direction.
struct Piece {
    due: Instant,
    to: Arc<TcpStream>,
    bytes: Vec<u8>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, ms] = arguments.as_slice() else {
        return Err("use: bench-delay ADDRESS MS".into());
    };
    let half = Duration::from_millis(ms.parse()?) / 2;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let (up, down) = (line()?, line()?);
    let server = server.clone();
    start(move || {
        for client in listener.incoming().flatten() {
            // A server that is not there is a connection that ends.
            let _ = join(client, &server, half, &up, &down);
        }
    })?;
    answer(&url)
}

fn start(work: impl FnOnce() + Send + 'static) -> Result<()> {
    Builder::new().name("bench-delay".to_owned()).stack_size(STACK_BYTES).spawn(work)?;
    Ok(())
}

/// One direction of the line: one thread sends what is due, in its order.
fn line() -> Result<Sender<Piece>> {
    let (sender, pieces) = channel();
    start(move || forward(&pieces))?;
    Ok(sender)
}

fn forward(pieces: &Receiver<Piece>) {
    for Piece { due, to, bytes } in pieces {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // Whoever left is told by the other direction.
        let _ = match bytes.as_slice() {
            [] => to.shutdown(Shutdown::Write),
            bytes => (&*to).write_all(bytes),
        };
    }
}

fn join(
    client: TcpStream,
    server: &str,
    half: Duration,
    up: &Sender<Piece>,
    down: &Sender<Piece>,
) -> Result<()> {
    let (client, server) = (Arc::new(client), Arc::new(TcpStream::connect(server)?));
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    for (from, to, line) in [(&client, &server, up), (&server, &client, down)] {
        let (from, to, line) = (from.clone(), to.clone(), line.clone());
        start(move || {
            let mut room = vec![0; PIECE_BYTES];
            loop {
                let length = (&*from).read(&mut room).unwrap_or(0);
                let (due, bytes) = (Instant::now() + half, room[..length].to_vec());
                if line.send(Piece { due, to: to.clone(), bytes }).is_err() || length == 0 {
                    return;
                }
            }
        })?;
    }
    Ok(())
}

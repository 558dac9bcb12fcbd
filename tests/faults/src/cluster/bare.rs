//! A client with nothing of ours: it asks one node after the other, follows redirects and gives each
//! a moment. What it waits is the cluster's own time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::nodes::{BUCKET, Cluster, NODES};
use durstream_tests::failure::{Context, Result};
use durstream_tests::http::{self, Response};
use durstream_tests::numbered::{Found, Kind};
use durstream_tests::signals;

/// How long a node may take.
const MOMENT: Duration = Duration::from_millis(400);
/// Between two writes of a probe, and between two nodes.
const PAUSE: Duration = Duration::from_millis(40);
const HOPS: usize = 4;

type Headers<'a> = &'a [(&'a str, &'a str)];

/// Asks nodes in turn until one gives an answer that is no redirect and no failure; which one.
pub(super) fn insist(
    cluster: &Cluster,
    method: &str,
    path: &str,
    headers: Headers<'_>,
    body: &[u8],
    limit: Duration,
) -> Result<(usize, Response)> {
    let (started, addresses) = (Instant::now(), cluster.addresses());
    let mut last = String::new();
    for first in 0.. {
        let mut at = first % NODES;
        for _ in 0..HOPS {
            match http::send_within(addresses[at], method, path, headers, body, MOMENT * 5) {
                Ok(answer) if matches!(answer.status, 307 | 308) => match leads(&answer) {
                    Some(next) => at = cluster.number_of(&next).ok_or("a redirect to nobody")?,
                    None => break,
                },
                Ok(answer) if answer.status < 429 => return Ok((at, answer)),
                Ok(answer) => {
                    last = format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body));
                    break;
                }
                Err(failure) => {
                    last = failure.to_string();
                    break;
                }
            }
        }
        signals::check()?;
        if started.elapsed() > limit {
            break;
        }
        thread::sleep(PAUSE);
    }
    Err(format!("{method} {path}: no node answers: {last}").into())
}

/// The address a redirect leads to.
fn leads(answer: &Response) -> Option<String> {
    let location = answer.header("location")?.strip_prefix("http://")?;
    location.split('/').next().map(str::to_owned)
}

/// Creates a stream, or finds it; its leader.
pub(super) fn leader(cluster: &Cluster, stream: &str, kind: Kind) -> Result<usize> {
    let headers = [("Content-Type", kind.content_type())];
    let path = format!("/{BUCKET}/{stream}");
    let (at, answer) = insist(cluster, "PUT", &path, &headers, b"", Duration::from_secs(60))?;
    match answer.status {
        200 | 201 => Ok(at),
        status => Err(format!("PUT {path} answered {status}").into()),
    }
}

/// Everything in a stream, from its leader.
pub(super) fn read(cluster: &Cluster, stream: &str, kind: Kind) -> Result<Vec<Found>> {
    let (mut bytes, mut offset) = (Vec::new(), "-1".to_owned());
    let from = leader(cluster, stream, kind)?;
    let addresses = cluster.addresses();
    loop {
        let path = format!("/{BUCKET}/{stream}?offset={offset}");
        let answer = http::get(addresses[from], &path)?;
        if answer.status != 200 {
            return Err(format!("GET {path} answered {}", answer.status).into());
        }
        let next = answer.header("stream-next-offset").unwrap_or_default().to_owned();
        let is_end = answer.header("stream-up-to-date").is_some_and(|value| value == "true");
        bytes.extend_from_slice(&answer.body);
        if is_end || next == offset {
            break;
        }
        offset = next;
    }
    if kind == Kind::Lines {
        return kind.read(&[bytes]);
    }
    // A value on each line; a page may end within one.
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let array = [b"[", lines.collect::<Vec<_>>().join(&b',').as_slice(), b"]"].concat();
    kind.read(&[array])
}

/// When something was acknowledged.
pub(super) type Acks = Arc<Mutex<Vec<Instant>>>;

/// A client that writes to a stream of its own all the time.
pub(super) struct Probe {
    pub(super) stream: String,
    pub(super) acks: Acks,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    pub(super) fn start(cluster: &Cluster, stream: &str) -> Result<Self> {
        let mut at = leader(cluster, stream, Kind::Lines)?;
        let (acks, ends) = (Acks::default(), Arc::<AtomicBool>::default());
        let (noted, ended) = (acks.clone(), ends.clone());
        let (addresses, path) = (cluster.addresses(), format!("/{BUCKET}/{stream}"));
        let write = move || {
            while !ended.load(Ordering::Relaxed) {
                at = step(&addresses, at, &path, &noted);
            }
        };
        let thread = Some(thread::Builder::new().spawn(write).context("a thread")?);
        Ok(Self { stream: stream.to_owned(), acks, ends, thread })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One request; which node is to be asked next.
fn step(addresses: &[SocketAddr], at: usize, path: &str, acks: &Acks) -> usize {
    let headers = [("Content-Type", Kind::Lines.content_type())];
    match http::send_within(addresses[at], "POST", path, &headers, b"x\n", MOMENT) {
        Ok(answer) if matches!(answer.status, 200 | 204) => {
            acks.lock().expect("nobody panics with it").push(Instant::now());
            thread::sleep(PAUSE);
            at
        }
        Ok(answer) if matches!(answer.status, 307 | 308) => {
            let next = leads(&answer);
            let known = addresses.iter().position(|own| Some(own.to_string()) == next);
            known.filter(|next| *next != at).unwrap_or((at + 1) % addresses.len())
        }
        _ => {
            thread::sleep(PAUSE / 2);
            (at + 1) % addresses.len()
        }
    }
}

//! Reads back what the services are done with, and deletes it: the server holds what is being
//! written alone.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use durstream_tests::audit::outcomes::{End, Verdict};
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::http;
use durstream_tests::numbered::Found;
use durstream_tests::proxy::{Entry, Proxy};
use durstream_tests::readback;
use serde_json::json;

use crate::services::Told;

/// The server is away for a few seconds at most, wherever a reader comes.
const READ_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// What became of the writes of a service.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) streams: usize,
    pub(crate) written: usize,
    pub(crate) lost: usize,
    /// There too often, and not flagged.
    pub(crate) doubled: usize,
    pub(crate) misplaced: usize,
    /// In the stream, and nobody's.
    pub(crate) foreign: usize,
    /// Not delivered, as the service was told.
    pub(crate) undelivered: usize,
    /// Delivered, possibly twice, as the service was told.
    pub(crate) uncertain: usize,
    pub(crate) retries: usize,
    pub(crate) sessions: usize,
}

impl Totals {
    /// Of one stream, every write of which should be there once.
    fn of(told: &Told, stream: &[Found]) -> Self {
        let ends = vec![End::Delivered; told.written];
        let verdict = Verdict::new(&[(told.writer.clone(), ends)], stream);
        Self {
            streams: 1,
            written: told.written,
            lost: verdict.lost,
            // Of the others the service was told that they may be.
            doubled: verdict.doubled.saturating_sub(told.uncertain),
            misplaced: verdict.misplaced,
            foreign: verdict.foreign,
            undelivered: told.written.abs_diff(told.delivered),
            uncertain: told.uncertain,
            retries: told.retries,
            sessions: told.sessions,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.written += other.written;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.misplaced += other.misplaced;
        self.foreign += other.foreign;
        self.undelivered += other.undelivered;
        self.uncertain += other.uncertain;
        self.retries += other.retries;
        self.sessions += other.sessions;
    }

    /// Whether every write is there once, in order, and its service knows.
    pub(crate) fn is_clean(&self) -> bool {
        let Self { lost, doubled, misplaced, foreign, undelivered, .. } = *self;
        [lost, doubled, misplaced, foreign, undelivered] == [0; 5]
    }
}

/// What was found, and what went wrong.
#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) totals: Vec<Totals>,
    pub(crate) problems: Vec<String>,
}

impl Checked {
    fn take(
        &mut self,
        server: SocketAddr,
        proxies: &[Arc<Proxy>],
        folder: &Path,
        (service, line): (usize, &str),
    ) -> Result {
        let told = Told::parse(line)?;
        let stream = read_and_delete(server, &told)?;
        let found = Totals::of(&told, &stream);
        self.totals[service].add(&found);
        if found.is_clean() {
            return Ok(());
        }
        let path = folder.join(format!("wrong-{}.json", told.writer));
        let end = told.stream_path();
        let is_its =
            |entry: &Entry| entry.target.split('?').next().is_some_and(|path| path.ends_with(&end));
        let requests: Vec<_> = proxies[service].log().into_iter().filter(is_its).collect();
        let shown = json!({
            "found": format!("{found:?}"),
            "stream": stream.iter().map(|found| format!("{found:?}")).collect::<Vec<_>>(),
            "requests": requests.iter().map(Entry::to_json).collect::<Vec<_>>(),
        });
        std::fs::write(&path, format!("{shown:#}")).context(path.display())?;
        Err(format!("{line}: {found:?}; its requests are in {}", path.display()).into())
    }
}

/// Works on a thread of its own until nobody has something to say any more.
pub(crate) struct Checker(JoinHandle<Checked>);

impl Checker {
    /// Takes what services say of streams, with the services' numbers. What went through the proxy of
    /// one stands in the folder if its stream is not as it should be.
    pub(crate) fn start(
        server: SocketAddr,
        proxies: &[Arc<Proxy>],
        folder: &Path,
    ) -> Result<(Self, Sender<(usize, String)>)> {
        let (proxies, folder) = (proxies.to_vec(), folder.to_owned());
        let (sender, told): (_, Receiver<(usize, String)>) = channel();
        let work = move || {
            let totals = vec![Totals::default(); proxies.len()];
            let mut checked = Checked { totals, problems: Vec::new() };
            for (service, line) in told {
                let taken = checked.take(server, &proxies, &folder, (service, &line));
                if let Err(failure) = taken {
                    console::line(&format!("WRONG: {failure}"));
                    checked.problems.push(failure.to_string());
                }
            }
            checked
        };
        let thread = std::thread::Builder::new().name("check".to_owned()).spawn(work);
        Ok((Self(thread.context("the reader")?), sender))
    }

    pub(crate) fn finish(self) -> Result<Checked> {
        self.0.join().map_err(|_| "the reader panicked".into())
    }
}

/// Past the proxies; again while the server is away.
fn read_and_delete(server: SocketAddr, told: &Told) -> Result<Vec<Found>> {
    let path = told.stream_path();
    let found = patiently(|| told.kind.read(&readback::read_pages(server, &path)?))?;
    patiently(|| {
        let target = format!("/v1/stream{path}");
        match http::send(server, "DELETE", &target, &[], b"")?.status {
            200..=299 | 404 | 410 => Ok(()),
            status => Err(format!("DELETE {path} answered {status}").into()),
        }
    })?;
    Ok(found)
}

fn patiently<T>(mut work: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match work() {
            Err(_) if started.elapsed() < READ_LIMIT => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(stream: &[usize], delivered: usize) -> Totals {
        let told = Told::parse(&format!("json a 3 {delivered} 0 0 1")).unwrap();
        let found: Vec<Found> = stream.iter().map(|number| Some(("a".into(), *number))).collect();
        Totals::of(&told, &found)
    }

    #[test]
    fn each_write_is_there_once_in_order_or_the_run_has_failed() {
        assert!(totals(&[0, 1, 2], 3).is_clean());
        assert_eq!(totals(&[0, 2], 3).lost, 1);
        assert_eq!(totals(&[0, 1, 1, 2], 3).doubled, 1);
        let told = Told::parse("json a 3 3 1 0 1").unwrap();
        let twice = [0, 0, 1, 1, 2].map(|number| Some(("a".into(), number)));
        assert_eq!(Totals::of(&told, &twice).doubled, 1);
        assert_eq!(totals(&[1, 0, 2], 3).misplaced, 1);
        assert_eq!(totals(&[0, 1, 2, 3], 3).foreign, 1);
        assert_eq!(totals(&[0, 1, 2], 2).undelivered, 1);
        for (stream, delivered) in [(&[0, 2][..], 3), (&[0, 1, 1, 2], 3), (&[0, 1, 2], 2)] {
            assert!(!totals(stream, delivered).is_clean());
        }
    }
}

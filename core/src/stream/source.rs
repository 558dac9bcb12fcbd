//! Appending what a source gives: an iterator, or an async stream of messages.

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_core::Stream;

use super::DurableStream;
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::pending::Pending;
use crate::producer::{FlushReport, Outcome};
use crate::runtime::{on_own_thread, would_deadlock};

/// How many messages of one source may be under way.
const MAX_UNDER_WAY: usize = 16_384;
/// How many bytes of one source may be under way: what the largest batches need, and not the whole
/// of a buffer that others use too.
const MAX_BYTES_UNDER_WAY: usize = 16 << 20;

impl DurableStream {
    /// Appends every message that `source` gives, each as [`append`](Self::append) does, in order,
    /// and waits until all are delivered. The source is asked for the next one only while there is
    /// room: a slow server slows it down, and memory stays bounded however long it is. On a stream
    /// that is not JSON, empty messages are skipped.
    ///
    /// The source is asked no further once it gives an error or a message is not delivered. Dropping
    /// the future asks it no further either; what it gave before is still appended, but for one that
    /// found no room because others fill the buffer.
    ///
    /// # Errors
    /// `Delivery`, which counts the messages delivered and those not, with the first cause:
    /// `InvalidArgument` (`source`) with the source's own text where that failed. What it gave
    /// before is delivered then.
    pub async fn append_stream<S, M, E>(&self, source: S) -> Result<FlushReport>
    where
        S: Stream<Item = Result<M, E>>,
        M: AsRef<[u8]>,
        E: Display,
    {
        let mut source = pin!(source);
        let mut feed = Feed::new(self);
        while feed.is_well() {
            if let Some(outcome) = feed.too_many() {
                feed.settle(outcome.await);
                continue;
            }
            let next = poll_fn(|context| match source.as_mut().poll_next(context) {
                // A source that says nothing must not keep what failed to itself.
                Poll::Pending if feed.poll_failed(context) => Poll::Ready(None),
                next => next,
            });
            let next = next.await;
            let Some(message) = feed.take(next) else { break };
            while let Some(wait) = feed.offer(message.as_ref()) {
                match wait {
                    Wait::Outcome(outcome) => feed.settle(outcome.await),
                    Wait::Room(room) => feed.found_room(room.await),
                }
            }
        }
        while let Some(outcome) = feed.oldest() {
            feed.settle(outcome.await);
        }
        feed.end()
    }

    /// The same for an iterator. Blocks the thread.
    ///
    /// # Errors
    /// As `append_stream`; `NotSupported` (`would-deadlock`) inside a callback of this library.
    pub fn blocking_append_stream<I, M, E>(&self, source: I) -> Result<FlushReport>
    where
        I: IntoIterator<Item = Result<M, E>>,
        M: AsRef<[u8]>,
        E: Display,
    {
        if on_own_thread() {
            return Err(would_deadlock());
        }
        let mut source = source.into_iter();
        let mut feed = Feed::new(self);
        while feed.is_well() {
            if let Some(outcome) = feed.too_many() {
                feed.settle(outcome.wait());
                continue;
            }
            let Some(message) = feed.take(source.next()) else { break };
            while let Some(wait) = feed.offer(message.as_ref()) {
                match wait {
                    Wait::Outcome(outcome) => feed.settle(outcome.wait()),
                    Wait::Room(room) => feed.found_room(room.wait()),
                }
            }
        }
        while let Some(outcome) = feed.oldest() {
            feed.settle(outcome.wait());
        }
        feed.end()
    }
}

/// What has to come before a message is taken.
enum Wait {
    /// An earlier one's outcome.
    Outcome(Pending<Outcome>),
    /// Others' messages fill the buffer.
    Room(Pending<()>),
}

/// The messages of a source on their way.
struct Feed<'a> {
    stream: &'a DurableStream,
    /// Those under way, in order, each with its size.
    settling: VecDeque<(usize, Pending<Outcome>)>,
    bytes: usize,
    report: FlushReport,
    undelivered: u64,
    failure: Option<Error>,
}

impl<'a> Feed<'a> {
    fn new(stream: &'a DurableStream) -> Self {
        let (settling, report) = (VecDeque::new(), FlushReport::default());
        Feed { stream, settling, bytes: 0, report, undelivered: 0, failure: None }
    }

    /// Whether the source is to be asked for more: nothing has failed, as far as is known by now.
    fn is_well(&mut self) -> bool {
        while let Some(result) = self.settling.front_mut().and_then(|(_, first)| first.now()) {
            self.oldest();
            self.settle(result);
        }
        self.failure.is_none()
    }

    /// Whether something failed; if not, the task is woken when the oldest is settled.
    fn poll_failed(&mut self, context: &mut Context<'_>) -> bool {
        while let Some((_, first)) = self.settling.front_mut() {
            let Poll::Ready(result) = Pin::new(first).poll(context) else { break };
            self.oldest();
            self.settle(result);
        }
        self.failure.is_some()
    }

    /// The one to wait for before the source is asked for more: what it gives then has its place.
    fn too_many(&mut self) -> Option<Pending<Outcome>> {
        let full = self.settling.len() >= MAX_UNDER_WAY || self.bytes >= MAX_BYTES_UNDER_WAY;
        if full { self.oldest() } else { None }
    }

    /// The next message, unless the source has come to its end, good or bad.
    fn take<M, E: Display>(&mut self, next: Option<Result<M, E>>) -> Option<M> {
        match next? {
            Ok(message) => Some(message),
            Err(error) => {
                self.fail(Error::option("source", format!("the source failed: {error}")));
                None
            }
        }
    }

    /// Appends a message, or says what to wait for before it is offered again. One that comes
    /// after a failure is only counted.
    fn offer(&mut self, message: &[u8]) -> Option<Wait> {
        if self.failure.is_some() {
            self.undelivered += 1;
            return None;
        }
        if message.is_empty() && !self.stream.is_json() {
            return None;
        }
        let mut appended = self.stream.append(message);
        match appended.now() {
            Some(Err(error)) if error.kind() == ErrorKind::BufferFull => {
                let oldest = self.oldest().map(Wait::Outcome);
                return oldest.or_else(|| Some(Wait::Room(self.stream.room())));
            }
            Some(result) => self.settle(result),
            None => {
                self.bytes += message.len();
                self.settling.push_back((message.len(), appended));
            }
        }
        None
    }

    /// The one that has been under way the longest.
    fn oldest(&mut self) -> Option<Pending<Outcome>> {
        let (size, outcome) = self.settling.pop_front()?;
        self.bytes -= size;
        Some(outcome)
    }

    fn settle(&mut self, result: Result<Outcome>) {
        match result {
            Ok(outcome) => {
                self.report.delivered += 1;
                self.report.duplicates += u64::from(outcome.duplicate);
                self.report.uncertain += u64::from(outcome.maybe_duplicate);
            }
            Err(error) => {
                self.undelivered += 1;
                self.fail(error);
            }
        }
    }

    fn found_room(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    fn end(self) -> Result<FlushReport> {
        let Some(cause) = self.failure else { return Ok(self.report) };
        let (delivered, undelivered) = (self.report.delivered, self.undelivered);
        let text = format!(
            "{delivered} messages were delivered, {undelivered} were not: {}",
            cause.message()
        );
        let detail = Detail::Delivery { delivered, undelivered, cause };
        let error = Error::new(ErrorKind::Delivery, text).with_detail(detail);
        Err(error.with_url(&self.stream.endpoint().shown))
    }
}

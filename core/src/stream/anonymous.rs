//! Appending without an identity, because `idempotent` is off or the server takes no further
//! producers: one request at a time in the order of the calls, repeated only while nothing can have
//! been stored. What waits behind a request goes out together.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::sync::Notify;

use super::{DurableStream, wire};
use crate::error::{Error, ErrorKind, Result};
use crate::pending::{Completer, Pending, pending};
use crate::producer::{CloseResult, Outcome, Reason};
use crate::protocol::headers::{STREAM_CLOSED, STREAM_SEQ};
use crate::runtime::{Runtime, lock, process};
use crate::transport::Request;

/// A message of a plain append.
pub(super) struct Anonymous {
    pub(super) message: Bytes,
    pub(super) seq: Option<String>,
}

/// The messages of all lines of this process that are not settled.
#[derive(Default)]
pub(crate) struct Lines {
    pending: AtomicU64,
    settled: Notify,
}

impl Lines {
    pub(crate) fn pending(&self) -> u64 {
        self.pending.load(Ordering::SeqCst)
    }

    fn add(&self) {
        self.pending.fetch_add(1, Ordering::SeqCst);
    }

    fn settle(&self, count: u64) {
        self.pending.fetch_sub(count, Ordering::SeqCst);
        self.settled.notify_waiters();
    }

    /// Waits until none is left.
    pub(crate) async fn settled(&self) {
        loop {
            let settled = self.settled.notified();
            let mut settled = pin!(settled);
            settled.as_mut().enable(); // before the look: what settles after it wakes
            if self.pending() == 0 {
                return;
            }
            settled.await;
        }
    }
}

/// The appends of one handle that carry no identity.
#[derive(Default)]
pub(super) struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Group>,
    /// What everything accepted and not settled costs.
    held: u64,
    /// How many that are.
    count: u64,
    /// A task sends what waits.
    busy: bool,
    closed: Option<CloseResult>,
    /// Who waits for room.
    room: Vec<Completer<()>>,
}

/// What goes out as one request.
struct Group {
    messages: Vec<Waiting>,
    bytes: usize,
    seq: Option<String>,
    /// The stream ends with it.
    last: bool,
}

struct Waiting {
    message: Bytes,
    completer: Completer<Outcome>,
}

/// What one request may carry, and what may wait.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) batch_bytes: usize,
    pub(super) batch_items: usize,
    pub(super) held: u64,
    /// What a message costs beyond its bytes.
    pub(super) overhead: u64,
}

impl Line {
    /// Puts a message behind what waits, in one request with it where that may be.
    fn put(&self, bounds: Bounds, message: Anonymous, completer: Completer<Outcome>) -> bool {
        let Anonymous { message, seq } = message;
        let mut state = lock(&self.0);
        state.accept(message.len() as u64 + bounds.overhead);
        let size = message.len();
        let waiting = Waiting { message, completer };
        match state.waiting.back_mut() {
            Some(group) if seq.is_none() && group.takes(size, bounds) => {
                group.bytes += size;
                group.messages.push(waiting);
            }
            _ => state.waiting.push_back(Group {
                messages: vec![waiting],
                bytes: size,
                seq,
                last: false,
            }),
        }
        !std::mem::replace(&mut state.busy, true)
    }

    /// Puts the end of the stream behind what waits.
    fn put_last(&self, message: Bytes, overhead: u64, completer: Completer<Outcome>) -> bool {
        let mut state = lock(&self.0);
        state.accept(message.len() as u64 + overhead);
        let bytes = message.len();
        let messages = vec![Waiting { message, completer }];
        state.waiting.push_back(Group { messages, bytes, seq: None, last: true });
        !std::mem::replace(&mut state.busy, true)
    }

    /// Whether there is room for one more message, which whoever holds nothing always has.
    fn has_room(&self, size: usize, bounds: Bounds) -> std::result::Result<(), u64> {
        let held = lock(&self.0).held;
        match held == 0 || held + size as u64 + bounds.overhead <= bounds.held {
            true => Ok(()),
            false => Err(held),
        }
    }

    /// Waits until anything of what is held has settled.
    pub(super) fn room(&self) -> Pending<()> {
        let (completer, waiting) = pending();
        let mut state = lock(&self.0);
        if state.held == 0 {
            return Pending::ready(Ok(()));
        }
        state.room.push(completer);
        waiting
    }

    fn next(&self) -> Option<Group> {
        let mut state = lock(&self.0);
        let next = state.waiting.pop_front();
        state.busy = next.is_some();
        next
    }

    fn settle(&self, group: Group, overhead: u64, result: &Result<Outcome>) {
        let room = {
            let mut state = lock(&self.0);
            let count = group.messages.len() as u64;
            state.held -= group.bytes as u64 + overhead * count;
            state.count -= count;
            if let (true, Ok(outcome)) = (group.last, result) {
                state.closed = Some(CloseResult { final_offset: outcome.offset.clone() });
            }
            std::mem::take(&mut state.room)
        };
        let count = group.messages.len() as u64;
        group.messages.into_iter().for_each(|waiting| waiting.completer.complete(result.clone()));
        process().lines.settle(count);
        room.into_iter().for_each(|waiting| waiting.complete(Ok(())));
    }

    /// Puts a group that was refused back in two halves, so that one bad message takes no other
    /// with it.
    fn split(&self, mut group: Group) {
        let messages = group.messages.split_off(group.messages.len() / 2);
        let bytes = messages.iter().map(|waiting| waiting.message.len()).sum();
        group.bytes -= bytes;
        let mut state = lock(&self.0);
        state.waiting.push_front(Group { messages, bytes, seq: None, last: false });
        state.waiting.push_front(group);
    }
}

impl State {
    fn accept(&mut self, cost: u64) {
        self.held += cost;
        self.count += 1;
        process().lines.add();
    }
}

impl Group {
    fn takes(&self, size: usize, bounds: Bounds) -> bool {
        self.seq.is_none()
            && !self.last
            && self.bytes + size <= bounds.batch_bytes
            && self.messages.len() < bounds.batch_items
    }

    /// As the server takes them: an array on a JSON stream, else one behind the other.
    fn body(&self, json: bool) -> Bytes {
        let messages = self.messages.iter().map(|waiting| &waiting.message[..]);
        match messages.len() {
            1 if !json => return self.messages[0].message.clone(),
            _ if self.bytes == 0 => return Bytes::new(),
            _ => {}
        }
        if !json {
            return messages.collect::<Vec<_>>().concat().into();
        }
        let mut body = Vec::with_capacity(self.bytes + self.messages.len() + 1);
        for (n, message) in messages.enumerate() {
            body.push(if n == 0 { b'[' } else { b',' });
            body.extend_from_slice(message);
        }
        body.push(b']');
        body.into()
    }
}

/// A line's task: dropped before its end, as at a shutdown, whoever waits hears of it.
struct Sending {
    stream: DurableStream,
    ended: bool,
}

impl Sending {
    async fn run(mut self, runtime: &Runtime) {
        let line = &self.stream.shared.line;
        let overhead = self.stream.bounds().overhead;
        while let Some(group) = line.next() {
            let result = self.stream.send_group(runtime, &group).await;
            match &result {
                Err(error) if group.messages.len() > 1 && is_of_one(error) => line.split(group),
                _ => line.settle(group, overhead, &result),
            }
        }
        self.ended = true;
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.ended {
            let left = std::mem::take(&mut *lock(&self.stream.shared.line.0));
            process().lines.settle(left.count);
            drop(left); // not under the lock: who waits may append again
        }
    }
}

impl DurableStream {
    /// Appends a message if the writer's attempt ended because it is one producer too many.
    pub(super) fn unless_delivered(
        &self,
        message: Anonymous,
        attempt: Pending<Outcome>,
    ) -> Pending<Outcome> {
        let (completer, result) = pending();
        let stream = self.clone();
        attempt.on_complete(move |outcome| match outcome {
            // Not what an earlier attempt may have stored.
            Err(error) if is_limit(&error) && error.definite() => {
                stream.line_up(message, completer)
            }
            outcome => completer.complete(outcome),
        });
        result
    }

    /// Appends a checked message, if there is room for it.
    pub(super) fn append_anonymously(&self, message: Anonymous) -> Pending<Outcome> {
        let size = message.message.len() + message.seq.as_ref().map_or(0, String::len);
        if let Err(held) = self.shared.line.has_room(size, self.bounds()) {
            let text = format!("the buffer is full: {held} bytes are pending");
            let error = Error::new(ErrorKind::BufferFull, text)
                .with_reason(Reason::BufferBytesExceeded.as_str())
                .with_url(&self.shared.endpoint.shown);
            return Pending::ready(Err(error));
        }
        let (completer, result) = pending();
        self.line_up(message, completer);
        result
    }

    fn line_up(&self, message: Anonymous, completer: Completer<Outcome>) {
        if self.shared.line.put(self.bounds(), message, completer) {
            self.send_line();
        }
    }

    /// Ends the stream behind everything appended before; repeats give the first result.
    pub(super) fn close_anonymously(&self, message: Option<&[u8]>) -> Pending<CloseResult> {
        let (ended, attempt) = pending();
        let (completer, result) = pending();
        attempt.on_complete(move |outcome: Result<Outcome>| {
            completer.complete(outcome.map(|o| CloseResult { final_offset: o.offset }));
        });
        let message = message.map(Bytes::copy_from_slice).unwrap_or_default();
        if self.shared.line.put_last(message, self.bounds().overhead, ended) {
            self.send_line();
        }
        result
    }

    fn send_line(&self) {
        let sending = Sending { stream: self.clone(), ended: false };
        // Without a runtime the task is dropped, and so is what waits for it.
        if let Ok(runtime) = process().runtime() {
            let own = runtime.clone();
            runtime.spawn(async move { sending.run(&own).await });
        }
    }

    async fn send_group(&self, runtime: &Runtime, group: &Group) -> Result<Outcome> {
        let (transport, retries) = (&*runtime.transport, self.retries());
        let ended = lock(&self.shared.line.0).closed.clone();
        let delivered = |offset, attempts| Outcome { attempts, offset, ..Outcome::delivered() };
        if let (true, Some(end)) = (group.last, ended) {
            return Ok(delivered(end.final_offset, 1));
        }
        if group.last && group.bytes == 0 {
            let request = self.request(Method::POST);
            let (endpoint, timeout) = (request.endpoint, request.timeout);
            let offset = wire::close(transport, endpoint, timeout, &retries).await?;
            return Ok(delivered(offset, 1));
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, header_value(self.content_type()));
        if let Some(seq) = &group.seq {
            headers.insert(STREAM_SEQ, header_value(seq));
        }
        if group.last {
            headers.insert(STREAM_CLOSED, HeaderValue::from_static("true"));
        }
        let body = group.body(self.is_json());
        let request = Request { headers: headers.into(), body, ..self.request(Method::POST) };
        let (answer, attempts) = wire::append(transport, request, &retries).await?;
        Ok(delivered(answer.next_offset, attempts))
    }
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("checked before")
}

/// Whether a writer ended because the server takes no further producers.
fn is_limit(error: &Error) -> bool {
    error.reason() == Some(Reason::ProducerLimit.as_str())
}

/// Whether a request was refused for what one of its messages may be alone to blame for.
fn is_of_one(error: &Error) -> bool {
    error.definite() && matches!(error.status(), Some(400 | 413 | 422))
}

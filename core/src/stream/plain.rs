//! Appending without an identity, because `idempotent` is off or the server takes no further
//! producers: one request at a time in the order of the calls, repeated only while nothing can have
//! been stored. What waits behind a request goes out together.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::error::{Error, ErrorKind, Result};
use crate::outcome::{CloseResult, Outcome};
use crate::protocol::headers::{STREAM_CLOSED, STREAM_SEQ};
use crate::reason::Reason;
use crate::requests::operations::{append, close};
use crate::runtime::io::Runtime;
use crate::runtime::lifecycle;
use crate::runtime::pending::{Completer, Pending, pending};
use crate::stream::handle::DurableStream;
use crate::stream::plain_queue::{Group, PlainAppend};
use crate::stream::writer::Writer;
use crate::transport::network;
use crate::transport::request::Request;

/// A plain queue's task: dropped before its end, as at a shutdown, whoever waits hears of it.
struct Sending {
    stream: DurableStream,
    ended: bool,
}

impl Sending {
    async fn run(mut self, runtime: &Runtime) {
        let queue = &self.stream.shared.plain;
        // How many more refusals in a row are worth a closer look.
        let mut looks = None;
        while let Some(group) = queue.next() {
            let result = self.stream.send_group(runtime, &group).await;
            let count = group.messages.len();
            match &result {
                Err(error) if count > 1 && is_of_one(error) => {
                    let left = looks.get_or_insert(2 * count.ilog2() + 8);
                    if *left > 0 {
                        *left -= 1;
                        queue.split(group);
                        continue;
                    }
                }
                Err(_) => {}
                Ok(_) => looks = None,
            }
            queue.settle(group, &result);
        }
        self.ended = true;
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.ended {
            self.stream.shared.plain.give_up();
        }
    }
}

impl DurableStream {
    /// Appends a message if the writer's attempt ended because it is one producer too many.
    pub(super) fn unless_delivered(
        &self,
        message: PlainAppend,
        attempt: Pending<Outcome>,
    ) -> Pending<Outcome> {
        let (completer, result) = pending();
        let stream = self.clone();
        self.shared.plain.try_one();
        attempt.on_complete(move |outcome| match outcome {
            // Not what an earlier attempt may have stored.
            Err(error) if is_limit(&error) && error.definite() => match stream.check_ended() {
                Ok(()) => stream.has_tried(Some((message, completer))),
                Err(error) => {
                    stream.has_tried(None);
                    completer.complete(Err(error));
                }
            },
            outcome => {
                stream.has_tried(None);
                completer.complete(outcome);
            }
        });
        result
    }

    /// Refuses once the library shuts down: what comes then would start it anew.
    fn check_open(&self) -> Result<()> {
        if self.writer()?.is_stopping() { Err(self.ended()) } else { Ok(()) }
    }

    /// Refuses once the time of a shutdown is up.
    fn check_ended(&self) -> Result<()> {
        if self.writer()?.is_stopped() { Err(self.ended()) } else { Ok(()) }
    }

    /// As an append with an identity would be refused.
    fn ended(&self) -> Error {
        let reason = Reason::ProducerStopping;
        Error::closed().with_reason(reason).with_url(self.target().url())
    }

    fn has_tried(&self, back: Option<(PlainAppend, Completer<Outcome>)>) {
        if self.shared.plain.tried(back) {
            self.send_plain();
        }
    }

    /// Ends the stream if the writer's attempt failed because it is one producer too many.
    pub(super) fn unless_closed(
        &self,
        message: Option<&[u8]>,
        writer: Arc<Writer>,
        attempt: Pending<CloseResult>,
    ) -> Pending<CloseResult> {
        let (completer, result) = pending();
        let (stream, message) = (self.clone(), message.map(Bytes::copy_from_slice));
        attempt.on_complete(move |outcome| match outcome {
            // Nothing of the end was sent, or it was refused.
            Err(error)
                if writer.producer_limit_reached()
                    && (error.kind() == ErrorKind::Delivery
                        || (is_limit(&error) && error.definite())) =>
            {
                let closed = stream.close_without_identity(message.as_deref());
                closed.on_complete(move |outcome| completer.complete(outcome));
            }
            outcome => completer.complete(outcome),
        });
        result
    }

    /// Appends a checked message, if there is room for it.
    pub(super) fn append_plainly(&self, message: PlainAppend) -> Pending<Outcome> {
        if let Err(error) = self.check_open() {
            return Pending::ready(Err(error));
        }
        let (completer, result) = pending();
        match self.shared.plain.put(message, completer) {
            Ok(true) => self.send_plain(),
            Ok(false) => {}
            Err(text) => {
                let error = Error::new(ErrorKind::BufferFull, text)
                    .with_reason(Reason::BufferBytesExceeded)
                    .with_url(self.target().url());
                return Pending::ready(Err(error));
            }
        }
        result
    }

    /// Ends the stream behind everything appended before; repeats give the first result.
    pub(super) fn close_without_identity(&self, message: Option<&[u8]>) -> Pending<CloseResult> {
        if let Some(first) = self.shared.plain.closed() {
            return Pending::ready(Ok(first));
        }
        if let Err(error) = self.check_open() {
            return Pending::ready(Err(error));
        }
        let (ended, attempt) = pending();
        let (completer, result) = pending();
        attempt.on_complete(move |outcome: Result<Outcome>| {
            completer.complete(outcome.map(|o| CloseResult { final_offset: o.offset }));
        });
        let message = message.map(Bytes::copy_from_slice).unwrap_or_default();
        if self.shared.plain.put_last(message, ended) {
            self.send_plain();
        }
        result
    }

    fn send_plain(&self) {
        let sending = Sending { stream: self.clone(), ended: false };
        // Without a runtime the task is dropped, and so is what waits for it.
        if let Ok(runtime) = lifecycle::runtime() {
            let own = runtime.clone();
            runtime.spawn(async move { sending.run(&own).await });
        }
    }

    async fn send_group(&self, runtime: &Runtime, group: &Group) -> Result<Outcome> {
        let (transport, retries) = (&*network::of(runtime), self.target().retries());
        let ended = self.shared.plain.closed();
        let delivered = |offset, attempts| Outcome { attempts, offset, ..Outcome::delivered() };
        if let (true, Some(end)) = (group.last, ended) {
            return Ok(delivered(end.final_offset, 1));
        }
        if group.last && group.bytes == 0 {
            let request = self.target().request(Method::POST);
            let (endpoint, timeout) = (request.endpoint, request.timeout);
            let offset = close(transport, endpoint, timeout, &retries).await?;
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
        let request =
            Request { headers: headers.into(), body, ..self.target().request(Method::POST) };
        let (answer, attempts) = append(transport, request, &retries).await?;
        Ok(delivered(answer.next_offset, attempts))
    }
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("checked before")
}

/// Whether a writer ended because the server takes no further producers.
fn is_limit(error: &Error) -> bool {
    error.reason() == Some(Reason::ProducerLimit)
}

/// Whether a request was refused for what one of its messages may be alone to blame for.
fn is_of_one(error: &Error) -> bool {
    error.definite() && matches!(error.status(), Some(400 | 413 | 422))
}

//! Appending without an identity, because `idempotent` is off or the server takes no further
//! producers: one request at a time in the order of the calls, repeated only while nothing can have
//! been stored. What waits behind a request goes out together.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use super::line::{Anonymous, Group};
use super::writers::Writer;
use super::{DurableStream, wire};
use crate::error::{Error, ErrorKind, Result};
use crate::pending::{Completer, Pending, pending};
use crate::producer::{CloseResult, Outcome, Reason};
use crate::protocol::headers::{STREAM_CLOSED, STREAM_SEQ};
use crate::runtime::{Runtime, process};
use crate::transport::Request;

/// A line's task: dropped before its end, as at a shutdown, whoever waits hears of it.
struct Sending {
    stream: DurableStream,
    ended: bool,
}

impl Sending {
    async fn run(mut self, runtime: &Runtime) {
        let line = &self.stream.shared.line;
        // How many more refusals in a row are worth a closer look.
        let mut looks = None;
        while let Some(group) = line.next() {
            let result = self.stream.send_group(runtime, &group).await;
            let count = group.messages.len();
            match &result {
                Err(error) if count > 1 && is_of_one(error) => {
                    let left = looks.get_or_insert(2 * count.ilog2() + 8);
                    if *left > 0 {
                        *left -= 1;
                        line.split(group);
                        continue;
                    }
                }
                Err(_) => {}
                Ok(_) => looks = None,
            }
            line.settle(group, &result);
        }
        self.ended = true;
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.ended {
            self.stream.shared.line.give_up();
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
        self.shared.line.try_one();
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
        let reason = Reason::ProducerStopping.as_str();
        Error::closed().with_reason(reason).with_url(&self.shared.endpoint.shown)
    }

    fn has_tried(&self, back: Option<(Anonymous, Completer<Outcome>)>) {
        if self.shared.line.tried(back) {
            self.send_line();
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
                if writer.is_one_too_many()
                    && (error.kind() == ErrorKind::Delivery
                        || (is_limit(&error) && error.definite())) =>
            {
                let closed = stream.close_anonymously(message.as_deref());
                closed.on_complete(move |outcome| completer.complete(outcome));
            }
            outcome => completer.complete(outcome),
        });
        result
    }

    /// Appends a checked message, if there is room for it.
    pub(super) fn append_anonymously(&self, message: Anonymous) -> Pending<Outcome> {
        if let Err(error) = self.check_open() {
            return Pending::ready(Err(error));
        }
        let (completer, result) = pending();
        match self.shared.line.put(message, completer) {
            Ok(true) => self.send_line(),
            Ok(false) => {}
            Err(text) => {
                let error = Error::new(ErrorKind::BufferFull, text)
                    .with_reason(Reason::BufferBytesExceeded.as_str())
                    .with_url(&self.shared.endpoint.shown);
                return Pending::ready(Err(error));
            }
        }
        result
    }

    /// Ends the stream behind everything appended before; repeats give the first result.
    pub(super) fn close_anonymously(&self, message: Option<&[u8]>) -> Pending<CloseResult> {
        if let Some(first) = self.shared.line.closed() {
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
        if self.shared.line.put_last(message, ended) {
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
        let ended = self.shared.line.closed();
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

//! Appending without an identity, where the server takes no further producers: repeated only while
//! nothing can have been stored.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use super::{DurableStream, wire};
use crate::error::Error;
use crate::pending::{Completer, Pending, pending};
use crate::producer::{CloseResult, Outcome, Reason};
use crate::protocol::headers::{STREAM_CLOSED, STREAM_SEQ};
use crate::runtime::process;
use crate::transport::Request;

/// A message of a plain append.
pub(super) struct Anonymous {
    pub(super) stream: DurableStream,
    pub(super) message: Bytes,
    pub(super) seq: Option<String>,
}

impl Anonymous {
    /// Appends the message if the writer's attempt ended because it is one producer too many.
    pub(super) fn unless_delivered(self, attempt: Pending<Outcome>) -> Pending<Outcome> {
        let (completer, result) = pending();
        attempt.on_complete(move |outcome| match outcome {
            // Not what an earlier attempt may have stored.
            Err(error) if is_limit(&error) && error.definite() => self.append_for(completer),
            outcome => completer.complete(outcome),
        });
        result
    }

    pub(super) fn append(self) -> Pending<Outcome> {
        let (completer, result) = pending();
        self.append_for(completer);
        result
    }

    fn append_for(self, completer: Completer<Outcome>) {
        let Anonymous { stream, message, seq } = self;
        let mut headers = HeaderMap::new();
        if let Some(seq) = seq {
            headers.insert(STREAM_SEQ, header_value(&seq));
        }
        stream.post(headers, message).on_complete(|offset| {
            completer.complete(offset.map(|offset| Outcome {
                attempts: 1,
                offset,
                ..Outcome::delivered()
            }));
        });
    }
}

impl DurableStream {
    /// Ends the stream behind a writer that is one producer too many.
    pub(super) fn close_anonymously(&self, message: Option<&[u8]>) -> Pending<CloseResult> {
        let mut headers = HeaderMap::new();
        headers.insert(STREAM_CLOSED, HeaderValue::from_static("true"));
        let (completer, result) = pending();
        let message = message.map(Bytes::copy_from_slice).unwrap_or_default();
        self.post(headers, message).on_complete(|offset| {
            completer.complete(offset.map(|final_offset| CloseResult { final_offset }));
        });
        result
    }

    /// Posts after everything posted before; where the stream ends then.
    fn post(&self, mut headers: HeaderMap, body: Bytes) -> Pending<Option<Arc<str>>> {
        if let Err(error) = process().runtime() {
            return Pending::ready(Err(error));
        }
        if !body.is_empty() {
            headers.insert(header::CONTENT_TYPE, header_value(self.content_type()));
        }
        let body = if self.is_json() && !body.is_empty() {
            [b"[", &body[..], b"]"].concat().into()
        } else {
            body
        };
        let request = Request { headers: headers.into(), body, ..self.request(Method::POST) };
        let turn = self.shared.turn.clone().lock_owned();
        self.plain(|runtime, retries| async move {
            let _turn = turn.await;
            let answer = wire::append(&*runtime.transport, request, &retries).await?;
            Ok(answer.next_offset)
        })
    }
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("checked before")
}

/// Whether a writer ended because the server takes no further producers.
fn is_limit(error: &Error) -> bool {
    error.reason() == Some(Reason::ProducerLimit.as_str())
}

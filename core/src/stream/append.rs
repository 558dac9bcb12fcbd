//! Appending and ending, for callers that wait for the outcome of each.

use std::sync::Arc;

use crate::delivery::engine::accept::unserialisable;
use crate::error::{Error, Result};
use crate::outcome::{CloseResult, Outcome};
use crate::runtime::pending::{Pending, pending};
use crate::runtime::threads::lock_inherited;
use crate::stream::handle::DurableStream;
use crate::stream::writer::{Writer, Writers};

impl DurableStream {
    /// Appends one message and waits for its outcome: one JSON value on a JSON stream, bytes
    /// on any other. Concurrent calls travel together. It is repeated through failures, and still
    /// appended once, unless the option `idempotent` is off.
    ///
    /// # Errors
    /// `Validation` for an empty message or broken JSON; else why it was not delivered:
    /// [`definite`](Error::definite) says whether it is certainly not in the stream.
    pub fn append(&self, message: impl AsRef<[u8]>) -> Pending<Outcome> {
        self.append_as(message.as_ref(), None)
    }

    /// Appends one message with a `Stream-Seq` as [`append`](Self::append) does: the server takes
    /// it only if `seq` sorts after the `Stream-Seq` of the last such message (PROTOCOL.md 5.2). It
    /// travels in a request of its own.
    ///
    /// # Errors
    /// The errors of `append`; `SequenceConflict` if `seq` is not above the last one,
    /// `InvalidArgument` unless it is 1 to 256 visible ASCII characters.
    pub fn append_with_seq(&self, message: impl AsRef<[u8]>, seq: &str) -> Pending<Outcome> {
        self.append_as(message.as_ref(), Some(seq))
    }

    pub(super) fn append_as(&self, message: &[u8], seq: Option<&str>) -> Pending<Outcome> {
        let writer = match self.writer() {
            Ok(writer) => writer,
            Err(error) => return Pending::ready(Err(error)),
        };
        match writer.append(message, seq) {
            Ok(pending) => or_error(pending),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// The error of a message that could not be serialised. For the bindings, which have
    /// serialisers of their own.
    #[doc(hidden)]
    pub fn unserialisable(&self, why: &str) -> Error {
        unserialisable(why).with_url(self.target().url())
    }

    /// Waits until there is room for an append that found none.
    pub(super) fn room(&self) -> Pending<()> {
        match self.writer() {
            Ok(writer) => writer.ready(),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// Ends the stream: nothing can be appended any more. Messages appended before are
    /// delivered first; a last `message` is appended in the same request.
    ///
    /// Without a message it may be repeated, through any handle.
    pub fn close(&self, message: Option<&[u8]>) -> Pending<CloseResult> {
        // Also where another handle ends the stream: its result is this one's, too.
        match self.writer_if(|_, _| true) {
            Ok(writer) => writer.close(message, self.shared.number),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// This handle's writer, found or opened at first need. Once another handle has ended the
    /// stream through it, a new one: the server says what becomes of an append then.
    pub(super) fn writer(&self) -> Result<Arc<Writer>> {
        self.writer_if(Writer::is_open_to)
    }

    fn writer_if(&self, is_fit: fn(&Writer, u64) -> bool) -> Result<Arc<Writer>> {
        // In a forked child the parent's writer refuses by itself; its locks must not be touched.
        let is_fit =
            |writer: &Arc<Writer>| writer.is_foreign() || is_fit(writer, self.shared.number);
        let shared = &self.shared;
        let own = lock_inherited(&shared.writer, shared.target.generation)?.clone();
        if let Some(own) = own.filter(is_fit) {
            shared.target.content_type.learn_of(own.content_type());
            return Ok(own);
        }
        let found = Writers::of_process().of(self.target(), shared.number)?;
        let mut own = lock_inherited(&shared.writer, shared.target.generation)?;
        let writer = own.clone().filter(is_fit).unwrap_or_else(|| found.clone());
        shared.target.content_type.learn_of(writer.content_type());
        let before = own.replace(writer.clone());
        drop(own);
        drop((before, found)); // not under the lock: one may end
        Ok(writer)
    }
}

/// The outcome if it is `delivered`, else its error.
fn or_error(outcome: Pending<Outcome>) -> Pending<Outcome> {
    let (completer, result) = pending();
    outcome.on_complete(move |outcome| {
        completer.complete(outcome.and_then(|outcome| match outcome.error.clone() {
            Some(error) => Err(error),
            None => Ok(outcome),
        }));
    });
    result
}

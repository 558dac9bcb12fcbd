//! The outcomes of a write, of a flush, and of the end of a stream.

use std::sync::Arc;

use crate::error::Error;
use crate::reason::Reason;

/// What an error says of a write that stays in the outbox, before the reason.
pub(crate) const KEPT: &str = "the write stays in the outbox: ";

/// The final status of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum Status {
    /// In the stream, once, in the order of the calls.
    Delivered = 1,
    /// Possibly in the stream: it was sent, and nothing decided whether it was stored.
    DeliveryUnknown = 2,
    /// Refused for good, certainly not in the stream.
    Rejected = 3,
    /// Accepted, certainly not in the stream, and nobody refused it.
    Cancelled = 4,
    /// Settled so long ago that its outcome is forgotten; it may not have been plainly delivered.
    Forgotten = 5,
    /// Still in the outbox: not in the stream as far as is known, and delivered once the producer is
    /// opened again, or starts over.
    Kept = 6,
}

impl Status {
    /// The name shown in every language, e.g. `delivery-unknown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Delivered => "delivered",
            Status::DeliveryUnknown => "delivery-unknown",
            Status::Rejected => "rejected",
            Status::Cancelled => "cancelled",
            Status::Forgotten => "forgotten",
            Status::Kept => "kept",
        }
    }
}

/// The outcome of one write.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The status.
    pub status: Status,
    /// Why it was not delivered; `None` if it was.
    pub reason: Option<Reason>,
    /// Delivered, and the server said that it had the write already.
    pub duplicate: bool,
    /// Delivered, and possibly twice: see `on_uncertain`.
    pub maybe_duplicate: bool,
    /// Requests sent for it; 0 if no caller waited before it settled.
    pub attempts: u32,
    /// An offset behind the write, if it was delivered: that after its own batch where it is still
    /// known, else a later one. A reader that has come that far has the write. `None` only if the
    /// server said none.
    pub offset: Option<Arc<str>>,
    /// The error; `None` if it was delivered.
    pub error: Option<Error>,
}

impl Outcome {
    pub(crate) fn delivered() -> Self {
        Outcome {
            status: Status::Delivered,
            reason: None,
            duplicate: false,
            maybe_duplicate: false,
            attempts: 0,
            offset: None,
            error: None,
        }
    }

    pub(crate) fn failed(status: Status, reason: Reason, error: Error) -> Self {
        Outcome { status, reason: Some(reason), error: Some(error), ..Outcome::delivered() }
    }

    /// The outcome of a write that is given up. A write in doubt is never said to be absent from
    /// the stream.
    pub(crate) fn undelivered(
        in_doubt: bool,
        status: Status,
        reason: Reason,
        error: Error,
    ) -> Self {
        let error = error.with_definite(!in_doubt);
        match in_doubt {
            true => Outcome::failed(Status::DeliveryUnknown, reason.in_doubt(), error),
            false => Outcome::failed(status, reason, error),
        }
    }

    /// The outcome of a write that stays in the outbox.
    pub(crate) fn kept(in_doubt: bool, reason: Reason, error: &Error) -> Self {
        let error = error.prefixed(KEPT).with_definite(!in_doubt);
        Outcome::failed(Status::Kept, reason, error)
    }

    /// Whether the write is in the stream.
    pub fn is_delivered(&self) -> bool {
        self.status == Status::Delivered
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.is_delivered() && !self.duplicate && !self.maybe_duplicate
    }
}

/// The receipt of a write: its number, or the reason it was turned away.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    id: u64,
    refused: Option<Outcome>,
}

impl Receipt {
    pub(crate) fn accepted(id: u64) -> Self {
        Receipt { id, refused: None }
    }

    /// The receipt of a write that was turned away with an error.
    pub fn refused(error: Error) -> Self {
        let reason = error.refusal();
        Receipt { id: 0, refused: Some(Outcome::failed(Status::Rejected, reason, error)) }
    }

    /// The number of the write, from 1 in call order; 0 if it was not accepted.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the write was accepted; the producer's `wait` then gives its outcome.
    pub fn is_accepted(&self) -> bool {
        self.refused.is_none()
    }

    /// The outcome of a write that was not accepted.
    pub fn refusal(&self) -> Option<&Outcome> {
        self.refused.as_ref()
    }
}

/// The report of a flush.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushReport {
    /// Writes delivered since the last flush.
    pub delivered: u64,
    /// Of these, the writes that the server said it had already.
    pub duplicates: u64,
    /// Of the delivered writes, those that may be in the stream twice.
    pub uncertain: u64,
    /// Calls that were turned away for their value (the `invalid-` reasons, `serialization-failed`):
    /// nothing was accepted, and no flush fails of it.
    pub refused: u64,
}

/// The result of ending a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CloseResult {
    /// The stream's final offset, if the server said it.
    pub final_offset: Option<Arc<str>>,
}

//! What became of a write, a flush and the end of a stream.

use std::sync::Arc;

use crate::error::Error;
use crate::reason::Reason;

/// What finally became of a write.
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
    /// Settled so long ago that only "not plainly delivered" could be remembered no more.
    Forgotten = 5,
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
        }
    }
}

/// The settled fate of one write.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// What became of it.
    pub status: Status,
    /// Why, where it was not delivered.
    pub reason: Option<Reason>,
    /// Delivered, and the server said it had it already.
    pub duplicate: bool,
    /// Delivered, and possibly twice: see `on_uncertain`.
    pub maybe_duplicate: bool,
    /// Requests it took; 0 where nobody asked before it settled.
    pub attempts: u32,
    /// The stream's offset after its batch, where somebody asked before it settled.
    pub offset: Option<Arc<str>>,
    /// The error, where it was not delivered.
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

    /// The truth about a write that is given up: where it is in doubt, not that it is not in the
    /// stream.
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

    /// Whether the write is in the stream.
    pub fn is_delivered(&self) -> bool {
        self.status == Status::Delivered
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.is_delivered() && !self.duplicate && !self.maybe_duplicate
    }
}

/// What a write returned: a number, or the reason it was turned away.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    id: u64,
    refused: Option<Outcome>,
}

impl Receipt {
    pub(crate) fn accepted(id: u64) -> Self {
        Receipt { id, refused: None }
    }

    pub(crate) fn refused(error: Error) -> Self {
        let reason = error.reason().unwrap_or(Reason::ProducerFailed);
        Receipt { id: 0, refused: Some(Outcome::failed(Status::Rejected, reason, error)) }
    }

    /// The number of the write, from 1 in call order; 0 if it was not accepted.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the write was accepted; its outcome is then told by the producer's `wait`.
    pub fn is_accepted(&self) -> bool {
        self.refused.is_none()
    }

    /// The outcome of a write that was not accepted.
    pub fn refusal(&self) -> Option<&Outcome> {
        self.refused.as_ref()
    }
}

/// What a flush found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushReport {
    /// Writes delivered since the last flush.
    pub delivered: u64,
    /// Of these, the ones the server said it had already.
    pub duplicates: u64,
    /// Of the delivered, the ones that may be there twice.
    pub uncertain: u64,
}

/// How a stream was ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CloseResult {
    /// The stream's final offset, where the server said it.
    pub final_offset: Option<Arc<str>>,
}

//! What became of a write, a flush and the end of a stream.

use std::sync::Arc;

use crate::error::Error;

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

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $text:literal;)*) => {
        /// Why a write was not delivered. The numbers are fixed (`durstream_reason`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(i32)]
        pub enum Reason { $($(#[$doc])* $variant = $number,)* }

        impl Reason {
            /// Every reason, in the order of the numbers.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The name shown in every language, e.g. `invalid-key`.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $text,)* }
            }

            /// The reason of a name.
            pub fn from_name(name: &str) -> Option<Reason> {
                match name { $($text => Some(Reason::$variant),)* _ => None }
            }
        }
    };
}

reasons! {
    /// There is no such collection.
    InvalidEntity = 1, "invalid-entity";
    /// The primary key is missing, empty, or no scalar.
    InvalidKey = 2, "invalid-key";
    /// The schema refused the value, or it is empty or no JSON.
    InvalidValue = 3, "invalid-value";
    /// The binding could not serialise the value.
    SerializationFailed = 4, "serialization-failed";
    /// Larger than `max_write_bytes`, the buffer, or what the server takes.
    TooLarge = 5, "too-large";
    /// `max_buffer_items` is reached.
    BufferCountExceeded = 6, "buffer-count-exceeded";
    /// `max_buffer_bytes` is reached.
    BufferBytesExceeded = 7, "buffer-bytes-exceeded";
    /// The producer is being closed.
    ProducerStopping = 8, "producer-stopping";
    /// The producer was stopped.
    ProducerStopped = 9, "producer-stopped";
    /// The producer failed for good.
    ProducerFailed = 10, "producer-failed";
    /// The server refused this write.
    Refused = 11, "refused";
    /// The server does not accept the credentials.
    Unauthorized = 12, "unauthorized";
    /// There is no such stream.
    NotFound = 13, "not-found";
    /// The server refused the batch as conflicting, e.g. for its content type.
    Conflict = 14, "conflict";
    /// The `Stream-Seq` was not greater than the last one.
    SequenceConflict = 15, "sequence-conflict";
    /// `delivery_timeout_ms` ran out.
    Expired = 16, "expired";
    /// Another producer took the identity over.
    Fenced = 17, "fenced";
    /// The stream was closed.
    StreamClosed = 18, "stream-closed";
    /// The stream was deleted.
    Gone = 19, "gone";
    /// The server lost its memory of the session and nothing else decides.
    RetryExhausted = 20, "retry-exhausted";
    /// The server takes no further producers on this stream.
    ProducerLimit = 21, "producer-limit";
}

impl Reason {
    /// Why nobody knows what became of a write, where a refusal for this reason could not settle
    /// it: an earlier attempt may have been stored.
    pub(crate) fn in_doubt(self) -> Reason {
        match self {
            Reason::Expired | Reason::Fenced | Reason::ProducerStopped | Reason::RetryExhausted => {
                self
            }
            Reason::Refused | Reason::TooLarge | Reason::SequenceConflict => Reason::RetryExhausted,
            _ => Reason::ProducerFailed,
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
        let reason = error.reason().and_then(Reason::from_name).unwrap_or(Reason::ProducerFailed);
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

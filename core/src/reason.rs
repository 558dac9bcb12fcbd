//! Why a write was not delivered, or a call not done.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $number:literal, $text:literal;)*) => {
        /// Why a write was not delivered, or a call not done. The numbers are fixed (`durstream_reason`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(i32)]
        pub enum Reason { $($(#[doc = $doc])* $variant = $number,)* }

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

            /// What it means, as the reference page says it.
            #[cfg(test)]
            pub(crate) fn meaning(self) -> &'static str {
                match self { $(Reason::$variant => concat!($($doc),*),)* }
            }
        }
    };
}

reasons! {
    /// There is no such collection.
    InvalidEntity = 1, "invalid-entity";
    /// The primary key is missing, empty, or neither text, an integer nor a boolean.
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
    /// The server lost its memory of the session, and nothing else decides whether the write is
    /// stored.
    RetryExhausted = 20, "retry-exhausted";
    /// The server takes no further producers on this stream.
    ProducerLimit = 21, "producer-limit";
    /// A callback waited for the library, which waits for the callback.
    WouldDeadlock = 22, "would-deadlock";
    /// The stream is there, and the server no longer keeps what was at this offset.
    OffsetGone = 23, "offset-gone";
    /// A header of the event is one that it cannot have, or its `txid` or `timestamp` is none.
    InvalidHeaders = 24, "invalid-headers";
    /// `outbox_max_bytes` is reached, or the disk of the outbox has no room.
    OutboxFull = 25, "outbox-full";
}

impl Reason {
    /// The reason of a write in doubt, where a refusal for this reason could not settle it: an
    /// earlier attempt may have been stored.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_fixed() {
        let numbers: Vec<i32> = Reason::ALL.iter().map(|r| *r as i32).collect();
        assert_eq!(numbers, (1..=25).collect::<Vec<_>>());
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.as_str()), Some(*reason));
        }
    }
}

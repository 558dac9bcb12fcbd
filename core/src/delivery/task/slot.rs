//! What the owner task keeps about one batch under way, and about what it has decided.

use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::delivery::buffer::doubt::Doubt;
use crate::delivery::buffer::lifecycle::End;
use crate::delivery::buffer::queue::Queued;
use crate::delivery::decide::session::Session;
use crate::error::Error;
use crate::protocol::answer::Response;
use crate::reason::Reason;
use crate::requests::operations::Opened;
use crate::requests::tail::Look;
use crate::transport::departure::Departure;
use crate::transport::header_values::HeaderValues;
use crate::transport::request::SendError;

/// The sequence number of a slot that has none any more.
pub(super) const NO_TUPLE: u64 = u64::MAX;

/// A batch bound to a tuple.
pub(super) struct Slot {
    pub(super) seq: u64,
    pub(super) queued: Queued,
    pub(super) in_flight: bool,
    /// Waits until it is the first of the window.
    pub(super) after_predecessor: bool,
    /// When the last attempt started.
    pub(super) started: Option<Instant>,
    /// The last attempt's task, and whether its request has left.
    pub(super) request: Option<(AbortHandle, Departure)>,
    /// What the session had acknowledged when the last attempt was sent.
    pub(super) acked: Option<u64>,
    /// What header functions gave for its request.
    pub(super) header_values: HeaderValues,
    /// Its writes have expired; the bytes still hold the sequence together.
    pub(super) expired: bool,
}

impl Slot {
    pub(super) fn new(seq: u64, queued: Queued) -> Self {
        Slot {
            seq,
            queued,
            in_flight: false,
            after_predecessor: false,
            started: None,
            request: None,
            acked: None,
            header_values: HeaderValues::default(),
            expired: false,
        }
    }

    /// What is open about its batch.
    pub(super) fn doubt(&self) -> Doubt {
        self.queued.doubt
    }

    /// Keeps the attempt under way back if it still waits for its turn; whether none of it is, or
    /// comes, on its way.
    pub(super) fn withdraw(&self) -> bool {
        !self.in_flight || self.request.as_ref().is_none_or(|(_, departure)| departure.withdraw())
    }
}

/// What is done once no request is under way any more.
pub(super) enum Transition {
    /// Go on under another session. What was sent below `settle_below` and may be stored is first
    /// repeated under the old one, whose memory decides it.
    NewSession { next: Session, settle_below: u64 },
    /// End: the reason of the batch the answer was about, the oldest one where it was about none,
    /// and everybody else's.
    Terminate { state: End, about: Option<u64>, reason: Reason, rest: Reason, error: Error },
}

pub(super) enum Answered {
    Batch {
        epoch: u64,
        seq: u64,
        result: Result<Response, SendError>,
        /// The stream's content type, asked for where the batch conflicted with it.
        stream_type: Option<String>,
    },
    Open(Opened),
    /// And how many requests had been sent when it began.
    Look(u64, Result<Look, (Error, Option<Duration>)>),
}

/// Whether the stream is looked at before anything goes on (docs/adr/looking.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reconcile {
    /// No need.
    NotNeeded,
    /// Once no request is under way.
    Wanted,
    /// It was, since the last request.
    Done,
}

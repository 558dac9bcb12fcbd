//! The state of one batch under way, and of the decisions of the owner task.

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
    /// The highest sequence number acknowledged when the last attempt was sent.
    pub(super) acked: Option<u64>,
    /// The values that header functions gave for its request.
    pub(super) header_values: HeaderValues,
    /// How often it was sent under its tuple; an outbox knows no number above 2 of earlier lives.
    pub(super) sends: u32,
    /// How often it was repeated without an identity.
    pub(super) repeats: u32,
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
            sends: 0,
            repeats: 0,
            expired: false,
        }
    }

    /// What is in doubt about its batch.
    pub(super) fn doubt(&self) -> Doubt {
        self.queued.doubt
    }

    /// Withdraws the attempt under way if its request has not left; whether no request for it is,
    /// or will be, on its way.
    pub(super) fn withdraw(&self) -> bool {
        !self.in_flight || self.request.as_ref().is_none_or(|(_, departure)| departure.withdraw())
    }
}

/// A step that waits until no request is under way any more.
pub(super) enum Transition {
    /// Go on under another session. Batches sent below `settle_below` that may be stored are first
    /// repeated under the old session, whose memory decides them.
    NewSession { next: Session, settle_below: u64 },
    /// End: with the reason for the batch that the answer was about, the oldest one if it was about
    /// none, and the reason for all others.
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
    /// The outbox could not be written before the batch was sent, under this sequence number.
    Unsynced(u64, Error),
    Open(Opened),
    /// The result of a look, and how many requests had been sent when it began.
    Look(u64, Result<Look, (Error, Option<Duration>)>),
}

/// Whether the stream is consulted before anything goes on (docs/adr/reconciling.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reconcile {
    /// No need.
    NotNeeded,
    /// Once no request is under way.
    Wanted,
    /// Done, since the last request.
    Done,
}

//! Where a producer stands.

/// Where a producer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum ProducerState {
    /// Nothing was acknowledged yet.
    Connecting = 1,
    /// Writes go through.
    Ready = 2,
    /// The first contact failed; waiting to try again.
    Backoff = 3,
    /// Contact was lost; waiting to try again.
    Reconnecting = 4,
    /// No new writes; the accepted ones are being delivered.
    Stopping = 5,
    /// At its end, everything settled.
    Stopped = 6,
    /// At its end for a reason that will not go away.
    Failed = 7,
    /// Another producer with the same id took over.
    Fenced = 8,
}

impl ProducerState {
    /// The name shown in every language.
    pub fn as_str(self) -> &'static str {
        match self {
            ProducerState::Connecting => "connecting",
            ProducerState::Ready => "ready",
            ProducerState::Backoff => "backoff",
            ProducerState::Reconnecting => "reconnecting",
            ProducerState::Stopping => "stopping",
            ProducerState::Stopped => "stopped",
            ProducerState::Failed => "failed",
            ProducerState::Fenced => "fenced",
        }
    }

    pub(super) fn is_final(self) -> bool {
        matches!(self, ProducerState::Stopped | ProducerState::Failed | ProducerState::Fenced)
    }

    pub(super) fn may_become(self, next: ProducerState) -> bool {
        // A failed or fenced producer stays so; a stopping one only ends.
        !self.is_final() && (self != ProducerState::Stopping || next.is_final())
    }
}

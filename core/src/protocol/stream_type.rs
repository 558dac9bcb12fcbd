//! A stream's content type: given by the caller, or unknown until the server says it.

use std::sync::Arc;

use once_cell::race::OnceBox;

use crate::protocol::json::is_json;

/// The content type of a stream that was created without one (PROTOCOL.md 5.1).
pub(crate) const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// The content type of a handle and its producers, who learn it together.
///
/// It is set without a lock: a forked child goes on with the handle, and with what its parent's
/// threads were doing to it at that moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamType(Arc<OnceBox<Known>>);

/// Two are equal if they are one, or if nothing is left to learn and both know the same.
impl PartialEq for StreamType {
    fn eq(&self, other: &Self) -> bool {
        let is_known_alike = || self.0.get().is_some_and(|own| Some(own) == other.0.get());
        Arc::ptr_eq(&self.0, &other.0) || is_known_alike()
    }
}

#[derive(Debug, PartialEq)]
struct Known {
    text: String,
    is_json: bool,
}

impl StreamType {
    pub(crate) fn given(text: &str) -> Self {
        let own = StreamType::default();
        own.learn(text);
        own
    }

    /// The server said it. The first answer stays: batches are framed by it.
    pub(crate) fn learn(&self, text: &str) {
        let _ = self.0.set(Box::new(Known { text: text.to_owned(), is_json: is_json(text) }));
    }

    pub(crate) fn text(&self) -> Option<&str> {
        self.0.get().map(|known| known.text.as_str())
    }

    /// Whether messages are JSON values; `None` while that is unknown.
    pub(crate) fn is_json(&self) -> Option<bool> {
        self.0.get().map(|known| known.is_json)
    }

    /// Learns what another one knows.
    pub(crate) fn learn_of(&self, other: &StreamType) {
        if let (None, Some(text)) = (self.text(), other.text()) {
            self.learn(text);
        }
    }

    /// Whether both may be of one stream: neither knows what the other one denies.
    pub(crate) fn agrees_with(&self, other: &StreamType) -> bool {
        self.0.get().zip(other.0.get()).is_none_or(|(own, others)| own == others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_still_be_learned_is_nobody_elses() {
        let (own, other) = (StreamType::default(), StreamType::default());
        assert!(own == own.clone() && own != other);
        own.learn("text/plain");
        assert!(own != other);
        other.learn("text/plain");
        assert!(own == other && own != StreamType::given("application/json"));
    }
}

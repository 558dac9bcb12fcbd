//! What a task remembers of failures and odd answers. Most have none, and hold none.

use std::ops::Deref;

use tokio::time::Instant;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Trouble {
    /// How often the pause grew that the next failed attempt makes.
    pub(super) growth: u32,
    /// When the first of the failed attempts in a row was, and when the last one.
    pub(super) failing_since: Option<Instant>,
    pub(super) failed_at: Option<Instant>,
    pub(super) paused_until: Option<Instant>,
    /// Until when the server itself asked for a pause.
    pub(super) asked_until: Option<Instant>,
    pub(super) vanished_since: Option<Instant>,
    pub(super) unechoed_since: Option<Instant>,
    /// When an attempt last ended without a word of the server.
    pub(super) unanswered_at: Option<Instant>,
    /// Since when the server has had a batch by which its stream did not grow.
    pub(super) ungrown_since: Option<Instant>,
    /// Answers in a row that may mean that there are too many producers.
    pub(super) limited: u32,
    /// Looks in a row that got no usable answer.
    pub(super) failed_looks: u32,
    /// Nothing above this sequence number can be stored any more in this session: the server
    /// refused the batch that had it.
    pub(super) refused: Option<u64>,
}

static NONE: Trouble = Trouble {
    growth: 0,
    failing_since: None,
    failed_at: None,
    paused_until: None,
    asked_until: None,
    vanished_since: None,
    unechoed_since: None,
    unanswered_at: None,
    ungrown_since: None,
    limited: 0,
    failed_looks: 0,
    refused: None,
};

/// The trouble of a task, which takes memory only while there is any.
#[derive(Default)]
pub(super) struct Remembered(Option<Box<Trouble>>);

impl Deref for Remembered {
    type Target = Trouble;

    fn deref(&self) -> &Trouble {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl Remembered {
    /// Some more is to be remembered.
    pub(super) fn note(&mut self) -> &mut Trouble {
        self.0.get_or_insert_with(|| Box::new(NONE))
    }

    /// Some of it is over.
    pub(super) fn forget(&mut self, over: impl FnOnce(&mut Trouble)) {
        if let Some(known) = &mut self.0 {
            over(known);
            self.0.take_if(|known| **known == NONE);
        }
    }
}

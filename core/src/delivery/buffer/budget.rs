//! One budget of buffered bytes for all producers of a process. Each producer has a share of its
//! own, one batch, so that a producer that gathers much never keeps another from sending at all;
//! bytes beyond the shares come out of the budget, first come, first served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::runtime::fork::PerProcess;
use crate::runtime::lifecycle::works;

/// How much the producers of a process may buffer together; forked children keep to it too.
static LIMIT: AtomicU64 = AtomicU64::new(512 << 20);
static BUDGET: PerProcess<Arc<Budget>> =
    PerProcess::new(|| Arc::new(Budget::new(LIMIT.load(Ordering::Relaxed))));

/// Bounds the bytes that all producers of this process together may buffer; 512 MiB until set.
///
/// Each producer has room for one batch (`max_batch_bytes`) of its own, whatever the others hold;
/// bytes beyond that come out of this bound, first come, first served. A producer that holds
/// nothing may always accept one write. A smaller bound takes nothing back.
pub fn set_buffer_budget(bytes: u64) {
    LIMIT.store(bytes, Ordering::Relaxed);
    Budget::of_process().limit.store(bytes, Ordering::Relaxed);
    works().iter().for_each(|work| work.room_freed());
}

/// The bytes buffered beyond the shares, and their limit.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: AtomicU64,
    used: AtomicU64,
    /// A producer found the budget used up since it was last freed.
    starving: AtomicBool,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Budget {
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            starving: AtomicBool::new(false),
        }
    }

    /// The budget of this process.
    pub(crate) fn of_process() -> &'static Arc<Budget> {
        BUDGET.get()
    }

    /// Wakes the waiting writers of all producers, if any producer found no room.
    pub(crate) fn tell_starving(&self) {
        if self.was_starving() {
            works().iter().for_each(|work| work.room_freed());
        }
    }

    fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        self.or_starve(|| {
            let take = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.limit());
            self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
        })
    }

    fn has(&self, bytes: u64) -> bool {
        self.or_starve(|| self.used.load(Ordering::SeqCst).saturating_add(bytes) <= self.limit())
    }

    /// Tries; if that fails, marks the budget as starving and tries again: room freed in between is
    /// either seen here, or its giver sees the mark.
    fn or_starve(&self, attempt: impl Fn() -> bool) -> bool {
        attempt() || {
            self.starving.store(true, Ordering::SeqCst);
            attempt()
        }
    }

    fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// Whether a producer has to be woken because there may be room again.
    fn was_starving(&self) -> bool {
        self.starving.load(Ordering::SeqCst) && self.starving.swap(false, Ordering::SeqCst)
    }
}

/// The bytes that one producer has reserved.
#[derive(Debug)]
pub(crate) struct Reserved {
    share: u64,
    bytes: u64,
}

impl Reserved {
    pub(crate) fn new(share: u64) -> Self {
        Reserved { share, bytes: 0 }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many of these bytes come out of the budget: in sixteenths of a share, so that not every
    /// write of every producer touches the one counter they have in common.
    fn beyond(&self, bytes: u64) -> u64 {
        match bytes.saturating_sub(self.share) {
            0 => 0, // most writes: spared a division
            beyond => beyond.next_multiple_of((self.share / 16).max(1)),
        }
    }

    fn more(&self, bytes: u64) -> u64 {
        self.beyond(self.bytes + bytes) - self.beyond(self.bytes)
    }

    /// Whether the budget has room for more. A producer that holds nothing may take any write: else
    /// a write larger than a share would wait for ever while others are busy.
    pub(crate) fn could_add(&self, bytes: u64, budget: &Budget) -> bool {
        let more = self.more(bytes);
        more == 0 || self.bytes == 0 || budget.has(more)
    }

    /// Reserves more, whatever the budget says.
    pub(crate) fn force(&mut self, bytes: u64, budget: &Budget) {
        let more = self.more(bytes);
        if more > 0 {
            budget.used.fetch_add(more, Ordering::SeqCst);
        }
        self.bytes += bytes;
    }

    /// Reserves more; whether the budget allowed it.
    pub(crate) fn add(&mut self, bytes: u64, budget: &Budget) -> bool {
        let more = self.more(bytes);
        if self.bytes == 0 && more > 0 {
            self.force(bytes, budget);
            return true;
        }
        let allowed = more == 0 || budget.take(more);
        if allowed {
            self.bytes += bytes;
        }
        allowed
    }

    pub(crate) fn subtract(&mut self, bytes: u64, budget: &Budget) {
        let less = self.beyond(self.bytes) - self.beyond(self.bytes - bytes);
        self.bytes -= bytes;
        if less > 0 {
            budget.give(less);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_always_there_and_the_rest_is_first_come() {
        let budget = Budget::new(10);
        let (mut first, mut second) = (Reserved::new(5), Reserved::new(5));
        assert!(first.add(5, &budget) && first.add(7, &budget) && !budget.was_starving());
        assert!(second.add(5, &budget), "the share");
        assert!(second.add(3, &budget) && !second.add(1, &budget) && budget.was_starving());
        first.subtract(8, &budget);
        assert!(second.add(7, &budget) && !second.add(1, &budget));
        first.subtract(4, &budget);
        second.subtract(15, &budget);
        first.force(100, &budget);
        assert!(second.add(1, &budget));
        assert!(!second.could_add(5, &budget) && second.could_add(4, &budget));
        first.subtract(100, &budget);
        assert!(second.could_add(14, &budget));
        second.subtract(1, &budget);
        assert!(first.add(50, &budget), "a large one alone");
        assert!(!first.could_add(1, &budget) && budget.was_starving());
        first.subtract(50, &budget);
        assert_eq!((first.bytes(), second.bytes()), (0, 0));
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}

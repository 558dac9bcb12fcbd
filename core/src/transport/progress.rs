//! When an attempt last made progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Clones are of the same attempt.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    began: Instant,
    /// In milliseconds since then.
    last: Arc<AtomicU64>,
}

impl Progress {
    pub(super) fn begin() -> Self {
        Progress { began: Instant::now(), last: Arc::default() }
    }

    pub(super) fn made(&self) {
        self.was_made(Some(Instant::now()));
    }

    pub(super) fn was_made(&self, at: Option<Instant>) {
        let since = at.map_or(Duration::ZERO, |at| at.saturating_duration_since(self.began));
        self.last.fetch_max(since.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `request_timeout_ms` is counted from the last progress, not from the last look at it.
    #[tokio::test(start_paused = true)]
    async fn the_time_without_progress_begins_with_the_last_one() {
        let progress = Progress::begin();
        tokio::time::advance(Duration::from_millis(70)).await;
        assert_eq!(progress.last().elapsed(), Duration::from_millis(70));
        progress.made();
        tokio::time::advance(Duration::from_millis(30)).await;
        assert_eq!(progress.last().elapsed(), Duration::from_millis(30));
    }
}

//! Contact with a host, as the log tells it: a warning when it is lost, rarely another while it
//! stays so, and a line when it is back.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::amount;
use crate::runtime::lifecycle::pending_count;
use crate::runtime::log::{inform_of_connection, warn_of_connection};
use crate::runtime::notice::Notice;
use crate::runtime::rarely::{Rarely, counted};
use crate::runtime::threads::lock;
use crate::transport::request::SendError;

/// How many failures in a row of a host that does answer are worth a warning: one or two are
/// repeated unnoticed.
const SEVERAL: u64 = 3;
/// How long after a warning the next one comes at the earliest. It doubles while contact stays lost.
const QUIET: Duration = Duration::from_secs(60);

/// Behind the first warning.
const TRYING: &str = "; trying again";

pub(super) struct Contact {
    host: String,
    loss: Mutex<Loss>,
    slow: Mutex<Rarely>,
}

/// Requests that failed in a row.
#[derive(Default)]
struct Loss {
    failures: u64,
    since: Option<Instant>,
    is_told: bool,
    quiet_until: Option<Instant>,
    quiet: Duration,
}

impl Contact {
    pub(super) fn new(host: &str) -> Self {
        let (loss, slow) = (Mutex::default(), Mutex::new(Rarely::new()));
        Contact { host: host.to_owned(), loss, slow }
    }

    /// A request failed that may have reached the host, or found nobody there.
    pub(super) fn failed(&self, failure: &SendError) {
        let cannot = || format!("cannot reach {}: {}", self.host, failure.message);
        let said = match failure.unreachable {
            // Some end here, and some try on.
            true if failure.lasting => self.lost(&cannot(), 1, ""),
            true => self.lost(&cannot(), 1, TRYING),
            false => self.troubled(&failure.message),
        };
        said.into_iter().for_each(|line| warn_of_connection(failure.notice, &line));
    }

    /// Nothing has come of a request for so long.
    pub(super) fn is_slow(&self, for_so_long: Duration) {
        let Some(left_out) = lock(&self.slow).due(Instant::now()) else { return };
        let line = format!("no answer from {} for {} ms", self.host, for_so_long.as_millis());
        warn_of_connection(Notice::Slow, &counted(format!("{line}; waiting"), left_out));
    }

    /// The host answered that it cannot answer.
    pub(super) fn answered_with(&self, status: u16) {
        let said = self.troubled(&format!("status {status}"));
        said.into_iter().for_each(|line| warn_of_connection(Notice::Failing, &line));
    }

    pub(super) fn answered(&self) {
        let Some(line) = self.back() else { return };
        let waited = match pending_count() {
            0 => String::new(),
            writes => format!("; {} waited", amount(writes, "write")),
        };
        inform_of_connection(&format!("{line}{waited}"));
    }

    fn troubled(&self, why: &str) -> Option<String> {
        self.lost(&format!("requests to {} fail: {why}", self.host), SEVERAL, TRYING)
    }

    /// Counts a failure; the warning, if one is due after so many.
    fn lost(&self, what: &str, worth_telling: u64, going_on: &str) -> Option<String> {
        let mut loss = lock(&self.loss);
        let now = Instant::now();
        let since = *loss.since.get_or_insert(now);
        loss.failures += 1;
        if loss.failures < worth_telling || loss.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        loss.quiet = if loss.is_told { 2 * loss.quiet } else { QUIET };
        loss.quiet_until = Some(now + loss.quiet);
        let line = match std::mem::replace(&mut loss.is_told, true) {
            false => format!("{what}{going_on}"),
            true => format!(
                "{what}; for {} s now, {} attempts",
                since.elapsed().as_secs(),
                loss.failures
            ),
        };
        Some(line)
    }

    /// The line about contact that is back, if its loss was told.
    fn back(&self) -> Option<String> {
        let mut loss = lock(&self.loss);
        if loss.failures == 0 {
            return None;
        }
        let after = loss.since.map_or(0, |since| since.elapsed().as_secs());
        let told = Loss { quiet_until: loss.quiet_until, ..Loss::default() };
        let before = std::mem::replace(&mut *loss, told);
        let attempts = before.failures;
        before.is_told.then(|| {
            let attempts = amount(attempts, "failed attempt");
            format!("{} answers again, after {after} s and {attempts}", self.host)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn advance(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_once_then_rarely_and_its_end_once() {
        let contact = Contact::new("http://h");
        let refused = || contact.lost("cannot reach http://h: refused", 1, TRYING);
        assert_eq!(refused().unwrap(), "cannot reach http://h: refused; trying again");
        let mut told = 0;
        for _ in 0..600 {
            advance(1).await;
            told += usize::from(refused().is_some());
        }
        assert_eq!(told, 3, "after 1, 3 and 7 minutes");
        let back = "http://h answers again, after 600 s and 601 failed attempts";
        assert_eq!(contact.back().as_deref(), Some(back));
        assert_eq!(contact.back(), None);
        advance(600).await;
        refused().unwrap();
        advance(2).await;
        let back = "http://h answers again, after 2 s and 1 failed attempt";
        assert_eq!(contact.back().as_deref(), Some(back));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_comes_and_goes_is_not_told_of_each_time() {
        let contact = Contact::new("http://h");
        let mut told = 0;
        for _ in 0..100 {
            told +=
                usize::from(contact.lost("cannot reach http://h: refused", 1, TRYING).is_some());
            advance(1).await;
            told += usize::from(contact.back().is_some());
        }
        assert_eq!(told, 4, "two a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_the_next_attempt_mends_is_not_told() {
        let contact = Contact::new("http://h");
        for _ in 0..100 {
            assert_eq!(contact.troubled("connection reset"), None);
            assert_eq!(contact.troubled("status 503"), None);
            assert_eq!(contact.back(), None);
        }
        let mut lines = (0..3).map(|_| contact.troubled("status 503"));
        assert_eq!(
            lines.nth(2).unwrap().unwrap(),
            "requests to http://h fail: status 503; trying again"
        );
    }
}

//! How often a line comes that would come again and again.

use std::time::Duration;

use tokio::time::Instant;

/// How long after a line the next one comes at the earliest; each time twice as long.
const QUIET: Duration = Duration::from_secs(60);

/// The first line comes at once, and then fewer and fewer. Where none was due for as long as the last
/// silence lasted, it begins anew.
#[derive(Debug)]
pub(crate) struct Rarely {
    quiet_until: Option<Instant>,
    quiet: Duration,
    left_out: u64,
}

impl Rarely {
    pub(crate) const fn new() -> Self {
        Rarely { quiet_until: None, quiet: QUIET, left_out: 0 }
    }

    /// Whether a line is due now: then how many were left out since the last one.
    pub(crate) fn due(&mut self, now: Instant) -> Option<u64> {
        match self.quiet_until {
            Some(until) if now < until => {
                self.left_out += 1;
                return None;
            }
            Some(until) if now < until + self.quiet => self.quiet *= 2,
            _ => self.quiet = QUIET,
        }
        self.quiet_until = Some(now + self.quiet);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// A line with the number of those like it that were left out.
pub(crate) fn counted(text: String, left_out: u64) -> String {
    match left_out {
        0 => text,
        1 => format!("{text} (and once more since the last such line)"),
        _ => format!("{text} (and {left_out} times more since the last such line)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_at_once_then_rarely_and_at_once_again() {
        let (mut rarely, start) = (Rarely::new(), Instant::now());
        let mut at = |seconds| rarely.due(start + Duration::from_secs(seconds));
        let told: Vec<_> = (0..600).filter_map(|second| Some((second, at(second)?))).collect();
        assert_eq!(told, [(0, 0), (60, 59), (180, 119), (420, 239)]);
        assert_eq!(at(10_000), Some(179), "after a long silence");
        assert_eq!((at(10_059), at(10_060)), (None, Some(1)), "as the first time");
        assert_eq!(counted("a".into(), 2), "a (and 2 times more since the last such line)");
    }
}

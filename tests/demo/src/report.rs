//! The table of a demo and, where something is wrong, what it is.

use std::net::SocketAddr;

use serde_json::Value;

use super::runner::Run;
use super::services::{Service, Summary, expected_writes, last_writes};
use durstream_tests::audit::ledger::{Audit, Finding, parse_ledger};
use durstream_tests::console;
use durstream_tests::failure::Result;
use durstream_tests::readback::read_stream;
use durstream_tests::table::{self, grouped};

const HEADINGS: [&str; 8] = [
    "service",
    "accepted",
    "delivered",
    "in the stream",
    "lost",
    "doubled",
    "out of order",
    "events/s",
];
const KILLED_HEADINGS: [&str; 7] = [
    "service",
    "accepted",
    "found in the outbox",
    "in the stream",
    "lost",
    "doubled",
    "out of order",
];

/// Everything known about one service at the end.
pub(crate) struct Outcome {
    title: &'static str,
    summary: Summary,
    audit: Audit,
    /// How many writes its second run found in the outbox, where the first one was killed.
    found: Option<usize>,
    /// What is wrong beside the audit's findings.
    problems: Vec<String>,
}

impl Outcome {
    /// Reads the service's ledger and stream and compares them. What cannot be read is a problem of
    /// this service alone: a program that was killed may leave half a line.
    pub(crate) fn new(service: &Service, run: Run, shipments: usize, address: SocketAddr) -> Self {
        let text = std::fs::read_to_string(&run.ledger).unwrap_or_default();
        let (mut ledger, ledger_problem) = kept(parse_ledger(&text));
        let (stream, stream_problem) = kept(read_stream(address, &service.stream_path()));
        let mut expected = expected_writes(shipments);
        if let Some(killed_after) = run.killed_after {
            let is_out = forget_unaccepted(&mut ledger, &stream, killed_after);
            expected = killed_after - usize::from(is_out) + last_writes(shipments);
        }
        let audit = Audit::new(&ledger, &stream);
        let mut outcome = Self::judge(service.title, &run, audit, expected, shipments);
        outcome.problems.extend(ledger_problem);
        outcome.problems.extend(stream_problem);
        outcome
    }

    fn judge(
        title: &'static str,
        run: &Run,
        audit: Audit,
        expected: usize,
        shipments: usize,
    ) -> Self {
        let mut problems: Vec<String> = run.failure.iter().cloned().collect();
        let summary = run.summary;
        let mut differ = |what: &str, found: usize, wanted: usize| {
            if found != wanted {
                problems.push(format!("{what}: {}, not {}", grouped(found), grouped(wanted)));
            }
        };
        // A service that writes nothing also loses nothing; so the number is checked too.
        differ("writes in its ledger", audit.written, expected);
        // A run that was killed has said nothing; the next one counts what it found as accepted.
        if run.killed_after.is_none() {
            differ("writes it says were accepted", summary.accepted, audit.written);
        }
        differ("writes it says were delivered", summary.delivered, summary.accepted);
        let last = last_writes(shipments);
        let found = run.killed_after.map(|_| summary.accepted.saturating_sub(last));
        Self { title, summary, audit, found, problems }
    }

    fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.audit.is_clean()
    }

    fn killed_row(&self, found: usize) -> Vec<String> {
        let audit = &self.audit;
        let counts = [
            audit.written,
            found,
            audit.stored,
            audit.lost.count,
            audit.doubled.count,
            audit.out_of_order,
        ];
        [vec![self.title.to_owned()], counts.map(grouped).to_vec()].concat()
    }

    fn row(&self) -> Vec<String> {
        if let Some(found) = self.found {
            return self.killed_row(found);
        }
        let Summary { accepted, delivered, seconds } = self.summary;
        let rate = if seconds > 0.0 { delivered as f64 / seconds } else { 0.0 };
        let audit = &self.audit;
        let mut row = vec![self.title.to_owned()];
        let counts = [
            accepted,
            delivered,
            audit.stored,
            audit.lost.count,
            audit.doubled.count,
            audit.out_of_order,
            rate.round() as usize,
        ];
        row.extend(counts.map(grouped));
        row
    }

    fn complaints(&self) -> Vec<String> {
        let Audit { lost, doubled, foreign, wrong_state, .. } = &self.audit;
        let mut lines: Vec<String> = self
            .problems
            .iter()
            .map(|text| format!("{}: {}", self.title, text.trim_end()))
            .collect();
        let mut add = |what: &str, finding: &Finding| {
            if finding.count > 0 {
                lines.push(format!(
                    "{}: {} {what}, the first:",
                    self.title,
                    grouped(finding.count)
                ));
                lines.extend(finding.first.iter().map(|event| format!("    {event}")));
            }
        };
        add("lost", lost);
        add("doubled", doubled);
        add("in the stream that it never wrote", foreign);
        add("shipments in a wrong last state", wrong_state);
        lines
    }
}

/// Leaves the last write before a kill out of the ledger, if it is not in the stream: its call may not
/// have returned. Whether it was left out.
fn forget_unaccepted(ledger: &mut Vec<Value>, stream: &[Value], killed_after: usize) -> bool {
    let Some(last) = killed_after.checked_sub(1).filter(|last| *last < ledger.len()) else {
        return false;
    };
    let is_lost = Audit::new(&ledger[last..=last], stream).lost.count > 0;
    if is_lost {
        ledger.remove(last);
    }
    is_lost
}

/// The events, and what kept them from being read.
fn kept(read: Result<Vec<Value>>) -> (Vec<Value>, Option<String>) {
    match read {
        Ok(events) => (events, None),
        Err(failure) => (Vec::new(), Some(failure.to_string())),
    }
}

/// Prints the table and the verdict; whether all is well.
pub(crate) fn show(outcomes: &[Outcome]) -> bool {
    let rows: Vec<Vec<String>> = outcomes.iter().map(Outcome::row).collect();
    let were_killed = outcomes.iter().any(|outcome| outcome.found.is_some());
    let headings = if were_killed { &KILLED_HEADINGS[..] } else { &HEADINGS[..] };
    console::line(&format!("\n{}", table::render(headings, &rows)));
    for line in outcomes.iter().flat_map(Outcome::complaints) {
        console::line(&line);
    }
    let clean = outcomes.iter().all(Outcome::is_clean);
    console::line(&verdict(outcomes, clean));
    clean
}

fn verdict(outcomes: &[Outcome], clean: bool) -> String {
    if !clean {
        let titles: Vec<&str> = outcomes
            .iter()
            .filter(|outcome| !outcome.is_clean())
            .map(|outcome| outcome.title)
            .collect();
        return format!("NOT exactly once: {}.", titles.join(", "));
    }
    let total = outcomes.iter().map(|outcome| outcome.audit.stored).sum();
    let were_killed = outcomes.iter().any(|outcome| outcome.found.is_some());
    let what = if were_killed { "a SIGKILL" } else { "a restart" };
    format!(
        "Exactly once: all {} writes are in their streams, once and in order, across {what} of \
         every service and a crash of their server.",
        grouped(total)
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;

    fn run(accepted: usize, delivered: usize, failure: Option<&str>) -> Run {
        Run {
            ledger: PathBuf::new(),
            summary: Summary { accepted, delivered, seconds: 0.5 },
            killed_after: None,
            failure: failure.map(str::to_owned),
        }
    }

    fn outcome(run: &Run, ledger: &[Value], stream: &[Value]) -> Outcome {
        Outcome::judge("Rust", run, Audit::new(ledger, stream), 2, 0)
    }

    #[test]
    fn a_clean_outcome_has_nothing_to_complain_about() {
        let events = [json!(1), json!(2)];
        let outcome = outcome(&run(2, 2, None), &events, &events);
        assert!(outcome.is_clean());
        assert!(outcome.complaints().is_empty());
        assert_eq!(outcome.row(), ["Rust", "2", "2", "2", "0", "0", "0", "4"]);
    }

    #[test]
    fn a_corrupted_stream_fails_the_demo() {
        let ledger = [json!(1), json!(2)];
        let stream = [json!(2), json!(2)];
        let outcome = outcome(&run(2, 2, None), &ledger, &stream);
        assert!(!outcome.is_clean());
        assert_eq!(
            outcome.complaints(),
            ["Rust: 1 lost, the first:", "    1", "Rust: 1 doubled, the first:", "    2"]
        );
        assert!(!show(&[outcome]));
    }

    #[test]
    fn a_write_in_its_call_at_the_kill_may_be_there_or_not() {
        let ledger = [json!(1), json!(2), json!(3)];
        for (stream, left) in [(&ledger[..], 3), (&[json!(1), json!(3)], 2), (&[json!(1)], 2)] {
            let mut kept = ledger.to_vec();
            assert_eq!(forget_unaccepted(&mut kept, stream, 2), left == 2);
            assert_eq!(kept.len(), left);
        }
        assert!(!forget_unaccepted(&mut Vec::new(), &[], 0));
    }

    #[test]
    fn a_killed_service_tells_what_it_found() {
        let events = [json!(1), json!(2)];
        let killed = |accepted| Run { killed_after: Some(1), ..run(accepted, 5, None) };
        let outcome = |run: &Run| Outcome::judge("Rust", run, Audit::new(&events, &events), 2, 2);
        assert_eq!(outcome(&killed(5)).row(), ["Rust", "2", "2", "2", "0", "0", "0"]);
        assert!(outcome(&killed(5)).is_clean() && !outcome(&killed(6)).is_clean());
    }

    #[test]
    fn numbers_that_do_not_fit_fail_the_demo() {
        let events = [json!(1), json!(2)];
        assert!(!outcome(&run(2, 1, None), &events, &events).is_clean());
        assert!(!outcome(&run(1, 1, None), &events, &events).is_clean());
        assert!(!outcome(&run(0, 0, None), &[], &[]).is_clean());
        assert!(!outcome(&run(2, 2, Some("run 2 failed")), &events, &events).is_clean());
    }
}

//! The table of a demo and, where something is wrong, what it is.

use std::net::SocketAddr;

use serde_json::Value;

use super::runner::Run;
use super::services::{Service, Summary, expected_writes};
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

/// Everything known about one service at the end.
pub(crate) struct Outcome {
    title: &'static str,
    summary: Summary,
    audit: Audit,
    /// What is wrong beside the audit's findings.
    problems: Vec<String>,
}

impl Outcome {
    /// Reads the service's ledger and stream and compares them. What cannot be read is a problem of
    /// this service alone: a program that was killed may leave half a line.
    pub(crate) fn new(service: &Service, run: Run, shipments: usize, address: SocketAddr) -> Self {
        let text = std::fs::read_to_string(&run.ledger).unwrap_or_default();
        let (ledger, ledger_problem) = kept(parse_ledger(&text));
        let (stream, stream_problem) = kept(read_stream(address, &service.stream_path()));
        let audit = Audit::new(&ledger, &stream);
        let mut outcome = Self::judge(service.title, &run, audit, expected_writes(shipments));
        outcome.problems.extend(ledger_problem);
        outcome.problems.extend(stream_problem);
        outcome
    }

    fn judge(title: &'static str, run: &Run, audit: Audit, expected: usize) -> Self {
        let mut problems: Vec<String> = run.failure.iter().cloned().collect();
        let summary = run.summary;
        let mut differ = |what: &str, found: usize, wanted: usize| {
            if found != wanted {
                problems.push(format!("{what}: {}, not {}", grouped(found), grouped(wanted)));
            }
        };
        // A service that writes nothing also loses nothing; so the number is checked too.
        differ("writes in its ledger", audit.written, expected);
        differ("writes it says were accepted", summary.accepted, audit.written);
        differ("writes it says were delivered", summary.delivered, summary.accepted);
        Self { title, summary, audit, problems }
    }

    fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.audit.is_clean()
    }

    fn row(&self) -> Vec<String> {
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
    console::line(&format!("\n{}", table::render(&HEADINGS, &rows)));
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
    format!(
        "Exactly once: all {} writes are in their streams, once and in order, across a restart of \
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
            failure: failure.map(str::to_owned),
        }
    }

    fn outcome(run: &Run, ledger: &[Value], stream: &[Value]) -> Outcome {
        Outcome::judge("Rust", run, Audit::new(ledger, stream), 2)
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
    fn numbers_that_do_not_fit_fail_the_demo() {
        let events = [json!(1), json!(2)];
        assert!(!outcome(&run(2, 1, None), &events, &events).is_clean());
        assert!(!outcome(&run(1, 1, None), &events, &events).is_clean());
        assert!(!outcome(&run(0, 0, None), &[], &[]).is_clean());
        assert!(!outcome(&run(2, 2, Some("run 2 failed")), &events, &events).is_clean());
    }
}

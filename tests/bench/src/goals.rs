//! The numbers to reach, and what bounds a row that misses one. Pure.

use super::contestant::Id;
use super::machine;
use super::messages::Kind;
use super::row::Row;
use super::summary::Spread;

const LEAST_OF_CEILING: f64 = 0.5;
const LEAST_EVENTS_PER_SECOND: f64 = 3e6;
const MOST_CPU_US: f64 = 0.3;
/// Of the TypeScript client's time for one idle write.
const MOST_OF_IDLE: f64 = 1.0 / 3.0;

/// A thread that calls for so much of the time does nothing else.
const ALL_OF_A_THREAD: f64 = 0.7;
/// A machine used to this part has nothing left; the rest goes to waking and waiting.
const ALL_OF_THE_MACHINE: f64 = 0.8;

/// A number to reach.
#[derive(Debug, PartialEq)]
pub(crate) struct Goal {
    pub(crate) reached: bool,
    /// What was measured, and what was wanted.
    pub(crate) text: String,
}

/// The goals of a row that can be judged by what was measured.
pub(crate) fn goals(row: &Row, rows: &[Row]) -> Vec<Goal> {
    let mut goals = Vec::new();
    let beside = |id: Id| rows.iter().find(|other| other.id == id && other.kind == row.kind);
    if matches!(row.id, Id::Rust | Id::C) {
        if let Some(ratio) = beside(Id::Ceiling).and_then(|ceiling| row.ratio_to(ceiling)) {
            goals.push(at_least(ratio, LEAST_OF_CEILING, "of the ceiling"));
        }
        if let Some(rate) = row.rate() {
            let millions = |value: f64| value / 1e6;
            let rate = Spread {
                median: millions(rate.median),
                low: millions(rate.low),
                high: millions(rate.high),
            };
            goals.push(at_least(rate, millions(LEAST_EVENTS_PER_SECOND), "million events/s"));
        }
        if let Some(cpu) = row.cpu_us() {
            goals.push(at_most(cpu, MOST_CPU_US, "us of CPU per event"));
        }
    }
    if let (Some(other), Some(factor)) = (row.id.alternative(), factor(row.id, row.kind))
        && let Some(ratio) = beside(other).and_then(|other| row.ratio_to(other))
    {
        goals.push(at_least(ratio, factor, &format!("times {}", other.title())));
    }
    if row.id.is_ours()
        && let Some(ratio) = beside(Id::NpmClient).and_then(|client| row.idle_ratio_to(client))
    {
        let text = format!("of {}'s time for one idle write", Id::NpmClient.title());
        goals.push(at_most(ratio, MOST_OF_IDLE, &text));
    }
    goals
}

/// How many times as fast as the alternative.
fn factor(id: Id, kind: Kind) -> Option<f64> {
    match (id, kind) {
        (Id::Node, Kind::Json | Kind::Bytes) => Some(2.5),
        (Id::Python, Kind::Bytes) => Some(3.0),
        (Id::Node | Id::Python, Kind::Objects) => Some(2.0),
        _ => None,
    }
}

fn at_least(found: Spread, wanted: f64, what: &str) -> Goal {
    goal(found.median >= wanted, found, &format!("at least {wanted:.2}"), what)
}

fn at_most(found: Spread, wanted: f64, what: &str) -> Goal {
    goal(found.median <= wanted, found, &format!("at most {wanted:.2}"), what)
}

fn goal(reached: bool, found: Spread, wanted: &str, what: &str) -> Goal {
    let Spread { median, low, high } = found;
    Goal { reached, text: format!("{median:.2} ({low:.2}-{high:.2}) {what}, {wanted} wanted") }
}

/// Where the time of a row goes, by what its process and the machine did meanwhile.
pub(crate) fn bound(row: &Row) -> Option<String> {
    let (accept_ns, rate) = (row.accept_ns()?.median, row.rate()?.median);
    let calling = accept_ns * rate / 1e9;
    let busy = row.cores()?.median;
    let percent = |part: f64| format!("{:.0}%", part * 100.0);
    if calling >= ALL_OF_A_THREAD && busy >= ALL_OF_A_THREAD {
        return Some(format!("its calls, {} of the time", percent(calling.min(1.0))));
    }
    let others = row.others().map_or(0.0, |part| part.median);
    let server = row.server_us().map_or(0.0, |cpu| cpu.median * rate / 1e6);
    let cores = machine::cores() as f64;
    if (busy + server) / cores + others >= ALL_OF_THE_MACHINE {
        let parts = [busy / cores, server / cores, others].map(percent);
        let [client, server, others] = parts;
        return Some(format!("the cores: client {client}, server {server}, others {others}"));
    }
    Some(format!("waiting, busy {} of the time", percent(busy)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Around, Streamed};

    /// A row of one round: a million events.
    fn row(id: Id, kind: Kind, seconds: f64, cpu_seconds: f64, accept_ns: f64) -> Row {
        let mut row = Row::new(id, kind);
        let streamed = Streamed {
            seconds,
            cpu_seconds,
            accept_seconds: accept_ns / 1e9,
            accept_calls: 1.0,
            requests: 1,
            repeats: 0,
        };
        row.add(1_000_000, streamed, Around::default());
        row
    }

    fn reached(row: Row, beside: Vec<Row>) -> Vec<bool> {
        goals(&row, &beside).iter().map(|goal| goal.reached).collect()
    }

    #[test]
    fn rust_is_measured_against_the_ceiling_a_rate_and_cpu() {
        let ceiling = || vec![row(Id::Ceiling, Kind::Json, 0.16, 0.1, 0.0)];
        let rust = |seconds, cpu| row(Id::Rust, Kind::Json, seconds, cpu, 50.0);
        assert_eq!(reached(rust(0.3, 0.29), ceiling()), [true, true, true]);
        assert_eq!(reached(rust(0.33, 0.31), ceiling()), [false, true, false]);
        assert_eq!(reached(rust(0.35, 0.2), Vec::new()), [false, true]);
    }

    #[test]
    fn others_are_measured_against_what_their_users_would_pick() {
        let node = || row(Id::Node, Kind::Json, 1.0, 1.0, 50.0);
        let client = |seconds| vec![row(Id::NpmClient, Kind::Json, seconds, 1.0, 50.0)];
        assert_eq!(reached(node(), client(2.5)), [true]);
        assert_eq!(reached(node(), client(2.4)), [false]);
        assert_eq!(reached(node(), Vec::new()), [] as [bool; 0]);
        let python = row(Id::Python, Kind::Bytes, 1.0, 1.0, 50.0);
        assert_eq!(
            reached(python, vec![row(Id::UpstreamPython, Kind::Bytes, 2.9, 1.0, 0.0)]),
            [false]
        );
    }

    #[test]
    fn one_idle_write_is_compared_by_the_medians_of_rounds() {
        let with_waits = |id, waits: f64| {
            let mut row = row(id, Kind::Json, 1.0, 1.0, 50.0);
            row.waits_us.push(vec![waits, waits, 10.0 * waits]);
            row
        };
        let client = || with_waits(Id::NpmClient, 300.0);
        assert_eq!(reached(with_waits(Id::Python, 100.0), vec![client()]), [true]);
        assert_eq!(reached(with_waits(Id::Python, 101.0), vec![client()]), [false]);
    }

    #[test]
    fn what_bounds_a_row_is_what_it_does_most() {
        let of = |seconds, cpu, ns| bound(&row(Id::Node, Kind::Json, seconds, cpu, ns)).unwrap();
        assert_eq!(of(1.0, 1.1, 800.0), "its calls, 80% of the time");
        assert!(of(1.0, 100.0, 100.0).starts_with("the cores: client"));
        assert_eq!(of(1.0, 0.1, 800.0), "waiting, busy 10% of the time");
        assert_eq!(bound(&Row::new(Id::Node, Kind::Json)), None);
    }
}

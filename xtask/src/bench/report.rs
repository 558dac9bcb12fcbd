//! The table a person reads, and the same as JSON.

use serde_json::{Value, json};

use super::contestant::Id;
use super::goals::{bound, goals};
use super::messages::Kind;
use super::run::Streamed;
use super::summary::{Spread, percentile};
use crate::console;
use crate::table;

const HEADINGS: [&str; 12] = [
    "messages, client",
    "M events/s",
    "range",
    "of ceiling",
    "of other",
    "CPU us/event",
    "call ns",
    "idle p50 us",
    "p99",
    "peak MB",
    "sent twice",
    "numbers to reach",
];
const NOTHING: &str = "-";

/// What one client did with one kind of messages, round by round.
pub(crate) struct Row {
    pub(crate) id: Id,
    pub(crate) kind: Kind,
    rounds: Vec<Round>,
    /// Of single writes, round by round.
    pub(crate) waits_us: Vec<Vec<f64>>,
    /// Why it is not complete, or wrong.
    pub(crate) trouble: Option<String>,
}

struct Round {
    events: usize,
    streamed: Streamed,
    peak_bytes: Option<u64>,
}

impl Row {
    pub(crate) fn new(id: Id, kind: Kind) -> Self {
        Self { id, kind, rounds: Vec::new(), waits_us: Vec::new(), trouble: None }
    }

    pub(crate) fn add(&mut self, events: usize, streamed: Streamed, peak_bytes: Option<u64>) {
        self.rounds.push(Round { events, streamed, peak_bytes });
    }

    fn spread(&self, of: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(of))
    }

    fn rates(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.events as f64 / round.streamed.seconds).collect()
    }

    /// Delivered events per second.
    pub(crate) fn rate(&self) -> Option<Spread> {
        Spread::of(self.rates())
    }

    pub(crate) fn ratio_to(&self, other: &Row) -> Option<Spread> {
        Spread::of_ratios(&self.rates(), &other.rates())
    }

    pub(crate) fn cpu_us(&self) -> Option<Spread> {
        self.spread(|round| round.streamed.cpu_seconds * 1e6 / round.events as f64)
    }

    /// How many cores it kept busy.
    pub(crate) fn cores(&self) -> Option<Spread> {
        self.spread(|round| round.streamed.cpu_seconds / round.streamed.seconds)
    }

    /// What a call costs; nothing where nothing is called.
    pub(crate) fn accept_ns(&self) -> Option<Spread> {
        let per_call = |streamed: &Streamed| streamed.accept_seconds * 1e9 / streamed.accept_calls;
        let costs = self.rounds.iter().map(|round| per_call(&round.streamed));
        Spread::of(costs.filter(|cost| cost.is_finite()))
    }

    fn waits(&self, percent: usize) -> Vec<f64> {
        self.waits_us.iter().filter_map(|waits| percentile(waits, percent)).collect()
    }

    pub(crate) fn idle_ratio_to(&self, other: &Row) -> Option<Spread> {
        Spread::of_ratios(&self.waits(50), &other.waits(50))
    }

    fn peak_megabytes(&self) -> Option<Spread> {
        let known = self.rounds.iter().filter_map(|round| round.peak_bytes);
        Spread::of(known.map(|bytes| bytes as f64 / 1e6))
    }

    /// Requests, and those of them that repeated a body: of the round in the middle.
    fn requests(&self) -> Option<(u64, u64)> {
        let part = |round: &Round| round.streamed.repeats as f64 / round.streamed.requests as f64;
        let mut rounds: Vec<&Round> = self.rounds.iter().collect();
        rounds.sort_by(|one, other| part(one).total_cmp(&part(other)));
        let middle = &rounds.get(rounds.len() / 2)?.streamed;
        Some((middle.requests, middle.repeats))
    }

    fn cells(&self, rows: &[Row]) -> Vec<String> {
        let beside = |id: Id| rows.iter().find(|row| row.id == id && row.kind == self.kind);
        let text = |spread: Option<Spread>, show: &dyn Fn(Spread) -> String| {
            spread.map_or_else(|| NOTHING.to_owned(), show)
        };
        let whole = |spread| text(spread, &|spread| format!("{:.0}", spread.median));
        let ceiling = beside(Id::Ceiling).and_then(|ceiling| self.ratio_to(ceiling));
        let other = self.id.alternative().and_then(beside);
        let other = other.and_then(|other| self.ratio_to(other));
        let range = |spread: Spread| format!("{:.2}-{:.2}", spread.low / 1e6, spread.high / 1e6);
        let requests = |(sent, repeats): (u64, u64)| format!("{repeats} of {sent}");
        vec![
            format!("{:<7}  {}", self.kind.name(), self.id.title()),
            text(self.rate(), &|rate| format!("{:.2}", rate.median / 1e6)),
            text(self.rate(), &range),
            text(ceiling, &|ratio| format!("{:.0}%", ratio.median * 100.0)),
            text(other, &|ratio| format!("{:.1}x", ratio.median)),
            text(self.cpu_us(), &|cpu| format!("{:.2}", cpu.median)),
            whole(self.accept_ns()),
            whole(Spread::of(self.waits(50))),
            whole(Spread::of(self.waits(99))),
            whole(self.peak_megabytes()),
            self.requests().map_or_else(|| NOTHING.to_owned(), requests),
        ]
    }

    fn verdict(&self, rows: &[Row]) -> String {
        let goals = goals(self, rows);
        if self.trouble.is_some() {
            "FAILED".to_owned()
        } else if self.rounds.is_empty() {
            "not given".to_owned()
        } else if goals.is_empty() {
            NOTHING.to_owned()
        } else if goals.iter().all(|goal| goal.reached) {
            "reached".to_owned()
        } else {
            bound(self).unwrap_or_default()
        }
    }
}

/// Prints the table and, below it, what was missed and what failed. The numbers to reach are those
/// of a fast network.
pub(crate) fn show(rows: &[Row], rounds: usize, round_trip_ms: u64) {
    let cells = |row: &Row| {
        let verdict = if round_trip_ms == 0 || row.rounds.is_empty() || row.trouble.is_some() {
            row.verdict(rows)
        } else {
            NOTHING.to_owned()
        };
        let mut cells = row.cells(rows);
        cells.push(verdict);
        cells
    };
    let lines: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    console::line(&format!(
        "\nMedians of {rounds} rounds on {cores} cores, round trip {round_trip_ms} ms more than the machine's.\n"
    ));
    console::line(&table::render(&HEADINGS, &lines));
    if round_trip_ms == 0 {
        for row in rows {
            let missed: Vec<_> =
                goals(row, rows).into_iter().filter(|goal| !goal.reached).collect();
            for goal in missed {
                let name = format!("{}, {}", row.id.title(), row.kind.name());
                console::line(&format!("  missed by {name}: {}", goal.text));
            }
        }
    }
    for row in rows {
        if let Some(trouble) = &row.trouble {
            console::line(&format!("  {}, {}: {trouble}", row.id.title(), row.kind.name()));
        }
    }
}

fn spread_json(spread: Option<Spread>) -> Value {
    spread.map_or(
        Value::Null,
        |spread| json!({ "median": spread.median, "low": spread.low, "high": spread.high }),
    )
}

/// Everything the table shows, with ranges.
pub(crate) fn to_json(rows: &[Row], rounds: usize, round_trip_ms: u64) -> Value {
    let row_json = |row: &Row| {
        let beside = |id: Id| rows.iter().find(|other| other.id == id && other.kind == row.kind);
        let ceiling = beside(Id::Ceiling).and_then(|ceiling| row.ratio_to(ceiling));
        let other = row.id.alternative().and_then(beside);
        let goals: Vec<Value> = goals(row, rows)
            .into_iter()
            .map(|goal| json!({ "reached": goal.reached, "text": goal.text }))
            .collect();
        json!({
            "client": row.id.name(),
            "messages": row.kind.name(),
            "events_per_second": spread_json(row.rate()),
            "of_ceiling": spread_json(ceiling),
            "of_alternative": spread_json(other.and_then(|other| row.ratio_to(other))),
            "cpu_us_per_event": spread_json(row.cpu_us()),
            "accept_ns_per_call": spread_json(row.accept_ns()),
            "idle_p50_us": spread_json(Spread::of(row.waits(50))),
            "idle_p99_us": spread_json(Spread::of(row.waits(99))),
            "peak_megabytes": spread_json(row.peak_megabytes()),
            "requests": row.requests().map(|(sent, _)| sent),
            "bodies_sent_twice": row.requests().map(|(_, repeats)| repeats),
            "goals": goals,
            "bound": bound(row),
            "trouble": row.trouble,
        })
    };
    json!({
        "rounds": rounds,
        "round_trip_ms": round_trip_ms,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "rows": rows.iter().map(row_json).collect::<Vec<_>>(),
    })
}

//! The table a person reads, and the same as JSON.

use serde_json::{Value, json};

use super::contestant::Id;
use super::goals::{bound, goals};
use super::machine;
use super::messages::Kind;
use super::run::{Around, Streamed};
use super::summary::{Spread, percentile};
use crate::console;
use crate::table;

const HEADINGS: [&str; 11] = [
    "",
    "M events/s (range)",
    "of ceiling",
    "of other",
    "CPU us",
    "server us",
    "call ns",
    "idle p50/p99 us",
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
    around: Around,
}

impl Row {
    pub(crate) fn new(id: Id, kind: Kind) -> Self {
        Self { id, kind, rounds: Vec::new(), waits_us: Vec::new(), trouble: None }
    }

    pub(crate) fn add(&mut self, events: usize, streamed: Streamed, around: Around) {
        self.rounds.push(Round { events, streamed, around });
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
        let known = self.rounds.iter().filter_map(|round| round.around.peak_bytes);
        Spread::of(known.map(|bytes| bytes as f64 / 1e6))
    }

    /// What the server used, and what nobody of the two did.
    pub(crate) fn server_us(&self) -> Option<Spread> {
        let per_event =
            |round: &Round| Some(round.around.server_cpu_seconds? * 1e6 / round.events as f64);
        Spread::of(self.rounds.iter().filter_map(per_event))
    }

    pub(crate) fn others(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| round.around.others_part))
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
        let rate = |rate: Spread| {
            let [median, low, high] = [rate.median, rate.low, rate.high].map(|rate| rate / 1e6);
            format!("{median:.2} ({low:.2}-{high:.2})")
        };
        let idle = [50, 99].map(|percent| whole(Spread::of(self.waits(percent))));
        let idle = if self.waits_us.is_empty() { NOTHING.to_owned() } else { idle.join("/") };
        let twice = |(sent, repeats): (u64, u64)| percent(repeats as f64 / sent as f64);
        vec![
            format!("{:<7}  {}", self.kind.name(), self.id.title()),
            text(self.rate(), &rate),
            text(ceiling, &|ratio| percent(ratio.median)),
            text(other, &|ratio| format!("{:.1}x", ratio.median)),
            text(self.cpu_us(), &|cpu| format!("{:.2}", cpu.median)),
            text(self.server_us(), &|cpu| format!("{:.2}", cpu.median)),
            whole(self.accept_ns()),
            idle,
            whole(self.peak_megabytes()),
            self.requests().map_or_else(|| NOTHING.to_owned(), twice),
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

fn percent(part: f64) -> String {
    format!("{:.0}%", part * 100.0)
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
    console::line(&format!(
        "\nMedians of {rounds} rounds on {} cores; {round_trip_ms} ms added to the round trip.\n",
        machine::cores()
    ));
    console::line(&table::render(&HEADINGS, &lines));
    let others = Spread::of(rows.iter().filter_map(Row::others).map(|part| part.median));
    if let Some(Spread { median, low, high }) = others {
        let [median, low, high] = [median, low, high].map(percent);
        console::line(&format!("  Other programs used {median} of the machine ({low}-{high}).\n"));
    }
    let name = |row: &Row| format!("{}, {}", row.id.title(), row.kind.name());
    for row in rows.iter().filter(|_| round_trip_ms == 0) {
        let missed = goals(row, rows).into_iter().filter(|goal| !goal.reached);
        let missed: Vec<String> = missed.map(|goal| goal.text).collect();
        if !missed.is_empty() {
            console::line(&format!("  {} missed: {}", name(row), missed.join("; ")));
        }
    }
    for row in rows {
        if let Some(trouble) = &row.trouble {
            console::line(&format!("  {} FAILED: {trouble}", name(row)));
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
            "server_cpu_us_per_event": spread_json(row.server_us()),
            "used_by_others": spread_json(row.others()),
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
        "cores": machine::cores(),
        "rows": rows.iter().map(row_json).collect::<Vec<_>>(),
    })
}

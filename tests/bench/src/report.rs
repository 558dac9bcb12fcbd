//! The table a person reads, and the same as JSON.

use serde_json::{Value, json};

use super::contestant::Id;
use super::goals::{bound, goals};
use super::machine;
use super::row::Row;
use super::summary::Spread;
use durstream_tests::console;
use durstream_tests::table;

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

fn cells(row: &Row, rows: &[Row]) -> Vec<String> {
    let beside = |id: Id| rows.iter().find(|other| other.id == id && other.kind == row.kind);
    let text = |spread: Option<Spread>, show: &dyn Fn(Spread) -> String| {
        spread.map_or_else(|| NOTHING.to_owned(), show)
    };
    let whole = |spread| text(spread, &|spread| format!("{:.0}", spread.median));
    let ceiling = beside(Id::Ceiling).and_then(|ceiling| row.ratio_to(ceiling));
    let other = row.id.alternative().and_then(beside);
    let other = other.and_then(|other| row.ratio_to(other));
    let rate = |rate: Spread| {
        let [median, low, high] = [rate.median, rate.low, rate.high].map(|rate| rate / 1e6);
        format!("{median:.2} ({low:.2}-{high:.2})")
    };
    let idle = [50, 99].map(|percent| whole(Spread::of(row.waits(percent))));
    let idle = if row.waits_us.is_empty() { NOTHING.to_owned() } else { idle.join("/") };
    let twice = |(sent, repeats): (u64, u64)| percent(repeats as f64 / sent as f64);
    vec![
        format!("{:<7}  {}", row.kind.name(), row.id.title()),
        text(row.rate(), &rate),
        text(ceiling, &|ratio| percent(ratio.median)),
        text(other, &|ratio| format!("{:.1}x", ratio.median)),
        text(row.cpu_us(), &|cpu| format!("{:.2}", cpu.median)),
        text(row.server_us(), &|cpu| format!("{:.2}", cpu.median)),
        whole(row.accept_ns()),
        idle,
        whole(row.peak_megabytes()),
        row.requests().map_or_else(|| NOTHING.to_owned(), twice),
    ]
}

fn verdict(row: &Row, rows: &[Row]) -> String {
    let goals = goals(row, rows);
    if row.trouble.is_some() {
        "FAILED".to_owned()
    } else if row.is_empty() {
        "not given".to_owned()
    } else if goals.is_empty() {
        NOTHING.to_owned()
    } else if goals.iter().all(|goal| goal.reached) {
        "reached".to_owned()
    } else {
        bound(row).unwrap_or_default()
    }
}

fn percent(part: f64) -> String {
    format!("{:.0}%", part * 100.0)
}

/// Prints the table and, below it, what was missed and what failed. The numbers to reach are those
/// of a fast network.
pub(crate) fn show(rows: &[Row], rounds: usize, round_trip_ms: u64) {
    let line = |row: &Row| {
        let verdict = if round_trip_ms == 0 || row.is_empty() || row.trouble.is_some() {
            verdict(row, rows)
        } else {
            NOTHING.to_owned()
        };
        let mut cells = cells(row, rows);
        cells.push(verdict);
        cells
    };
    let lines: Vec<Vec<String>> = rows.iter().map(line).collect();
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

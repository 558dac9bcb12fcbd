//! The report's three pictures, as what draws them reads it.

use serde_json::{Value, json};

use super::parts::{FIELDS, ROUND_TRIPS_MS};
use super::store::{Point, Store};
use crate::contestant::Id;

const WIDTH: u32 = 860;
const WIDE: u32 = 1120;

/// A colour's place in the palette: ours have their own, what bounds all and the peers are grey in bars.
fn role(id: Id) -> usize {
    match id {
        Id::Rust => 0,
        Id::C => 1,
        Id::Node => 2,
        Id::Python => 3,
        Id::Ceiling | Id::Bare => 4,
        Id::Librdkafka => 5,
        Id::NpmClient => 6,
        Id::UpstreamRust => 7,
        Id::UpstreamPython => 8,
        Id::UpstreamGo => 9,
    }
}

/// In bars a peer is told by its name alone.
fn bar_role(id: Id) -> usize {
    if id.is_ours() || id == Id::Ceiling { role(id) } else { 5 }
}

/// The names that fit before a bar.
fn short(id: Id) -> &'static str {
    match id {
        Id::Ceiling => "the ceiling (raw POSTs)",
        Id::Rust => "durstream, Rust",
        Id::C => "durstream, C",
        Id::Node => "durstream, Node",
        Id::Python => "durstream, Python",
        Id::Librdkafka => "librdkafka, mock broker",
        other => other.title(),
    }
}

pub(crate) fn all(store: &Store) -> Vec<Value> {
    [throughput(store), latency(store), cost(store)].into_iter().flatten().collect()
}

fn throughput(store: &Store) -> Option<Value> {
    let hundred = [("bytes", 100.0)];
    let fields = [("fields", FIELDS as f64)];
    let wanted = [
        ("JSON text, 100 bytes", "json", hundred),
        ("bytes, 100 each", "bytes", hundred),
        ("objects of ten fields", "objects", fields),
    ];
    let groups: Vec<Value> = wanted
        .into_iter()
        .filter_map(|(label, kind, at)| {
            let mut points: Vec<(Id, &Point, f64)> = Id::WHOLE
                .into_iter()
                .filter_map(|id| {
                    let point = store.one("throughput", id.name(), kind, &at)?;
                    Some((id, point, point.median("rate")?))
                })
                .collect();
            // What bounds all first, then the fastest.
            points.sort_by(|one, other| {
                (other.0 == Id::Ceiling, other.2)
                    .partial_cmp(&(one.0 == Id::Ceiling, one.2))
                    .unwrap_or(std::cmp::Ordering::Equal)
            });
            let bars: Vec<Value> = points.iter().map(|(id, _, rate)| bar(*id, *rate)).collect();
            let unit = "million events a second, delivered";
            (!bars.is_empty()).then(|| json!({ "label": label, "unit": unit, "bars": bars }))
        })
        .collect();
    let title = "Events delivered a second, by one producer to one stream";
    let body = json!({ "groups": groups });
    (!groups.is_empty())
        .then(|| json!({ "name": "throughput", "title": title, "width": WIDTH, "bars": body }))
}

fn bar(id: Id, rate: f64) -> Value {
    let value = rate / 1e6;
    json!({ "label": short(id), "value": value, "text": format!("{value:.2}"), "role": bar_role(id) })
}

fn series(id: Id, points: Vec<(f64, f64)>) -> Option<Value> {
    (!points.is_empty()).then(|| json!({ "label": short(id), "role": role(id), "points": points }))
}

/// A line through somebody's points of a part: what `x` and `y` give of each.
fn through(
    store: &Store,
    part: &str,
    id: Id,
    of: impl Fn(&Point) -> Option<(f64, f64)>,
) -> Option<Value> {
    let own = store.points(part).iter().filter(|point| point.of == id.name());
    let mut points: Vec<(f64, f64)> = own.filter_map(of).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    series(id, points)
}

fn latency(store: &Store) -> Option<Value> {
    let panel = |ms: u64| {
        let of = |point: &Point| {
            let is_here = point.is("round_trip_ms", ms as f64) && !point.is("rate", 0.0);
            is_here.then(|| Some((*point.at.get("rate")?, point.median("p50_us")? / 1e3)))?
        };
        let series: Vec<Value> =
            Id::WHOLE.into_iter().filter_map(|id| through(store, "latency", id, of)).collect();
        (!series.is_empty()).then(|| {
            json!({
                "label": format!("{ms} ms round trip"),
                "x": "events a second", "y": "median, ms", "log_x": true, "log_y": true,
                "series": series,
            })
        })
    };
    let panels: Vec<Value> = ROUND_TRIPS_MS.into_iter().filter_map(panel).collect();
    let title = "From the call to the acknowledgement";
    let body = json!({ "panels": panels });
    (!panels.is_empty())
        .then(|| json!({ "name": "latency", "title": title, "width": WIDE, "lines": body }))
}

fn cost(store: &Store) -> Option<Value> {
    let panels: Vec<Value> = [
        panel(store, "more events", "events in one run", "cost", "events", ""),
        panel(store, "more streams", "streams, the same events over all", "streams", "streams", ""),
        panel(store, "larger events", "bytes of an event", "throughput", "bytes", "json"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let title = "Processor time of the client for one event, JSON text";
    let body = json!({ "panels": panels });
    (!panels.is_empty())
        .then(|| json!({ "name": "cost", "title": title, "width": WIDE, "lines": body }))
}

fn panel(store: &Store, label: &str, x: &str, part: &str, at: &str, kind: &str) -> Option<Value> {
    let of = |point: &Point| {
        let is_here = kind.is_empty() || point.kind == kind;
        is_here.then(|| Some((*point.at.get(at)?, point.median("cpu_us")?)))?
    };
    let series: Vec<Value> =
        Id::OURS.into_iter().filter_map(|id| through(store, part, id, of)).collect();
    (!series.is_empty()).then(|| {
        json!({
            "label": label, "x": x, "y": "microseconds", "log_x": true, "log_y": true,
            "series": series,
        })
    })
}

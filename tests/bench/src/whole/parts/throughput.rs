//! Delivered events a second, by kind and size.

use std::time::Duration;

use crate::contestant::Id;
use crate::messages::{Kind, Messages};
use crate::run::{Measured, Measurement};
use crate::whole::lab::{Lab, Task};
use crate::whole::store::Point;
use durstream_tests::failure::Result;

pub(crate) const SIZES: [usize; 4] = [20, 100, 1_000, 10_000];
/// The objects of ten fields that the goals are about.
pub(crate) const FIELDS: usize = 10;

/// What one run writes at most: a second's worth, and what a server in memory holds with ease.
fn most_bytes(id: Id) -> usize {
    match id {
        Id::Ceiling | Id::Rust | Id::C => 200_000_000,
        Id::Node | Id::Python | Id::Librdkafka => 100_000_000,
        _ => 40_000_000,
    }
}

/// One kind of messages, and its points so far.
struct Field {
    messages: Messages,
    bytes: usize,
    points: Vec<(Id, Point)>,
}

pub(crate) fn measure(lab: &Lab<'_>) -> Result<Vec<Point>> {
    let mut fields = Vec::new();
    for kind in Kind::ALL {
        for bytes in SIZES {
            fields.push(field(lab, lab.messages(kind, bytes)?, bytes, None));
        }
    }
    let objects = Messages::make(lab.tree, Kind::Objects)?;
    let bytes = objects.average_bytes();
    fields.push(field(lab, objects, bytes, Some(FIELDS)));
    let rounds = lab.rounds(1, 3);
    for round in 1..=rounds {
        for field in &mut fields {
            for (id, point) in &mut field.points {
                let kind = field.messages.kind();
                let (title, name, bytes) = (id.title(), kind.name(), field.bytes);
                lab.say(&format!(
                    "throughput, round {round} of {rounds}: {title}, {name}, {bytes} bytes"
                ));
                one(lab, *id, &field.messages, field.bytes, point)?;
            }
            // Nobody is always the first after another.
            field.points.reverse();
        }
    }
    let points = fields.into_iter().flat_map(|field| field.points);
    Ok(points.map(|(_, point)| point).collect())
}

fn field(lab: &Lab<'_>, messages: Messages, bytes: usize, fields: Option<usize>) -> Field {
    let kind = messages.kind();
    let takes_part = |id: &Id| id.events(kind).is_some();
    let ids = lab.contestants.iter().map(|contestant| contestant.id).filter(takes_part);
    let point = |id: Id| {
        let point = Point::of(id, kind.name()).at("bytes", bytes);
        let point = if let Some(fields) = fields { point.at("fields", fields) } else { point };
        (id, point)
    };
    let points = ids.map(point).collect();
    Field { messages, bytes, points }
}

fn one(lab: &Lab<'_>, id: Id, messages: &Messages, bytes: usize, point: &mut Point) -> Result {
    if point.trouble.is_some() {
        return Ok(());
    }
    let Some(who) = lab.those(&[id]).first().copied() else { return Ok(()) };
    let most = id.events(messages.kind()).unwrap_or_default().min(most_bytes(id) / bytes);
    let events = lab.events(most);
    let task = Task {
        mode: "stream",
        events,
        round_trip_ms: 0,
        options: id.options(0),
        time: Duration::ZERO,
    };
    let result = lab.run(who, messages, task).map(|measured| add(point, events, &measured));
    lab.note(point, result)
}

/// The numbers of a run of many writes.
pub(crate) fn add(point: &mut Point, events: usize, measured: &Measured) {
    let Measurement::Stream(streamed) = &measured.result else { return };
    let count = events as f64;
    point.add("events", count);
    point.add("rate", count / streamed.seconds);
    point.add("cpu_us", streamed.cpu_seconds * 1e6 / count);
    if streamed.accept_calls > 0.0 {
        point.add("call_ns", streamed.accept_seconds * 1e9 / streamed.accept_calls);
    }
    if streamed.requests > 0 {
        point.add("requests", streamed.requests as f64);
        point.add("repeats", streamed.repeats as f64);
    }
    if let Some(bytes) = measured.around.peak_bytes {
        point.add("peak_mb", bytes as f64 / 1e6);
    }
    if let Some(seconds) = measured.around.server_cpu_seconds {
        point.add("server_us", seconds * 1e6 / count);
    }
    if let Some(part) = measured.around.others_part {
        point.add("others", part);
    }
}

//! What an event costs as there are more of them: of the client's process, all threads.

use super::throughput;
use std::time::Duration;

use crate::contestant::Id;
use crate::messages::Kind;
use crate::whole::lab::{Lab, Task};
use crate::whole::store::Point;
use durstream_tests::failure::Result;

const EVENTS: [usize; 4] = [30_000, 100_000, 300_000, 1_000_000];
/// Only what is compiled is fast enough for these.
const MANY: usize = 3_000_000;
const BYTES: usize = 100;

pub(crate) fn measure(lab: &Lab<'_>) -> Result<Vec<Point>> {
    let messages = lab.messages(Kind::Json, BYTES)?;
    let mut points: Vec<Point> = Vec::new();
    let rounds = lab.rounds(1, 3);
    let mut runs = Vec::new();
    for (at, who) in lab.contestants.iter().enumerate() {
        let many = matches!(who.id, Id::Rust | Id::C).then_some(MANY);
        for events in EVENTS.into_iter().chain(many) {
            points.push(Point::of(who.id, Kind::Json.name()).at("events", lab.events(events)));
            runs.push((at, events));
        }
    }
    for round in 1..=rounds {
        for (point, (at, events)) in points.iter_mut().zip(&runs) {
            if point.trouble.is_some() {
                continue;
            }
            let who = &lab.contestants[*at];
            lab.say(&format!(
                "cost, round {round} of {rounds}: {}, {events} events",
                who.id.title()
            ));
            let events = lab.events(*events);
            let task = Task {
                mode: "stream",
                events,
                round_trip_ms: 0,
                options: Vec::new(),
                time: Duration::ZERO,
            };
            let result = lab.run(who, &messages, task);
            let result = result.map(|measured| throughput::add(point, events, &measured));
            lab.note(point, result)?;
        }
    }
    Ok(points)
}

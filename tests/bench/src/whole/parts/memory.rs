//! What a million queued events take: the server takes requests and answers none.

use std::time::Duration;

use crate::contestant::Contestant;
use crate::messages::{Kind, Messages};
use crate::run::{Measurement, Program, log_of, stream_url};
use crate::whole::lab::{Lab, Task};
use crate::whole::store::Point;
use durstream_tests::failure::{Context, Result};
use durstream_tests::proxy::Proxy;
use durstream_tests::server::Server;

const EVENTS: usize = 1_000_000;
const BYTES: usize = 100;

pub(crate) fn measure(lab: &Lab<'_>) -> Result<Vec<Point>> {
    let messages = lab.messages(Kind::Json, BYTES)?;
    let mut points = Vec::new();
    for who in &lab.contestants {
        lab.say(&format!("memory of a million queued: {}", who.id.title()));
        let mut point = Point::of(who.id, Kind::Json.name()).at("bytes", BYTES);
        let events = lab.events(EVENTS);
        let result = queued(lab, who, &messages, events).map(|(before, after)| {
            point.add("events", events as f64);
            point.add("before_mb", before / 1e6);
            point.add("after_mb", after / 1e6);
            point.add("bytes_each", (after - before) / events as f64);
        });
        lab.note(&mut point, result)?;
        points.push(point);
    }
    Ok(points)
}

fn queued(
    lab: &Lab<'_>,
    who: &Contestant,
    messages: &Messages,
    events: usize,
) -> Result<(f64, f64)> {
    let server = Server::start(lab.tree)?;
    let proxy = Proxy::start(server.address())?;
    let options = vec![format!("max_buffer_bytes={}", 1u64 << 40)];
    let task = Task { mode: "queue", events, round_trip_ms: 0, options, time: Duration::ZERO };
    let command = lab.job(messages, &task).command(who, &stream_url(&proxy.url()));
    let mut program = Program::start(command, &log_of(lab.tree, who.id)?)?;
    if program.line != "ready" {
        return Err(format!("it said {:?}, not that it is ready", program.line).into());
    }
    proxy.add_json(&serde_json::json!({ "fault": "stall", "forward": false, "times": 0 }))?;
    program.go_on()?;
    program.next_line()?;
    // What it queued goes with it.
    match program.measurement().context("its memory")? {
        Measurement::Queued(queued) => Ok((queued.before_bytes, queued.after_bytes)),
        other => Err(format!("it measured {other:?}").into()),
    }
}

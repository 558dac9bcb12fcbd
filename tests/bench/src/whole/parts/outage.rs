//! Nobody listens for five seconds, while a thousand events a second go on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::contestant::Contestant;
use crate::messages::{Kind, Messages};
use crate::run::{self, Measurement, Paced, Program, STREAM_PATH, log_of, stream_url};
use crate::whole::lab::{Lab, PATIENCE, Task};
use crate::whole::store::Point;
use durstream_tests::failure::{Context, Result};
use durstream_tests::proxy::Proxy;
use durstream_tests::server::Server;

pub(crate) const RATE: usize = 1_000;
pub(crate) const OUTAGE: Duration = Duration::from_secs(5);
const BEFORE: Duration = Duration::from_secs(2);
const SECONDS: usize = 11;
const BYTES: usize = 100;
const START_LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn measure(lab: &Lab<'_>) -> Result<Vec<Point>> {
    let messages = lab.messages(Kind::Json, BYTES)?;
    let mut points = Vec::new();
    for who in &lab.contestants {
        lab.say(&format!("an outage of {} s: {}", OUTAGE.as_secs(), who.id.title()));
        let mut point = Point::of(who.id, Kind::Json.name()).at("rate", RATE);
        let result = one(lab, who, &messages, &mut point);
        lab.note(&mut point, result)?;
        points.push(point);
    }
    Ok(points)
}

fn one(lab: &Lab<'_>, who: &Contestant, messages: &Messages, point: &mut Point) -> Result {
    let server = Server::start(lab.tree)?;
    let proxy = Proxy::start(server.address())?;
    let events = RATE * SECONDS;
    let options = vec![format!("rate={RATE}")];
    let task = Task { mode: "paced", events, round_trip_ms: 0, options, time: Duration::ZERO };
    let command = lab.job(messages, &task).command(who, &stream_url(&proxy.url()));
    let log = log_of(lab.tree, who.id)?;
    let mut program = Program::spawn(command, &log)?;
    // It begins with its first request, however long its start takes.
    let started = Instant::now();
    while proxy.log().is_empty() && started.elapsed() < START_LIMIT {
        lab.sleep(Duration::from_millis(20))?;
    }
    lab.sleep(BEFORE)?;
    let ms = OUTAGE.as_millis() as u64;
    proxy.add_json(&serde_json::json!({ "fault": "closed", "for_ms": ms }))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let end_us = (now + OUTAGE).as_micros() as f64;
    program.next_line_within(Duration::from_secs(SECONDS as u64) + PATIENCE)?;
    let Measurement::Paced(paced) = program.measurement()? else {
        return Err(format!("it said {:.80}", program.line).into());
    };
    add(point, &paced, end_us);
    program.end()?;
    run::check(&server, STREAM_PATH, messages, events).context("afterwards")
}

/// When things went on, counted from the end of the outage.
fn add(point: &mut Point, paced: &Paced, end_us: f64) {
    let end = end_us - paced.epoch_us;
    let lost = paced.done_us.iter().filter(|done| done.is_none()).count();
    point.add("events", paced.done_us.len() as f64);
    point.add("lost", lost as f64);
    let done = || paced.done_us.iter().flatten().copied();
    let first = done().filter(|done| *done > end).fold(f64::INFINITY, f64::min);
    if first.is_finite() {
        point.add("first_ms", (first - end) / 1e3);
    }
    let behind = paced.begun_us.iter().zip(&paced.done_us).filter(|(begun, _)| **begun < end);
    let last = behind.filter_map(|(_, done)| *done).fold(f64::NEG_INFINITY, f64::max);
    if last > end {
        point.add("caught_up_ms", (last - end) / 1e3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_caught_up_with_the_last_event_from_before() {
        let paced = Paced {
            epoch_us: 1e6,
            begun_us: vec![0.0, 1e6, 2e6, 9e6],
            done_us: vec![Some(100.0), Some(8.1e6), Some(8.3e6), Some(9.1e6)],
        };
        let mut point = Point::new("rust");
        add(&mut point, &paced, 9e6);
        assert_eq!(point.median("lost"), Some(0.0));
        assert!((point.median("first_ms").unwrap() - 100.0).abs() < 0.01);
        assert!((point.median("caught_up_ms").unwrap() - 300.0).abs() < 0.01);
    }
}

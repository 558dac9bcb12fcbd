//! From the call to the acknowledgement, at several rates and round trips.

use std::sync::Mutex;

use std::time::Duration;

use crate::contestant::{Contestant, Id};
use crate::messages::{Kind, Messages};
use crate::run::{Measurement, Paced};
use crate::summary::per_mille;
use crate::whole::lab::{Lab, Task};
use crate::whole::store::Point;
use durstream_tests::failure::Result;

pub(crate) const RATES: [usize; 3] = [1, 1_000, 50_000];
pub(crate) const ROUND_TRIPS_MS: [u64; 2] = [0, 20];
const BYTES: usize = 100;
/// A percentile is told only where so many were slower than it.
const LEAST_BEYOND: f64 = 1.0;

pub(crate) fn measure(lab: &Lab<'_>) -> Result<Vec<Point>> {
    let messages = lab.messages(Kind::Json, BYTES)?;
    let mut points = slowly(lab, &messages)?;
    for round_trip_ms in ROUND_TRIPS_MS {
        for who in &lab.contestants {
            if let Some(point) = point(who.id, 0, round_trip_ms) {
                points.push(idle(lab, who, &messages, point, round_trip_ms)?);
            }
            for rate in &RATES[1..] {
                let Some(point) = point(who.id, *rate, round_trip_ms) else { continue };
                lab.say(&format!(
                    "latency at {rate} events/s and {round_trip_ms} ms: {}",
                    who.id.title()
                ));
                // At the higher rate they come sooner.
                let seconds = if *rate > 1_000 { lab.rounds(1, 3) } else { lab.rounds(2, 5) };
                points.push(paced(lab, who, &messages, point, rate * seconds)?);
            }
        }
    }
    Ok(points)
}

/// One event a second leaves the machine idle: all at once, over both lines.
fn slowly(lab: &Lab<'_>, messages: &Messages) -> Result<Vec<Point>> {
    let events = lab.rounds(10, 100);
    lab.say(&format!("latency at 1 event/s: everybody at once, {events} s"));
    let points = Mutex::new(Vec::new());
    let everybody =
        ROUND_TRIPS_MS.into_iter().flat_map(|ms| lab.contestants.iter().map(move |who| (who, ms)));
    let measure = |who: &Contestant, ms: u64| -> Result {
        let Some(point) = point(who.id, RATES[0], ms) else { return Ok(()) };
        let point = paced(lab, who, messages, point, events)?;
        points.lock().map_err(|_| "a thread panicked")?.push(point);
        Ok(())
    };
    let measure = &measure;
    let results: Vec<Result> = std::thread::scope(|scope| {
        let threads: Vec<_> = everybody
            .map(|(who, ms)| {
                // They do not all do their write in the same moment.
                std::thread::sleep(std::time::Duration::from_millis(50));
                scope.spawn(move || measure(who, ms))
            })
            .collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|result| result.unwrap_or_else(|_| Err("a thread panicked".into()))).collect()
    });
    results.into_iter().collect::<Result<()>>()?;
    points.into_inner().map_err(|_| "a thread panicked".into())
}

/// None where there is no line to put between.
fn point(id: Id, rate: usize, round_trip_ms: u64) -> Option<Point> {
    let there_is_a_line = id != Id::Librdkafka || round_trip_ms == 0;
    let point = Point::of(id, Kind::Json.name()).at("rate", rate);
    there_is_a_line.then(|| point.at("round_trip_ms", round_trip_ms as f64))
}

fn paced(
    lab: &Lab<'_>,
    who: &Contestant,
    messages: &Messages,
    mut point: Point,
    events: usize,
) -> Result<Point> {
    let (rate, ms) = (point.at["rate"] as usize, point.at["round_trip_ms"] as u64);
    let options = vec![format!("rate={rate}")];
    let time = Duration::from_secs((events / rate) as u64);
    let task = Task { mode: "paced", events, round_trip_ms: ms, options, time };
    let result = lab.run(who, messages, task).map(|measured| {
        if let Measurement::Paced(paced) = measured.result {
            add(&mut point, &waits(&paced), events);
        }
    });
    lab.note(&mut point, result)?;
    Ok(point)
}

/// One write after the other, each as soon as the one before it was acknowledged.
fn idle(
    lab: &Lab<'_>,
    who: &Contestant,
    messages: &Messages,
    mut point: Point,
    ms: u64,
) -> Result<Point> {
    let events = lab.events(if ms == 0 { 2_000 } else { 100 });
    lab.say(&format!("one write at a time at {ms} ms: {}", who.id.title()));
    let task =
        Task { mode: "idle", events, round_trip_ms: ms, options: Vec::new(), time: Duration::ZERO };
    let result = lab.run(who, messages, task).map(|measured| {
        if let Measurement::Idle { waits_us } = measured.result {
            add(&mut point, &waits_us, events);
        }
    });
    lab.note(&mut point, result)?;
    Ok(point)
}

/// How long each took that was taken.
fn waits(paced: &Paced) -> Vec<f64> {
    let times = paced.begun_us.iter().zip(&paced.done_us);
    times.filter_map(|(begun, done)| Some((*done)? - begun)).collect()
}

fn add(point: &mut Point, waits: &[f64], events: usize) {
    point.add("events", events as f64);
    point.add("lost", (events - waits.len().min(events)) as f64);
    for (name, share) in [("p50_us", 500), ("p99_us", 990), ("p999_us", 999), ("most_us", 1000)] {
        let beyond = waits.len() as f64 * (1000 - share) as f64 / 1000.0;
        if share == 1000 || beyond >= LEAST_BEYOND {
            point.values.insert(name.to_owned(), per_mille(waits, share).into_iter().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_taken_is_lost_and_has_no_time() {
        let paced = Paced {
            epoch_us: 0.0,
            begun_us: vec![0.0, 1000.0, 2000.0],
            done_us: vec![Some(150.0), None, Some(2300.0)],
        };
        let mut point = Point::new("rust");
        add(&mut point, &waits(&paced), 3);
        assert_eq!(point.median("lost"), Some(1.0));
        assert_eq!(point.median("p50_us"), Some(150.0));
        assert_eq!(point.median("most_us"), Some(300.0));
    }

    #[test]
    fn a_percentile_nothing_is_beyond_is_not_told() {
        let told = |count: u32, name| {
            let mut point = Point::new("rust");
            add(&mut point, &(0..count).map(f64::from).collect::<Vec<_>>(), count as usize);
            point.median(name).is_some()
        };
        assert!(told(100, "p99_us") && !told(99, "p99_us"));
        assert!(told(1000, "p999_us") && !told(999, "p999_us"));
    }
}

//! `bench --sweep`: which `max_batch_bytes` and `max_in_flight` serve a fast and a slow network.

use std::path::Path;

use serde_json::json;

use super::contestant::{self, Id};
use super::messages::{Kind, Messages};
use super::run::{self, Job, Measurement, Place};
use super::summary::Spread;
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::table;
use durstream_tests::tree::Tree;

const KIB: [usize; 7] = [16, 32, 64, 128, 256, 512, 1024];
const IN_FLIGHT: [usize; 5] = [1, 2, 3, 4, 5];
const ROUND_TRIPS_MS: [u64; 2] = [0, 50];
const ROUNDS: usize = 3;
const MOST_EVENTS: usize = 1_000_000;
/// On a slow network a run takes about so many round trips.
const SLOW_TRIPS: usize = 20;
const EVENT_BYTES: usize = 101;
/// A pair is good where it has so much of the best one's rate.
const GOOD_PART: f64 = 0.8;

#[derive(Clone, Copy, PartialEq)]
struct Pair {
    kib: usize,
    in_flight: usize,
}

impl Pair {
    fn all() -> Vec<Self> {
        let of = |kib| IN_FLIGHT.map(|in_flight| Pair { kib, in_flight });
        KIB.into_iter().flat_map(of).collect()
    }

    fn options(self) -> Vec<String> {
        vec![
            format!("max_batch_bytes={}", self.kib * 1024),
            format!("max_in_flight={}", self.in_flight),
        ]
    }

    fn events(self, round_trip_ms: u64) -> usize {
        match round_trip_ms {
            0 => MOST_EVENTS,
            _ => (self.kib * 1024 * self.in_flight / EVENT_BYTES * SLOW_TRIPS).min(MOST_EVENTS),
        }
    }
}

/// What all pairs did with one round trip.
struct Sweep {
    round_trip_ms: u64,
    rates: Vec<(Pair, Spread)>,
    /// The part of the requests that repeated a body, in the same order.
    repeated: Vec<f64>,
}

impl Sweep {
    fn best(&self) -> f64 {
        self.rates.iter().map(|(_, rate)| rate.median).fold(0.0, f64::max)
    }

    fn is_good(&self, pair: Pair) -> bool {
        let own = self.rates.iter().find(|(known, _)| *known == pair);
        own.is_some_and(|(_, rate)| rate.median >= GOOD_PART * self.best())
    }
}

pub(crate) fn sweep(tree: &Tree, json: Option<&Path>) -> Result<u8> {
    let messages = Messages::make(tree, Kind::Json)?;
    let mut sweeps = Vec::new();
    for round_trip_ms in ROUND_TRIPS_MS {
        let place = Place { tree, round_trip_ms };
        let sweep = measure(&place, &messages)?;
        show(&sweep);
        sweeps.push(sweep);
    }
    let good = good_pairs(&sweeps);
    let names = good.iter().map(|pair| format!("{} KiB x {}", pair.kib, pair.in_flight));
    let names = names.collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() { "no pair" } else { &names };
    console::line(&format!("Within a fifth of the best everywhere: {names}."));
    if let Some(file) = json {
        let rates = sweeps.iter().flat_map(|sweep| {
            sweep.rates.iter().zip(&sweep.repeated).map(|((pair, rate), repeated)| {
                json!({
                    "round_trip_ms": sweep.round_trip_ms,
                    "max_batch_bytes": pair.kib * 1024,
                    "max_in_flight": pair.in_flight,
                    "bodies_sent_twice_part": repeated,
                    "events_per_second": { "median": rate.median, "low": rate.low, "high": rate.high },
                })
            })
        });
        let text = json!({ "rounds": ROUNDS, "rows": rates.collect::<Vec<_>>() });
        std::fs::write(file, format!("{text:#}\n")).context(file.display())?;
    }
    Ok(0)
}

fn measure(place: &Place<'_>, messages: &Messages) -> Result<Sweep> {
    let rust = contestant::of(place.tree, Id::Rust, None)?;
    let pairs = Pair::all();
    let mut runs = vec![Vec::new(); pairs.len()];
    for round in 1..=ROUNDS {
        for (pair, runs) in pairs.iter().zip(&mut runs) {
            let (kib, in_flight, ms) = (pair.kib, pair.in_flight, place.round_trip_ms);
            console::status(&format!(
                "  round {round} of {ROUNDS} at {ms} ms: {kib} KiB x {in_flight}"
            ));
            let events = pair.events(place.round_trip_ms);
            let kind = Kind::Json.name();
            let job = Job {
                messages,
                kind,
                events,
                mode: "stream",
                options: pair.options(),
                limit: run::LIMIT,
            };
            if let Measurement::Stream(done) = run::run(place, &rust, &job)?.result {
                let repeated = done.repeats as f64 / done.requests as f64;
                runs.push((events as f64 / done.seconds, repeated));
            }
        }
    }
    let mut sweep =
        Sweep { round_trip_ms: place.round_trip_ms, rates: Vec::new(), repeated: Vec::new() };
    for (pair, runs) in pairs.into_iter().zip(runs) {
        let rate = Spread::of(runs.iter().map(|(rate, _)| *rate));
        let repeated = Spread::of(runs.iter().map(|(_, repeated)| *repeated));
        if let (Some(rate), Some(repeated)) = (rate, repeated) {
            sweep.rates.push((pair, rate));
            sweep.repeated.push(repeated.median);
        }
    }
    Ok(sweep)
}

/// A line per size, a column per number of requests.
fn show(sweep: &Sweep) {
    let titles = IN_FLIGHT.map(|in_flight| format!("{in_flight} in flight"));
    let mut headings = vec!["M events/s"];
    headings.extend(titles.iter().map(String::as_str));
    let cell = |pair: Pair| {
        let at = sweep.rates.iter().position(|(known, _)| *known == pair);
        let rate = at.map_or(0.0, |at| sweep.rates[at].1.median) / 1e6;
        let repeated = at.map_or(0.0, |at| sweep.repeated[at]) * 100.0;
        let mark = if sweep.is_good(pair) { "*" } else { " " };
        format!("{rate:.3}{mark} {repeated:>3.0}%")
    };
    let row = |kib| {
        let cells = IN_FLIGHT.map(|in_flight| cell(Pair { kib, in_flight }));
        [vec![format!("{kib} KiB")], cells.to_vec()].concat()
    };
    let rows: Vec<Vec<String>> = KIB.into_iter().map(row).collect();
    let ms = sweep.round_trip_ms;
    console::status("");
    console::line(&format!(
        "\n{ms} ms added to the round trip: events/s (* within a fifth of the best), bodies sent twice.\n"
    ));
    console::line(&table::render(&headings, &rows));
}

fn good_pairs(sweeps: &[Sweep]) -> Vec<Pair> {
    let is_good = |pair: &Pair| sweeps.iter().all(|sweep| sweep.is_good(*pair));
    Pair::all().into_iter().filter(is_good).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_pair_is_within_a_fifth_of_the_best_everywhere() {
        let sweep = |rates: [f64; 3]| {
            let rate = |median| Spread { median, low: median, high: median };
            let rates = Pair::all().into_iter().zip(rates.map(rate)).collect();
            Sweep { round_trip_ms: 0, rates, repeated: Vec::new() }
        };
        let good = good_pairs(&[sweep([10.0, 8.0, 9.0]), sweep([3.9, 4.0, 5.0])]);
        let in_flight: Vec<usize> = good.iter().map(|pair| pair.in_flight).collect();
        assert_eq!(in_flight, [2, 3]);
        assert_eq!(good[0].kib, 16);
    }
}

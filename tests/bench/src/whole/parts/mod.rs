//! The parts of the report: each measures one thing, of everybody who can take part in it.

mod calls;
mod cost;
mod latency;
mod memory;
mod outage;
mod profile;
mod start;
mod streams;
mod throughput;

use super::lab::Lab;
use super::store::Point;
use crate::contestant::Id;
use durstream_tests::failure::Result;

/// One part.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// Who can take part in it.
    pub(crate) who: &'static [Id],
    pub(crate) measure: fn(&Lab<'_>) -> Result<Vec<Point>>,
}

const WITHOUT_CEILING: [Id; 9] = [
    Id::Rust,
    Id::C,
    Id::Node,
    Id::Python,
    Id::UpstreamRust,
    Id::UpstreamGo,
    Id::NpmClient,
    Id::UpstreamPython,
    Id::Librdkafka,
];

/// Those who write to durable streams.
const STREAM_CLIENTS: [Id; 8] = [
    Id::Rust,
    Id::C,
    Id::Node,
    Id::Python,
    Id::UpstreamRust,
    Id::UpstreamGo,
    Id::NpmClient,
    Id::UpstreamPython,
];

/// In the order of the report.
pub(crate) const ALL: [Part; 9] = [
    Part { name: "throughput", who: &Id::WHOLE, measure: throughput::measure },
    Part { name: "latency", who: &WITHOUT_CEILING, measure: latency::measure },
    Part { name: "memory", who: &STREAM_CLIENTS, measure: memory::measure },
    Part { name: "streams", who: &STREAM_CLIENTS, measure: streams::measure },
    Part { name: "outage", who: &STREAM_CLIENTS, measure: outage::measure },
    Part { name: "start", who: &STREAM_CLIENTS, measure: start::measure },
    Part { name: "cost", who: &Id::OURS, measure: cost::measure },
    Part { name: "calls", who: &[Id::Rust, Id::Bare], measure: calls::measure },
    Part { name: "profile", who: &[Id::Rust, Id::Bare], measure: profile::measure },
];

pub(crate) use calls::{ACCEPT, IDLE, INSTRUCTIONS, UPSERT};
pub(crate) use calls::{build as build_benchmarks, kept as kept_instructions};
pub(crate) use latency::{RATES, ROUND_TRIPS_MS};
pub(crate) use outage::OUTAGE;
pub(crate) use profile::{ALL as WHOLE_COUNT, CALLS, CRATES, FUNCTIONS, SIDES, SLEEPS};
pub(crate) use start::{FIRST, IMPORT, SIZE};
pub(crate) use streams::STREAMS;
pub(crate) use throughput::{FIELDS, SIZES};

pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|part| part.name).collect()
}

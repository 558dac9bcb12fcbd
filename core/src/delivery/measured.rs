//! What the producers of a process show of themselves to those who watch it.

use std::sync::Arc;

use crate::delivery::engine::Engine;
use crate::delivery::open::all;
use crate::stats::merged::merged;
use crate::stats::prometheus::{Exposition, text};
use crate::stats::signals::{Attribute, Observation, Signal, attributes_of, signals};
use crate::stats::{Counts, Measured, Stats};

/// A producer of this process, with what it counts and measures.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProducerStats {
    /// The stream's URL, without user info and query.
    pub stream: Arc<str>,
    /// The producer id as sent.
    pub producer_id: String,
    /// The name of its state.
    pub state: &'static str,
    /// What it counts and measures, in one consistent snapshot.
    pub stats: Stats,
}

/// What every producer of this process counts and measures, those that append through a
/// [`DurableStream`](crate::DurableStream) too. A producer is among them as long as somebody holds it.
/// Producers of one stream and one id are one: their counters are added.
pub fn all_stats() -> Vec<ProducerStats> {
    let of = |one: Measured| ProducerStats {
        stats: Stats::of(one.counts, one.meters.as_deref()),
        stream: one.stream,
        producer_id: one.producer_id,
        state: one.state,
    };
    let all = all().iter().map(|engine| engine.measured()).collect();
    merged(all).into_iter().map(of).collect()
}

/// Every instrument for OpenTelemetry, with what it observes of the producers of this process.
#[doc(hidden)]
pub fn observations() -> Vec<(Signal, Vec<Observation>)> {
    let all: Vec<_> = all_stats()
        .into_iter()
        .map(|one| (attributes_of(&one.stream, &one.producer_id), one))
        .collect();
    let of = |signal: Signal| {
        let of = |(attributes, one): &(Vec<Attribute>, ProducerStats)| {
            let mut observed = signal.observe(one.state, &one.stats);
            observed.iter_mut().for_each(|own| {
                own.attributes.splice(0..0, attributes.iter().cloned());
            });
            observed
        };
        let observed = all.iter().flat_map(of).collect();
        (signal, observed)
    };
    signals().into_iter().map(of).collect()
}

/// Every instrument for OpenTelemetry.
#[doc(hidden)]
pub fn opentelemetry_signals() -> Vec<Signal> {
    signals()
}

/// The text for Prometheus about all producers of this process. Producers of one stream and one id
/// are one series.
pub fn stats_prometheus(format: Exposition) -> String {
    text(all().iter().map(|engine| engine.measured()).collect(), format)
}

impl Engine {
    pub(crate) fn measured(&self) -> Measured {
        let (stream, producer_id) = (self.endpoint.shown.clone(), self.config.producer_id.clone());
        if self.is_foreign() {
            let counts = Counts::default();
            return Measured { stream, producer_id, state: "stopped", counts, meters: None };
        }
        let book = self.book();
        let (counts, meters) = (book.counts(), book.measured());
        let state = book.lifecycle.state().as_str();
        Measured { stream, producer_id, state, counts, meters }
    }

    /// The text for Prometheus about this producer.
    pub(crate) fn prometheus(&self, format: Exposition) -> String {
        text(vec![self.measured()], format)
    }
}

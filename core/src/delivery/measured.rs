//! What the producers of a process show of themselves to those who watch it.

use std::sync::Arc;

use crate::delivery::engine::Engine;
use crate::delivery::open::all;
use crate::stats::merged::merged;
use crate::stats::prometheus::{Exposition, text};
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

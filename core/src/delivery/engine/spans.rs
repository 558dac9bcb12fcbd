//! What tracing shows of a batch once it is settled: a span of its own, linked to the contexts of its
//! writes. Bindings translate it for their OpenTelemetry.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio::time::Instant;

use crate::delivery::buffer::queue::Queued;
use crate::delivery::engine::Engine;
use crate::outcome::Outcome;
use crate::protocol::trace::{TRACEPARENT, TRACESTATE, is_traceparent};
use crate::reason::Reason;
use crate::runtime::dispatcher::guarded;
use crate::runtime::fork::uncut;
use crate::runtime::lifecycle::Telling;
use crate::runtime::threads::lock;
use crate::stats::signals::{Attribute, AttributeValue, ERROR_TYPE, SENDING, attributes_of};

/// How many contexts of writes a span is linked to at most, as many as OpenTelemetry keeps unless it is
/// told otherwise.
const MAX_LINKS: usize = 128;
/// Bytes accounted for a span that waits to be told, and for each of its links.
const COST: (u64, u64) = (1024, 256);

/// The context of a trace that writes of a batch belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceContext {
    /// The trace's id, the span's, and flags, as W3C Trace Context writes them. It is well formed.
    pub traceparent: String,
    /// What tracing systems keep beside it.
    pub tracestate: Option<String>,
}

/// A batch that was settled, as a span of kind producer shows it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FinishedBatch {
    /// The span's name.
    pub name: String,
    /// When the first of its writes was accepted.
    pub started: SystemTime,
    /// When it was settled.
    pub ended: SystemTime,
    /// The attributes, by the messaging conventions.
    pub attributes: Vec<Attribute>,
    /// The contexts of its writes, each once, and not more than 128.
    pub links: Vec<TraceContext>,
    /// Why it was not delivered.
    pub error: Option<String>,
}

type Observer = Arc<dyn Fn(FinishedBatch) + Send + Sync>;

/// Locked inside [`uncut`] alone.
static OBSERVER: Mutex<Option<Observer>> = Mutex::new(None);

/// Has a function receive each batch of a producer with the option `trace`, once it is settled, on the
/// library's thread for callbacks. The last function counts.
#[doc(hidden)]
pub fn set_batch_observer(observer: impl Fn(FinishedBatch) + Send + Sync + 'static) {
    let observer: Observer = Arc::new(observer);
    let before = uncut(|| lock(&OBSERVER).replace(observer));
    drop(before); // not under the lock: it is the host's
}

impl Engine {
    /// Tells of a settled batch, where that is traced and there is somebody to tell.
    #[cold]
    pub(super) fn tell_span(self: &Arc<Self>, queued: &Queued, outcome: &Outcome) {
        // What was never read into memory has no contexts to show.
        if queued.batch.body.is_empty() {
            return;
        }
        let Some(observer) = uncut(|| lock(&OBSERVER).clone()) else { return };
        let batch = self.finished(queued, outcome);
        let cost = COST.0 + COST.1 * batch.links.len() as u64;
        self.book().reserve_anyway(cost);
        let (engine, telling) = (self.clone(), Telling::begin());
        self.runtime().dispatch(move || {
            let _until_told = telling;
            guarded(|| observer(batch));
            engine.release(cost);
        });
    }

    fn finished(&self, queued: &Queued, outcome: &Outcome) -> FinishedBatch {
        let ended = self.runtime().chance().now();
        let waited = Instant::now().saturating_duration_since(queued.enqueued.at);
        let started = ended.checked_sub(waited).unwrap_or(ended);
        let named = |(name, value): (&'static str, &'static str)| (name, value.into());
        let mut attributes = attributes_of(&self.endpoint.shown, &self.config.producer_id);
        attributes.extend(SENDING.map(named));
        let writes = AttributeValue::Whole(queued.batch.writes);
        attributes.push(("messaging.batch.message_count", writes));
        if let Some(error) = &outcome.error {
            let word = outcome.reason.map_or(error.kind().code(), Reason::as_str);
            attributes.push((ERROR_TYPE, word.into()));
        }
        let name = format!("{} {}", SENDING[0].1, self.endpoint.url.path());
        let error = outcome.error.as_ref().map(ToString::to_string);
        FinishedBatch { name, started, ended, attributes, links: links_of(queued), error }
    }
}

/// The contexts of a batch's events. Events have them as the library wrote them.
fn links_of(queued: &Queued) -> Vec<TraceContext> {
    let mark = format!("\"{TRACEPARENT}\"");
    let mut links: Vec<TraceContext> = Vec::new();
    for (_, event) in queued.batch.payloads() {
        if links.len() == MAX_LINKS {
            break;
        }
        if memchr::memmem::find(&event, mark.as_bytes()).is_none() {
            continue;
        }
        let Ok(event) = serde_json::from_slice::<serde_json::Value>(&event) else { continue };
        let header = |name: &str| event.get("headers")?.get(name)?.as_str().map(str::to_owned);
        let Some(traceparent) = header(TRACEPARENT).filter(|own| is_traceparent(own)) else {
            continue;
        };
        if links.iter().all(|own| own.traceparent != traceparent) {
            links.push(TraceContext { traceparent, tracestate: header(TRACESTATE) });
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::buffer::batch::Builder;

    #[test]
    fn each_context_is_linked_once_and_not_too_many_are() {
        let mut builder = Builder::new(true);
        let event = |n: usize| {
            let span = format!("00-0af7651916cd43dd8448eb211c80319c-{:016x}-01", n + 1);
            format!(r#"{{"headers":{{"traceparent":"{span}","tracestate":"a={n}"}}}}"#)
        };
        let others = [
            r#"{"headers":{},"value":{"traceparent":"not its own"}}"#.to_owned(),
            r#"{"headers":{"traceparent":"none"}}"#.to_owned(),
        ];
        let twice = (0..200).flat_map(|n| [event(n), event(n)]);
        for (id, event) in others.into_iter().chain(twice).enumerate() {
            builder.push(1 + id as u64, &[event.as_bytes()]);
        }
        let links = links_of(&Queued::new(builder.seal().unwrap()));
        assert_eq!(links.len(), MAX_LINKS);
        assert!(links[127].traceparent.ends_with("-0000000000000080-01"), "{links:?}");
        assert_eq!(links[1].tracestate.as_deref(), Some("a=1"));
    }
}

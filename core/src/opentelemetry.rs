//! Metrics of all producers of this process, and spans of their batches, for OpenTelemetry, under the
//! names that the Python and the npm package have, too. `docs/metrics.md` says what each instrument
//! means.
//!
//! The instruments are read when the SDK collects, and cost nothing else; spans are made of producers
//! with the option `trace` alone. This is version 0.33 of the crate `opentelemetry`: an application has
//! to use the same one.
//!
//! ```
//! // Once the application has set its providers:
//! durstream_core::opentelemetry::observe();
//! durstream_core::opentelemetry::trace_batches();
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use opentelemetry::metrics::{AsyncInstrument, Meter, MeterProvider};
use opentelemetry::trace::{
    Link, Span, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue, Value};

use crate::delivery::engine::spans::{FinishedBatch, TraceContext, set_batch_observer};
use crate::delivery::measured::observations;
use crate::runtime::threads::lock;
use crate::stats::MetricKind;
use crate::stats::signals::{AttributeValue, Observation, Signal, signals};

/// Makes the instruments of all producers of this process, with the global meter provider. Once, after
/// the application has set that.
pub fn observe() {
    observe_with(&*opentelemetry::global::meter_provider());
}

/// Makes the instruments of all producers of this process with a meter provider, once for each.
pub fn observe_with(provider: &(impl MeterProvider + ?Sized)) {
    let meter = provider.meter_with_scope(scope());
    let shared = Arc::new(Shared::default());
    signals().into_iter().for_each(|signal| make(&meter, signal, shared.clone()));
}

/// Makes a span of each settled batch of the producers with the option `trace`, of kind producer and
/// linked to the spans that its writes were made in, with the global tracer provider. Once, after the
/// application has set that.
pub fn trace_batches() {
    trace_batches_with(&opentelemetry::global::tracer_provider());
}

/// [`trace_batches`] with a tracer provider. The last one that was given counts.
pub fn trace_batches_with<P>(provider: &P)
where
    P: TracerProvider<Tracer: Send + Sync + 'static>,
{
    let tracer = provider.tracer_with_scope(scope());
    set_batch_observer(move |batch| show(&tracer, batch));
}

fn show(tracer: &impl Tracer, batch: FinishedBatch) {
    let links = batch.links.iter().filter_map(|link| Some(Link::with_context(context_of(link)?)));
    let builder = tracer
        .span_builder(batch.name)
        .with_kind(SpanKind::Producer)
        .with_start_time(batch.started)
        .with_attributes(batch.attributes.iter().map(key_value))
        .with_links(links.collect());
    // A trace of its own: its writes may be of several.
    let mut span = tracer.build_with_context(builder, &Context::new());
    if let Some(error) = batch.error {
        span.set_status(Status::error(error));
    }
    span.end_with_timestamp(batch.ended);
}

fn context_of(link: &TraceContext) -> Option<SpanContext> {
    let mut parts = link.traceparent.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
    let state = link.tracestate.as_ref().and_then(|state| state.parse::<TraceState>().ok());
    Some(SpanContext::new(trace, span, flags, true, state.unwrap_or_default()))
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("durstream").with_version(env!("CARGO_PKG_VERSION")).build()
}

fn key_value((name, value): &(&'static str, AttributeValue)) -> KeyValue {
    let value: Value = match value {
        AttributeValue::Text(text) => text.clone().into(),
        AttributeValue::Whole(number) => i64::try_from(*number).unwrap_or(i64::MAX).into(),
        AttributeValue::Number(number) => (*number).into(),
    };
    KeyValue::new(*name, value)
}

/// One snapshot of all producers for all instruments of one collection.
#[derive(Default)]
struct Shared(Mutex<Snapshot>);

#[derive(Default)]
struct Snapshot {
    seen: HashSet<String>,
    all: HashMap<String, Vec<Observation>>,
}

impl Shared {
    /// What an instrument observes; of a new snapshot where it has had this one: another collection
    /// begins.
    fn of(&self, name: &str) -> Vec<Observation> {
        let mut snapshot = lock(&self.0);
        if snapshot.seen.is_empty() || snapshot.seen.contains(name) {
            snapshot.seen.clear();
            let all = observations().into_iter();
            snapshot.all = all.map(|(signal, observed)| (signal.name, observed)).collect();
        }
        snapshot.seen.insert(name.to_owned());
        snapshot.all.remove(name).unwrap_or_default()
    }
}

fn make(meter: &Meter, signal: Signal, shared: Arc<Shared>) {
    let Signal { name, kind, is_whole, unit, meaning, .. } = signal;
    let own = name.clone();
    macro_rules! instrument {
        ($maker:ident, $number:ty) => {{
            let observed = move |to: &dyn AsyncInstrument<$number>| {
                for Observation { value, attributes, .. } in shared.of(&own) {
                    let attributes: Vec<_> = attributes.iter().map(key_value).collect();
                    to.observe(value as $number, &attributes);
                }
            };
            let made = meter.$maker(name).with_unit(unit).with_description(meaning);
            let _kept_by_the_meter = made.with_callback(observed).build();
        }};
    }
    match (kind, is_whole) {
        (MetricKind::Counter, true) => instrument!(u64_observable_counter, u64),
        (MetricKind::Counter, false) => instrument!(f64_observable_counter, f64),
        (_, true) => instrument!(u64_observable_gauge, u64),
        (_, false) => instrument!(f64_observable_gauge, f64),
    }
}

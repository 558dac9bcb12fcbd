//! Metrics of all producers of this process for OpenTelemetry, under the names that the Python and the
//! npm package have, too. `docs/metrics.md` says what each instrument means.
//!
//! The instruments are read when the SDK collects, and cost nothing else. This is version 0.33 of the
//! crate `opentelemetry`: an application has to use the same one.
//!
//! ```
//! // Once the application has set its meter provider:
//! durstream_core::opentelemetry::observe();
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use opentelemetry::metrics::{AsyncInstrument, Meter, MeterProvider};
use opentelemetry::{InstrumentationScope, KeyValue, Value};

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
            drop(made.with_callback(observed).build()); // the meter keeps it
        }};
    }
    match (kind, is_whole) {
        (MetricKind::Counter, true) => instrument!(u64_observable_counter, u64),
        (MetricKind::Counter, false) => instrument!(f64_observable_counter, f64),
        (_, true) => instrument!(u64_observable_gauge, u64),
        (_, false) => instrument!(f64_observable_gauge, f64),
    }
}

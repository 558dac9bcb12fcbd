//! The instruments for OpenTelemetry, as its SDK collects them.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::collections::BTreeMap;

use durstream_core::opentelemetry::{observe, observe_with};
use durstream_core::testing::Recorder;
use durstream_core::{
    Callbacks, DurableStream, IdempotentProducer, Options, Reason, opentelemetry_signals,
};
use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

type Attributes = BTreeMap<String, String>;

/// The unit of each instrument, and its points by their attributes.
type Collected = BTreeMap<String, (String, Vec<(f64, Attributes)>)>;

fn attributes<'a>(found: impl Iterator<Item = &'a KeyValue>) -> Attributes {
    found.map(|own| (own.key.to_string(), own.value.to_string())).collect()
}

fn points(data: &AggregatedMetrics) -> Vec<(f64, Attributes)> {
    macro_rules! of {
        ($data:expr) => {
            match $data {
                MetricData::Gauge(gauge) => gauge
                    .data_points()
                    .map(|point| (point.value() as f64, attributes(point.attributes())))
                    .collect(),
                MetricData::Sum(sum) => sum
                    .data_points()
                    .map(|point| (point.value() as f64, attributes(point.attributes())))
                    .collect(),
                other => panic!("{other:?}"),
            }
        };
    }
    match data {
        AggregatedMetrics::F64(data) => of!(data),
        AggregatedMetrics::U64(data) => of!(data),
        AggregatedMetrics::I64(data) => of!(data),
    }
}

struct Observed {
    exporter: InMemoryMetricExporter,
    provider: SdkMeterProvider,
}

impl Observed {
    fn start() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        Observed { exporter, provider }
    }

    fn collect(&self) -> Collected {
        self.exporter.reset();
        self.provider.force_flush().unwrap();
        let mut found = Collected::new();
        for resource in self.exporter.get_finished_metrics().unwrap() {
            for scope in resource.scope_metrics() {
                let (name, version) = (scope.scope().name(), scope.scope().version());
                assert_eq!((name, version), ("durstream", Some(env!("CARGO_PKG_VERSION"))));
                for metric in scope.metrics() {
                    let own = (metric.unit().to_owned(), points(metric.data()));
                    assert!(found.insert(metric.name().to_owned(), own).is_none(), "{metric:?}");
                }
            }
        }
        found
    }
}

/// The points of a producer.
fn of(found: &Collected, name: &str, id: &str) -> Vec<(f64, Attributes)> {
    let (_, points) = found.get(name).unwrap_or_else(|| panic!("no {name}"));
    let is_its = |own: &&(f64, Attributes)| own.1["messaging.client.id"] == id;
    points.iter().filter(is_its).cloned().collect()
}

fn producer(recorder: &Recorder, id: &str) -> IdempotentProducer {
    let options = Options::new().url(format!("{}/{id}", recorder.url())).content_type("text/plain");
    let stream = DurableStream::create(options, "").wait().unwrap();
    let callbacks =
        Callbacks { on_error: Some(std::sync::Arc::new(|_| ())), ..Callbacks::default() };
    IdempotentProducer::open_with(&stream, id, Options::new(), callbacks).unwrap()
}

#[test]
fn what_producers_count_is_collected() {
    let (recorder, observed) = (Recorder::new(), Observed::start());
    observe_with(&observed.provider);
    let producer = producer(&recorder, "observed");
    for _ in 0..7 {
        producer.append("x").unwrap();
    }
    producer.flush().wait().unwrap();
    // Each collection has a snapshot of its own.
    for _ in 0..2 {
        let stats = producer.stats();
        let found = observed.collect();
        let names: Vec<_> = opentelemetry_signals().into_iter().map(|own| own.name).collect();
        assert_eq!(found.keys().collect::<Vec<_>>(), {
            let mut names: Vec<_> = names.iter().collect();
            names.sort();
            names
        });
        let [(sent, attributes)] = &of(&found, "messaging.client.sent.messages", "observed")[..]
        else {
            panic!("{found:?}")
        };
        assert_eq!(*sent, stats.delivered as f64);
        for (name, value) in [
            ("messaging.system", "durable_streams"),
            ("messaging.operation.name", "append"),
            ("messaging.operation.type", "send"),
            ("messaging.destination.name", "/observed"),
        ] {
            assert!(attributes[name].ends_with(value), "{attributes:?}");
        }
        assert!(!attributes["server.address"].is_empty(), "{attributes:?}");
        let answers = of(&found, "durstream.answers", "observed");
        let class = |own: &str| answers.iter().find(|(_, a)| a["class"] == own).unwrap().0;
        assert_eq!(class("2xx"), stats.answers_2xx as f64);
        let states = of(&found, "durstream.state", "observed");
        assert_eq!((states[0].0, &*states[0].1["state"]), (1.0, "ready"));
        let latency = stats.delivery_latency_us;
        let count = of(&found, "durstream.delivery_latency.count", "observed")[0].0;
        let sum = of(&found, "durstream.delivery_latency.sum", "observed")[0].0;
        assert_eq!((count, sum), (latency.count as f64, latency.sum as f64 / 1e6));
        let quantiles = of(&found, "durstream.delivery_latency", "observed");
        let half = quantiles.iter().find(|(_, a)| a["quantile"] == "0.5").unwrap().0;
        assert_eq!((quantiles.len(), half), (4, latency.p50 as f64 / 1e6));
        assert_eq!(found["durstream.delivery_latency"].0, "s");
        producer.append("again").unwrap();
        producer.flush().wait().unwrap();
    }
}

#[test]
fn what_is_not_delivered_has_its_reason_as_error_type() {
    let (recorder, observed) = (Recorder::new(), Observed::start());
    opentelemetry::global::set_meter_provider(observed.provider.clone());
    observe();
    recorder.reject("bad", Reason::Refused).unwrap();
    let producer = producer(&recorder, "errors");
    producer.append("bad").unwrap();
    producer.flush().wait().unwrap_err();
    let points = of(&observed.collect(), "messaging.client.sent.messages", "errors");
    let reasons: Vec<_> =
        points.iter().map(|(value, own)| (own.get("error.type").cloned(), *value)).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons.contains(&(None, 0.0)) && reasons.contains(&(Some("refused".into()), 1.0)));
}

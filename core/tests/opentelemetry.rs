//! The instruments for OpenTelemetry, as its SDK collects them.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::collections::BTreeMap;

use durstream_core::opentelemetry::{observe, observe_with, trace_batches_with};
use durstream_core::testing::Recorder;
use durstream_core::{
    Callbacks, Collection, DurableStream, EventOptions, IdempotentProducer, Options, Reason,
    StateProducer, StreamSchema, Validator, callbacks_done, create_durable_stream_with,
    opentelemetry_signals,
};
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};

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

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn state_producer(recorder: &Recorder, id: &str, trace: bool) -> StateProducer {
    let options = Options::new().url(format!("{}/{id}", recorder.url())).producer_id(id);
    let schema =
        StreamSchema::new().collection("orders", Collection::new("order", "id", Validator::Any));
    let callbacks =
        Callbacks { on_error: Some(std::sync::Arc::new(|_| ())), ..Callbacks::default() };
    create_durable_stream_with(options.trace(trace).linger_ms(60_000u64), schema, callbacks)
        .unwrap()
}

/// Writes one change, in a span of the application's.
fn write(producer: &StateProducer, key: &str, span: u64) {
    let parent = format!("00-{TRACE}-{span:016x}-01");
    let options = EventOptions {
        traceparent: Some(&parent),
        tracestate: Some("a=1"),
        ..EventOptions::default()
    };
    let value = serde_json::json!({ "id": key }).to_string();
    producer.upsert_json_with("orders", value.as_bytes(), options).unwrap();
}

/// The spans of a producer. They come as callbacks do.
fn spans(exporter: &InMemorySpanExporter, id: &str) -> Vec<(SpanData, Attributes)> {
    callbacks_done().wait().unwrap();
    let all = exporter.get_finished_spans().unwrap().into_iter();
    let all = all.map(|span| (attributes(span.attributes.iter()), span));
    all.filter(|(own, _)| own["messaging.client.id"] == id).map(|(own, span)| (span, own)).collect()
}

#[test]
fn each_batch_is_a_span_that_is_linked_to_those_of_its_writes() {
    let (recorder, exporter) = (Recorder::new(), InMemorySpanExporter::default());
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    trace_batches_with(&provider);
    let traced = state_producer(&recorder, "traced", true);
    let began = tokio::time::Instant::now();
    for (key, span) in [("1", 1), ("2", 2), ("3", 2)] {
        write(&traced, key, span);
    }
    traced.flush().wait().unwrap();
    let [(span, own)] = &spans(&exporter, "traced")[..] else { panic!("one batch is one span") };
    assert_eq!((&*span.name, &span.span_kind), ("append /v1/stream/traced", &SpanKind::Producer));
    assert_eq!((&span.status, span.parent_span_id.to_string()), (&Status::Unset, "0".repeat(16)));
    for (name, value) in [
        ("messaging.system", "durable_streams"),
        ("messaging.operation.name", "append"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", "/v1/stream/traced"),
        ("messaging.batch.message_count", "3"),
    ] {
        assert_eq!(own[name], value);
    }
    let links: Vec<_> = span.links.iter().map(|link| &link.span_context).collect();
    let ids: Vec<_> = links.iter().map(|context| context.span_id().to_string()).collect();
    assert_eq!(ids, [format!("{:016x}", 1), format!("{:016x}", 2)], "each context once");
    assert!(links.iter().all(|own| own.trace_id().to_string() == TRACE && own.is_remote()));
    assert!(links.iter().all(|own| own.is_sampled() && own.trace_state().header() == "a=1"));
    let slack = std::time::Duration::from_millis(10); // the wall's clock is not the one of waits
    let took = span.end_time.duration_since(span.start_time).unwrap();
    assert!(took <= began.elapsed() + slack, "{took:?}");

    recorder.reject("bad", Reason::Refused).unwrap();
    write(&traced, "bad", 3);
    traced.flush().wait().unwrap_err();
    let (span, own) = spans(&exporter, "traced").pop().unwrap();
    assert_eq!(own["error.type"], "refused");
    assert!(matches!(&span.status, Status::Error { description } if !description.is_empty()));

    let untraced = state_producer(&recorder, "untraced", false);
    write(&untraced, "1", 1);
    untraced.flush().wait().unwrap();
    assert!(spans(&exporter, "untraced").is_empty());
}

//! What the log has at each level, with which fields, and where it goes: in a process of its own,
//! since there is one log.
#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

mod common;

use std::sync::{Arc, Mutex};

use common::wait_until;
use durstream_core::testing::Recorder;
use durstream_core::{
    DurableStream, IdempotentProducer, LogLevel, LogLine, Options, Reason, set_log_level,
    set_log_sink,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// What a subscriber of the application's sees: target, level, fields.
type Seen = Arc<Mutex<Vec<(String, Level, String)>>>;

struct Application(Seen);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

impl Subscriber for Application {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("durstream") && *metadata.level() <= Level::DEBUG
    }
    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::DEBUG)
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let metadata = event.metadata();
        let seen = (metadata.target().to_owned(), *metadata.level(), fields.0);
        self.0.lock().unwrap().push(seen);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Writes one message under an id, and lets go.
fn write(recorder: &Recorder, id: &str) {
    let url = format!("{}/levels", recorder.url()).replace("://", "://user:secret@");
    let options = Options::new().url(url).content_type("text/plain").param("token", "hidden");
    let stream = DurableStream::create(options, "").wait().unwrap();
    let producer = IdempotentProducer::open(&stream, id, Options::new()).unwrap();
    producer.append("what was written").unwrap();
    producer.flush().wait().unwrap();
    producer.detach().wait().unwrap();
}

/// One after the other: there is one log.
#[test]
fn the_log_has_what_it_was_asked_for() {
    let recorder = Recorder::new();
    the_application_has_it_by_tracing(&recorder);
    a_function_has_it_by_level(&recorder);
    a_log_may_write_with_the_library(&recorder);
}

fn the_application_has_it_by_tracing(recorder: &Recorder) {
    let seen = Seen::default();
    tracing::subscriber::set_global_default(Application(seen.clone())).unwrap();
    write(recorder, "traced");
    let has = |text: &str| {
        seen.lock().unwrap().iter().any(|(target, level, fields)| {
            target == "durstream::producer" && *level == Level::DEBUG && fields.contains(text)
        })
    };
    wait_until("the end of the producer", || has("traced: stopping -> stopped"));
    assert!(has("producer_id=\"traced\"") && has("epoch=") && has("/levels\""));
    assert!(has("message=producer traced: connecting -> ready"));
}

fn lines_of(level: Option<LogLevel>, recorder: &Recorder, id: &str) -> Vec<LogLine> {
    let lines: Arc<Mutex<Vec<LogLine>>> = Arc::default();
    let log = lines.clone();
    set_log_sink(move |line| log.lock().unwrap().push(line.clone()));
    set_log_level(level);
    write(recorder, id);
    let has_ended = || lines.lock().unwrap().iter().any(|l| l.text().ends_with("-> stopped"));
    if level >= Some(LogLevel::Debug) {
        wait_until("the end of the producer", has_ended);
    }
    durstream_core::drain_log();
    let lines = lines.lock().unwrap().clone();
    for line in &lines {
        let shown = format!("{line:?}");
        for secret in ["secret", "hidden", "what was written"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    lines.into_iter().filter(|line| line.producer_id() == Some(id)).collect()
}

fn a_function_has_it_by_level(recorder: &Recorder) {
    for level in [None, Some(LogLevel::Error), Some(LogLevel::Warning), Some(LogLevel::Info)] {
        let lines = lines_of(level, recorder, "quiet");
        assert!(lines.is_empty(), "{level:?}: {lines:?}");
    }
    let steps = lines_of(Some(LogLevel::Debug), recorder, "steps");
    assert!(steps.iter().all(|line| line.level() == LogLevel::Debug), "{steps:?}");
    let texts: Vec<_> = steps.iter().map(LogLine::text).collect();
    let epoch = steps[0].epoch().unwrap();
    assert_eq!(texts[0], format!("producer steps: begins with epoch {epoch}"));
    for step in ["connecting -> ready", "ready -> stopping", "stopping -> stopped"] {
        let told = texts.iter().filter(|text| **text == format!("producer steps: {step}"));
        assert_eq!(told.count(), 1, "{texts:?}");
    }
    let requests = lines_of(Some(LogLevel::Trace), recorder, "requests");
    let traced = |text: &str| {
        requests.iter().any(|l| l.level() == LogLevel::Trace && l.text().contains(text))
    };
    assert!(traced("sends batch 0: 1 write, 16 bytes, attempt 1"), "{requests:?}");
    assert!(traced("batch 0 was answered with 200"), "{requests:?}");
    assert!(requests[0].stream().unwrap().ends_with("/levels"));
    assert_eq!(requests[0].target(), "producer");
}

/// A log that is itself published is in the stream, and nothing waits for itself.
fn a_log_may_write_with_the_library(recorder: &Recorder) {
    let options = Options::new().url(format!("{}/published", recorder.url()));
    let stream = DurableStream::create(options.content_type("text/plain"), "").wait().unwrap();
    let log = Arc::new(IdempotentProducer::open(&stream, "log", Options::new()).unwrap());
    let own = log.clone();
    let waits = Arc::new(Mutex::new(Vec::new()));
    let noted = waits.clone();
    set_log_sink(move |line| {
        own.append(line.text()).unwrap();
        let waited = own.flush().wait();
        noted.lock().unwrap().push(waited.map_err(|error| error.reason()));
    });
    set_log_level(Some(LogLevel::Debug));
    write(recorder, "published");
    wait_until("the published log", || {
        let content = recorder.content("/published").unwrap();
        String::from_utf8_lossy(&content).contains("producer published: connecting -> ready")
    });
    let waits = std::mem::take(&mut *waits.lock().unwrap());
    assert!(!waits.is_empty());
    let deadlocks = |waited: &_| matches!(waited, Err(Some(Reason::WouldDeadlock)));
    assert!(waits.iter().all(deadlocks), "{waits:?}");
    set_log_level(None);
}

//! What the log says of twelve faults, at the level it has unless somebody sets another one: a line that
//! ends in a word of `docs/errors.md`, where the word has a row that says what to do.
//!
//! How long each line took is printed, and not asserted: a busy machine is late with everything.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]
#![allow(clippy::print_stdout, reason = "the times are what the test shows beside its result")]

#[cfg(target_os = "linux")]
mod machine;

use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

use durstream_core::{
    Collection, DurableStream, ErrorKind, IdempotentProducer, LogLevel, Options, Reason,
    StreamSchema, Validator, WriteOptions, create_durable_stream, set_log_sink,
};
use durstream_tests::network::authority::Authority;
use durstream_tests::network::front::{Front, config};
use durstream_tests::proxy::{Fault, Proxy, Rule};
use durstream_tests::{fresh_path, http, server_address, server_url};
use serde_json::json;

/// As long as a line may take before it counts as one that does not come.
const LIMIT: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

type Line = (LogLevel, String, Instant);

/// The lines of this process.
#[derive(Clone, Default)]
struct Log(Arc<(Mutex<Vec<Line>>, Condvar)>);

impl Log {
    /// There is one for each process.
    fn start() -> Self {
        let log = Log::default();
        let own = log.clone();
        set_log_sink(move |line| {
            let line = (line.level(), line.text().to_owned(), Instant::now());
            own.0.0.lock().unwrap().push(line);
            own.0.1.notify_all();
        });
        log
    }

    /// Waits for a warning or an error with these texts, and prints how long it took. Its last word has
    /// to lead to what to do.
    fn tells(&self, fault: &str, since: Instant, word: &str, texts: &[&str]) {
        let is_it = |line: &&Line| {
            let (level, text, _) = line;
            *level <= LogLevel::Warning && texts.iter().all(|part| text.contains(part))
        };
        let mut lines = self.0.0.lock().unwrap();
        let (_, text, at) = loop {
            if let Some(line) = lines.iter().find(is_it) {
                break line.clone();
            }
            let left = LIMIT.checked_sub(since.elapsed());
            let left =
                left.unwrap_or_else(|| panic!("{fault}: no line with {texts:?}: {lines:#?}"));
            lines = self.0.1.wait_timeout(lines, left).unwrap().0;
        };
        let took = at.saturating_duration_since(since);
        println!("{fault}: {} ms: {text}", took.as_millis());
        assert!(text.ends_with(&format!(" [{word}]")), "{fault}: {text}");
        println!("    {}", cure(word).unwrap_or_else(|| panic!("no row for {word}")));
    }
}

/// What `docs/errors.md` says of a word.
fn cure(word: &str) -> Option<&'static str> {
    let page = include_str!("../../../docs/errors.md");
    let row = page.lines().find(|line| line.starts_with(&format!("| `{word}` |")))?;
    row.trim_end_matches([' ', '|']).rsplit(" | ").next().filter(|cure| !cure.is_empty())
}

/// A stream of its own below a base.
fn stream(base: &str) -> Options {
    let url = format!("{}/v1/stream{}", base.trim_end_matches('/'), fresh_path("faults"));
    Options::new().url(url).content_type("text/plain")
}

/// A producer of a stream that is made first.
fn producer(base: &str, id: &str, options: Options) -> IdempotentProducer {
    let stream = DurableStream::create(stream(base), "").wait().unwrap();
    IdempotentProducer::open(&stream, id, options).unwrap()
}

/// A producer of a stream that nobody can be asked for.
fn lost(stream: Options, id: &str, options: Options) -> IdempotentProducer {
    IdempotentProducer::open(&DurableStream::connect(stream).unwrap(), id, options).unwrap()
}

/// A producer before which a fault happens to each write.
fn behind(fault: Fault, id: &str) -> (Proxy, IdempotentProducer) {
    let proxy = Proxy::start(server_address()).unwrap();
    let producer = producer(&proxy.url(), id, Options::new());
    proxy.add(Rule::new(fault).method("POST").times(0)).unwrap();
    (proxy, producer)
}

fn unauthorized() -> Fault {
    Fault::Answer { status: 401, headers: Vec::new(), body: String::new(), forward: false }
}

/// One after the other: there is one log.
#[test]
fn each_fault_leaves_a_line_that_leads_to_its_cure() {
    let log = Log::start();
    down(&log);
    slow(&log);
    no_credentials(&log);
    expired_certificate(&log);
    fenced(&log);
    full_buffer(&log);
    bad_schema(&log);
    lost_session(&log);
    no_such_name(&log);
    no_proxy(&log);
}

fn down(log: &Log) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let producer = lost(stream(&format!("http://{address}")), "down", Options::new());
    let since = Instant::now();
    producer.append("x").unwrap();
    let texts = [&*format!("cannot reach http://{address}"), "refused"];
    log.tells("server down", since, "unreachable", &texts);
    producer.stop();
}

fn slow(log: &Log) {
    let (proxy, producer) = behind(Fault::Stall { forward: true }, "slow");
    let since = Instant::now();
    producer.append("x").unwrap();
    let text = format!("no answer from {}", proxy.url());
    log.tells("server slow", since, "slow", &[&text]);
    producer.stop();
}

fn no_credentials(log: &Log) {
    let (_proxy, first) = behind(unauthorized(), "stranger");
    let since = Instant::now();
    first.append("x").unwrap();
    let texts = ["producer stranger: failed", "does not accept the credentials"];
    log.tells("401", since, "UNAUTHORIZED", &texts);

    // Where they were good before they may be again: it goes on.
    let proxy = Proxy::start(server_address()).unwrap();
    let known = producer(&proxy.url(), "known", Options::new());
    known.append("x").unwrap();
    known.flush().wait().unwrap();
    let rule = proxy.add(Rule::new(unauthorized()).method("POST").times(0)).unwrap();
    let since = Instant::now();
    known.append("x").unwrap();
    let texts = ["producer known: append failed", "401", "trying again"];
    log.tells("401 after success", since, "UNAUTHORIZED", &texts);
    proxy.remove(rule);
    assert_eq!(known.detach().wait().unwrap().delivered, 1);
}

fn expired_certificate(log: &Log) {
    let (authority, now) = (Authority::new("an authority").unwrap(), SystemTime::now());
    let pair = authority.server_between(&["localhost"], now - 2 * DAY, now - DAY).unwrap();
    let front = Front::start(server_address(), config(&pair, None).unwrap()).unwrap();
    let trusting = stream(&front.url()).ca_pem(authority.pem());
    let producer = lost(trusting, "expired", Options::new());
    let since = Instant::now();
    producer.append("x").unwrap();
    let texts = [&*format!("cannot reach {}", front.url()), "it expired at"];
    log.tells("certificate expired", since, "tls", &texts);
    let texts = ["producer expired: failed", "it expired at"];
    log.tells("certificate expired", since, "TRANSPORT", &texts);
}

fn fenced(log: &Log) {
    let producer = producer(&server_url(), "twin", Options::new());
    producer.append("x").unwrap();
    producer.flush().wait().unwrap();
    let snapshot = producer.snapshot();
    let path = producer.url().split_once("/v1/").unwrap().1.to_owned();
    let epoch = (snapshot.epoch + 1).to_string();
    let headers = [
        ("Content-Type", "text/plain"),
        ("Producer-Id", "twin"),
        ("Producer-Epoch", &*epoch),
        ("Producer-Seq", "0"),
    ];
    let answer = http::send(server_address(), "POST", &format!("/v1/{path}"), &headers, b"y");
    assert!(answer.unwrap().status < 300);
    let since = Instant::now();
    producer.append("z").unwrap();
    let texts = ["producer twin: fenced", "took over"];
    log.tells("fenced", since, "STALE_EPOCH", &texts);
}

fn full_buffer(log: &Log) {
    let proxy = Proxy::start(server_address()).unwrap();
    let options = Options::new().max_buffer_items(2u64).max_block_ms(60_000u64);
    let waits = Arc::new(producer(&proxy.url(), "waits", options));
    let options = Options::new().max_buffer_bytes(2_000u64).max_batch_bytes(1_000u64);
    let refuses = producer(&proxy.url(), "refuses", options);
    proxy.add(Rule::new(Fault::Stall { forward: true }).method("POST").times(0)).unwrap();

    let since = Instant::now();
    let own = waits.clone();
    let write = move || {
        let blocking = WriteOptions { block: true, ..WriteOptions::default() };
        while own.append_with("x", blocking).is_ok() {}
    };
    let writer = std::thread::Builder::new().spawn(write).unwrap();
    let texts = ["producer waits: the buffer is full", "calls wait for room"];
    log.tells("buffer full, a call waits", since, "buffer-count-exceeded", &texts);
    waits.stop();
    writer.join().unwrap();

    let since = Instant::now();
    let error = (0..).find_map(|_| refuses.append("x".repeat(100)).err()).unwrap();
    assert_eq!(
        (error.kind(), error.reason()),
        (ErrorKind::BufferFull, Some(Reason::BufferBytesExceeded))
    );
    assert!(cure(error.kind().code()).is_some());
    let texts = ["producer refuses: a write was turned away", "the buffer is full"];
    log.tells("buffer full, a call is refused", since, "buffer-bytes-exceeded", &texts);
    refuses.stop();
}

fn bad_schema(log: &Log) {
    let schema = json!({ "type": "object", "properties": { "total": { "type": "number" } } });
    let orders = Collection::new("order", "id", Validator::JsonSchema(schema));
    let options = Options::new().stream_path(fresh_path("faults")).producer_id("schema");
    let schema = StreamSchema::new().collection("orders", orders);
    let producer = create_durable_stream(options, schema).unwrap();
    let since = Instant::now();
    let receipt = producer.upsert("orders", &json!({ "id": "1", "total": "much" })).unwrap();
    let refused = receipt.refusal().unwrap().reason.unwrap();
    assert_eq!(refused, Reason::InvalidValue);
    let texts = ["producer schema: a write was rejected", "total"];
    log.tells("bad schema", since, refused.as_str(), &texts);
    producer.close().wait().unwrap();
}

fn lost_session(log: &Log) {
    let producer = producer(&server_url(), "forgotten", Options::new());
    producer.append("x").unwrap();
    producer.flush().wait().unwrap();
    // As a server does that comes back without its memory.
    let path = format!("/v1/{}", producer.url().split_once("/v1/").unwrap().1);
    let headers = [("Content-Type", "text/plain")];
    assert!(http::send(server_address(), "DELETE", &path, &[], b"").unwrap().status < 300);
    assert!(http::send(server_address(), "PUT", &path, &headers, b"").unwrap().status < 300);
    let since = Instant::now();
    producer.append("y").unwrap();
    let texts = ["producer forgotten: the server has lost the session"];
    log.tells("session lost", since, "session-lost", &texts);
    assert_eq!(producer.detach().wait().unwrap().delivered, 1);
}

fn no_such_name(log: &Log) {
    let producer = lost(stream("http://no-such-host.invalid"), "nameless", Options::new());
    let since = Instant::now();
    producer.append("x").unwrap();
    let texts = ["cannot reach http://no-such-host.invalid"];
    log.tells("no such name", since, "no-address", &texts);
    producer.stop();
}

fn no_proxy(log: &Log) {
    let through = stream("http://streams.example").proxy("http://127.0.0.1:1");
    let producer = lost(through, "proxied", Options::new());
    let since = Instant::now();
    producer.append("x").unwrap();
    let texts = ["cannot reach http://streams.example", "the proxy http://127.0.0.1:1"];
    log.tells("proxy down", since, "proxy", &texts);
    producer.stop();
}

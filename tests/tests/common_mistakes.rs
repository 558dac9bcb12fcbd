//! The "common mistakes" of upstream's document on writing, made on purpose: each is harmless here,
//! or a clear error.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use durstream_core::{
    Callbacks, Collection, Detail, DurableStream, Error, ErrorKind, IdempotentProducer, Options,
    Reason, StateProducer, Status, StreamSchema, Validator, create_durable_stream,
    set_exit_timeout,
};
use durstream_tests::proxy::{Cut, Fault, Proxy, Rule};
use durstream_tests::readback::read_stream;
use durstream_tests::{fresh_path, server_address};
use serde_json::{Value, json};

fn create(path: &str) -> DurableStream {
    let options = Options::new().stream_path(path).content_type("application/json");
    DurableStream::create(options, "").wait().unwrap()
}

fn found(path: &str) -> Vec<Value> {
    read_stream(server_address(), path).unwrap()
}

fn numbers(range: std::ops::Range<u64>) -> Vec<Value> {
    range.map(Value::from).collect()
}

/// "Using raw append() for sustained writes": it has an identity, so its repeats are told.
#[test]
fn append_in_a_loop_doubles_nothing() {
    let path = fresh_path("loop");
    create(&path);
    let proxy = Proxy::start_seeded(server_address(), 7).unwrap();
    let options = Options::new().url(format!("{}/v1/stream{path}", proxy.url()));
    let options = options.content_type("application/json").retry_initial_delay_ms(1u64);
    let stream = DurableStream::connect(options).unwrap();
    let unavailable = |forward| Fault::Answer {
        status: 503,
        headers: vec![("Retry-After".into(), "0".into())],
        body: String::new(),
        forward,
    };
    let faults = [
        unavailable(true),
        unavailable(false),
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::CutAnswer { at: Cut::Head(12), close: true },
    ];
    for fault in faults {
        proxy.add(Rule::new(fault).method("POST").times(0).probability(0.1)).unwrap();
    }
    for n in 0..200 {
        assert!(stream.append(n.to_string()).wait().unwrap().is_delivered());
    }
    assert!(proxy.fired() > 40, "{} faults", proxy.fired());
    assert_eq!(found(&path), numbers(0..200));
}

/// A program that forgets `flush`: run by the tests below in a process of its own.
#[test]
#[ignore = "a part of the tests about forgotten flushes"]
fn forgetful_program() {
    let url = std::env::var("FORGETFUL_URL").unwrap();
    let options = Options::new().url(url).content_type("application/json");
    let end = std::env::var("FORGETFUL_END").unwrap();
    let stream = DurableStream::connect(options.idempotent(end != "plain")).unwrap();
    if end == "plain" {
        // Nobody waits for any of them, and they have no producer.
        (0..1_000).for_each(|n| drop(stream.append(n.to_string())));
        std::process::exit(0);
    }
    let producer = IdempotentProducer::open(&stream, "forgetful", Options::new()).unwrap();
    for n in 0..1_000 {
        producer.append(n.to_string()).unwrap();
    }
    if let Ok(ms) = std::env::var("FORGETFUL_EXIT_MS") {
        set_exit_timeout(Duration::from_millis(ms.parse().unwrap()));
    }
    match end.as_str() {
        "exit" => std::process::exit(0), // and nothing is dropped
        _ => drop(producer),
    }
}

fn forget(url: &str, end: &str, exit_ms: Option<&str>) -> Output {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "forgetful_program", "--include-ignored", "--nocapture"]);
    program.envs([("FORGETFUL_URL", url), ("FORGETFUL_END", end)]);
    program.envs(exit_ms.map(|ms| ("FORGETFUL_EXIT_MS", ms)));
    let output = program.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

/// "Not calling flush() before shutdown".
#[test]
#[cfg(unix)]
fn a_program_that_forgets_to_flush_loses_nothing() {
    for end in ["exit", "return", "plain"] {
        let path = fresh_path("forgetful");
        create(&path);
        let proxy = Proxy::start(server_address()).unwrap();
        proxy.add(Rule::new(Fault::Latency { ms: 100 })).unwrap(); // not done by chance
        let output = forget(&format!("{}/v1/stream{path}", proxy.url()), end, None);
        assert_eq!(found(&path), numbers(0..1_000), "{end}: {output:?}");
    }
}

/// Where that is not possible, it is said, and the program ends nevertheless.
#[test]
#[cfg(unix)]
fn what_a_program_leaves_behind_is_counted() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", silent.local_addr().unwrap());
    for end in ["exit", "return"] {
        let said = String::from_utf8(forget(&url, end, Some("100")).stderr).unwrap();
        let line = "1000 writes were still pending after 100 ms: 1000 writes to";
        assert!(said.contains(&format!("{line} {url}")), "{end}: {said}");
    }
    // Who wants no such wait gets none, and nothing is said in its place.
    let said = String::from_utf8(forget(&url, "exit", Some("0")).stderr).unwrap();
    assert!(!said.contains("still pending"), "{said}");
}

/// A callback that never ends, on the thread that every wait depends on: run by the test below in a
/// process of its own.
#[test]
#[ignore = "a part of `a_callback_that_blocks_holds_no_end_up`"]
fn blocked_program() {
    let stream = create(&fresh_path("blocked"));
    let producer = IdempotentProducer::open(&stream, "blocked", Options::new()).unwrap();
    let (blocks, blocked) = std::sync::mpsc::channel();
    let receipt = producer.append("0").unwrap();
    producer.wait(receipt.id()).on_complete(move |_| {
        blocks.send(()).unwrap();
        std::thread::sleep(Duration::from_secs(20));
        std::process::abort(); // nobody came to the end
    });
    blocked.recv().unwrap();
    producer.append("1").unwrap();
    set_exit_timeout(Duration::from_millis(50));
    std::process::exit(0);
}

#[test]
#[cfg(unix)]
fn a_callback_that_blocks_holds_no_end_up() {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "blocked_program", "--include-ignored", "--nocapture"]);
    let output = program.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("1 write was still pending"), "{said}");
}

/// "Awaiting each producer.append() call": slower, and nothing else.
#[test]
fn waiting_for_each_write_is_only_slower() {
    let path = fresh_path("awaiting");
    let producer = IdempotentProducer::open(&create(&path), "p", Options::new()).unwrap();
    for n in 0..50 {
        let receipt = producer.append(n.to_string()).unwrap();
        assert!(producer.wait(receipt.id()).wait().unwrap().is_delivered());
    }
    assert_eq!(producer.detach().wait().unwrap().delivered, 50);
    assert_eq!(found(&path), numbers(0..50));
}

/// "Passing objects to append instead of strings": they are serialised where that is asked for;
/// what is no JSON is told at the call and spoils nothing.
#[test]
fn objects_are_serialised_and_what_is_no_json_is_refused() {
    let path = fresh_path("objects");
    let stream = create(&path);
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    let object = json!({ "event": "user.created" });
    producer.append_json(&object).unwrap();
    for text in ["[object Object]", "Object {\"event\": \"user.created\"}", ""] {
        let error = producer.append(text).unwrap_err();
        assert_eq!(
            (error.kind(), error.reason()),
            (ErrorKind::Validation, Some(Reason::InvalidValue))
        );
        assert_eq!(stream.append(text).wait().unwrap_err().kind(), ErrorKind::Validation);
    }
    producer.append(object.to_string()).unwrap();
    assert_eq!(producer.detach().wait().unwrap().delivered, 2);
    assert_eq!(found(&path), [object.clone(), object]);
}

/// "Not handling StaleEpochError": the loop cannot go on unnoticed, even without a callback.
#[test]
fn a_fenced_writer_is_told_by_its_next_write() {
    let path = fresh_path("fenced");
    let stream = create(&path);
    let told = Arc::new(Mutex::new(Vec::<Error>::new()));
    let heard = told.clone();
    let callbacks = Callbacks {
        on_error: Some(Arc::new(move |failure| heard.lock().unwrap().push(failure.error))),
        ..Callbacks::default()
    };
    let worker =
        IdempotentProducer::open_with(&stream, "worker", Options::new(), callbacks).unwrap();
    worker.append("\"mine\"").unwrap();
    worker.flush().wait().unwrap();
    let other = IdempotentProducer::open(&stream, "worker", Options::new()).unwrap();
    other.append("\"theirs\"").unwrap();
    other.flush().wait().unwrap();

    let accepted = worker.append("\"late\"").unwrap(); // it cannot know yet
    let outcome = worker.wait(accepted.id()).wait().unwrap();
    assert_eq!(outcome.status, Status::Cancelled);
    let mut turned_away = 1;
    let error = loop {
        match worker.append("\"later\"") {
            Ok(receipt) => assert!(!receipt.is_accepted(), "until `on_error` was told"),
            Err(error) => break error,
        }
        turned_away += 1;
    };
    assert_eq!(error.kind(), ErrorKind::StaleEpoch);
    let Some(Detail::StaleEpoch { current_epoch }) = error.detail() else { panic!("{error:?}") };
    assert_eq!(*current_epoch, other.snapshot().epoch);
    assert!(error.message().contains("took over"), "{error}");
    let flushed = worker.flush().wait().unwrap_err();
    let Some(Detail::Delivery { undelivered, cause, .. }) = flushed.detail() else { panic!() };
    assert_eq!((*undelivered, cause.kind()), (1 + turned_away, ErrorKind::StaleEpoch));
    assert_eq!(stream.append("\"plain\"").wait().unwrap().status, Status::Delivered);
    assert_eq!(found(&path), ["mine", "theirs", "plain"]);

    // The way back is to ask for it.
    worker.restart().wait().unwrap();
    worker.append("\"again\"").unwrap();
    worker.flush().wait().unwrap();
    assert_eq!(found(&path).last(), Some(&json!("again")));
    durstream_core::flush_all(Duration::from_secs(30)).wait().unwrap();
    let kinds: Vec<_> = told.lock().unwrap().iter().map(Error::kind).collect();
    assert!(kinds.iter().all(|kind| *kind == ErrorKind::StaleEpoch), "{kinds:?}");
}

/// So it is for entities, unless another producer of the stream was opened in its place: two of one
/// process would fence each other.
#[test]
fn a_fenced_state_producer_comes_back_unless_it_was_replaced() {
    let path = fresh_path("fenced-state");
    let open = || {
        let any = Collection::new("thing", "id", Validator::Any);
        let options = Options::new().stream_path(&path).producer_id("worker");
        create_durable_stream(options, StreamSchema::new().collection("things", any)).unwrap()
    };
    let (worker, holder) = (open(), open());
    let upsert = |producer: &StateProducer, id: &str| {
        producer.upsert("things", &json!({ "id": id })).map(|receipt| receipt.id())
    };
    upsert(&worker, "a").unwrap();
    worker.flush().wait().unwrap();
    let take_over = || {
        let stream = DurableStream::connect(
            Options::new().stream_path(&path).content_type("application/json"),
        );
        let other = IdempotentProducer::open(&stream.unwrap(), "worker", Options::new()).unwrap();
        other.append(r#"{"headers":{"control":"reset"}}"#).unwrap();
        other.detach().wait().unwrap();
        let late = upsert(&worker, "late").unwrap();
        assert_eq!(worker.wait(late).wait().unwrap().reason, Some(Reason::Fenced));
        worker.flush().wait().unwrap_err();
    };
    take_over();
    assert_eq!(worker.restart().wait(), Ok(()));
    assert!(worker.is_same(&open()), "nobody opened another one");
    upsert(&holder, "b").unwrap();
    worker.flush().wait().unwrap();
    drop(holder.release());
    assert_eq!(holder.restart().wait().unwrap_err().kind(), ErrorKind::ProducerClosed);

    take_over();
    let next = open();
    assert!(!next.is_same(&worker));
    let error = worker.restart().wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProducerClosed);
    assert!(error.message().contains("another one of its stream was opened since"), "{error}");
    upsert(&next, "c").unwrap();
    next.close().wait().unwrap();
    let keys: Vec<_> = found(&path).iter().filter_map(|event| event.get("key").cloned()).collect();
    assert_eq!(keys, ["a", "b", "c"]);
}

/// "Manually managing epoch numbers": one too low is an error that names the server's.
#[test]
fn an_epoch_below_the_servers_is_an_error() {
    let path = fresh_path("epoch-low");
    let stream = create(&path);
    let before = IdempotentProducer::open(&stream, "p", Options::new().epoch(7u64)).unwrap();
    before.append("\"seven\"").unwrap();
    before.detach().wait().unwrap();
    let low = IdempotentProducer::open(&stream, "p", Options::new().epoch(2u64)).unwrap();
    low.append("\"two\"").unwrap();
    let flushed = low.flush().wait().unwrap_err();
    let Some(Detail::Delivery { delivered, undelivered, cause, .. }) = flushed.detail() else {
        panic!("{flushed:?}")
    };
    assert_eq!((*delivered, *undelivered), (0, 1));
    let Some(Detail::StaleEpoch { current_epoch }) = cause.detail() else { panic!("{cause:?}") };
    assert_eq!(*current_epoch, 7);
    assert_eq!(found(&path), ["seven"]);
}

/// The same epoch again is the same job again: what the server has is not written twice, and flush
/// counts it. Other data under it is not lost in silence either.
#[test]
fn an_epoch_used_again_says_what_was_not_written() {
    let path = fresh_path("epoch-again");
    let stream = create(&path);
    for (run, duplicates) in [(1, 0), (2, 1)] {
        let producer = IdempotentProducer::open(&stream, "p", Options::new().epoch(3u64)).unwrap();
        let receipt = producer.append(format!("\"run {run}\"")).unwrap();
        let outcome = producer.wait(receipt.id()).wait().unwrap();
        assert_eq!((outcome.is_delivered(), outcome.duplicate), (true, duplicates == 1));
        assert_eq!(producer.detach().wait().unwrap().duplicates, duplicates);
    }
    assert_eq!(found(&path), ["run 1"]);
    // Left to the producer, nothing of the kind can happen.
    for run in [3, 4] {
        let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
        producer.append(format!("\"run {run}\"")).unwrap();
        assert_eq!(producer.detach().wait().unwrap().duplicates, 0);
    }
    assert_eq!(found(&path), ["run 1", "run 3", "run 4"]);
}

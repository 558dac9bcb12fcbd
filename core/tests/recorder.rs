//! What a recorder shows and does to writes, without a server.
#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

#[cfg(unix)]
mod child;

use std::time::Duration;

use durstream_core::testing::Recorder;
use durstream_core::{
    Collection, DurableStream, ErrorKind, IdempotentProducer, Lifecycle, Options, Outcome, Reason,
    Receipt, StateProducer, Status, StreamSchema, Validator, create_durable_stream,
};
use serde_json::{Value, json};

fn options(recorder: &Recorder, path: &str) -> Options {
    Options::new().endpoints(recorder.url()).stream_path(path)
}

fn orders(options: Options) -> durstream_core::Result<StateProducer> {
    let order = Collection::new("order", "id", Validator::Any);
    create_durable_stream(
        options.producer_id("service").retry_initial_delay_ms(1u64),
        StreamSchema::new().collection("orders", order),
    )
}

fn open(recorder: &Recorder) -> StateProducer {
    orders(options(recorder, "/orders")).unwrap()
}

fn upsert(producer: &StateProducer, id: &str) -> Receipt {
    producer.upsert("orders", &json!({ "id": id })).unwrap()
}

fn outcome(producer: &StateProducer, receipt: &Receipt) -> Outcome {
    producer.wait(receipt.id()).wait().unwrap()
}

fn keys(recorder: &Recorder) -> Vec<Value> {
    recorder.events("/orders").unwrap().iter().map(|event| event["key"].clone()).collect()
}

#[test]
fn what_was_written_is_shown_since_it_was_cleared() {
    let recorder = Recorder::new();
    assert!(recorder.events("/orders").unwrap().is_empty());
    assert_eq!(recorder.content("/orders").unwrap().len(), 0);
    let producer = open(&recorder);
    upsert(&producer, "a");
    producer.flush().wait().unwrap();
    let event = r#"{"type":"order","key":"a","value":{"id":"a"},"headers":{"operation":"upsert"}}"#;
    let whole = format!("{}/orders", recorder.url());
    for path in ["orders", "/orders", whole.as_str()] {
        assert_eq!(recorder.content(path).unwrap(), format!("[{event}]"), "{path}");
    }
    // Where nothing can have been written, "nothing" would be no answer.
    for path in ["", "/", recorder.url(), "http://elsewhere/v1/stream/orders"] {
        let error = recorder.events(path).unwrap_err();
        assert_eq!(error.option_name(), Some("path"), "{path}");
    }
    recorder.clear().unwrap();
    upsert(&producer, "b");
    producer.flush().wait().unwrap();
    assert_eq!(keys(&recorder), ["b"]);
    let reader = DurableStream::connect(options(&recorder, "/orders")).unwrap().read(None).unwrap();
    let whole = reader.next_chunk().wait().unwrap().unwrap();
    assert_eq!(whole.item_count().unwrap(), 2, "the stream itself is as it was");
}

#[test]
fn bytes_have_no_events() {
    let recorder = Recorder::new();
    let bytes = options(&recorder, "/log").content_type("text/plain");
    let stream = DurableStream::create(bytes, "a").wait().unwrap();
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    producer.append("b").unwrap();
    assert_eq!(producer.detach().wait().unwrap().delivered, 1);
    assert_eq!(recorder.content("/log").unwrap(), "ab");
    assert_eq!(recorder.events("/log").unwrap_err().kind(), ErrorKind::NotSupported);
}

#[test]
fn what_is_held_is_pending_until_it_is_released() {
    let recorder = Recorder::new();
    let producer = open(&recorder);
    recorder.hold().unwrap();
    let first = upsert(&producer, "a");
    assert!(producer.wait(first.id()).wait_for(Duration::from_millis(50)).is_none());
    assert_eq!((keys(&recorder).len(), producer.snapshot().buffered_writes), (0, 1));
    recorder.release().unwrap();
    assert!(outcome(&producer, &first).is_delivered());
    assert_eq!(keys(&recorder), ["a"]);
    assert!(recorder.release().unwrap_err().message().contains("`hold` comes first"));
}

/// A request that was given up arrives all the same, as on a wire, and its repeat is known.
#[test]
fn what_is_held_for_too_long_is_repeated_and_stored_once() {
    let recorder = Recorder::new();
    let producer = orders(options(&recorder, "/orders").request_timeout_ms(20u64)).unwrap();
    upsert(&producer, "first");
    producer.flush().wait().unwrap();
    recorder.hold().unwrap();
    let held = upsert(&producer, "a");
    assert!(producer.wait(held.id()).wait_for(Duration::from_millis(100)).is_none());
    recorder.release().unwrap();
    assert!(outcome(&producer, &held).is_delivered());
    assert_eq!(keys(&recorder), ["first", "a"]);
}

#[test]
fn a_rejected_write_takes_no_neighbour_with_it() {
    for reason in [Reason::Refused, Reason::TooLarge] {
        let recorder = Recorder::new();
        let producer = open(&recorder);
        upsert(&producer, "first");
        producer.flush().wait().unwrap();
        recorder.reject("\"bad", reason).unwrap();
        recorder.hold().unwrap();
        let receipts = ["a", "bad-1", "b", "bad-2", "c"].map(|id| upsert(&producer, id));
        recorder.release().unwrap();
        let reasons = receipts.each_ref().map(|receipt| outcome(&producer, receipt).reason);
        assert_eq!(reasons, [None, Some(reason), None, Some(reason), None]);
        assert_eq!(keys(&recorder), ["first", "a", "b", "c"]);
        recorder.deliver().unwrap();
        assert!(outcome(&producer, &upsert(&producer, "bad-1")).is_delivered());
    }
}

#[test]
fn a_rejected_transaction_is_rejected_whole() {
    let recorder = Recorder::new();
    let producer = open(&recorder);
    recorder.reject("\"bad\"", Reason::Refused).unwrap();
    let mut transaction = producer.transaction(Some("tx-1")).unwrap();
    transaction.upsert("orders", &json!({ "id": "good" })).unwrap();
    transaction.upsert("orders", &json!({ "id": "bad" })).unwrap();
    let receipt = transaction.commit().unwrap().unwrap();
    assert_eq!(outcome(&producer, &receipt).reason, Some(Reason::Refused));
    assert!(outcome(&producer, &upsert(&producer, "next")).is_delivered());
    assert_eq!(keys(&recorder), ["next"]);
}

#[test]
fn refused_credentials_are_the_whole_producers() {
    let recorder = Recorder::new();
    let producer = open(&recorder);
    recorder.reject("", Reason::Unauthorized).unwrap();
    let outcome = outcome(&producer, &upsert(&producer, "a"));
    assert_eq!((outcome.status, outcome.reason), (Status::Rejected, Some(Reason::Unauthorized)));
    assert_eq!(producer.snapshot().state, Lifecycle::Failed);
}

#[test]
fn a_fenced_producer_may_claim_again_once_everything_is_delivered() {
    for acknowledged in [false, true] {
        let recorder = Recorder::new();
        let stream = options(&recorder, "/log").content_type("application/json");
        let stream = DurableStream::create(stream, "").wait().unwrap();
        let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
        if acknowledged {
            producer.append("1").unwrap();
            producer.flush().wait().unwrap();
        }
        recorder.fence().unwrap();
        let fenced = producer.append("2").unwrap();
        let outcome = producer.wait(fenced.id()).wait().unwrap();
        assert_eq!((outcome.status, outcome.reason), (Status::Cancelled, Some(Reason::Fenced)));
        let error = producer.flush().wait().unwrap_err();
        assert!(error.message().contains("took over"), "{error}");
        recorder.deliver().unwrap();
        producer.restart().wait().unwrap();
        producer.append("3").unwrap();
        producer.flush().wait().unwrap();
        let events = recorder.events("/log").unwrap();
        assert_eq!(events, if acknowledged { vec![json!(1), json!(3)] } else { vec![json!(3)] });
    }
}

#[test]
fn as_many_requests_fail_as_were_told_to() {
    let recorder = Recorder::new();
    let once = options(&recorder, "/orders").max_retries(0u64);
    let stream = DurableStream::connect(once).unwrap();
    recorder.fail(2).unwrap();
    for _ in 0..2 {
        let error = stream.head().wait().unwrap_err();
        assert_eq!((error.kind(), error.definite()), (ErrorKind::Transport, true));
    }
    assert!(!stream.head().wait().unwrap().exists);
}

#[test]
fn requests_that_fail_are_repeated_until_time_runs_out() {
    let recorder = Recorder::new();
    recorder.fail(3).unwrap();
    let producer = open(&recorder);
    let receipt = upsert(&producer, "a");
    assert!(outcome(&producer, &receipt).is_delivered());
    recorder.fail(None).unwrap();
    let short = options(&recorder, "/other").delivery_timeout_ms(100u64);
    let short = orders(short).unwrap();
    let lost = outcome(&short, &upsert(&short, "b"));
    assert_eq!((lost.status, lost.reason), (Status::Cancelled, Some(Reason::Expired)));
    let receipt = upsert(&producer, "c");
    recorder.deliver().unwrap();
    assert!(outcome(&producer, &receipt).is_delivered());
    assert_eq!(keys(&recorder), ["a", "c"]);
}

/// The same path under the same id with other options: nothing of the one is the other's.
#[test]
fn recorders_know_nothing_of_each_other() {
    let recorders = [Recorder::new(), Recorder::new()];
    let first = orders(options(&recorders[0], "/orders")).unwrap();
    let second = orders(options(&recorders[1], "/orders").strict(true)).unwrap();
    assert!(!first.is_same(&second) && first.is_same(&open(&recorders[0])));
    recorders[1].fail(None).unwrap();
    assert!(outcome(&first, &upsert(&first, "a")).is_delivered());
    assert_eq!((keys(&recorders[0]).len(), keys(&recorders[1]).len()), (1, 0));
}

#[test]
fn a_recorder_that_is_gone_holds_nothing_up_and_is_not_found_again() {
    let recorder = Recorder::new();
    let (producer, address) = (open(&recorder), options(&recorder, "/late"));
    upsert(&producer, "a");
    producer.flush().wait().unwrap();
    recorder.hold().unwrap();
    let held = upsert(&producer, "b");
    assert!(producer.wait(held.id()).wait_for(Duration::from_millis(20)).is_none());
    drop(recorder);
    assert!(outcome(&producer, &held).is_delivered(), "what is open goes on");
    assert!(outcome(&producer, &upsert(&producer, "c")).is_delivered());
    let error = orders(address.clone()).err().unwrap();
    assert_eq!(error.option_name(), Some("url"));
    assert!(error.message().contains("there is no recorder at http://recorder-"), "{error}");
    assert!(DurableStream::connect(address).is_err());
}

#[test]
fn wrong_arguments_are_named() {
    let recorder = Recorder::new();
    let error = recorder.reject("x", Reason::Fenced).unwrap_err();
    assert_eq!(error.option_name(), Some("reason"));
    assert!(error.message().contains("refused, too-large, unauthorized, not `fenced`"), "{error}");
    assert_eq!(recorder.fail(0).unwrap_err().option_name(), Some("times"));
    let mixed = format!("{}, http://127.0.0.1:1", recorder.url());
    let mixed = Options::new().endpoints(mixed).stream_path("/orders");
    assert_eq!(orders(mixed).err().unwrap().option_name(), Some("endpoints"));
    let fork = options(&recorder, "/fork").fork_from("/v1/stream/orders");
    let error = DurableStream::create(fork, "").wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSupported);
}

#[test]
#[cfg(unix)]
fn a_recorder_is_its_process_own() {
    let recorder = Recorder::new();
    let stream = DurableStream::connect(options(&recorder, "/orders")).unwrap();
    let producer = open(&recorder);
    upsert(&producer, "a");
    producer.flush().wait().unwrap();
    let said = child::in_child(move || {
        let kinds = [
            recorder.events("/orders").err().unwrap().kind(),
            recorder.clear().unwrap_err().kind(),
            recorder.hold().unwrap_err().kind(),
            recorder.deliver().unwrap_err().kind(),
            producer.flush().wait().unwrap_err().kind(),
        ];
        let opened = orders(options(&recorder, "/own")).err().unwrap();
        let inherited = stream.head().wait().unwrap_err();
        let own = Recorder::new();
        let fresh = open(&own);
        upsert(&fresh, "b");
        let works = fresh.flush().wait().is_ok();
        drop((producer, recorder));
        format!("{kinds:?} {:?} {} {works}", opened.option_name(), inherited.message())
    });
    let expected = "[Forked, Forked, Forked, Forked, Forked] Some(\"url\") head failed: the recorder \
                    was made before fork";
    assert!(said.starts_with(expected) && said.ends_with(" true"), "{said}");
}

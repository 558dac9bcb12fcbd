//! The Rust face against a real server.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use durstream_core::{
    Callbacks, Collection, Detail, DurableStream, Error, ErrorKind, IdempotentProducer, Issue,
    Lifecycle, Options, Reason, StateProducer, Status, StreamSchema, Validator,
    create_durable_stream, create_durable_stream_with,
};
use durstream_tests::readback::{read_bytes, read_stream};
use durstream_tests::{fresh_path, server_address};
use serde_json::{Value, json};

fn json_stream(path: &str) -> DurableStream {
    let options = Options::new().stream_path(path).content_type("application/json");
    DurableStream::create(options, "").wait().unwrap()
}

fn shipments(validator: Validator) -> StreamSchema {
    StreamSchema::new().collection("shipments", Collection::new("shipment", "id", validator))
}

fn state(path: &str) -> StateProducer {
    let options = Options::new().stream_path(path).producer_id("shipping-service");
    create_durable_stream(options, shipments(Validator::Any)).unwrap()
}

fn events(path: &str) -> Vec<Value> {
    read_stream(server_address(), path).unwrap()
}

#[test]
fn json_arrives_byte_for_byte() {
    let path = fresh_path("bytes");
    let producer = IdempotentProducer::open(&json_stream(&path), "p", Options::new()).unwrap();
    let messages =
        [r#"{"a" : 1,"a":2}"#, "123456789012345678901234567890", "[1,2]", "\"\\u00e9é\"", "null"];
    for message in messages {
        producer.append(message).unwrap();
    }
    assert_eq!(producer.flush().wait().unwrap().delivered, 5);
    let found = String::from_utf8(read_bytes(server_address(), &path).unwrap()).unwrap();
    assert_eq!(found, format!("[{}]", messages.join(",")));
}

#[test]
fn bytes_arrive_in_order_from_many_threads() {
    let path = fresh_path("threads");
    let options = Options::new().stream_path(&path).content_type("text/plain");
    let stream = DurableStream::create(options, "").wait().unwrap();
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let producer = &producer;
            scope.spawn(move || {
                for n in 0..500 {
                    producer.append(format!("{thread}:{n}\n")).unwrap();
                }
            });
        }
    });
    assert_eq!(producer.flush().wait().unwrap().delivered, 4_000);
    let text = String::from_utf8(read_bytes(server_address(), &path).unwrap()).unwrap();
    for thread in 0..8 {
        let prefix = format!("{thread}:");
        let own: Vec<usize> = text
            .lines()
            .filter_map(|l| l.strip_prefix(&prefix))
            .map(|n| n.parse().unwrap())
            .collect();
        assert_eq!(own, (0..500).collect::<Vec<_>>());
    }
}

#[test]
fn a_service_that_restarts_under_its_id_loses_nothing() {
    let path = fresh_path("restart");
    let mut expected = Vec::new();
    for run in 0..3 {
        let producer =
            IdempotentProducer::open(&json_stream(&path), "my-service", Options::new()).unwrap();
        for n in 0..50 {
            producer.append_json(&json!({ "run": run, "n": n })).unwrap();
            expected.push(json!({ "run": run, "n": n }));
        }
        let report = producer.detach().wait().unwrap();
        assert_eq!((report.delivered, report.duplicates), (50, 0));
    }
    assert_eq!(events(&path), expected);
}

#[test]
fn the_older_of_two_workers_hears_that_it_is_fenced() {
    let path = fresh_path("fenced");
    let stream = json_stream(&path);
    let (sender, failures) = mpsc::channel();
    let sender = Mutex::new(sender);
    let on_error = Arc::new(move |failure| sender.lock().unwrap().send(failure).unwrap());
    let old = IdempotentProducer::open_with(
        &stream,
        "worker",
        Options::new(),
        Callbacks { on_error: Some(on_error), ..Callbacks::default() },
    )
    .unwrap();
    old.append("1").unwrap();
    old.flush().wait().unwrap();
    let new = IdempotentProducer::open(&stream, "worker", Options::new()).unwrap();
    new.append("2").unwrap();
    new.flush().wait().unwrap();
    let receipt = old.append("3").unwrap();
    assert!(old.flush().wait().is_err());
    let failure = failures.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!((failure.id, &failure.payload[..]), (receipt.id(), &b"3"[..]));
    assert_eq!(failure.error.kind(), ErrorKind::StaleEpoch);
    assert_eq!(old.snapshot().state, Lifecycle::Fenced);
    // Rejected until the callback has returned, and an error from then on.
    let error = loop {
        match old.append("4") {
            Ok(receipt) => assert!(!receipt.is_accepted()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::StaleEpoch);
    assert_eq!(events(&path), [json!(1), json!(2)]);
}

#[test]
fn shared_workers_write_side_by_side() {
    let path = fresh_path("shared");
    let stream = json_stream(&path);
    let open = || IdempotentProducer::open(&stream, "worker", Options::new().shared(true)).unwrap();
    let (one, two) = (open(), open());
    for n in 0..10 {
        one.append(n.to_string()).unwrap();
        two.append(n.to_string()).unwrap();
        one.flush().wait().unwrap();
        two.flush().wait().unwrap();
    }
    assert_eq!(events(&path).len(), 20);
}

#[test]
fn close_ends_the_stream_with_its_last_message() {
    let path = fresh_path("close");
    let stream = json_stream(&path);
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    producer.append("1").unwrap();
    let closed = producer.close(Some(b"2")).wait().unwrap();
    assert!(closed.final_offset.is_some());
    assert_eq!(producer.close(None).wait().unwrap(), closed);
    assert_eq!(producer.append("3").unwrap_err().kind(), ErrorKind::ProducerClosed);
    assert_eq!(events(&path), [json!(1), json!(2)]);

    let late = IdempotentProducer::open(&stream, "late", Options::new()).unwrap();
    let receipt = late.append("4").unwrap();
    let outcome = late.wait(receipt.id()).wait().unwrap();
    assert_eq!((outcome.status, outcome.reason), (Status::Cancelled, Some(Reason::StreamClosed)));
    assert_eq!(outcome.error.unwrap().kind(), ErrorKind::StreamClosed);
}

#[test]
fn handles_append_and_close() {
    let path = fresh_path("handle");
    let stream = json_stream(&path);
    stream.append(r#"{"type":"order.created"}"#).wait().unwrap();
    let many: Vec<_> = (0..100).map(|n| stream.append(n.to_string())).collect();
    many.into_iter().for_each(|pending| drop(pending.wait().unwrap()));
    assert_eq!(events(&path).len(), 101);
    assert_eq!(
        stream.append("").wait().unwrap_err().reason(),
        Some(durstream_core::Reason::InvalidValue)
    );
    let create = |content_type| {
        DurableStream::create(Options::new().stream_path(&path).content_type(content_type), "")
            .wait()
    };
    assert_eq!(create("text/plain").unwrap_err().kind(), ErrorKind::StreamExists);
    stream.close(None).wait().unwrap();
    stream.close(None).wait().unwrap();
    for content_type in ["application/json", "text/plain"] {
        assert_eq!(create(content_type).unwrap_err().kind(), ErrorKind::StreamClosed);
    }
}

#[test]
fn upserts_and_deletes_become_events() {
    let path = fresh_path("state");
    let producer = state(&path);
    let shipment = json!({ "id": "ship_123", "status": "in_transit" });
    producer.upsert("shipments", &shipment).unwrap();
    producer.upsert("shipments", &json!({ "id": 7 })).unwrap();
    producer.delete("shipments", "ship_\"123").unwrap();
    assert_eq!(producer.close().wait().unwrap().delivered, 3);
    assert_eq!(
        events(&path),
        [
            json!({ "type": "shipment", "key": "ship_123", "value": shipment,
                "headers": { "operation": "upsert" } }),
            json!({ "type": "shipment", "key": "7", "value": { "id": 7 },
                "headers": { "operation": "upsert" } }),
            json!({ "type": "shipment", "key": "ship_\"123", "headers": { "operation": "delete" } }),
        ]
    );
}

#[test]
fn refused_writes_are_skips() {
    let path = fresh_path("skips");
    let schema = shipments(Validator::JsonSchema(json!({
        "properties": { "status": { "enum": ["created"] } }
    })));
    let options = || Options::new().stream_path(&path).producer_id("p");
    let producer = create_durable_stream(options(), schema.clone()).unwrap();
    for (collection, value, reason) in [
        ("nonsense", json!({ "id": "a" }), Reason::InvalidEntity),
        ("shipments", json!({ "status": "created" }), Reason::InvalidKey),
        ("shipments", json!({ "id": null }), Reason::InvalidKey),
        ("shipments", json!([1]), Reason::InvalidValue),
        ("shipments", json!({ "id": "a", "status": "lost" }), Reason::InvalidValue),
    ] {
        let receipt = producer.upsert(collection, &value).unwrap();
        assert!(!receipt.is_accepted() && receipt.id() == 0);
        let refusal = receipt.refusal().unwrap();
        assert_eq!((refusal.status, refusal.reason), (Status::Rejected, Some(reason)), "{value}");
    }
    let receipt = producer.delete("shipments", "").unwrap();
    assert_eq!(receipt.refusal().unwrap().reason, Some(Reason::InvalidKey));
    producer.flush().wait().unwrap();
    assert_eq!(producer.stats().refused_invalid, 6);
    producer.close().wait().unwrap();

    let strict = create_durable_stream(options().strict(true), schema).unwrap();
    let error = strict.upsert("shipments", &json!({ "id": "a", "status": "lost" })).unwrap_err();
    let Some(Detail::Validation { collection, key, issues }) = error.detail() else {
        panic!("{error:?}")
    };
    assert_eq!((collection.as_str(), key.as_deref()), ("shipments", Some("a")));
    assert_eq!(issues[0].path, "/status");
    assert!(events(&path).is_empty());
}

#[test]
fn functions_validate_too() {
    let only_even = Validator::Function(Arc::new(|value: &Value| {
        let even = value["n"].as_u64().is_some_and(|n| n % 2 == 0);
        let issue = Issue { path: "/n".into(), message: "must be even".into() };
        if even { Ok(()) } else { Err(vec![issue]) }
    }));
    let path = fresh_path("function");
    let options = Options::new().stream_path(&path).producer_id("p");
    let producer = create_durable_stream(options, shipments(only_even)).unwrap();
    assert!(producer.upsert("shipments", &json!({ "id": 1, "n": 2 })).unwrap().is_accepted());
    assert!(!producer.upsert("shipments", &json!({ "id": 1, "n": 3 })).unwrap().is_accepted());
    producer.close().wait().unwrap();
}

#[test]
fn one_producer_per_stream_in_a_process() {
    let path = fresh_path("registry");
    let one = state(&path);
    let two = state(&path);
    assert!(one.is_same(&two));
    let options = || Options::new().stream_path(&path).producer_id("shipping-service");
    let other = create_durable_stream(options().linger_ms(5u64), shipments(Validator::Any));
    assert_eq!(other.unwrap_err().option_name(), Some("options"));
    let schema = StreamSchema::new().collection("x", Collection::new("x", "id", Validator::Any));
    let other = create_durable_stream(options(), schema);
    assert_eq!(other.unwrap_err().option_name(), Some("schema"));
    one.upsert("shipments", &json!({ "id": 1 })).unwrap();
    drop(one);
    assert!(two.upsert("shipments", &json!({ "id": 2 })).unwrap().is_accepted());
    two.close().wait().unwrap();
    assert!(!two.upsert("shipments", &json!({ "id": 3 })).unwrap().is_accepted());
    let three = state(&path);
    assert!(!three.is_same(&two));
    three.upsert("shipments", &json!({ "id": 4 })).unwrap();
    three.close().wait().unwrap();
    let keys: Vec<_> = events(&path).iter().map(|event| event["key"].clone()).collect();
    assert_eq!(keys, ["1", "2", "4"]);
}

#[test]
fn a_producer_that_follows_a_closing_one_does_not_fence_it() {
    let path = fresh_path("handover");
    let mut expected = Vec::new();
    for run in 0..10 {
        let producer = state(&path);
        for n in 0..20 {
            let id = format!("{run}-{n}");
            producer.upsert("shipments", &json!({ "id": id })).unwrap();
            expected.push(Value::String(id));
        }
        // Not waited for: the next one is created while this one drains.
        drop(producer);
    }
    state(&path).close().wait().unwrap();
    let producer = state(&path);
    producer.upsert("shipments", &json!({ "id": "last" })).unwrap();
    producer.close().wait().unwrap();
    expected.push(json!("last"));
    let keys: Vec<_> = events(&path).iter().map(|event| event["key"].clone()).collect();
    assert_eq!(keys, expected);
}

#[test]
fn an_open_that_cannot_work_ends_in_outcomes() {
    let path = fresh_path("conflict");
    let options = Options::new().stream_path(&path).content_type("text/plain");
    DurableStream::create(options, "").wait().unwrap();
    let producer = state(&path);
    let receipt = producer.upsert("shipments", &json!({ "id": 1 })).unwrap();
    let error = producer.flush().wait().unwrap_err();
    assert_eq!(cause(&error).kind(), ErrorKind::StreamExists);
    if receipt.is_accepted() {
        let outcome = producer.wait(receipt.id()).wait().unwrap();
        assert_eq!(outcome.status, Status::Rejected);
    }
    assert_eq!(producer.snapshot().state, Lifecycle::Failed);
    let refused = producer.upsert("shipments", &json!({ "id": 2 })).unwrap();
    assert_eq!(refused.refusal().unwrap().reason, Some(Reason::ProducerFailed));
}

fn cause(error: &Error) -> &Error {
    match error.detail() {
        Some(Detail::Delivery { cause, .. }) => cause,
        _ => panic!("{error:?}"),
    }
}

#[test]
fn without_a_server_flush_fails_within_its_limits_and_names_the_url() {
    // Bound and not listening for long enough to be sure that nobody else answers.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/v1/stream/x");
    let limits = Options::new().delivery_timeout_ms(2_000u64);
    let stream = DurableStream::connect(Options::new().url(&url)).unwrap();
    let producer = IdempotentProducer::open(&stream, "p", limits.clone()).unwrap();
    producer.append("x").unwrap();
    let error = producer.flush().wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Delivery);
    assert_eq!((cause(&error).kind(), cause(&error).url()), (ErrorKind::Transport, Some(&*url)));

    let state = create_durable_stream(limits.url(&url).producer_id("p"), shipments(Validator::Any));
    let state = state.unwrap();
    let receipt = state.upsert("shipments", &json!({ "id": 1 })).unwrap();
    assert_eq!(cause(&state.flush().wait().unwrap_err()).kind(), ErrorKind::Transport);
    let outcome = state.wait(receipt.id()).wait().unwrap();
    assert_eq!((outcome.status, outcome.reason), (Status::Cancelled, Some(Reason::Expired)));

    let few = Options::new().url(&url).max_retries(1u64).retry_initial_delay_ms(1u64);
    let error = DurableStream::create(few, "").wait().unwrap_err();
    assert_eq!((error.kind(), error.url()), (ErrorKind::Transport, Some(&*url)));
}

#[test]
fn a_producer_may_start_before_its_server_does() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let options = Options::new().url(format!("http://{address}/v1/stream/late")).producer_id("p");
    let producer = create_durable_stream(options, shipments(Validator::Any)).unwrap();
    producer.upsert("shipments", &json!({ "id": 1 })).unwrap();
    while producer.snapshot().attempt == 0 {
        std::thread::yield_now();
    }
    assert_eq!(producer.snapshot().state, Lifecycle::Backoff);
    // A relay in front of the real server is the server that comes up late.
    let relay = std::net::TcpListener::bind(address).unwrap();
    std::thread::Builder::new().spawn(move || relay_to(&relay)).unwrap();
    producer.flush().wait().unwrap();
    assert_eq!(events("/late").len(), 1);
}

fn relay_to(listener: &std::net::TcpListener) {
    for socket in listener.incoming() {
        let (client, server) =
            (socket.unwrap(), std::net::TcpStream::connect(server_address()).unwrap());
        for (mut from, mut to) in
            [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
        {
            std::thread::Builder::new()
                .spawn(move || std::io::copy(&mut from, &mut to).map(drop))
                .unwrap();
        }
    }
}

#[tokio::test]
async fn every_wait_is_a_future_on_any_executor() {
    let path = fresh_path("async");
    let options = Options::new().stream_path(&path).content_type("application/json");
    let stream = DurableStream::create(options, "").await.unwrap();
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    let receipt = producer.append("1").unwrap();
    let outcome = producer.wait(receipt.id()).await.unwrap();
    assert!(outcome.is_delivered() && outcome.attempts == 1 && outcome.offset.is_some());
    assert_eq!(producer.wait(99).await.unwrap_err().option_name(), Some("id"));
    let given_up = tokio::time::timeout(Duration::ZERO, producer.flush()).await;
    drop(given_up);
    producer.detach().await.unwrap();
}

#[test]
fn callbacks_that_wait_are_told_so_and_those_that_panic_do_no_harm() {
    let path = fresh_path("callback");
    let (sender, found) = mpsc::channel();
    let sender = Mutex::new(sender);
    let options = Options::new()
        .stream_path(&path)
        .producer_id("p")
        .delivery_timeout_ms(1u64)
        .endpoints("http://127.0.0.1:9");
    let other = Mutex::new(
        IdempotentProducer::open(&json_stream(&fresh_path("other")), "p", Options::new()).unwrap(),
    );
    let on_error = Arc::new(move |_| {
        let other = other.lock().unwrap();
        other.append("1").unwrap();
        let waited = other.flush().wait();
        sender.lock().unwrap().send(waited).unwrap();
        drop(other);
        panic!("a callback's own fault");
    });
    let producer = create_durable_stream_with(
        options,
        shipments(Validator::Any),
        Callbacks { on_error: Some(on_error), ..Callbacks::default() },
    )
    .unwrap();
    for n in 0..2 {
        producer.upsert("shipments", &json!({ "id": n })).unwrap();
        assert!(producer.flush().wait().is_err());
        let waited = found.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(waited.unwrap_err().reason(), Some(durstream_core::Reason::WouldDeadlock));
    }
}

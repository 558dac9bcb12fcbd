//! Values that a binding refuses are refused in the core's words.
#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use durstream_core::{
    Collection, DurableStream, Error, ErrorKind, IdempotentProducer, Issue, Options, Reason,
    Receipt, StateProducer, StreamSchema, Validator, create_durable_stream,
};

fn open(path: &str) -> StateProducer {
    let options = Options::new().url(format!("http://127.0.0.1:1/{path}")).producer_id("p");
    let schema =
        StreamSchema::new().collection("c", Collection::new("c", "id", Validator::External));
    create_durable_stream(options, schema).unwrap()
}

fn issue() -> Vec<Issue> {
    vec![Issue { path: "/a".into(), message: "no".into() }]
}

#[test]
fn a_refused_entity_is_refused_as_an_upsert_would_be() {
    let state = open("refused");
    let unknown = state.refuse("no", Reason::InvalidValue, Some("k"), issue()).unwrap();
    assert_eq!(unknown, state.upsert_json("no", b"{}").unwrap());
    let message = "the primary key `id` is missing".to_owned();
    let why = vec![Issue { path: String::new(), message }];
    let missing = state.refuse("c", Reason::InvalidKey, None, why).unwrap();
    assert_eq!(missing, state.upsert_json("c", b"{}").unwrap());
    let refused = state.refuse("c", Reason::InvalidValue, Some("k"), issue()).unwrap();
    assert_eq!(refused.refusal().unwrap().reason, Some(Reason::InvalidValue));
    assert_eq!(state.stats().refused_invalid, 5);
    drop(state.release());
    let refused = state.refuse("c", Reason::InvalidValue, None, issue()).unwrap();
    assert_eq!(refused.refusal().unwrap().reason, Some(Reason::ProducerStopping));
}

#[test]
fn a_value_that_cannot_be_written_is_refused_and_counted() {
    let stream = DurableStream::connect(Options::new().url("http://127.0.0.1:1/s")).unwrap();
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    let error = producer.refuse("it has no JSON");
    assert_eq!((error.kind(), error.message()), (ErrorKind::Validation, "it has no JSON"));
    assert_eq!(error.reason(), Some(Reason::SerializationFailed));
    assert_eq!(producer.stats().refused_invalid, 1);
    assert_eq!(producer.flush().wait().unwrap().refused, 1);
}

#[test]
fn every_refusal_has_a_reason() {
    for kind in ErrorKind::ALL {
        let error = Error::new(*kind, "why");
        let receipt = Receipt::refused(error.clone());
        assert_eq!(receipt.refusal().unwrap().reason, Some(error.refusal()));
    }
}

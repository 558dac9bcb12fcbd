//! What an outcome says beside its status: reason, attempts, offset (delivery.md 6).

use crate::delivery::tests::*;

/// `delivery-unknown` has one of five reasons.
#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_has_a_reason_of_its_own() {
    let allowed = [
        Reason::RetryExhausted,
        Reason::Expired,
        Reason::ProducerStopped,
        Reason::ProducerFailed,
        Reason::Fenced,
    ];
    let closed = Fault::Answer(409, vec![("stream-closed", "true".into())]);
    for refusal in [status(404), status(401), status(409), closed] {
        let server = Scripted::new([status(500), refusal.clone()]);
        let engine = open(&server, single());
        write(&engine, 1..=1);
        assert!(engine.flush().await.is_err());
        let unknown = outcome(&engine, 1).await;
        assert_eq!(unknown.status, Status::DeliveryUnknown);
        assert!(allowed.contains(&unknown.reason.unwrap()), "{refusal:?}: {unknown:?}");
    }
}

/// `Outcome::attempts` is "requests it took".
#[tokio::test(start_paused = true)]
async fn attempts_under_every_tuple_are_counted() {
    let server = Scripted::new([Fault::None, status(429), status(413)]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let second = outcome(&engine, 2).await;
    assert_eq!((second.status, second.attempts), (Status::Delivered, 2));
}

/// `Outcome::offset` is "the stream's offset after its batch", or none where it is not known.
#[tokio::test(start_paused = true)]
async fn the_offset_of_a_write_is_that_of_its_own_batch() {
    let server = Scripted::new([Fault::None, delay(Fault::None, 0, 500), Fault::None]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let (second, third) = tokio::join!(outcome(&engine, 2), outcome(&engine, 3));
    assert_eq!(third.offset.as_deref(), Some("3"));
    assert!(second.offset.is_none() || second.offset.as_deref() == Some("2"), "{second:?}");
}

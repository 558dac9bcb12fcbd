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

/// A reader that has come as far as `Outcome::offset` has the write, and it is there however late
/// somebody asks (delivery.md 6).
#[tokio::test(start_paused = true)]
async fn every_delivered_write_has_an_offset_at_or_behind_it() {
    let late = || delay(Fault::None, 0, 500);
    let server = Scripted::new([Fault::None, late(), Fault::None, Fault::None]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let offset = |outcome: Outcome| outcome.offset.unwrap().parse::<u64>().unwrap();
    let (second, third) = tokio::join!(outcome(&engine, 2), outcome(&engine, 3));
    assert!(offset(second) >= 2 && offset(third) == 3);
    write(&engine, 4..=4);
    engine.flush().await.unwrap();
    for id in 1..=4 {
        assert!(offset(outcome(&engine, id).await) >= id);
    }
}

/// Offsets of duplicates and of writes that a look found are kept like all others.
#[tokio::test(start_paused = true)]
async fn what_is_told_later_has_an_offset_however_it_was_delivered() {
    for fault in [Fault::CutAfter, forgets(Fault::CutAfter)] {
        let server = Scripted::new([Fault::None, fault]);
        let engine = open_at(&server, single(), Some("0"));
        write(&engine, 1..=3);
        engine.flush().await.unwrap();
        for id in 1..=3 {
            let outcome = outcome(&engine, id).await;
            assert!(outcome.is_delivered() && outcome.offset.is_some(), "{id}: {outcome:?}");
        }
    }
}

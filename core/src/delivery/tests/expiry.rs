//! `delivery_timeout_ms` bounds a write from call to outcome, and settles receipts, not the session
//! (delivery.md 6).

use crate::delivery::tests::*;

#[tokio::test(start_paused = true)]
async fn an_outage_ends_in_outcomes_and_not_in_a_dead_producer() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, Options::new().delivery_timeout_ms(3_000u64));
    write(&engine, 1..=10);
    let error = engine.flush().await.unwrap_err();
    let Some(Detail::Delivery { cause, undelivered: 10, .. }) = error.detail() else {
        panic!("{error:?}")
    };
    assert_eq!(cause.kind(), ErrorKind::Transport);
    assert_eq!(cause.url(), Some("http://model/stream"));
    let lost = outcome(&engine, 1).await;
    assert_eq!((lost.status, lost.reason), (Status::Cancelled, Some(Reason::Expired)));
    lock(&server.model).down = false;
    write(&engine, 11..=12);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), ["11", "12"]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_write_that_may_be_stored_says_so() {
    let server = Scripted::new(std::iter::repeat_n(Fault::CutAfter, 100));
    let engine = open(&server, single().delivery_timeout_ms(1_000u64));
    write(&engine, 1..=2);
    assert!(engine.flush().await.is_err());
    assert_eq!(outcome(&engine, 1).await.status, Status::DeliveryUnknown);
    assert_eq!(outcome(&engine, 2).await.status, Status::Cancelled);
}

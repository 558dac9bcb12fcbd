//! Of two producers with one id the newest wins, and no epoch is used twice (delivery.md 2).

use std::sync::Mutex;

use crate::delivery::callbacks::{Callbacks, ErrorCallback};
use crate::delivery::tests::*;

#[tokio::test(start_paused = true)]
async fn a_restart_under_the_same_id_loses_nothing() {
    let server = Scripted::default();
    for run in 0..3 {
        let engine = open(&server, Options::new());
        write(&engine, 1..=10);
        let report = engine.flush().await.unwrap();
        assert_eq!((report.delivered, report.duplicates), (10, 0), "run {run}");
        engine.stop_now();
        engine.ended().await;
    }
    assert_eq!(server.stored().len(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_newer_epoch_is_outbid_by_the_newest_producer() {
    let server = Scripted::default();
    let future = crate::protocol::MAX_SAFE_INTEGER - 100_000;
    lock(&server.model).producers.insert("p".into(), (future, 5));
    let engine = open(&server, Options::new());
    write(&engine, 1..=3);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=3));

    let modest = open(&server, Options::new().auto_claim(false));
    write(&modest, 1..=1);
    let error = modest.flush().await.unwrap_err();
    let Some(Detail::Delivery { cause, .. }) = error.detail() else { panic!("{error:?}") };
    assert_eq!(cause.kind(), ErrorKind::StaleEpoch);
}

#[tokio::test(start_paused = true)]
async fn the_older_of_two_is_fenced_and_does_not_fight_back() {
    let server = Scripted::default();
    let old = open(&server, Options::new());
    write(&old, 1..=1);
    old.flush().await.unwrap();
    let new = open(&server, Options::new());
    write(&new, 1..=2);
    new.flush().await.unwrap();
    write(&old, 2..=2);
    assert!(old.flush().await.is_err());
    let fenced = outcome(&old, 2).await;
    assert_eq!((fenced.status, fenced.reason), (Status::Cancelled, Some(Reason::Fenced)));
    assert_eq!(old.snapshot().state, Lifecycle::Fenced);
    let error = old.accept(&[b"3"]).unwrap_err();
    assert!(matches!(error.detail(), Some(Detail::StaleEpoch { .. })), "{error:?}");
    assert_eq!(server.stored(), ["1", "1", "2"]);
}

/// Later sessions "never claim over anyone", and the newest producer wins.
#[tokio::test(start_paused = true)]
async fn a_later_session_claims_over_nobody() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("1");
    let old = open(&server, single());
    write(&old, 1..=1);
    assert!(old.flush().await.is_err(), "the only write so far is refused");
    let new = open(&server, single());
    new.accept(&[b"100"]).unwrap();
    new.flush().await.unwrap();
    write(&old, 2..=2);
    let _ = old.flush().await;
    new.accept(&[b"101"]).unwrap();
    let flushed = new.flush().await;
    assert!(flushed.is_ok(), "the newer one is fenced: {flushed:?}");
}

/// Only who may claim outbids a newer epoch, after a restart as well.
#[tokio::test(start_paused = true)]
async fn a_restart_claims_over_nobody_where_claiming_is_off() {
    let future = crate::protocol::MAX_SAFE_INTEGER - 100_000;
    for claims in [false, true] {
        let server = Scripted::default();
        let engine = open(&server, single().auto_claim(claims));
        write(&engine, 1..=1);
        engine.flush().await.unwrap();
        lock(&server.model).producers.insert("p".into(), (future, 5));
        write(&engine, 2..=2);
        assert!(engine.flush().await.is_err());
        engine.restart().await.unwrap();
        write(&engine, 3..=3);
        assert_eq!(engine.flush().await.is_ok(), claims);
        assert_eq!(lock(&server.model).producers["p"].0 > future, claims);
    }
}

#[tokio::test(start_paused = true)]
async fn no_tuple_is_used_twice_at_the_end_of_all_epochs() {
    let server = Scripted::default();
    let last = crate::protocol::MAX_SAFE_INTEGER;
    lock(&server.model).producers.insert("p".into(), (last, 0));
    let engine = open(&server, single());
    write(&engine, 1..=1);
    assert!(engine.flush().await.is_err());
    assert_eq!(engine.snapshot().state, Lifecycle::Fenced);
    assert!(server.stored().is_empty());
    assert!(Options::new().epoch(last).check(Scope::Producer).is_err());
}

/// A loop that ends by a flag which `on_error` sets, with no handling of errors around its writes
/// (delivery.md 7): a write is an error only once `on_error` was told.
#[tokio::test(start_paused = true)]
async fn a_fenced_producer_rejects_until_on_error_was_told_and_is_an_error_then() {
    let server = Scripted::default();
    let (held, failures) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (hold, keep) = (held.clone(), failures.clone());
    let on_error: ErrorCallback = Arc::new(move |failure| {
        lock(&hold).push(failure.until_told()); // a binding that tells its host later
        lock(&keep).push(failure); // which is the host's to keep
    });
    let callbacks = Callbacks { on_error: Some(on_error), ..Callbacks::default() };
    let endpoint = Endpoint::resolve(&model()).unwrap();
    let runtime = runtime(&server);
    let old = Engine::start_on(
        runtime.clone(),
        endpoint,
        config(Scope::Producer, &Options::new()),
        Some(callbacks),
        None,
    );
    write(&old, 1..=1);
    old.flush().await.unwrap();
    let new = open(&server, Options::new());
    write(&new, 1..=1);
    new.flush().await.unwrap();
    write(&old, 2..=2);
    assert!(old.flush().await.is_err());
    assert!(old.is_end_untold() && old.accept(&[b"3"]).is_err());
    while lock(&failures).is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(old.is_end_untold(), "the report is still on its way to the host");
    lock(&held).clear();
    while old.is_end_untold() {
        tokio::task::yield_now().await; // the dispatcher has still to return from the callback
    }
    assert!(old.flush().await.is_err(), "the rejected write is reported");
    old.restart().await.unwrap();
    write(&old, 3..=3);
    old.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_on_error_a_fenced_producers_write_is_an_error_at_once() {
    let (old, _new) = fenced(&Scripted::default()).await;
    assert!(!old.is_end_untold());
}

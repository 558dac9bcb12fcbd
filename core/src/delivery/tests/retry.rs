//! Transient failures are repeated under the tuple and with the bytes of the first attempt (delivery.md
//! 3.3, 4), after the pauses that the server asks for.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::delivery::tests::*;

#[tokio::test(start_paused = true)]
async fn transient_failures_repeat_the_same_tuple_and_bytes() {
    for fault in [Fault::Refuse, Fault::CutBefore, Fault::CutAfter, status(503), status(429)] {
        let server = Scripted::new([fault.clone(), fault.clone(), Fault::None]);
        let engine = open(&server, single());
        write(&engine, 1..=3);
        engine.flush().await.unwrap();
        assert_eq!(server.stored(), numbers(1..=3), "{fault:?}");
        let model = lock(&server.model);
        let repeats: Vec<_> = model.seen.iter().filter(|(_, seq, _)| *seq == 0).collect();
        assert!(repeats.iter().all(|seen| *seen == repeats[0]), "{fault:?}");
        assert_eq!(engine.stats().sessions, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_up_to_its_cap() {
    for (asked, at_least, at_most) in [("7", 7, 9), ("100000", 60, 66)] {
        let later = Fault::Answer(503, vec![("retry-after", asked.into())]);
        let server = Scripted::new([later]);
        let engine = open(&server, Options::new());
        let started = tokio::time::Instant::now();
        write(&engine, 1..=1);
        engine.flush().await.unwrap();
        let took = started.elapsed();
        assert!(took >= Duration::from_secs(at_least) && took < Duration::from_secs(at_most));
    }
}

/// `Retry-After` in seconds is "honoured up to a cap", however large.
#[tokio::test(start_paused = true)]
async fn a_retry_after_beyond_all_bounds_is_capped() {
    let later = Fault::Answer(503, vec![("retry-after", "99999999999999999999".into())]);
    let engine = open(&Scripted::new([later]), single());
    let started = tokio::time::Instant::now();
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(60), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_pause_the_server_asked_for_outlives_another_answer() {
    let wait = Fault::Answer(429, vec![("retry-after", "30".into())]);
    let server = Scripted::new([Fault::None, delay(Fault::None, 0, 100), wait]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let started = tokio::time::Instant::now();
    write(&engine, 2..=3);
    engine.flush().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_over_when_the_server_is_back() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, Options::new().retry_max_delay_ms(1_000_000u64));
    write(&engine, 1..=2);
    tokio::time::sleep(Duration::from_secs(60)).await;
    lock(&server.model).down = false;
    let back = tokio::time::Instant::now();
    engine.flush().await.unwrap();
    assert!(back.elapsed() < Duration::from_secs(1), "the pauses must not have grown");
}

/// A request whose own task broke counts as unanswered (`on_lost_request`), whatever else is under
/// way.
#[tokio::test(start_paused = true)]
async fn a_request_that_broke_beside_another_is_repeated() {
    let nth = AtomicU64::new(0);
    let broken = move |server: &Scripted, request: Request| -> Sending {
        let sending = server.send(request);
        match nth.fetch_add(1, Ordering::Relaxed) {
            1 => Box::pin(async { panic!("a mistake of ours") }),
            _ => sending,
        }
    };
    let server = Scripted::default();
    let options = single().max_in_flight(2u64).delivery_timeout_ms(0u64);
    let engine = open_on(Behind(server.clone(), broken), &model(), options);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let flushed = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
    assert!(flushed.is_ok(), "it hangs: {:?}", engine.stats());
}

/// A request that panics is a fault of ours: it is repeated like any other failure, and not as fast as
/// the processor goes; what is wrong can be seen from outside.
#[tokio::test(start_paused = true)]
async fn a_request_that_panics_is_repeated_with_pauses() {
    let server = Scripted::default();
    let left = AtomicU64::new(5);
    let panics = move |server: &Scripted, request: Request| -> Sending {
        let less = |left: u64| left.checked_sub(1);
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Box::pin(async { panic!("a fault, for this test") }),
            Err(_) => server.send(request),
        }
    };
    let engine = open_on(Behind(server.clone(), panics), &model(), single());
    let started = tokio::time::Instant::now();
    write(&engine, 1..=1);
    let waits_for = engine.flush();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let seen = engine.snapshot().last_error;
    assert_eq!(seen.map(|error| error.kind()), Some(ErrorKind::Internal));
    waits_for.await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(100), "the pauses of five failures");
    assert_eq!(server.stored(), numbers(1..=1));
}

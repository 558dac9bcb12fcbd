//! Producers stop, follow one another and start over (delivery.md 7, 8).

use crate::delivery::closing::{CloseWith, close};
use crate::delivery::tests::*;

#[tokio::test(start_paused = true)]
async fn stopping_drains_and_stop_settles_at_once() {
    let server = Scripted::new([delay(Fault::None, 100, 0)]);
    let engine = open(&server, single());
    write(&engine, 1..=3);
    engine.begin_stop();
    assert_eq!(engine.accept(&[b"4"]).unwrap_err().reason(), Some(Reason::ProducerStopping));
    assert!(engine.flush().await.is_err(), "the fourth was turned away");
    engine.ended().await;
    assert_eq!(server.stored(), numbers(1..=3));
    assert_eq!(engine.snapshot().state, Lifecycle::Stopped);
    engine.flush().await.unwrap();

    let server = Scripted::new([delay(Fault::None, 1_000, 0)]);
    let engine = open(&server, single());
    write(&engine, 1..=2);
    tokio::time::sleep(Duration::from_millis(10)).await;
    engine.stop_now();
    engine.ended().await;
    let under_way = outcome(&engine, 1).await;
    assert_eq!(
        (under_way.status, under_way.reason),
        (Status::DeliveryUnknown, Some(Reason::ProducerStopped))
    );
    assert_eq!(outcome(&engine, 2).await.status, Status::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_failed_has_ended_and_its_successor_goes_on() {
    let server = Scripted::new([status(404)]);
    let runtime = runtime(&server);
    let first = start(&runtime, single(), None);
    write(&first, 1..=1);
    assert!(!outcome(&first, 1).await.is_delivered());
    let second = start(&runtime, single(), Some(first.clone()));
    write(&second, 1..=1);
    second.flush().await.unwrap();
    first.ended().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_predecessor_still_stops_and_expires() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let runtime = runtime(&server);
    let first = start(&runtime, single().delivery_timeout_ms(0u64), None);
    write(&first, 1..=1);
    first.begin_stop();
    let expires = start(&runtime, single().delivery_timeout_ms(500u64), Some(first.clone()));
    write(&expires, 1..=1);
    assert!(expires.flush().await.is_err());
    let stops = start(&runtime, single().delivery_timeout_ms(0u64), Some(first));
    write(&stops, 1..=1);
    stops.stop_now();
    assert!(stops.flush().await.is_err());
    assert_eq!(outcome(&stops, 1).await.reason, Some(Reason::ProducerStopped));
}

#[tokio::test(start_paused = true)]
async fn an_idle_producer_hands_its_predecessor_on() {
    let server = Scripted::new([delay(Fault::None, 500, 0)]);
    let runtime = runtime(&server);
    let first = start(&runtime, single(), None);
    write(&first, 1..=3);
    first.begin_stop();
    let idle = start(&runtime, single(), Some(first));
    idle.begin_stop();
    let last = start(&runtime, single(), Some(idle));
    write(&last, 1..=1);
    last.flush().await.unwrap();
    assert_eq!(server.stored(), ["1", "2", "3", "1"]);
}

/// `Snapshot::in_flight` is "requests under way".
#[tokio::test(start_paused = true)]
async fn a_producer_that_ended_has_no_request_under_way() {
    let closed = Fault::Answer(409, vec![("stream-closed", "true".into())]);
    for (answer, stops) in [(delay(Fault::None, 1_000, 0), true), (closed, false)] {
        let server = Scripted::new([answer]);
        let engine = open(&server, single());
        write(&engine, 1..=1);
        sleep(20).await;
        if stops {
            engine.stop_now();
        }
        engine.ended().await;
        assert_eq!(engine.snapshot().in_flight, 0, "{stops}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_dropped_leaves_nothing_unsettled() {
    let server = Scripted::default();
    let runtime = runtime(&server);
    let endpoint = Endpoint::resolve(&model()).unwrap();
    let config = config(Scope::Producer, &single());
    let (engine, task) = Engine::with_task(runtime, endpoint, config, None, None, None);
    write(&engine, 1..=1);
    let flushing = engine.flush();
    drop(task);
    assert!(flushing.await.is_err());
    assert!(engine.accept(&[b"2"]).is_err());
    engine.ended().await;
}

/// Real threads: a write that comes between the task's look and its sleep is not left lying.
#[test]
fn no_wake_up_is_missed() {
    let server = Scripted::default();
    let (sender, engines) = std::sync::mpsc::channel();
    let serve = move || {
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        executor.block_on(async move {
            for in_flight in [1u64, 2].repeat(20) {
                let options = Options::new().max_in_flight(in_flight).delivery_timeout_ms(0u64);
                let engine = open(&server, options);
                sender.send(engine.clone()).unwrap();
                engine.ended().await;
            }
        });
    };
    let io = std::thread::Builder::new().spawn(serve).unwrap();
    for engine in engines {
        for id in 1..=50 {
            write(&engine, id..=id);
            while engine.stats().pending > 0 {
                std::hint::spin_loop();
            }
        }
        engine.begin_stop();
    }
    io.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn restart_is_the_way_back_after_being_fenced() {
    let server = Scripted::default();
    let (old, new) = fenced(&server).await;
    assert_eq!(old.snapshot().state, Lifecycle::Fenced);
    assert!(old.ready().await.is_err() && old.accept(&[b"3"]).is_err());
    assert!(old.flush().await.is_err(), "the refused call is reported");

    let (first, second) = tokio::join!(old.restart(), old.restart());
    assert!(first.is_ok() && second.is_ok());
    old.ready().await.unwrap();
    write(&old, 3..=4);
    assert_eq!(old.flush().await.unwrap().delivered, 2);
    check_accounts(&old);
    write(&new, 2..=2);
    assert!(new.flush().await.is_err());
    assert_eq!(new.snapshot().state, Lifecycle::Fenced);
    assert_eq!(server.stored(), ["1", "1", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn restart_begins_a_session_after_what_was_accepted() {
    let server = Scripted::default();
    let engine = open(&server, single());
    write(&engine, 1..=5);
    let restarted = engine.restart();
    write(&engine, 6..=8);
    restarted.await.unwrap();
    write(&engine, 9..=9);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=9));
    let epochs: Vec<u64> = lock(&server.model).seen.iter().map(|(epoch, ..)| *epoch).collect();
    assert!(epochs[..5].iter().all(|epoch| *epoch == epochs[0]) && epochs[8] > epochs[0]);
    assert_eq!(engine.stats().sessions, 2);
    engine.begin_stop();
    engine.ended().await;
    assert_eq!(engine.restart().await.unwrap_err().kind(), ErrorKind::ProducerClosed);
}

#[tokio::test(start_paused = true)]
async fn restart_brings_nobody_back_who_was_let_go() {
    for stop in [Engine::stop_now, Engine::begin_stop] {
        let (engine, _new) = fenced(&Scripted::default()).await;
        let restart = engine.restart();
        stop(&engine);
        assert_eq!(restart.await.unwrap_err().kind(), ErrorKind::ProducerClosed);
        assert!(engine.accept(&[b"3"]).is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_one_that_is_ending_is_refused() {
    let slow = || delay(Fault::None, 0, 1_000);
    let server = Scripted::new([slow(), slow(), slow()]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let closing = close(&engine, CloseWith::AsProducer);
    engine.settled().await;
    assert_eq!(engine.restart().await.unwrap_err().kind(), ErrorKind::ProducerClosed);
    closing.await.unwrap();
    assert_eq!((server.stored(), engine.stats().sessions), (numbers(1..=1), 1));
}

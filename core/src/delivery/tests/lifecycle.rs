//! Beginning and end: stopping, closing, following one another.

use crate::delivery::closing::Last;
use crate::delivery::closing::close;
use crate::delivery::tests::*;
use crate::transport::network;

/// A producer that was fenced, and the newer one that did it.
async fn fenced(server: &Scripted) -> (Arc<Engine>, Arc<Engine>) {
    let old = open(server, Options::new());
    write(&old, 1..=1);
    old.flush().await.unwrap();
    let new = open(server, Options::new());
    write(&new, 1..=1);
    new.flush().await.unwrap();
    write(&old, 2..=2);
    assert!(old.flush().await.is_err());
    (old, new)
}

#[tokio::test(start_paused = true)]
async fn close_ends_the_stream_once_everything_is_in_it() {
    let server = Scripted::new([Fault::None, status(503), Fault::CutAfter]);
    let engine = open(&server, single());
    write(&engine, 1..=2);
    let (first, second) = (close(&engine, Last::of(Some(b"3"))), close(&engine, Last::Nothing));
    assert_eq!(engine.accept(&[b"4"]).unwrap_err().kind(), ErrorKind::ProducerClosed);
    let result = first.await.unwrap();
    assert!(result.final_offset.is_some());
    assert_eq!(second.await.unwrap(), result);
    assert_eq!(close(&engine, Last::Nothing).await.unwrap(), result);
    assert_eq!(server.stored(), numbers(1..=3));
    assert!(lock(&server.model).closed);
    engine.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_flush_sends_no_end_and_close_may_be_called_again() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("1");
    let engine = open(&server, single());
    write(&engine, 1..=2);
    assert_eq!(close(&engine, Last::Nothing).await.unwrap_err().kind(), ErrorKind::Delivery);
    assert!(!lock(&server.model).closed);
    write(&engine, 3..=3);
    close(&engine, Last::Nothing).await.unwrap();
    assert_eq!(server.stored(), ["2", "3"]);
    assert!(lock(&server.model).closed);
}

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
    assert_eq!(engine.snapshot().state, ProducerState::Stopped);
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
    let runtime = network::for_test(Arc::new(server.clone()), server.chance.clone());
    let first = start(&runtime, single(), None);
    write(&first, 1..=1);
    assert!(!outcome(&first, 1).await.is_delivered());
    let second = start(&runtime, single(), Some(first.clone()));
    write(&second, 1..=1);
    second.flush().await.unwrap();
    first.ended().await;
}

fn start(runtime: &Arc<Runtime>, options: Options, after: Option<Arc<Engine>>) -> Arc<Engine> {
    let endpoint = Endpoint::resolve(&Options::new().url("http://model/stream")).unwrap();
    let config = Config::new(Scope::Producer, &options, "p", "application/json").unwrap();
    Engine::start_on(runtime.clone(), endpoint, config, None, after)
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_predecessor_still_stops_and_expires() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let runtime = network::for_test(Arc::new(server.clone()), server.chance.clone());
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
    let runtime = network::for_test(Arc::new(server.clone()), server.chance.clone());
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

#[tokio::test(start_paused = true)]
async fn a_close_that_fails_lets_a_stopping_producer_end() {
    let server = Scripted::default();
    let engine = open(&server, single());
    lock(&server.model).down = true;
    let closing = close(&engine, Last::Nothing);
    tokio::time::sleep(Duration::from_millis(20)).await;
    engine.begin_stop();
    assert!(closing.await.is_err());
    engine.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_fenced_producer_does_not_end_the_stream_of_its_successor() {
    let server = Scripted::default();
    let (old, _new) = fenced(&server).await;
    assert_eq!(close(&old, Last::Nothing).await.unwrap_err().kind(), ErrorKind::StaleEpoch);
    assert!(!lock(&server.model).closed);
}

#[tokio::test(start_paused = true)]
async fn a_last_message_that_fails_is_reported_once() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("2");
    let engine = open(&server, single());
    write(&engine, 1..=1);
    assert!(close(&engine, Last::of(Some(b"2"))).await.is_err());
    close(&engine, Last::Nothing).await.unwrap();
    assert!(lock(&server.model).closed);
}

#[tokio::test(start_paused = true)]
async fn what_is_turned_away_while_stopping_is_reported() {
    let server = Scripted::default();
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.begin_stop();
    assert!(engine.accept(&[b"2"]).is_err());
    assert!(engine.flush().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_dropped_leaves_nothing_unsettled() {
    let server = Scripted::default();
    let runtime = network::for_test(Arc::new(server.clone()), server.chance.clone());
    let endpoint = Endpoint::resolve(&Options::new().url("http://model/stream")).unwrap();
    let config = Config::new(Scope::Producer, &single(), "p", "application/json").unwrap();
    let (engine, task) = Engine::with_task(runtime, endpoint, config, None, None);
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
    assert_eq!(old.snapshot().state, ProducerState::Fenced);
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
    assert_eq!(new.snapshot().state, ProducerState::Fenced);
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
async fn ready_means_room_for_what_found_none() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, Options::new().max_buffer_bytes(2_000u64));
    engine.ready().await.unwrap();
    let big = format!("\"{}\"", "x".repeat(1_950));
    write(&engine, 1..=5);
    assert!(engine.accept(&[big.as_bytes()]).is_err());
    let ready = engine.ready();
    let waiting = tokio::time::timeout(Duration::from_secs(5), ready);
    assert!(waiting.await.is_err(), "there is room for a small one only");
    lock(&server.model).down = false;
    engine.ready().await.unwrap();
    engine.accept(&[big.as_bytes()]).unwrap();
    engine.stop_now();
    assert!(engine.ready().await.is_err());
}

/// A write tried in vain is refused, and counted: who can wait asks first.
#[tokio::test(start_paused = true)]
async fn ready_means_room_for_what_was_asked_for() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, Options::new().max_buffer_bytes(2_000u64));
    write(&engine, 1..=5);
    assert!(engine.finds_room(1));
    assert!(!engine.finds_room(1_950));
    let waiting = tokio::time::timeout(Duration::from_secs(5), engine.ready());
    assert!(waiting.await.is_err(), "there is room for a small one only");
    assert!(!engine.finds_room(10_000), "it is refused once there is nothing to wait for");
    lock(&server.model).down = false;
    engine.ready().await.unwrap();
    assert!(engine.finds_room(10_000));
    write(&engine, 6..=10);
    engine.stop_now();
    assert!(engine.finds_room(10_000), "it is refused anyway");
    assert_eq!(engine.stats().refused, 0);
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_answer_was_lost_is_ours_and_a_rivals_is_not() {
    let server = Scripted::new([Fault::None, Fault::CutAfter, Fault::CutAfter]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    let end = close(&engine, Last::Nothing).await.unwrap();
    assert_eq!(close(&engine, Last::Nothing).await.unwrap(), end, "repeats give the first result");
    let rival = open(&server, single());
    let error = close(&rival, Last::Nothing).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::StreamClosed, Some(409)));
    assert_eq!(server.stored(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn an_end_outlives_the_servers_memory() {
    let forgot = Fault::Amnesia(Box::new(Fault::None));
    let server = Scripted::new([Fault::None, Fault::CutBefore, forgot]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    close(&engine, Last::Nothing).await.unwrap();
    assert!(lock(&server.model).closed);
    check_accounts(&engine);
}

#[tokio::test(start_paused = true)]
async fn a_stream_can_be_ended_after_its_producer_drained() {
    let server = Scripted::default();
    let engine = open(&server, single());
    write(&engine, 1..=3);
    engine.begin_stop();
    engine.flush().await.unwrap();
    engine.ended().await;
    close(&engine, Last::Nothing).await.unwrap();
    assert_eq!(server.stored(), numbers(1..=3));
    assert!(lock(&server.model).closed);
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
async fn after_a_restart_a_404_or_401_still_has_to_persist() {
    for code in [404, 401] {
        let server = Scripted::new([Fault::None, status(code)]);
        let engine = open(&server, single());
        write(&engine, 1..=1);
        engine.flush().await.unwrap();
        engine.restart().await.unwrap();
        write(&engine, 2..=2);
        assert_eq!(engine.flush().await.unwrap().delivered, 1, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_close_closes_nothing() {
    let server = Scripted::new([Fault::None, delay(Fault::CutBefore, 1_000, 0)]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let closing = close(&engine, Last::Nothing);
    tokio::time::sleep(Duration::from_millis(100)).await;
    engine.stop_now();
    assert!(closing.await.is_err() && !lock(&server.model).closed);
}

#[tokio::test(start_paused = true)]
async fn a_close_after_one_that_nobody_answered_finds_it_done() {
    let server = Scripted::new([Fault::None, Fault::CutAfter]);
    let engine = open(&server, single().delivery_timeout_ms(3_000u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let closing = close(&engine, Last::Nothing);
    tokio::time::sleep(Duration::from_millis(3)).await;
    lock(&server.model).down = true;
    assert!(closing.await.is_err() && lock(&server.model).closed);
    lock(&server.model).down = false;
    close(&engine, Last::Nothing).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_one_that_is_ending_is_refused() {
    let slow = || delay(Fault::None, 0, 1_000);
    let server = Scripted::new([slow(), slow(), slow()]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let closing = close(&engine, Last::Nothing);
    engine.settled().await;
    assert_eq!(engine.restart().await.unwrap_err().kind(), ErrorKind::ProducerClosed);
    closing.await.unwrap();
    assert_eq!((server.stored(), engine.stats().sessions), (numbers(1..=1), 1));
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

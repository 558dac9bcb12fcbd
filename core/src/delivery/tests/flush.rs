//! A flush reports everything before it, once, to somebody (delivery.md 7).

use std::sync::Mutex;

use crate::delivery::tests::*;

/// A timed-out or cancelled flush consumes nothing.
#[tokio::test(start_paused = true)]
async fn a_flush_whose_report_nobody_took_consumes_nothing() {
    let server = Scripted::new([delay(status(404), 100, 0)]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    let mut waiting = engine.flush();
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    sleep(500).await;
    drop(waiting);
    assert!(engine.flush().await.is_err(), "the write was not delivered, and nobody was told");
}

/// "Giving up the wait consumes nothing", also while another flush waits.
#[tokio::test(start_paused = true)]
async fn a_report_that_nobody_took_is_not_lost_to_a_flush_under_way() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("1");
    let engine = open(&server, single());
    write(&engine, 1..=1);
    let first = engine.flush();
    assert!(!outcome(&engine, 1).await.is_delivered());
    write(&engine, 2..=2);
    let second = engine.flush();
    drop(first); // given up: its report is there, and nobody saw it
    let (second, third) = (second.await, engine.flush().await);
    assert!(
        second.is_err() || third.is_err(),
        "nobody hears of the first write: {second:?} {third:?}"
    );
}

/// The next flush does not report again, although another flush beside the first was given up.
#[tokio::test(start_paused = true)]
async fn a_report_that_somebody_took_is_not_made_again() {
    let server = Scripted::default();
    let engine = open(&server, single());
    write(&engine, 1..=2);
    let (first, second) = (engine.flush(), engine.flush());
    assert_eq!(first.await.unwrap().delivered, 2);
    drop(second);
    assert_eq!(engine.flush().await.unwrap().delivered, 0);
}

/// A reported write is not under way any more.
#[tokio::test(start_paused = true)]
async fn a_flush_is_told_when_no_request_is_under_way() {
    let engine = open(&Scripted::default(), single());
    write(&engine, 1..=3);
    let (shown, seen) = (Arc::new(Mutex::new(None)), engine.clone());
    let show = shown.clone();
    let flushed = engine.flush();
    flushed.on_complete(move |report| {
        let in_flight = seen.snapshot().in_flight;
        *lock(&show) = Some((report.unwrap().delivered, in_flight));
    });
    sleep(1_000).await;
    assert_eq!(*lock(&shown), Some((3, 0)));
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
async fn waits_that_were_given_up_leave_nothing_behind() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, single().delivery_timeout_ms(0u64));
    write(&engine, 1..=1);
    for _ in 0..1_000 {
        drop(engine.wait(1));
        drop(engine.flush());
    }
    assert!(engine.book().waiting() < 5);
}

/// A call made after a flush began does not fail it (delivery.md 7); the next one reports it.
#[tokio::test(start_paused = true)]
async fn what_is_turned_away_behind_a_flush_fails_the_next_one() {
    let engine = open(&Scripted::default(), single().max_write_bytes(1u64));
    write(&engine, 1..=2);
    let first = engine.flush();
    assert!(engine.accept(&[b"333"]).is_err());
    let second = engine.flush();
    assert_eq!(first.await.unwrap().delivered, 2);
    let Err(error) = second.await else { panic!("the refused call is reported to nobody") };
    assert!(matches!(error.detail(), Some(Detail::Delivery { undelivered: 1, .. })), "{error:?}");
    assert_eq!(engine.flush().await.unwrap().delivered, 0);
}

/// Refused values fail no flush, and are counted in its report.
#[tokio::test(start_paused = true)]
async fn refused_values_are_counted_in_the_report() {
    let engine = open(&Scripted::default(), single());
    assert!(engine.check_message(b"").is_err() && engine.check_message(b"{").is_err());
    write(&engine, 1..=1);
    let first = engine.flush();
    assert!(engine.check_message(b"").is_err());
    let (first, second) = (first.await.unwrap(), engine.flush().await.unwrap());
    assert_eq!((first.delivered, first.refused), (1, 2));
    assert_eq!((second.delivered, second.refused), (0, 1));
}

/// A timed-out flush has the producer's last failure as its cause (delivery.md 7).
#[tokio::test]
async fn a_flush_that_times_out_names_the_last_failure() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, single());
    write(&engine, 1..=1);
    while engine.snapshot().attempt == 0 {
        tokio::task::yield_now().await;
    }
    for waiting in [engine.flush().overdue(), engine.wait(1).overdue(), engine.ready().overdue()] {
        let error = waiting.error("flush", Duration::from_millis(5));
        assert!(error.message().ends_with("append failed: connection refused"), "{error}");
        let Some(Detail::Timeout { cause }) = error.detail() else { panic!("{error:?}") };
        assert_eq!(cause.kind(), ErrorKind::Transport);
    }
    lock(&server.model).down = false;
    engine.flush().await.unwrap();
    let well = engine.flush().overdue().error("flush", Duration::ZERO);
    assert!(well.detail().is_none(), "{well}");
}

fn undelivered(report: crate::Result<crate::FlushReport>) -> u64 {
    let error = report.expect_err("something was not delivered");
    match error.detail() {
        Some(Detail::Delivery { undelivered, .. }) => *undelivered,
        other => panic!("{other:?}"),
    }
}

/// A server that refuses a write, and holds back the one behind it.
async fn one_refused() -> (Scripted, Arc<Engine>) {
    let server = Scripted::default();
    lock(&server.model).poison = Some("1");
    let engine = open(&server, single());
    write(&engine, 1..=1);
    assert_eq!(outcome(&engine, 1).await.status, Status::Rejected);
    lock(&server.model).down = true;
    (server, engine)
}

/// What a report told that nobody took is told again, also by a report that nobody takes either.
#[tokio::test(start_paused = true)]
async fn a_report_that_is_lost_twice_is_made_again() {
    let (server, engine) = one_refused().await;
    let first = engine.flush(); // it is there, and nobody looks
    write(&engine, 2..=2);
    let second = engine.flush();
    drop(first);
    lock(&server.model).down = false;
    outcome(&engine, 2).await;
    drop(second);
    assert_eq!(undelivered(engine.flush().await), 1);
    engine.flush().await.unwrap();
}

/// Two reports of one moment need not tell the same.
#[tokio::test(start_paused = true)]
async fn what_one_of_several_reports_told_alone_is_not_lost_with_it() {
    for (take_first, take_second) in [(true, false), (false, true), (false, false)] {
        let (server, engine) = one_refused().await;
        write(&engine, 2..=2);
        let first = engine.flush();
        let too_large = vec![b'1'; engine.config.max_write_bytes + 1];
        engine.accept(&[&too_large]).unwrap_err();
        let second = engine.flush();
        lock(&server.model).down = false;
        outcome(&engine, 2).await;
        let left = match (take_first, take_second) {
            (true, _) => {
                assert_eq!(undelivered(first.await), 1);
                drop(second);
                1
            }
            (_, true) => {
                drop(first);
                assert_eq!(undelivered(second.await), 2);
                0
            }
            _ => {
                drop((first, second));
                2
            }
        };
        match left {
            0 => assert!(engine.flush().await.is_ok()),
            left => assert_eq!(undelivered(engine.flush().await), left),
        }
        engine.flush().await.unwrap();
    }
}

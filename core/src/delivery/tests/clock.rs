//! A clock that jumps or is always late expires nothing too early and keeps nothing for ever
//! (delivery.md 6); a date that the server names is one of the wall's (4).

use crate::delivery::tests::*;

#[tokio::test(start_paused = true)]
async fn a_jump_of_the_clock_expires_nothing_before_one_more_attempt() {
    let server = Scripted::new([Fault::None, delay(Fault::None, 0, 300)]);
    let engine = open(&server, Options::new().delivery_timeout_ms(5_000u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=2);
    tokio::time::sleep(Duration::from_millis(100)).await;
    write(&engine, 3..=3);
    tokio::time::advance(Duration::from_secs(60)).await;
    let _ = engine.flush().await;
    assert!(outcome(&engine, 2).await.is_delivered());
}

/// A clock jump expires nothing before one more attempt ended.
#[tokio::test(start_paused = true)]
async fn the_attempt_that_a_jump_broke_is_not_the_one_more() {
    let server = Scripted::new([Fault::None, delay(Fault::CutBefore, 1_000, 0)]);
    let engine = open(&server, Options::new().delivery_timeout_ms(5_000u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=2);
    sleep(100).await;
    write(&engine, 3..=3);
    sleep(100).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    let flushed = engine.flush().await;
    assert!(flushed.is_ok(), "{flushed:?}, after {} requests", engine.stats().requests);
}

/// `delivery_timeout_ms` bounds every write; a jump of the clock only puts it off until one more
/// attempt ended.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_predecessor_expires_after_a_jump_of_the_clock() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let runtime = runtime(&server);
    let first = start(&runtime, single().delivery_timeout_ms(0u64), None);
    write(&first, 1..=1);
    first.begin_stop();
    let second = start(&runtime, single().delivery_timeout_ms(5_000u64), Some(first));
    write(&second, 1..=1);
    sleep(100).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    let flushed = tokio::time::timeout(Duration::from_secs(3_600), second.flush()).await;
    assert!(flushed.is_ok(), "it hangs: {:?}", second.stats());
}

/// `delivery_timeout_ms` is a bound, also on a machine that is always late.
#[tokio::test(start_paused = true)]
async fn late_timers_do_not_keep_a_write_for_ever() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, single().delivery_timeout_ms(10_000u64));
    write(&engine, 1..=1);
    for _ in 0..1_000 {
        tokio::time::advance(Duration::from_secs(3)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(engine.stats().pending, 0, "after 3000 s");
}

/// `Retry-After` is "seconds or date".
#[tokio::test(start_paused = true)]
async fn a_date_to_retry_after_is_waited_for() {
    let server = Scripted::default();
    let date = httpdate::fmt_http_date(server.chance.now() + Duration::from_secs(7));
    server.script(vec![Fault::Answer(503, vec![("retry-after", date)])]);
    let engine = open(&server, single());
    let started = tokio::time::Instant::now();
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(6) && took < Duration::from_secs(9), "{took:?}");
}

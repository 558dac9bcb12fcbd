//! `close` ends the stream behind everything accepted, once, and gives each caller its own result
//! (delivery.md 7).

use crate::delivery::closing::{CloseWith, close, close_by};
use crate::delivery::tests::*;

/// A replay under a given epoch that has written two of the earlier run's three messages.
async fn shorter_replay(server: &Scripted) -> Arc<Engine> {
    let first = open(server, single().epoch(7u64));
    write(&first, 1..=3);
    first.flush().await.unwrap();
    first.stop_now();
    let second = open(server, single().epoch(7u64));
    write(&second, 1..=2); // the job has less to do today
    second
}

#[tokio::test(start_paused = true)]
async fn close_ends_the_stream_once_everything_is_in_it() {
    let server = Scripted::new([Fault::None, status(503), Fault::CutAfter]);
    let engine = open(&server, single());
    write(&engine, 1..=2);
    let (first, second) =
        (close(&engine, CloseWith::of(Some(b"3"))), close(&engine, CloseWith::AsProducer));
    assert_eq!(engine.accept(&[b"4"]).unwrap_err().kind(), ErrorKind::ProducerClosed);
    let result = first.await.unwrap();
    assert!(result.final_offset.is_some());
    assert_eq!(second.await.unwrap(), result);
    assert_eq!(close(&engine, CloseWith::AsProducer).await.unwrap(), result);
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
    assert_eq!(
        close(&engine, CloseWith::AsProducer).await.unwrap_err().kind(),
        ErrorKind::Delivery
    );
    assert!(!lock(&server.model).closed);
    write(&engine, 3..=3);
    close(&engine, CloseWith::AsProducer).await.unwrap();
    assert_eq!(server.stored(), ["2", "3"]);
    assert!(lock(&server.model).closed);
}

/// A `close` that succeeded has closed the stream. Under a given epoch the end's tuple may be one
/// the earlier run used for a write: the server answers 204 and closes nothing.
#[tokio::test(start_paused = true)]
async fn a_close_that_succeeded_has_closed_the_stream() {
    let server = Scripted::default();
    let second = shorter_replay(&server).await;
    let closed = close(&second, CloseWith::AsProducer).await;
    assert!(closed.is_err() || lock(&server.model).closed, "{closed:?}");
}

/// A last message may have a tuple that an earlier run used for a write: the stream is ended all
/// the same.
#[tokio::test(start_paused = true)]
async fn a_close_whose_last_message_is_a_duplicate_has_closed_the_stream() {
    let server = Scripted::default();
    let second = shorter_replay(&server).await;
    let closed = close(&second, CloseWith::of(Some(b"3"))).await;
    assert_eq!(server.stored(), numbers(1..=3));
    assert!(closed.is_err() || lock(&server.model).closed, "{closed:?}");
}

/// Of several holders that end a stream through one producer, each gets the result of its own
/// close, and of another's only that it is done.
#[tokio::test(start_paused = true)]
async fn a_close_does_not_fail_for_the_last_message_of_another() {
    let server = Scripted::new([delay(Fault::None, 100, 0)]);
    let engine = open(&server, single().max_write_bytes(10u64));
    write(&engine, 1..=1);
    let large = close_by(1, &engine, CloseWith::of(Some(b"12345678901")));
    let other = close_by(2, &engine, CloseWith::Unidentified);
    assert_eq!(large.await.unwrap_err().kind(), ErrorKind::TooLarge);
    let ended = other.await;
    assert!(ended.is_ok() && lock(&server.model).closed, "{ended:?}");
}

/// A close that begins where another has failed is not ended with that one.
#[tokio::test(start_paused = true)]
async fn a_close_behind_one_that_failed_ends_the_stream() {
    let server = Scripted::new([delay(Fault::None, 100, 0)]);
    let engine = open(&server, single().max_write_bytes(10u64));
    write(&engine, 1..=1);
    let large = close_by(1, &engine, CloseWith::of(Some(b"12345678901")));
    let other = close_by(2, &engine, CloseWith::of(Some(b"2")));
    assert_eq!(large.await.unwrap_err().kind(), ErrorKind::TooLarge);
    let ended = other.await;
    assert!(ended.is_ok() && lock(&server.model).closed, "{ended:?}");
    assert_eq!(server.stored(), numbers(1..=2));
}

#[tokio::test(start_paused = true)]
async fn a_last_message_that_fails_is_reported_once() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("2");
    let engine = open(&server, single());
    write(&engine, 1..=1);
    assert!(close(&engine, CloseWith::of(Some(b"2"))).await.is_err());
    close(&engine, CloseWith::AsProducer).await.unwrap();
    assert!(lock(&server.model).closed);
}

/// A last message that fails is reported once, by `close`; the next `close` ends the stream.
#[tokio::test(start_paused = true)]
async fn a_last_message_that_is_too_large_is_reported_once() {
    let server = Scripted::default();
    let engine = open(&server, single().max_write_bytes(10u64));
    write(&engine, 1..=1);
    let large = close(&engine, CloseWith::of(Some(b"12345678901"))).await.unwrap_err();
    assert_eq!(large.kind(), ErrorKind::TooLarge);
    let again = close(&engine, CloseWith::AsProducer).await;
    assert!(again.is_ok(), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_last_message_whose_answer_was_lost_is_looked_for() {
    for (cut, found) in [(Fault::CutAfter, true), (Fault::CutBefore, false)] {
        let server = Scripted::new([Fault::None, cut]);
        let engine = open(&server, single());
        write(&engine, 1..=1);
        engine.flush().await.unwrap();
        let result = close(&engine, CloseWith::of(Some(b"2"))).await;
        assert_eq!(result.map(|end| end.final_offset), Ok(Some("2".into())), "{found}");
        assert_eq!(server.stored(), numbers(1..=2));
        assert!(lock(&server.model).closed);
    }
}

/// A `close` that nobody answered may have closed the stream, with a last message as without one;
/// the next `close` takes "it is closed" for its own ("after an unanswered close of ours it means
/// closed").
#[tokio::test(start_paused = true)]
async fn a_close_after_an_unanswered_last_message_finds_it_done() {
    let server = Scripted::new([Fault::None, Fault::CutAfter]);
    let engine = open(&server, single().delivery_timeout_ms(3_000u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let closing = close(&engine, CloseWith::of(Some(b"2")));
    sleep(3).await;
    lock(&server.model).down = true;
    assert!(closing.await.is_err() && lock(&server.model).closed);
    lock(&server.model).down = false;
    let again = close(&engine, CloseWith::AsProducer).await;
    assert!(again.is_ok(), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_close_after_one_that_nobody_answered_finds_it_done() {
    let server = Scripted::new([Fault::None, Fault::CutAfter]);
    let engine = open(&server, single().delivery_timeout_ms(3_000u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let closing = close(&engine, CloseWith::AsProducer);
    tokio::time::sleep(Duration::from_millis(3)).await;
    lock(&server.model).down = true;
    assert!(closing.await.is_err() && lock(&server.model).closed);
    lock(&server.model).down = false;
    close(&engine, CloseWith::AsProducer).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_answer_was_lost_is_ours_and_a_rivals_is_not() {
    let server = Scripted::new([Fault::None, Fault::CutAfter, Fault::CutAfter]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    let end = close(&engine, CloseWith::AsProducer).await.unwrap();
    assert_eq!(
        close(&engine, CloseWith::AsProducer).await.unwrap(),
        end,
        "repeats give the first result"
    );
    let rival = open(&server, single());
    let error = close(&rival, CloseWith::AsProducer).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::StreamClosed, Some(409)));
    assert_eq!(server.stored(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn an_end_outlives_the_servers_memory() {
    let forgot = Fault::Amnesia(Box::new(Fault::None));
    let server = Scripted::new([Fault::None, Fault::CutBefore, forgot]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    close(&engine, CloseWith::AsProducer).await.unwrap();
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
    close(&engine, CloseWith::AsProducer).await.unwrap();
    assert_eq!(server.stored(), numbers(1..=3));
    assert!(lock(&server.model).closed);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_fails_lets_a_stopping_producer_end() {
    let server = Scripted::default();
    let engine = open(&server, single());
    lock(&server.model).down = true;
    let closing = close(&engine, CloseWith::AsProducer);
    tokio::time::sleep(Duration::from_millis(20)).await;
    engine.begin_stop();
    assert!(closing.await.is_err());
    engine.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_close_closes_nothing() {
    let server = Scripted::new([Fault::None, delay(Fault::CutBefore, 1_000, 0)]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let closing = close(&engine, CloseWith::AsProducer);
    tokio::time::sleep(Duration::from_millis(100)).await;
    engine.stop_now();
    assert!(closing.await.is_err() && !lock(&server.model).closed);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_producer_does_not_end_the_stream_of_its_successor() {
    let server = Scripted::default();
    let (old, _new) = fenced(&server).await;
    assert_eq!(close(&old, CloseWith::AsProducer).await.unwrap_err().kind(), ErrorKind::StaleEpoch);
    assert!(!lock(&server.model).closed);
}

/// An end that expired has the id of the write after it, of which a final answer is told all the same.
#[tokio::test(start_paused = true)]
async fn a_final_answer_is_not_taken_for_that_of_an_end_that_expired() {
    let stalled = delay(Fault::None, 5_000, 0);
    let server = Scripted::new([Fault::None, stalled, status(409)]);
    let engine = open(&server, single().delivery_timeout_ms(1_000u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    assert!(close(&engine, CloseWith::AsProducer).await.is_err());
    write(&engine, 2..=2);
    let refused = outcome(&engine, 2).await;
    assert_eq!((refused.status, refused.reason), (Status::Rejected, Some(Reason::Conflict)));
}

/// A call made after a close began does not fail it (delivery.md 7), whatever turns it away.
#[tokio::test(start_paused = true)]
async fn a_write_behind_a_close_does_not_fail_it() {
    let server = Scripted::new([delay(Fault::None, 100, 100)]);
    let engine = open(&server, single().max_write_bytes(1u64));
    write(&engine, 1..=1);
    let closing = close(&engine, CloseWith::AsProducer);
    assert!(engine.accept(&[b"2"]).is_err() && engine.accept(&[b"333"]).is_err());
    closing.await.unwrap();
    assert!(engine.flush().await.is_err(), "the refused calls are reported to nobody");
}

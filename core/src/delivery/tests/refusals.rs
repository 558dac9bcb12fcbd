//! A definite refusal ends what it was about and nothing else (delivery.md 4).

use crate::delivery::tests::*;

#[tokio::test(start_paused = true)]
async fn one_bad_write_among_a_thousand_is_rejected_alone() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("500");
    let engine = open(&server, Options::new());
    write(&engine, 1..=1000);
    let error = engine.flush().await.unwrap_err();
    assert!(
        matches!(error.detail(), Some(Detail::Delivery { delivered: 999, undelivered: 1, .. })),
        "{error:?}"
    );
    let bad = outcome(&engine, 500).await;
    assert_eq!((bad.status, bad.reason), (Status::Rejected, Some(Reason::Refused)));
    let expected: Vec<_> = numbers(1..=1000).into_iter().filter(|n| n != "500").collect();
    assert_eq!(server.stored(), expected);
    assert!(engine.stats().requests < 40, "{}", engine.stats().requests);
    write(&engine, 1001..=1001);
    engine.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_everything_is_not_asked_about_every_write() {
    let server = Scripted::new(std::iter::repeat_n(status(400), 200));
    let engine = open(&server, Options::new());
    write(&engine, 1..=10_000);
    assert!(engine.flush().await.is_err());
    assert_eq!(engine.stats().rejected, 10_000);
    assert!(engine.stats().requests < 100, "{}", engine.stats().requests);
}

#[tokio::test(start_paused = true)]
async fn every_refused_batch_has_a_budget_of_its_own() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("666");
    let engine = open(&server, Options::new());
    for _ in 0..14 {
        engine.accept(&[b"666"]).unwrap();
        assert!(engine.flush().await.is_err());
    }
    for n in 1..=100 {
        engine.accept(&[n.to_string().as_bytes()]).unwrap();
    }
    engine.accept(&[b"666"]).unwrap();
    assert!(engine.flush().await.is_err());
    assert_eq!(engine.stats().delivered, 100);
}

/// The server is there and answers: nothing is waited for.
#[tokio::test(start_paused = true)]
async fn a_refused_write_holds_nothing_up() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("666");
    let pauses = Options::new().retry_initial_delay_ms(60_000u64).retry_max_delay_ms(60_000u64);
    let engine = open(&server, pauses.max_batch_items(1u64));
    let begun = tokio::time::Instant::now();
    for text in ["1", "666", "2", "666", "3"] {
        engine.accept(&[text.as_bytes()]).unwrap();
    }
    assert!(engine.flush().await.is_err());
    assert_eq!(server.stored(), numbers(1..=3));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_of_the_stream_is_final() {
    let closed = || Fault::Answer(409, vec![("stream-closed", "true".into())]);
    for (fault, status, reason) in [
        (status(404), Status::Rejected, Reason::NotFound),
        (status(401), Status::Rejected, Reason::Unauthorized),
        (status(409), Status::Rejected, Reason::Conflict),
        (closed(), Status::Cancelled, Reason::StreamClosed),
    ] {
        let server = Scripted::new([fault.clone()]);
        let engine = open(&server, single());
        write(&engine, 1..=2);
        assert!(engine.flush().await.is_err());
        let first = outcome(&engine, 1).await;
        assert_eq!((first.status, first.reason), (status, Some(reason)), "{fault:?}");
        assert_eq!(outcome(&engine, 2).await.status, Status::Cancelled);
        assert!(server.stored().is_empty());
        assert!(engine.accept(&[b"3"]).is_err());
        check_accounts(&engine);
    }
}

/// The write the answer was about has the answer's outcome; one before it that is only waiting for
/// its repeat shares the producer's end.
#[tokio::test(start_paused = true)]
async fn a_final_answer_is_told_of_the_write_it_was_about() {
    let server = Scripted::new([Fault::None, status(429), status(409)]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    assert!(engine.flush().await.is_err());
    let (waiting, refused) = (outcome(&engine, 2).await, outcome(&engine, 3).await);
    assert_eq!((waiting.status, refused.status), (Status::Cancelled, Status::Rejected));
}

#[tokio::test(start_paused = true)]
async fn one_producer_too_many_is_told_so_and_a_busy_server_is_waited_for() {
    let busy = |times| std::iter::repeat_n(status(429), times);
    let server = Scripted::new(busy(7));
    let engine = open(&server, single());
    write(&engine, 1..=2);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=2));

    let server = Scripted::new(busy(100));
    let engine = open(&server, single());
    write(&engine, 1..=2);
    assert!(engine.flush().await.is_err());
    let first = outcome(&engine, 1).await;
    assert_eq!((first.status, first.reason), (Status::Rejected, Some(Reason::ProducerLimit)));
    assert_eq!(outcome(&engine, 2).await.status, Status::Cancelled);
    assert!(lock(&server.model).seen.is_empty());
    check_accounts(&engine);

    // Once the server knows it, it is none too many.
    let server = Scripted::new([Fault::None].into_iter().chain(busy(20)));
    let engine = open(&server, single());
    write(&engine, 1..=2);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=2));
}

/// A refusal stays one, however long it takes to learn the stream's type.
#[tokio::test(start_paused = true)]
async fn a_conflict_is_one_while_the_type_is_asked_for() {
    for stops in [false, true] {
        let server = Scripted::new([status(409), delay(Fault::None, 3_600_000, 0)]);
        let engine = open(&server, single().delivery_timeout_ms(5_000u64));
        write(&engine, 1..=1);
        sleep(100).await;
        if stops {
            engine.stop_now();
        }
        let outcome = outcome(&engine, 1).await;
        assert_ne!(outcome.status, Status::DeliveryUnknown, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_behind_a_refused_batch_is_not_asked_for_again() {
    // The second is stored and cut, the third refused, the fourth cut; a look decides nothing.
    let foreign = Fault::Foreign(Box::new(Fault::None));
    let server =
        Scripted::new([Fault::None, Fault::CutAfter, status(413), Fault::CutBefore, foreign]);
    let engine = open(&server, single().max_in_flight(3u64).delivery_timeout_ms(0u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=4);
    let flushed = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
    assert!(flushed.expect("it repeats for ever").is_err());
    assert_eq!(outcome(&engine, 3).await.status, Status::Rejected);
    assert_eq!(server.stored(), ["1", "2", FOREIGN, "4"]);
}

/// Nor is a batch "certainly not in the stream" for a refusal after such a look.
#[tokio::test(start_paused = true)]
async fn a_batch_that_arrives_after_its_repeats_were_refused_is_not_rejected() {
    let late = delay(Fault::None, 3_000, 0);
    // Each refusal comes after a look.
    let server =
        Scripted::new([Fault::None, late, Fault::None, status(413), Fault::None, status(413)]);
    let engine = open(&server, single().request_timeout_ms(1_000u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=2);
    let outcome = outcome(&engine, 2).await;
    sleep(10_000).await;
    let copies = server.stored().iter().filter(|text| *text == "2").count();
    assert!(copies == 0 || outcome.status != Status::Rejected, "{copies} copies: {outcome:?}");
}

//! A server that lost the session is never answered by rewinding (delivery.md 4), and what it may have
//! taken twice says so (5).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::delivery::tests::*;

#[tokio::test(start_paused = true)]
async fn a_lost_session_never_rewinds() {
    // The third batch was stored, its answer lost, another producer wrote too, so that a look
    // decides nothing, and then the server forgot its producers.
    for (choice, status, maybe_duplicate, copies) in
        [("resend", Status::Delivered, true, 2), ("report", Status::DeliveryUnknown, false, 1)]
    {
        let forgot = Fault::Amnesia(Box::new(Fault::None));
        let cut = Fault::Foreign(Box::new(Fault::CutAfter));
        let look = [Fault::None, Fault::None];
        let faults = [Fault::None, Fault::None, cut].into_iter().chain(look).chain([forgot]);
        let server = Scripted::new(faults);
        let engine = open(&server, single().max_in_flight(1u64).on_uncertain(choice));
        write(&engine, 1..=5);
        let flushed = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
        assert!(flushed.is_ok(), "it asks for ever");
        let doubtful = outcome(&engine, 3).await;
        assert_eq!((doubtful.status, doubtful.maybe_duplicate), (status, maybe_duplicate));
        for id in [1, 2, 4, 5] {
            let outcome = outcome(&engine, id).await;
            assert!(outcome.is_delivered() && !outcome.maybe_duplicate, "{id}");
        }
        let threes = server.stored().iter().filter(|n| *n == "3").count();
        assert_eq!(threes, copies, "{choice}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_no_lost_session() {
    // The third batch overtakes the second; that it is early is said after the second is there.
    let server =
        Scripted::new([Fault::None, delay(Fault::None, 50, 0), delay(Fault::None, 0, 200)]);
    let engine = open(&server, single().max_in_flight(2u64));
    write(&engine, 1..=4);
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.uncertain), (4, 0));
    assert_eq!((server.stored(), engine.stats().sessions), (numbers(1..=4), 1));
}

/// A first batch that was answered 503 (as Envoy does where the server dies after having stored it)
/// may be stored; where its repeat is taken again, the outcome says so, as it does after a 502.
#[tokio::test(start_paused = true)]
async fn a_first_batch_that_is_taken_again_after_a_503_is_flagged() {
    let server = Scripted::default();
    let first = AtomicU64::new(0);
    let gateway = move |server: &Scripted, request: Request| -> Sending {
        let dies = is_post(&request) && first.fetch_add(1, Ordering::Relaxed) == 0;
        let (sending, server) = (server.send(request), server.clone());
        Box::pin(async move {
            let response = sending.await?;
            if dies {
                lock(&server.model).producers.clear(); // and forgets
                return Ok(answer(503, &[]));
            }
            Ok(response)
        })
    };
    let engine = open_on(Behind(server.clone(), gateway), &model(), single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let copies = server.stored().len();
    assert!(copies == 1 || outcome(&engine, 1).await.maybe_duplicate, "{copies}");
}

/// What such an answer hides may be stored by a server that forgot it: the second copy is flagged.
#[tokio::test(start_paused = true)]
async fn a_first_batch_that_is_taken_again_after_such_a_status_is_flagged() {
    for code in [202, 303, 799] {
        let server = Scripted::default();
        let first = AtomicU64::new(0);
        let front = move |server: &Scripted, request: Request| -> Sending {
            let dies = is_post(&request) && first.fetch_add(1, Ordering::Relaxed) == 0;
            let (sending, server) = (server.send(request), server.clone());
            Box::pin(async move {
                let response = sending.await?;
                if dies {
                    lock(&server.model).producers.clear(); // and forgets
                    return Ok(answer(code, &[]));
                }
                Ok(response)
            })
        };
        let engine = open_on(Behind(server.clone(), front), &model(), single());
        write(&engine, 1..=1);
        engine.flush().await.unwrap();
        let copies = server.stored().len();
        assert!(copies == 1 || outcome(&engine, 1).await.maybe_duplicate, "{code}: {copies}");
    }
}

/// A server that says "I have it" to a repeat before that is durable, with the tail that shows it
/// (the official one does): 3 is cut off then. What became of it.
async fn early(faults: impl IntoIterator<Item = Fault>) -> (Scripted, Arc<Engine>, Outcome) {
    let server = Scripted::default();
    let engine = open(&server, single().max_in_flight(1u64));
    write(&engine, 1..=2);
    engine.flush().await.unwrap();
    lock(&server.model).sync_takes = Duration::from_secs(10);
    let look = Fault::None;
    server.script([Fault::CutAfter, look].into_iter().chain(faults).collect());
    write(&engine, 3..=4);
    let outcome = outcome(&engine, 3).await;
    engine.flush().await.unwrap();
    server.quiet().await;
    assert_eq!(server.stored(), numbers(1..=4));
    (server, engine, outcome)
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_delivered_once_it_is_durable() {
    let (_, engine, outcome) = early([]).await;
    assert!(outcome.duplicate && !outcome.maybe_duplicate && outcome.attempts > 2, "{outcome:?}");
    assert_eq!(engine.stats().sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_that_a_crash_took_is_sent_anew() {
    for crashes_at in 0..4 {
        let crash = Fault::Crash(Box::new(Fault::None));
        let faults = vec![Fault::None; crashes_at].into_iter().chain([crash]);
        let (_, engine, outcome) = early(faults).await;
        assert!(outcome.is_delivered() && outcome.maybe_duplicate, "{crashes_at}: {outcome:?}");
        assert_eq!(engine.stats().sessions, 2);
    }
}

/// Its offsets say nothing of how far the stream is.
#[tokio::test(start_paused = true)]
async fn a_server_whose_offsets_stand_still_is_believed() {
    let server = Scripted::new([Fault::None, Fault::None, Fault::CutAfter]);
    let still = move |server: &Scripted, request: Request| -> Sending {
        let sending = server.send(request);
        Box::pin(async move {
            let mut response = sending.await?;
            response.headers.insert("stream-next-offset", "0".parse().unwrap());
            Ok(response)
        })
    };
    let engine = open_on(Behind(server.clone(), still), &model(), single().max_in_flight(1u64));
    write(&engine, 1..=4);
    engine.flush().await.unwrap();
    assert_eq!((server.stored(), engine.stats().sessions), (numbers(1..=4), 1));
    assert!(!outcome(&engine, 3).await.maybe_duplicate);
}

/// A late first batch begins the session anew for a server that forgot. What is repeated behind it is
/// taken again, and what is repeated behind that, too.
#[tokio::test(start_paused = true)]
async fn what_is_taken_again_behind_a_late_first_batch_is_flagged_all_along() {
    let script = [
        delay(Fault::None, 400, 0), // 1: given up, and late
        Fault::None,                // HEAD
        Fault::None,                // 1 again
        Fault::CutAfter,            // 2
        Fault::CutAfter,            // 3
        Fault::Amnesia(Box::new(delay(Fault::None, 0, 500))), // HEAD, until 1 has come once more
    ];
    let server = Scripted::new(script);
    let options = single().max_in_flight(2u64).request_timeout_ms(50u64).on_uncertain("resend");
    let engine = open_at(&server, options, Some("0"));
    write(&engine, 1..=3);
    engine.flush().await.unwrap();
    server.quiet().await;
    assert_eq!(server.stored(), ["1", "2", "3", "1", "2", "3"]);
    for id in 1..=3 {
        let copies = server.stored().iter().filter(|text| **text == id.to_string()).count();
        let outcome = outcome(&engine, id).await;
        assert!(
            outcome.is_delivered() && (copies == 1 || outcome.maybe_duplicate),
            "{id}: {copies}"
        );
    }
}

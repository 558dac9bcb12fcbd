//! The stream itself decides, where the server's memory cannot be trusted (delivery.md 5).

use crate::delivery::tests::*;

#[tokio::test(start_paused = true)]
async fn what_a_forgetful_server_has_is_found_in_the_stream() {
    for choice in ["resend", "report"] {
        // Stored or not, with a cut connection, and the server's memory gone either way.
        for (cut, at) in [(Fault::CutAfter, 0), (Fault::CutBefore, 0), (Fault::CutAfter, 2)] {
            let before = std::iter::repeat_n(Fault::None, at);
            let server = Scripted::new(before.chain([cut.clone(), forgets(Fault::None)]));
            let options = single().max_in_flight(1u64).on_uncertain(choice);
            let engine = open_at(&server, options, Some("0"));
            write(&engine, 1..=5);
            let report = engine.flush().await.unwrap();
            assert_eq!((report.delivered, report.uncertain), (5, 0), "{cut:?} {at}");
            assert_eq!(server.stored(), numbers(1..=5), "{cut:?} {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_batches_under_way_the_stored_one_is_told_from_the_other() {
    let server = Scripted::new([Fault::None, Fault::CutAfter, Fault::CutBefore]);
    let engine = open(&server, single().max_in_flight(2u64));
    write(&engine, 1..=4);
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.uncertain), (4, 0));
    assert_eq!(server.stored(), numbers(1..=4));
    assert_eq!(lock(&server.model).seen.iter().filter(|(_, _, body)| body == "[2]").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_looking_decides_nothing_a_first_repeat_is_flagged() {
    // Nobody knows where the stream ended when it was opened, or somebody else wrote.
    let foreign = || Fault::Foreign(Box::new(Fault::CutAfter));
    for (cut, tail) in [(Fault::CutAfter, None), (foreign(), Some("0"))] {
        let look = tail.map_or(0, |_| 2);
        let looks = std::iter::repeat_n(Fault::None, look);
        let faults = [cut].into_iter().chain(looks).chain([forgets(Fault::None)]);
        let server = Scripted::new(faults);
        let engine = open_at(&server, single(), tail);
        write(&engine, 1..=2);
        let report = engine.flush().await.unwrap();
        assert_eq!((report.delivered, report.uncertain), (2, 1), "{tail:?}");
        assert!(outcome(&engine, 1).await.maybe_duplicate);
        let copies = server.stored().iter().filter(|n| *n == "1").count();
        assert_eq!(copies, 2, "this server doubles, and only the flag says so");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_remembers_is_believed() {
    let server = Scripted::new([Fault::CutAfter]);
    let engine = open(&server, single());
    write(&engine, 1..=2);
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.duplicates, report.uncertain), (2, 1, 0));
    assert_eq!(server.stored(), numbers(1..=2));
}

#[tokio::test(start_paused = true)]
async fn others_under_the_same_id_may_have_written_the_very_same() {
    let server = Scripted::new([Fault::None, Fault::Foreign(Box::new(Fault::CutBefore))]);
    let engine = open(&server, single().shared(true));
    let own = || engine.accept(&[FOREIGN.as_bytes()]).unwrap();
    own();
    engine.flush().await.unwrap();
    own();
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), vec![FOREIGN; 3], "two of ours, and theirs");
}

#[tokio::test(start_paused = true)]
async fn an_outage_during_the_look_is_an_outage() {
    let down = std::iter::repeat_n(Fault::Refuse, 5);
    let server = Scripted::new([Fault::None, Fault::CutAfter].into_iter().chain(down));
    let engine = open(&server, single());
    write(&engine, 1..=3);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=3));

    let down = std::iter::repeat_n(Fault::Refuse, 500);
    let server = Scripted::new([Fault::None, Fault::CutAfter].into_iter().chain(down));
    let engine = open(&server, single().delivery_timeout_ms(5_000u64));
    write(&engine, 1..=3);
    assert!(engine.flush().await.is_err());
    assert_eq!(outcome(&engine, 2).await.status, Status::DeliveryUnknown);
    assert_eq!(outcome(&engine, 3).await.status, Status::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn what_pages_show_is_found_wherever_they_end() {
    // The batch is stored, its answer is lost, and so is the server's memory of it.
    let server = Scripted::new([Fault::CutAfter, forgets(Fault::None)]);
    let pages = |request: &Request| {
        let mut query = request.endpoint.url.query_pairs();
        let offset = query.find(|(name, _)| name == "offset")?.1.into_owned();
        let (next, body): (&str, &[u8]) = match offset.as_str() {
            "0" => ("a", b"1"),
            "a" => ("b", b"2\n\"\xc3"),
            "b" => ("c", b""),
            "c" => ("d", b"\xa9\\"),
            _ => ("1", b"\"\"\n3\n"),
        };
        let up_to_date = if next == "1" { "true" } else { "false" };
        let headers = [("stream-next-offset", next), ("stream-up-to-date", up_to_date)];
        let mut answer = stream_answer(200, &headers, "");
        let lines = http::HeaderValue::from_static("application/x-ndjson");
        answer.headers.insert(http::header::CONTENT_TYPE, lines);
        answer.body = bytes::Bytes::from_static(body);
        Some(answer)
    };
    let options = Options::new().on_uncertain("report");
    let engine = open_empty_on(Other(server.clone(), pages), &model(), options);
    let own = ["12", "\"é\\\"\"", "3"];
    for message in own {
        engine.accept(&[message.as_bytes()]).unwrap();
    }
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.uncertain), (3, 0));
    assert_eq!(server.stored(), own);
}

#[tokio::test(start_paused = true)]
async fn what_a_cache_kept_decides_nothing() {
    // Both batches are stored; a reader's answer from between them is all that is shown.
    let server = Scripted::new([Fault::None, Fault::CutAfter, Fault::CutAfter]);
    let cached = |request: &Request| {
        let kept = [("stream-next-offset", "2"), ("stream-up-to-date", "true")];
        (request.method == http::Method::GET).then(|| stream_answer(200, &kept, "[2]"))
    };
    let engine =
        open_empty_on(Other(server.clone(), cached), &model(), single().max_in_flight(2u64));
    write(&engine, 1..=3);
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, server.stored()), (3, numbers(1..=3)));
}

#[tokio::test(start_paused = true)]
async fn a_look_ends_and_a_server_that_allows_none_is_believed() {
    let turns = std::sync::atomic::AtomicU64::new(0);
    let endless = move |request: &Request| {
        let turn = turns.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let next = if turn.is_multiple_of(2) { "x" } else { "y" };
        (request.method == http::Method::GET)
            .then(|| stream_answer(200, &[("stream-next-offset", next)], "[]"))
    };
    let none = |request: &Request| {
        (request.method == http::Method::HEAD).then(|| stream_answer(500, &[], ""))
    };
    let cut = || Scripted::new([Fault::None, Fault::CutAfter]);
    let (first, second) = (cut(), cut());
    let options = || single().max_in_flight(1u64).delivery_timeout_ms(0u64);
    for (server, engine) in [
        (first.clone(), open_empty_on(Other(first, endless), &model(), options())),
        (second.clone(), open_empty_on(Other(second, none), &model(), options())),
    ] {
        write(&engine, 1..=3);
        let flushed = tokio::time::timeout(Duration::from_secs(120), engine.flush()).await;
        assert_eq!(flushed.expect("it looks for ever").unwrap().delivered, 3);
        assert_eq!(server.stored(), numbers(1..=3));
    }
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_without_an_offset_leaves_nothing_to_look_from() {
    let echo = vec![("producer-epoch", "7".into()), ("producer-seq", "1".into())];
    let bare = Fault::Answer(200, echo);
    let server = Scripted::new([Fault::None, delay(bare, 0, 200), Fault::CutBefore]);
    let options = single().epoch(7u64).auto_claim(true).delivery_timeout_ms(0u64);
    let engine = open(&server, options);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let flushed = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
    assert!(flushed.is_ok(), "it waits for a look it cannot take");
}

/// A look that was asked for on behalf of a write that expired meanwhile decides nothing about what
/// was sent after it.
#[tokio::test(start_paused = true)]
async fn a_look_that_is_out_of_date_decides_nothing() {
    let slow_look = delay(Fault::None, 0, 700);
    let script = [
        Fault::None,                     // 1
        delay(Fault::CutBefore, 400, 0), // 2
        Fault::None,                     // 3, too early
        slow_look,                       // HEAD: the tail has not moved
        Fault::None,                     // 2
        Fault::CutAfter,                 // 3: stored
        status(413),                     // 4
    ];
    let server = Scripted::new(script);
    let engine = open(&server, single().max_in_flight(2u64).delivery_timeout_ms(1_000u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=2);
    sleep(380).await;
    write(&engine, 3..=4);
    let _ = engine.flush().await;
    let third = outcome(&engine, 3).await;
    let copies = server.stored().iter().filter(|n| *n == "3").count();
    assert!(copies == 1 || third.maybe_duplicate, "{copies} copies, {third:?}");
}

/// Where HEAD gets no answer at all (a proxy that resets it or lets it hang) and POST does,
/// reconciling has decided nothing after a few looks and the batch is repeated under its tuple: the
/// server remembers it.
#[tokio::test(start_paused = true)]
async fn a_server_whose_head_hangs_holds_no_write_up() {
    let server = Scripted::new([Fault::None, Fault::CutAfter]);
    let no_head = |server: &Scripted, request: Request| match is_post(&request) {
        true => server.send(request),
        false => at_once(Err(SendError::cut("connection reset"))),
    };
    let options = single().max_in_flight(1u64).delivery_timeout_ms(0u64);
    let engine = open_on(Behind(server.clone(), no_head), &model(), options);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let flushed = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
    assert!(flushed.is_ok(), "nothing is sent for an hour: {:?}", engine.stats());
    assert_eq!(server.stored(), numbers(1..=3));
}

/// A timeout doubles nothing, above all where the server remembers: what a look found
/// is delivered, and the rest is repeated under its tuple until the server has shown that it lost
/// the session.
#[tokio::test(start_paused = true)]
async fn a_slow_server_doubles_nothing() {
    let script = [
        Fault::None,                   // 1
        delay(Fault::None, 10_010, 0), // 2: given up after 10 s, stored just then
        delay(Fault::None, 10_300, 0), // 3: given up after 10 s, stored a little later
        Fault::None,                   // HEAD
        Fault::None,                   // GET: 2 is there, 3 is not
        delay(Fault::None, 500, 0),    // 3 again
    ];
    let server = Scripted::new(script);
    let options = single().max_in_flight(2u64);
    let engine = open(&server, options);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let report = engine.flush().await.unwrap();
    sleep(60_000).await;
    assert!(server.stored() == numbers(1..=3), "{:?}, {report:?}", server.stored());
}

/// A slow server doubles nothing either if the batch behind the slow one was refused: a session
/// that can be trusted decides about it ("its memory decides").
#[tokio::test(start_paused = true)]
async fn a_slow_server_doubles_nothing_before_a_refused_batch() {
    let script = [
        Fault::None,                   // 1
        delay(Fault::None, 10_300, 0), // 2: given up after 10 s, stored a little later
        status(413),                   // 3
        Fault::None,                   // HEAD: the tail has not moved
        delay(Fault::None, 500, 0),    // 2 again
    ];
    let server = Scripted::new(script);
    let options = single().max_in_flight(2u64);
    let engine = open(&server, options);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let second = outcome(&engine, 2).await;
    sleep(60_000).await;
    assert!(server.stored() == numbers(1..=2), "{:?}, {second:?}", server.stored());
}

/// A batch that had to go under another tuple, and was only late under the first, is there twice
/// and says so.
#[tokio::test(start_paused = true)]
async fn what_may_only_have_been_late_is_flagged() {
    let script = [
        Fault::None,                   // 1
        delay(Fault::None, 13_000, 0), // 2: given up after 10 s, stored later
        Fault::None,                   // HEAD: the tail has not moved
        status(302),                   // 2 again, refused in a way that decides nothing
        Fault::None,                   // HEAD: nor now
        Fault::None,                   // HEAD: nor a second after it was given up
        delay(Fault::None, 5_000, 0),  // 2 in the next session
    ];
    let server = Scripted::new(script);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=2);
    let second = outcome(&engine, 2).await;
    sleep(60_000).await;
    assert_eq!(server.stored(), ["1", "2", "2"]);
    assert!(second.is_delivered() && second.maybe_duplicate, "{second:?}");
}

/// A look that finds nothing says nothing about what is still on its way: where the server forgets
/// after that, a first batch that is taken again has to say so.
#[tokio::test(start_paused = true)]
async fn a_first_batch_that_arrives_after_the_look_is_flagged() {
    let late = delay(Fault::None, 1_300, 0);
    let server = Scripted::new([late, Fault::None, delay(Fault::None, 500, 0)]);
    let engine = open_at(&server, single().request_timeout_ms(1_000u64), Some("0"));
    write(&engine, 1..=1);
    sleep(1_450).await;
    lock(&server.model).producers.clear();
    let outcome = outcome(&engine, 1).await;
    let copies = server.stored().len();
    assert!(copies == 1 || outcome.maybe_duplicate, "{copies} copies: {outcome:?}");
}

/// A look that finds the batch shows one copy of it. Where another attempt is still on its way and the
/// server forgets before it arrives, there will be two.
#[tokio::test(start_paused = true)]
async fn a_first_batch_that_was_found_while_another_attempt_is_late_is_flagged() {
    let late = delay(Fault::None, 1_300, 0);
    let server = Scripted::new([late, Fault::None, Fault::CutAfter]);
    let engine = open_at(&server, single().request_timeout_ms(1_000u64), Some("0"));
    write(&engine, 1..=1);
    sleep(1_250).await;
    lock(&server.model).producers.clear();
    let outcome = outcome(&engine, 1).await;
    sleep(1_000).await;
    assert_eq!(server.stored(), ["1", "1"]);
    assert!(outcome.is_delivered() && outcome.maybe_duplicate, "{outcome:?}");
}

/// A server that forgot takes a late attempt at the first batch of a session for its beginning, and
/// the batch behind it for new.
#[tokio::test(start_paused = true)]
async fn a_batch_behind_a_first_one_that_is_late_is_flagged() {
    let script = [
        delay(Fault::None, 1_300, 0), // 1: given up after 1 s, arrives later
        Fault::None,                  // HEAD: nothing of it
        Fault::None,                  // 1 again
        Fault::CutAfter,              // 2
        Fault::Foreign(Box::new(Fault::None)), // HEAD: more than 2
        delay(Fault::None, 0, 400),   // GET: which decides nothing
    ];
    let server = Scripted::new(script);
    let engine = open_at(&server, single().request_timeout_ms(1_000u64), Some("0"));
    write(&engine, 1..=2);
    sleep(1_250).await;
    lock(&server.model).producers.clear();
    let second = outcome(&engine, 2).await;
    assert_eq!(server.stored(), ["1", "2", FOREIGN, "1", "2"]);
    assert!(second.is_delivered() && second.maybe_duplicate, "{second:?}");
}

/// The stream is only out of sight for a while: what a first attempt stored is there, before where
/// it ends now.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_checked_again_is_looked_at_from_where_it_was() {
    let forgot = Fault::Amnesia(Box::new(Fault::None));
    // The open; stored, not answered; a deploy's ingress, to the look and to the repeat; the check;
    // another cut; a look; and the server is back without its memory.
    let faults = [Fault::None, Fault::CutAfter, status(404), status(404), Fault::None];
    let faults = faults.into_iter().chain([Fault::CutBefore, Fault::None, forgot]);
    let server = Scripted::new(faults);
    let engine = open_creating(&server, Scope::State, Options::new());
    engine.ready().await.unwrap();
    write(&engine, 1..=1);
    let outcome = outcome(&engine, 1).await;
    let copies = server.stored().len();
    assert!(copies == 1 || outcome.maybe_duplicate, "{copies} copies: {outcome:?}");
}

/// The official server tells in an answer where the stream ends then, behind what came meanwhile: from
/// there on a look does not see the batch that was cut.
#[tokio::test(start_paused = true)]
async fn an_offset_behind_what_is_under_way_hides_nothing_of_it() {
    let script = [
        Fault::None,
        delay(Fault::None, 0, 10),     // 2: answered when 3 is stored
        delay(Fault::CutAfter, 0, 20), // 3: cut behind that
    ];
    let server = Scripted::new(script);
    lock(&server.model).tells_late = true;
    let engine = open_at(&server, single(), Some("0"));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    sleep(15).await;
    lock(&server.model).producers.clear();
    let third = outcome(&engine, 3).await;
    let copies = server.stored().len() - 2;
    assert!(copies == 1 || third.maybe_duplicate, "{copies} copies: {third:?}");
    assert!(third.is_delivered() && !third.maybe_duplicate, "{third:?}");
}

/// What is acknowledged behind the offset of a look is counted, and not without end: what a look reads
/// is bounded.
#[tokio::test(start_paused = true)]
async fn a_look_finds_what_was_cut_behind_much_that_is_acknowledged() {
    let after = |requests| vec![Fault::None; requests].into_iter();
    let forgets = Fault::Amnesia(Box::new(Fault::None));
    for requests in [140, 145, 150] {
        let cut = [delay(Fault::None, 0, 10), Fault::CutAfter, forgets.clone()];
        let server = Scripted::new(after(requests).chain(cut));
        lock(&server.model).tells_late = true;
        let options = Options::new().max_in_flight(5u64).max_batch_bytes(130_000u64);
        let engine = open_at(&server, options, Some("0"));
        let text = |n: usize| format!("\"{n:060000}\"");
        for n in 0..400 {
            engine.accept(&[text(n).as_bytes()]).unwrap();
        }
        let report = engine.flush().await.unwrap();
        assert_eq!((report.delivered, report.uncertain), (400, 0));
        assert_eq!(server.stored(), (0..400).map(text).collect::<Vec<_>>());
        assert_eq!(engine.stats().sessions, 2);
    }
}

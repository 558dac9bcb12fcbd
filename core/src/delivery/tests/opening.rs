//! Before the first batch: a stream whose type is unknown is asked for it, and one whose own lifetime
//! ran out is created again (delivery.md 3 and 4.4).

use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;

use crate::delivery::closing::{CloseWith, close};
use crate::delivery::engine::accept::{Checked, WriteOptions};
use crate::delivery::tests::*;
use crate::stream::handle::DurableStream;

/// A producer that does not know its stream's type.
fn open_untyped(server: &Scripted, options: Options) -> Arc<Engine> {
    let endpoint = Endpoint::resolve(&model()).unwrap();
    let config = Config::new(Scope::Producer, &options, "p", StreamType::default()).unwrap();
    Engine::start_on(runtime(server), endpoint, config, None, None)
}

/// A server whose stream is text.
fn text() -> Scripted {
    let server = Scripted::default();
    lock(&server.model).content_type = Some("text/plain");
    server
}

#[tokio::test(start_paused = true)]
async fn the_type_of_a_stream_is_asked_for_before_the_first_batch() {
    let server = Scripted::default();
    let engine = open_untyped(&server, single());
    assert_eq!(engine.config.content_type.text(), None);
    write(&engine, 1..=3);
    assert_eq!(engine.flush().await.unwrap().delivered, 3);
    assert_eq!(engine.config.content_type.is_json(), Some(true));
    assert_eq!(server.stored(), numbers(1..=3));
    assert!(engine.check_message(b"{").is_err(), "known from now on");
    assert_eq!(engine.stats().buffered_bytes, 0);
}

/// Messages that would be another's part in an array are found before they are sent.
#[tokio::test(start_paused = true)]
async fn what_is_no_json_is_rejected_once_the_type_is_known() {
    let server = Scripted::default();
    let engine = open_untyped(&server, Options::new());
    for message in ["1", "2,3", "{\"a\":4", "\"b\":5}", "6"] {
        engine.check_message(message.as_bytes()).unwrap();
        engine.accept(&[message.as_bytes()]).unwrap();
    }
    assert!(engine.flush().await.is_err());
    for id in 1..=5 {
        let outcome = outcome(&engine, id).await;
        assert_eq!(outcome.is_delivered(), id == 1 || id == 5, "{id}: {outcome:?}");
        assert!(outcome.is_delivered() || outcome.reason == Some(Reason::InvalidValue));
    }
    assert_eq!(server.stored(), ["1", "6"]);
    check_accounts(&engine);
    assert_eq!(engine.stats().buffered_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_concatenated_once_the_type_is_known() {
    let server = text();
    let engine = open_untyped(&server, Options::new());
    write(&engine, 1..=3);
    engine.flush().await.unwrap();
    write(&engine, 4..=4);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), ["123", "4"]);
    assert_eq!(engine.stats().buffered_bytes, 0);
}

/// An outage holds the question up like any request, and nothing is asked without a write.
#[tokio::test(start_paused = true)]
async fn an_idle_producer_asks_nothing_and_an_outage_is_waited_for() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let says = move |server: &Scripted, request: Request| {
        if request.method == Method::HEAD && count.fetch_add(1, Ordering::Relaxed) < 3 {
            return at_once(Ok(answer(503, &[])));
        }
        server.send(request)
    };
    let server = Scripted::default();
    let endpoint = Endpoint::resolve(&model()).unwrap();
    let config = Config::new(Scope::Producer, &single(), "p", StreamType::default()).unwrap();
    let transport = Arc::new(Behind(server.clone(), says));
    let runtime = network::for_test(transport, server.chance.clone());
    let engine = Engine::start_on(runtime, endpoint, config, None, None);
    sleep(60_000).await;
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    write(&engine, 1..=2);
    engine.flush().await.unwrap();
    assert_eq!((asked.load(Ordering::Relaxed), server.stored()), (4, numbers(1..=2)));
}

/// Without an identity the number of repeats is bounded, here too.
#[tokio::test(start_paused = true)]
async fn without_an_identity_the_question_is_repeated_as_often_as_a_write() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let endpoint = Endpoint::resolve(&model()).unwrap();
    let config = Config::new(Scope::Producer, &single(), "p", StreamType::default()).unwrap();
    let mut config = Config { identified: false, awaited: true, ..config };
    config.retries.max_retries = 2;
    let engine = Engine::start_on(runtime(&server), endpoint, config, None, None);
    let waiting = engine.accept_awaited(b"1", Checked::Whole, None).unwrap();
    let outcome = waiting.await.unwrap();
    assert_eq!((outcome.status, outcome.error.unwrap().definite()), (Status::Rejected, true));
    lock(&server.model).down = false;
    assert!(
        engine.accept_awaited(b"2", Checked::Whole, None).unwrap().await.unwrap().is_delivered()
    );
}

/// A producer whose stream lives for so long without a write.
fn open_mortal(server: &Scripted, seconds: u64, at_open: bool) -> Arc<Engine> {
    open_mortal_as("p", server, seconds, at_open, Endpoint::resolve(&model()).unwrap())
}

/// One of several of a handle, whose endpoint it has.
fn open_mortal_as(
    id: &str,
    server: &Scripted,
    seconds: u64,
    at_open: bool,
    endpoint: Endpoint,
) -> Arc<Engine> {
    let ttl = Some(Duration::from_secs(seconds));
    let create = Create { at_open, ttl, ..Create::default() };
    let config = config(Scope::Producer, &single());
    let config = Config { producer_id: id.to_owned(), create: Some(create), ..config };
    Engine::start_on(runtime(server), endpoint, config, None, None)
}

/// A server whose stream ends after a minute without a use.
fn mortal() -> Scripted {
    let server = Scripted::default();
    lock(&server.model).live(Some(Duration::from_secs(60)));
    server
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_lifetime_ran_out_is_created_again() {
    for at_open in [true, false] {
        for gone in [404, 410] {
            let server = mortal();
            let engine = open_mortal(&server, 60, at_open);
            for round in 0..3 {
                write(&engine, 2 * round + 1..=2 * round + 2);
                let report = engine.flush().await.unwrap();
                assert_eq!((report.delivered, report.uncertain), (2, 0));
                assert_eq!(server.stored(), numbers(2 * round + 1..=2 * round + 2));
                sleep(61_000).await;
                server.script(vec![status(gone)]);
            }
            assert_eq!(lock(&server.model).created, 2, "{gone}");
        }
    }
}

/// An ingress that says 404 to everything is waited for, as ever.
#[tokio::test(start_paused = true)]
async fn while_it_cannot_be_created_again_the_write_waits() {
    let server = Scripted::default();
    let engine = open_mortal(&server, 60, true);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    sleep(61_000).await;
    let mut script = vec![status(404); 6];
    script.push(forgets(Fault::None));
    server.script(script);
    write(&engine, 2..=2);
    assert_eq!(engine.flush().await.unwrap().delivered, 1);
    sleep(61_000).await;
    server.script(vec![status(404); 100]);
    write(&engine, 3..=3);
    assert!(engine.flush().await.is_err());
    assert_eq!(engine.snapshot().state, Lifecycle::Failed);
}

/// A stream that somebody deleted is never created again in silence.
#[tokio::test(start_paused = true)]
async fn a_stream_that_vanished_before_its_time_is_not_created_again() {
    let server = mortal();
    let engine = open_mortal(&server, 60, true);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    sleep(30_000).await;
    lock(&server.model).delete();
    write(&engine, 2..=2);
    assert!(engine.flush().await.is_err());
    assert_eq!(outcome(&engine, 2).await.reason, Some(Reason::NotFound));
    assert_eq!(lock(&server.model).created, 0);
}

/// Who says 404 need not be the server: where the stream was there all along, what was in doubt stays
/// so, and the server's memory decides it.
#[tokio::test(start_paused = true)]
async fn a_stream_that_was_there_all_along_still_decides_what_was_in_doubt() {
    let server = Scripted::default();
    let engine = open_mortal(&server, 60, true);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    sleep(61_000).await;
    server.script(vec![Fault::CutAfter, status(404), status(404)]);
    write(&engine, 2..=3);
    assert_eq!(engine.flush().await.unwrap().delivered, 2);
    assert_eq!(server.stored(), numbers(1..=3));
}

/// Credentials that were good before are waited for, here too.
#[tokio::test(start_paused = true)]
async fn a_401_while_the_stream_is_created_again_is_waited_for() {
    let server = Scripted::default();
    let engine = open_mortal(&server, 60, true);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    sleep(61_000).await;
    server.script(vec![status(404), status(401), status(403), forgets(Fault::None)]);
    write(&engine, 2..=2);
    assert_eq!(engine.flush().await.unwrap().delivered, 1);
}

/// The stream is looked for again at a restart, and that takes the restart no right to claim.
#[tokio::test(start_paused = true)]
async fn a_restart_that_checks_its_stream_may_still_claim() {
    let server = Scripted::default();
    let engine = open_creating(&server, Scope::State, Options::new());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let ahead = Options::new().epoch(1u64 << 52).auto_claim(true);
    let rival = open(&server, ahead);
    write(&rival, 1..=1);
    rival.flush().await.unwrap();
    write(&engine, 2..=2);
    assert!(engine.flush().await.is_err());
    engine.restart().await.unwrap();
    write(&engine, 3..=3);
    assert_eq!(engine.flush().await.unwrap().delivered, 1);
    assert_eq!(engine.stats().sessions, 3, "the first one, the fresh one, the one that claimed");
}

/// A stream that is new says nothing about what was stored in the one before.
#[tokio::test(start_paused = true)]
async fn what_a_stream_that_is_gone_may_have_had_stays_in_doubt() {
    let server = mortal();
    let engine = open_mortal(&server, 60, true);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    server.script(vec![Fault::CutAfter]);
    write(&engine, 2..=2);
    sleep(10).await;
    lock(&server.model).down = true;
    write(&engine, 3..=3);
    sleep(70_000).await;
    lock(&server.model).down = false;
    assert!(engine.flush().await.is_err());
    assert_eq!(outcome(&engine, 2).await.status, Status::DeliveryUnknown);
    assert!(outcome(&engine, 3).await.is_delivered());
    assert_eq!(server.stored(), ["3"]);
}

/// Nor does one that is said to be there: the answer that it is new may be lost.
#[tokio::test(start_paused = true)]
async fn a_stream_that_was_created_again_unheard_tells_nothing_either() {
    let server = mortal();
    let engine = open_mortal(&server, 60, true);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    sleep(61_000).await;
    write(&engine, 2..=2); // the first of another stream, which so begins where the next one does
    engine.flush().await.unwrap();
    sleep(61_000).await;
    let lost = vec![Fault::None, Fault::None, Fault::CutAfter];
    server.script(lost);
    write(&engine, 3..=3);
    sleep(10).await;
    lock(&server.model).down = true;
    sleep(70_000).await;
    lock(&server.model).down = false;
    // The look, the write, the creation whose answer is lost, the one that finds the stream there.
    server.script(vec![Fault::None, Fault::None, Fault::CutAfter, Fault::None, status(503)]);
    engine.flush().await.unwrap();
    assert!(outcome(&engine, 3).await.maybe_duplicate);
    assert_eq!(lock(&server.model).before.concat(), numbers(1..=3));
    assert_eq!(server.stored(), ["3"]);
}

/// A message whose check came before the type was known, and which is accepted behind that.
#[tokio::test(start_paused = true)]
async fn what_is_no_json_is_refused_though_its_check_knew_no_type() {
    let server = Scripted::default();
    let engine = open_untyped(&server, Options::new());
    let (good, bad) = (engine.check_message(b"2").unwrap(), engine.check_message(b"3,4").unwrap());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let options = WriteOptions::default();
    let error = engine.accept_message(b"3,4", bad, options).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::InvalidValue));
    assert!(engine.accept_awaited(b"3,4", bad, None).is_err());
    assert!(engine.accept_message(b"3,4", bad, WriteOptions::BLOCKING).is_err());
    assert!(engine.accept_if_room(b"3,4", bad).unwrap().is_err());
    engine.accept_message(b"2", good, options).unwrap();
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.refused), (1, 4));
    assert_eq!(server.stored(), numbers(1..=2));
}

/// The last message is accepted behind the flush of a close, which asks for the type.
#[tokio::test(start_paused = true)]
async fn a_last_message_that_is_no_json_ends_nothing() {
    let server = Scripted::default();
    let engine = open_untyped(&server, Options::new());
    write(&engine, 1..=1);
    engine.check_message(b"2,3").unwrap();
    let error = close(&engine, CloseWith::Message(b"2,3".into())).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::InvalidValue));
    assert_eq!(server.stored(), numbers(1..=1));
    assert!(!lock(&server.model).closed);
    close(&engine, CloseWith::Message(b"2".into())).await.unwrap();
    assert_eq!(server.stored(), numbers(1..=2));
}

/// When the type comes to be known is by chance, and no batch is cut by chance in a replay.
#[tokio::test(start_paused = true)]
async fn a_replay_cuts_its_batches_alike_whenever_the_type_is_known() {
    let server = text();
    let words: Vec<_> = (10..20).map(|n| n.to_string()).collect();
    for knows_early in [true, false] {
        let options = Options::new().epoch(7u64).max_batch_bytes(11u64);
        let engine = open_untyped(&server, options);
        for word in &words {
            engine.accept(&[format!("{word} ").as_bytes()]).unwrap();
            if knows_early {
                sleep(5).await;
            }
        }
        engine.flush().await.unwrap();
        engine.stop_now();
        engine.ended().await;
    }
    assert_eq!(server.stored(), words);
}

/// What a run rejects only because it did not know the type yet is accepted by no other run.
#[tokio::test(start_paused = true)]
async fn what_a_replay_finds_to_be_no_json_ends_its_session() {
    let server = Scripted::default();
    let options = || Options::new().epoch(7u64);
    let engine = open_untyped(&server, options());
    for message in ["1", "2,3", "4"] {
        engine.accept(&[message.as_bytes()]).unwrap();
    }
    assert!(engine.flush().await.is_err());
    engine.stop_now();
    engine.ended().await;
    assert_eq!(server.stored(), ["1", "4"]);
    let again = open(&server, options());
    again.accept(&[b"1"]).unwrap();
    again.accept(&[b"4"]).unwrap();
    let first = again.flush().await;
    let next = again.accept(&[b"5"]);
    drop(again.flush().await);
    let is_fenced = next.is_err_and(|error| error.kind() == ErrorKind::StaleEpoch);
    assert!(first.is_err() && is_fenced, "5 took the sequence number of 4: {:?}", server.stored());
}

/// That a producer has existed for a while says nothing about its stream.
#[tokio::test(start_paused = true)]
async fn a_stream_that_never_was_there_is_not_created() {
    let server = mortal();
    lock(&server.model).delete();
    let engine = open_mortal(&server, 60, false);
    sleep(61_000).await;
    write(&engine, 1..=1);
    assert!(engine.flush().await.is_err());
    assert_eq!(outcome(&engine, 1).await.reason, Some(Reason::NotFound));
    assert_eq!(lock(&server.model).created, 0);
}

/// Each producer of a handle knows how long the stream was not used by the others either.
#[tokio::test(start_paused = true)]
async fn the_producers_of_a_handle_know_one_last_use() {
    let (server, endpoint) = (mortal(), Endpoint::resolve(&model()).unwrap());
    endpoint.route.seen.note(server.chance.unix_ms()); // the handle created it
    sleep(40_000).await;
    let one = open_mortal_as("one", &server, 60, false, endpoint.clone());
    sleep(30_000).await;
    write(&one, 1..=1);
    assert_eq!(one.flush().await.unwrap().delivered, 1, "its minute was over, not the producer's");
    sleep(61_000).await;
    let other = open_mortal_as("other", &server, 60, false, endpoint);
    write(&other, 1..=1);
    assert_eq!(other.flush().await.unwrap().delivered, 1);
    assert_eq!(lock(&server.model).created, 2);
    lock(&server.model).delete();
    write(&one, 2..=2);
    assert!(one.flush().await.is_err(), "somebody deleted it, a moment after the last use");
    assert_eq!(lock(&server.model).created, 2);
}

/// What the server said of the stream is what is created again.
#[tokio::test(start_paused = true)]
async fn a_stream_of_an_unknown_type_is_created_again_with_its_own() {
    let server = text();
    lock(&server.model).live(Some(Duration::from_secs(60)));
    let options = Options::new().url("http://model/stream").ttl_seconds(60u64);
    let stream = DurableStream::connect(options).unwrap();
    let config = stream.target().producer_config("p", &Options::new()).unwrap();
    let endpoint = Endpoint::resolve(&model()).unwrap();
    let engine = Engine::start_on(runtime(&server), endpoint, config, None, None);
    for n in 1..=2 {
        engine.accept(&[format!("{n} ").as_bytes()]).unwrap();
        assert_eq!(engine.flush().await.unwrap().delivered, 1);
        sleep(61_000).await;
    }
    assert_eq!(server.stored(), ["2"]);
    assert_eq!(lock(&server.model).content_type, Some("text/plain"));
}

//! Appends that carry no identity: one request at a time, repeated only where nothing of it can
//! have been stored.

use crate::delivery::closing::{CloseWith, close_by};
use crate::delivery::tests::*;

/// A writer of appends; with `identified`, until the server takes no further producers.
fn open_writer(server: &Scripted, identified: bool, options: Options) -> Arc<Engine> {
    open_writer_on(server.clone(), server, identified, options)
}

fn open_writer_on(
    transport: impl Transport,
    server: &Scripted,
    identified: bool,
    options: Options,
) -> Arc<Engine> {
    let runtime = network::for_test(Arc::new(transport), server.chance.clone());
    let endpoint = Endpoint::resolve(&model()).unwrap();
    let config = config(Scope::Producer, &options);
    let config = Config { awaited: true, identified, opened_at: Some("0".into()), ..config };
    Engine::start_on(runtime, endpoint, config, None, None)
}

/// A server that takes no producers.
fn full(faults: Vec<Fault>) -> Scripted {
    let server = Scripted::new(faults);
    lock(&server.model).full = true;
    server
}

/// How many requests it takes to find out that the server takes no producers.
const FOUND_OUT: usize = 9;

#[tokio::test(start_paused = true)]
async fn what_it_took_to_find_out_counts_for_no_repeat() {
    let mut faults = vec![Fault::None; FOUND_OUT];
    faults.extend(vec![Fault::Refuse; 8]);
    let server = full(faults);
    let engine = open_writer(&server, true, Options::new());
    write(&engine, 1..=1);
    let outcome = outcome(&engine, 1).await;
    assert_eq!(outcome.status, Status::Delivered, "{outcome:?}");
    assert_eq!(server.stored(), ["1"]);
}

/// A part of a refused batch is a request of its own.
#[tokio::test(start_paused = true)]
async fn a_part_has_all_repeats_for_itself() {
    // The whole is repeated 8 times and refused, and then its first part is repeated 8 times.
    let mut faults = vec![status(429); 8];
    faults.push(status(400));
    faults.extend(vec![status(429); 8]);
    let server = Scripted::new(faults);
    let engine = open_writer(&server, false, Options::new());
    write(&engine, 1..=2);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=2));
}

/// The server asked to be left alone by all of them.
#[tokio::test(start_paused = true)]
async fn a_pause_that_was_asked_for_outlives_the_write_that_was_given_up() {
    for status in [429, 503] {
        let busy = Fault::Answer(status, vec![("retry-after", "3".into())]);
        let server = Scripted::new([busy]);
        let mut config = config(Scope::Producer, &single());
        config.retries.max_retries = 0;
        let config = Config { awaited: true, identified: false, ..config };
        let endpoint = Endpoint::resolve(&model()).unwrap();
        let engine = Engine::start_on(runtime(&server), endpoint, config, None, None);
        let started = tokio::time::Instant::now();
        write(&engine, 1..=2);
        assert!(outcome(&engine, 1).await.error.is_some_and(|error| error.definite()));
        assert!(outcome(&engine, 2).await.is_delivered());
        let after = started.elapsed();
        assert!(after >= Duration::from_secs(3), "{status}: again after {after:?}");
    }
}

/// Nor is a part of what may be stored under the identity.
#[tokio::test(start_paused = true)]
async fn no_part_of_what_may_still_come_under_the_identity_is_sent_without_it() {
    // Given up on its way, refused, looked for, taken apart, and then the server is full.
    let server = full(vec![
        Fault::Delay(Box::new(Fault::None), Duration::from_secs(60), Duration::ZERO),
        Fault::None, // a look
        status(413),
        Fault::None, // a look
        status(413),
    ]);
    let engine = open_writer(&server, true, Options::new().request_timeout_ms(1_000u64));
    write(&engine, 1..=2);
    let outcomes = [outcome(&engine, 1).await, outcome(&engine, 2).await];
    // What was on its way arrives at a server that has room again.
    lock(&server.model).full = false;
    server.quiet().await;
    for (n, outcome) in (1..).zip(outcomes) {
        let text = n.to_string();
        let copies = server.stored().iter().filter(|stored| **stored == text).count();
        let is_true = match outcome.status {
            Status::Delivered => copies == 1 || (copies > 1 && outcome.maybe_duplicate),
            Status::DeliveryUnknown => copies <= 1,
            _ => copies == 0,
        };
        assert!(is_true, "{text} is there {copies} times: {outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_at_a_stop_is_unknown_and_what_waits_is_cancelled() {
    for identified in [true, false] {
        let server = if identified { full(Vec::new()) } else { Scripted::default() };
        let faults = if identified { FOUND_OUT } else { 0 };
        let mut script = vec![Fault::None; faults];
        script.push(delay(Fault::None, 500, 500));
        server.script(script);
        let engine = open_writer(&server, identified, single());
        write(&engine, 1..=2);
        while lock(&server.model).seen.len() < faults {
            sleep(10).await;
        }
        sleep(400).await;
        engine.stop_now();
        let (first, second) = (outcome(&engine, 1).await, outcome(&engine, 2).await);
        server.quiet().await;
        assert_eq!(second.status, Status::Cancelled, "{second:?}");
        assert_eq!((first.status, server.stored()), (Status::DeliveryUnknown, numbers(1..=1)));
        check_accounts(&engine);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_under_way_ends_the_stream_while_it_turns_out() {
    for message in [None, Some("3")] {
        let server = full(Vec::new());
        let engine = open_writer(&server, true, single());
        write(&engine, 1..=2);
        let last =
            || message.map_or(CloseWith::Unidentified, |text| CloseWith::of(Some(text.as_bytes())));
        let (closed, again) = (close_by(1, &engine, last()), close_by(1, &engine, last()));
        let closed = closed.await.unwrap();
        assert_eq!(again.await.unwrap(), closed);
        assert!(lock(&server.model).closed);
        assert_eq!(server.stored(), numbers(1..=if message.is_some() { 3 } else { 2 }));
        assert!(close_by(2, &engine, last()).await.is_ok() == message.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_by_somebody_else_in_the_middle_fails_what_is_behind_it() {
    let server = Scripted::new([Fault::None, status(429)]);
    let engine = open_writer(&server, false, single());
    write(&engine, 1..=3);
    assert!(outcome(&engine, 1).await.is_delivered());
    lock(&server.model).closed = true;
    for id in 2..=3 {
        let outcome = outcome(&engine, id).await;
        assert_eq!(outcome.reason, Some(Reason::StreamClosed), "{outcome:?}");
    }
    assert_eq!(server.stored(), ["1"]);
}

/// However soon the writes expire: it is said of the producer, not of the writes.
#[tokio::test(start_paused = true)]
async fn it_turns_out_although_every_write_expires_first() {
    let server = full(Vec::new());
    let engine = open_writer(&server, true, single().delivery_timeout_ms(1_000u64));
    let mut told = Vec::new();
    for n in 1..=20 {
        write(&engine, n..=n);
        told.push(outcome(&engine, n).await.status);
    }
    assert!(told.contains(&Status::Delivered), "{told:?}");
}

/// One who is limited now and then is none too many.
#[tokio::test(start_paused = true)]
async fn refusals_long_ago_do_not_add_up() {
    let server = full(Vec::new());
    let engine = open_writer(&server, true, single().delivery_timeout_ms(50u64));
    for n in 1..=20 {
        write(&engine, n..=n);
        assert_eq!(outcome(&engine, n).await.status, Status::Cancelled);
        sleep(60_000).await;
    }
}

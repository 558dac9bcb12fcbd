//! What the stream itself shows, where the server's memory cannot be trusted.

use crate::delivery::closing::Last;
use crate::delivery::closing::close;
use crate::delivery::tests::*;
use crate::protocol::answer::Response;
use crate::runtime::chance::Chance;
use crate::transport::network;
use crate::transport::redirects::Redirects;
use crate::transport::request::Sending;
use crate::transport::request::{Request, Transport};

fn forgets(fault: Fault) -> Fault {
    Fault::Amnesia(Box::new(fault))
}

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
async fn a_last_message_whose_answer_was_lost_is_looked_for() {
    for (cut, found) in [(Fault::CutAfter, true), (Fault::CutBefore, false)] {
        let server = Scripted::new([Fault::None, cut]);
        let engine = open(&server, single());
        write(&engine, 1..=1);
        engine.flush().await.unwrap();
        let result = close(&engine, Last::of(Some(b"2"))).await;
        assert_eq!(result.map(|end| end.final_offset), Ok(Some("2".into())), "{found}");
        assert_eq!(server.stored(), numbers(1..=2));
        assert!(lock(&server.model).closed);
    }
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

/// A server whose other answers than to POST come from elsewhere.
struct Odd<F>(Scripted, F);

impl<F: Fn(&Request) -> Option<Response> + Send + Sync + 'static> Transport for Odd<F> {
    fn send(&self, request: Request) -> Sending {
        match (self.1)(&request) {
            None => self.0.send(request),
            Some(response) => Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(response)
            }),
        }
    }
}

fn page(status: u16, headers: &[(&'static str, &str)], body: &'static str) -> Response {
    let mut map = http::HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    )]);
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    Response { status, headers: map, body: body.into(), cut: false }
}

fn open_odd(transport: impl Transport, stream: &Options, options: Options) -> Arc<Engine> {
    let endpoint = Endpoint::resolve(stream).unwrap();
    let mut config = Config::new(Scope::Producer, &options, "p", "application/json").unwrap();
    config.opened_at = Some("0".into());
    let runtime = network::for_test(Arc::new(transport), Chance::seeded(0));
    Engine::start_on(runtime, endpoint, config, None, None)
}

fn model() -> Options {
    Options::new().url("http://model/stream")
}

#[tokio::test(start_paused = true)]
async fn what_a_cache_kept_decides_nothing() {
    // Both batches are stored; a reader's answer from between them is all that is shown.
    let server = Scripted::new([Fault::None, Fault::CutAfter, Fault::CutAfter]);
    let cached = |request: &Request| {
        let kept = [("stream-next-offset", "2"), ("stream-up-to-date", "true")];
        (request.method == http::Method::GET).then(|| page(200, &kept, "[2]"))
    };
    let engine = open_odd(Odd(server.clone(), cached), &model(), single().max_in_flight(2u64));
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
            .then(|| page(200, &[("stream-next-offset", next)], "[]"))
    };
    let none =
        |request: &Request| (request.method == http::Method::HEAD).then(|| page(500, &[], ""));
    let cut = || Scripted::new([Fault::None, Fault::CutAfter]);
    let (first, second) = (cut(), cut());
    let options = || single().max_in_flight(1u64).delivery_timeout_ms(0u64);
    for (server, engine) in [
        (first.clone(), open_odd(Odd(first, endless), &model(), options())),
        (second.clone(), open_odd(Odd(second, none), &model(), options())),
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

#[tokio::test(start_paused = true)]
async fn a_follower_is_not_believed() {
    // One server takes the writes and forgets; the other is behind, and sends them on.
    let server = Scripted::new([Fault::CutAfter, forgets(Fault::None)]);
    let follower = |request: &Request| match request.endpoint.url.host_str() {
        Some("a") => None,
        _ if request.method == http::Method::POST => {
            Some(page(307, &[("location", "http://a/stream")], ""))
        }
        _ => Some(page(200, &[("stream-next-offset", "0")], "")),
    };
    let stream =
        Options::new().stream_path("stream").endpoints("http://a,http://b").path_prefix("/");
    let routing = Redirects::new(Odd(server.clone(), follower));
    let engine = open_odd(routing, &stream, single());
    write(&engine, 1..=1);
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.uncertain), (1, 1), "{:?}", server.stored());
}

#[tokio::test(start_paused = true)]
async fn a_replay_whose_server_forgets_is_flagged() {
    let server = Scripted::default();
    let run = || open(&server, single().epoch(7u64));
    let first = run();
    write(&first, 1..=4);
    first.flush().await.unwrap();
    first.stop_now();
    let second = run();
    write(&second, 1..=2);
    assert_eq!(second.flush().await.unwrap().duplicates, 2);
    lock(&server.model).producers.clear();
    write(&second, 3..=4);
    assert_eq!(second.flush().await.unwrap().uncertain, 2, "{:?}", server.stored());
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_behind_a_refused_batch_is_not_asked_for_again() {
    // The second is stored and cut, the third refused, the fourth cut; looking decides nothing.
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

/// Nor is one that the look itself was sent to, by the first redirect there ever was.
#[tokio::test(start_paused = true)]
async fn a_follower_that_the_look_is_sent_to_is_not_believed() {
    let server = Scripted::new([Fault::CutAfter, forgets(Fault::None)]);
    let nodes = |request: &Request| match request.endpoint.url.host_str() {
        _ if request.method == http::Method::POST => None,
        Some("a") => Some(page(307, &[("location", "http://b/stream")], "")),
        _ => Some(page(200, &[("stream-next-offset", "0")], "")), // it is behind
    };
    let stream = Options::new().url("http://a/stream").endpoints("http://b");
    let engine = open_odd(Redirects::new(Odd(server.clone(), nodes)), &stream, single());
    write(&engine, 1..=1);
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.uncertain), (1, 1), "{:?}", server.stored());
}

/// Where reads are sent in circles, no look holds the writes for ever.
#[tokio::test(start_paused = true)]
async fn a_look_that_is_sent_in_circles_is_given_up() {
    let server = Scripted::new([Fault::CutBefore]);
    let circle = |request: &Request| {
        let here = [("location", "http://model/stream")];
        (request.method != http::Method::POST).then(|| page(307, &here, ""))
    };
    let routing = Redirects::new(Odd(server.clone(), circle));
    let engine = open_odd(routing, &model(), single().delivery_timeout_ms(0u64));
    write(&engine, 1..=1);
    let flushed = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
    assert_eq!(flushed.expect("it looks for ever").unwrap().delivered, 1);
}

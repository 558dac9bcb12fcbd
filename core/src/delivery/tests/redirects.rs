//! The leader is followed for writes and dropped when it fails (delivery.md 4); where several answer for
//! one stream, a look decides nothing (5).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::delivery::tests::*;
use crate::transport::redirects::Redirects;

fn finding<T: Transport>(nodes: T) -> Redirects<T> {
    Redirects::new(nodes, Chance::seeded(0))
}

/// "The leader is remembered per stream and dropped when it fails, back to the list of endpoints".
/// One that answers 404, 405, 410 or 501 for good (its address belongs to something
/// else now) has failed.
#[tokio::test(start_paused = true)]
async fn a_leader_that_does_not_know_the_stream_is_dropped() {
    for code in [404, 405, 410, 501] {
        let moved = Arc::new(AtomicU64::new(0));
        let phase = moved.clone();
        let nodes = move |server: &Scripted, request: Request| {
            let at_leader = request.endpoint.url.host_str() == Some("b");
            match (phase.load(Ordering::Relaxed), at_leader) {
                (0, false) => at_once(Ok(answer(307, &[("location", "http://b/stream")]))),
                (1.., true) => at_once(Ok(answer(code, &[]))),
                _ => server.send(request),
            }
        };
        let server = Scripted::default();
        let routing = finding(Behind(server.clone(), nodes));
        let engine = open_on(routing, &cluster(), single());
        write(&engine, 1..=1);
        engine.flush().await.unwrap();
        moved.store(1, Ordering::Relaxed);
        write(&engine, 2..=2);
        let flushed = engine.flush().await;
        assert!(flushed.is_ok(), "{code}: {:?}: {flushed:?}", engine.snapshot().state);
    }
}

/// Where reads are sent elsewhere (a replica, a cache), writes still go to the endpoint.
#[tokio::test(start_paused = true)]
async fn a_redirect_of_reads_does_not_steer_writes() {
    let nodes = |server: &Scripted, request: Request| {
        let at_replica = request.endpoint.url.host_str() == Some("b");
        match (is_post(&request), at_replica) {
            (false, false) => at_once(Ok(answer(307, &[("location", "http://b/stream")]))),
            (true, true) => at_once(Ok(answer(405, &[]))), // read only
            _ => server.send(request),
        }
    };
    let server = Scripted::default();
    let stream = Options::new().url("http://a/stream").endpoints("http://b");
    let routing = Arc::new(finding(Behind(server.clone(), nodes)));
    let endpoint = Endpoint::resolve(&stream).unwrap();
    let head = Request::new(http::Method::HEAD, Arc::new(endpoint), Duration::from_secs(1));
    assert_eq!(routing.send(head).await.unwrap().status, 200);
    let runtime = network::for_test(routing, Chance::seeded(0));
    let engine = start_at(&runtime, &stream, single(), None, None);
    write(&engine, 1..=1);
    let flushed = engine.flush().await;
    assert!(flushed.is_ok(), "{:?}: {flushed:?}", engine.snapshot().state);
}

#[tokio::test(start_paused = true)]
async fn a_follower_is_not_believed() {
    // One server takes the writes and forgets; the other is behind, and sends them on.
    let server = Scripted::new([Fault::CutAfter, forgets(Fault::None)]);
    let follower = |request: &Request| match request.endpoint.url.host_str() {
        Some("a") => None,
        _ if request.method == http::Method::POST => {
            Some(stream_answer(307, &[("location", "http://a/stream")], ""))
        }
        _ => Some(stream_answer(200, &[("stream-next-offset", "0")], "")),
    };
    let stream =
        Options::new().stream_path("stream").endpoints("http://a,http://b").path_prefix("/");
    let routing = finding(Other(server.clone(), follower));
    let engine = open_empty_on(routing, &stream, single());
    write(&engine, 1..=1);
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.uncertain), (1, 1), "{:?}", server.stored());
}

/// Nor is one that the look itself was sent to, by the first redirect there ever was.
#[tokio::test(start_paused = true)]
async fn a_follower_that_the_look_is_sent_to_is_not_believed() {
    let server = Scripted::new([Fault::CutAfter, forgets(Fault::None)]);
    let nodes = |request: &Request| match request.endpoint.url.host_str() {
        _ if request.method == http::Method::POST => None,
        Some("a") => Some(stream_answer(307, &[("location", "http://b/stream")], "")),
        _ => Some(stream_answer(200, &[("stream-next-offset", "0")], "")), // it is behind
    };
    let stream = Options::new().url("http://a/stream").endpoints("http://b");
    let engine = open_empty_on(finding(Other(server.clone(), nodes)), &stream, single());
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
        (request.method != http::Method::POST).then(|| stream_answer(307, &here, ""))
    };
    let routing = finding(Other(server.clone(), circle));
    let engine = open_empty_on(routing, &model(), single().delivery_timeout_ms(0u64));
    write(&engine, 1..=1);
    let flushed = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
    assert_eq!(flushed.expect("it looks for ever").unwrap().delivered, 1);
}

/// A server that takes requests and answers none, as a process that was stopped does.
fn frozen(request: Request) -> Sending {
    Box::pin(async move {
        request.departure.leave();
        sleep(request.timeout.as_millis() as u64).await;
        Err(SendError::stalled(!request.departure.give_up(), "no progress"))
    })
}

/// Two servers, of which `b` leads until it freezes and `a` from `ELECTION` on; what the server did
/// and when the first request was sent to `b` from then on.
struct Election {
    server: Scripted,
    engine: Arc<Engine>,
    froze: tokio::time::Instant,
    asked: Arc<AtomicU64>,
}

/// How long a cluster takes to choose another leader, in milliseconds.
const ELECTION: u64 = 5_000;

impl Election {
    /// A producer whose first writes went to `b`, which freezes now.
    async fn begin() -> Self {
        let (server, began) = (Scripted::default(), tokio::time::Instant::now());
        let (phase, asked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (now, count) = (phase.clone(), asked.clone());
        let nodes = move |server: &Scripted, request: Request| {
            let is_b = request.endpoint.url.host_str() == Some("b");
            let frozen_at = now.load(Ordering::Relaxed);
            let is_over = began.elapsed().as_millis() as u64 >= frozen_at + ELECTION;
            count.fetch_add(u64::from(frozen_at > 0), Ordering::Relaxed);
            match (is_b, frozen_at) {
                (true, 1..) => frozen(request),
                (false, 1..) if is_over => server.send(request),
                (false, _) => at_once(Ok(answer(307, &[("location", "http://b/stream")]))),
                (true, 0) => server.send(request),
            }
        };
        let engine = open_on(finding(Behind(server.clone(), nodes)), &cluster(), single());
        // Each answer allows one more request at a time.
        for n in 1..=8 {
            write(&engine, n..=n);
            engine.flush().await.unwrap();
        }
        phase.store((began.elapsed().as_millis() as u64).max(1), Ordering::Relaxed);
        let froze = tokio::time::Instant::now();
        Election { server, engine, froze, asked }
    }
}

/// "A server that stays silent is not waited for where another may answer": a leader that froze
/// costs what the cluster takes to choose another one, and no `request_timeout_ms` (10 s).
#[tokio::test(start_paused = true)]
async fn a_frozen_leader_costs_the_election_and_little_more() {
    let Election { server, engine, froze, asked } = Election::begin().await;
    write(&engine, 9..=16);
    engine.flush().await.unwrap();
    let took = froze.elapsed().as_millis() as u64;
    assert!((ELECTION..ELECTION + 1_000).contains(&took), "{took} ms");
    assert_eq!(server.stored(), numbers(1..=16));
    // One request asks for all of them, a few times a second.
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked < 40, "{asked} requests");
}

/// What was sent to the silent server may be stored there, and the one that answers may know it.
#[tokio::test(start_paused = true)]
async fn what_a_silent_server_stored_is_there_once() {
    for code in [204, 200] {
        let (server, silent) = (Scripted::default(), AtomicU64::new(0));
        let nodes = move |server: &Scripted, request: Request| {
            let is_b = request.endpoint.url.host_str() == Some("b");
            if is_b || silent.fetch_add(1, Ordering::Relaxed) != 1 {
                return server.send(request);
            }
            // Stored, or not; the answer never comes.
            let stores = (code == 204).then(|| server.send(request.clone()));
            Box::pin(async move {
                if let Some(stores) = stores {
                    let _ = stores.await;
                }
                frozen(request).await
            })
        };
        let engine = open_on(
            finding(Behind(server.clone(), nodes)),
            &cluster(),
            single().max_in_flight(1u64),
        );
        write(&engine, 1..=3);
        let second = engine.wait(2);
        let report = engine.flush().await.unwrap();
        assert_eq!((report.delivered, report.uncertain), (3, 0), "{code}");
        assert_eq!(server.stored(), numbers(1..=3), "{code}");
        assert_eq!(second.await.unwrap().duplicate, code == 204);
    }
}

/// An attempt at the silent server may still arrive. Where the servers forget, that doubles it, and
/// the outcome says so.
#[tokio::test(start_paused = true)]
async fn an_attempt_at_a_silent_server_stays_in_doubt() {
    let server = Scripted::new([delay(Fault::None, 8_000, 0)]);
    let engine = open_on(finding(server.clone()), &cluster(), single());
    write(&engine, 1..=1);
    let first = outcome(&engine, 1).await;
    lock(&server.model).producers.clear();
    server.quiet().await;
    assert_eq!(server.stored(), ["1", "1"], "it arrived twice");
    assert!(first.maybe_duplicate);
}

/// Without an identity no server could tell the second request from a repeat.
#[tokio::test(start_paused = true)]
async fn what_has_no_identity_is_sent_to_one_server() {
    let stream = cluster();
    let server = Scripted::new([delay(Fault::None, 8_000, 0)]);
    let runtime = network::for_test(Arc::new(finding(server.clone())), Chance::seeded(0));
    let endpoint = Endpoint::resolve(&stream).unwrap();
    let config = config(Scope::Producer, &single());
    let config = Config { awaited: true, identified: false, ..config };
    let engine = Engine::start_on(runtime, endpoint, config, None, None);
    write(&engine, 1..=1);
    assert_eq!(engine.flush().await.unwrap().delivered, 1);
    server.quiet().await;
    assert_eq!(server.stored(), ["1"]);
}

/// A server that is only slow is waited for longer and longer, so that it is not asked twice for
/// ever.
#[tokio::test(start_paused = true)]
async fn a_slow_server_is_not_asked_twice_for_ever() {
    let slow = (0..40).map(|_| delay(Fault::None, 1_000, 1_500));
    let server = Scripted::new(slow);
    let engine = open_on(finding(server.clone()), &cluster(), single());
    for n in 1..=20 {
        write(&engine, n..=n);
        engine.flush().await.unwrap();
    }
    let seen = lock(&server.model).seen.len();
    assert!((21..=26).contains(&seen), "{seen} requests for 20 batches");
}

/// Nobody at the leader's address, then a cluster without a leader: the pause it asks for is the one
/// that is made, not one that grew while nobody could be reached.
#[tokio::test(start_paused = true)]
async fn an_unreachable_leader_does_not_make_the_later_pauses_longer() {
    let phases = Arc::new(AtomicU64::new(0));
    let phase = phases.clone();
    let nodes = move |server: &Scripted, request: Request| {
        let is_b = request.endpoint.url.host_str() == Some("b");
        let refused = || at_once(Err(SendError::unreachable("refused")));
        match (phase.load(Ordering::Relaxed), is_b) {
            (0 | 1, false) => at_once(Ok(answer(307, &[("location", "http://b/stream")]))),
            (1.., true) => refused(),
            (2, false) => at_once(Ok(answer(503, &[("retry-after", "1")]))),
            _ => server.send(request),
        }
    };
    let server = Scripted::default();
    let engine = open_on(finding(Behind(server.clone(), nodes)), &cluster(), single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let began = tokio::time::Instant::now();
    phases.store(1, Ordering::Relaxed);
    write(&engine, 2..=2);
    for phase in [2, 3] {
        sleep(2_500).await;
        phases.store(phase, Ordering::Relaxed);
    }
    engine.flush().await.unwrap();
    let took = began.elapsed().as_millis();
    assert!((5_000..6_600).contains(&took), "{took} ms");
}

/// A leader that is being stopped says that it cannot, and for how long: the others are asked at once,
/// and it is not asked before.
#[tokio::test(start_paused = true)]
async fn where_one_says_not_now_another_is_asked_at_once() {
    let (stops, asked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (phase, count) = (stops.clone(), asked.clone());
    let nodes = move |server: &Scripted, request: Request| {
        let is_b = request.endpoint.url.host_str() == Some("b");
        match (phase.load(Ordering::Relaxed), is_b) {
            (0, false) => at_once(Ok(answer(307, &[("location", "http://b/stream")]))),
            (1, true) => {
                count.fetch_add(1, Ordering::Relaxed);
                at_once(Ok(answer(503, &[("retry-after", "1")])))
            }
            _ => server.send(request),
        }
    };
    let server = Scripted::default();
    let engine = open_on(finding(Behind(server.clone(), nodes)), &cluster(), single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let began = tokio::time::Instant::now();
    stops.store(1, Ordering::Relaxed);
    write(&engine, 2..=2);
    engine.flush().await.unwrap();
    let took = began.elapsed().as_millis();
    assert!(took < 500, "{took} ms");
    assert_eq!((asked.load(Ordering::Relaxed), server.stored()), (1, numbers(1..=2)));
}

/// A leader that lost a connection and nothing else is the one that the others redirect to.
#[tokio::test(start_paused = true)]
async fn a_leader_that_lost_a_connection_is_asked_again_soon() {
    let nodes = |server: &Scripted, request: Request| match request.endpoint.url.host_str() {
        Some("b") => server.send(request),
        _ => at_once(Ok(answer(307, &[("location", "http://b/stream")]))),
    };
    for fault in [Fault::CutBefore, Fault::CutAfter, Fault::Refuse] {
        let server = Scripted::new([Fault::None, fault]);
        let engine = open_on(finding(Behind(server.clone(), nodes)), &cluster(), single());
        let began = tokio::time::Instant::now();
        for n in 1..=2 {
            write(&engine, n..=n);
            engine.flush().await.unwrap();
        }
        let took = began.elapsed().as_millis();
        assert!(took < 500, "{took} ms");
        assert_eq!(server.stored(), numbers(1..=2));
    }
}

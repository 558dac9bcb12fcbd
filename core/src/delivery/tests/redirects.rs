//! The leader is followed for writes and dropped when it fails (delivery.md 4); where several answer for
//! one stream, a look decides nothing (5).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::delivery::tests::*;
use crate::transport::redirects::Redirects;

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
        let routing = Redirects::new(Behind(server.clone(), nodes));
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
    let routing = Arc::new(Redirects::new(Behind(server.clone(), nodes)));
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
    let routing = Redirects::new(Other(server.clone(), follower));
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
    let engine = open_empty_on(Redirects::new(Other(server.clone(), nodes)), &stream, single());
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
    let routing = Redirects::new(Other(server.clone(), circle));
    let engine = open_empty_on(routing, &model(), single().delivery_timeout_ms(0u64));
    write(&engine, 1..=1);
    let flushed = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
    assert_eq!(flushed.expect("it looks for ever").unwrap().delivered, 1);
}

//! What a hostile server, host or clock must not bring about.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::delivery::tests::*;
use crate::protocol::answer::Response;
use crate::runtime::chance::Chance;
use crate::transport::network;
use crate::transport::redirects::Redirects;
use crate::transport::request::Sending;
use crate::transport::request::{Request, SendError, Transport};

/// The model server behind something that changes requests or answers.
pub(super) struct Behind<F>(pub(super) Scripted, pub(super) F);

impl<F> Transport for Behind<F>
where
    F: Fn(&Scripted, Request) -> Sending + Send + Sync + 'static,
{
    fn send(&self, request: Request) -> Sending {
        (self.1)(&self.0, request)
    }
}

pub(super) fn model() -> Options {
    Options::new().url("http://model/stream")
}

/// Two addresses answer for the stream: it is never looked at.
pub(super) fn cluster() -> Options {
    Options::new().stream_path("stream").endpoints("http://a,http://b").path_prefix("/")
}

pub(super) fn open_on(
    transport: impl Transport,
    stream: &Options,
    options: Options,
) -> Arc<Engine> {
    let endpoint = Endpoint::resolve(stream).unwrap();
    let config = Config::new(Scope::Producer, &options, "p", "application/json").unwrap();
    Engine::start_on(
        network::for_test(Arc::new(transport), Chance::seeded(0)),
        endpoint,
        config,
        None,
        None,
    )
}

pub(super) fn answer(status: u16, headers: &[(&'static str, &str)]) -> Response {
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    Response { status, headers: map, body: bytes::Bytes::new(), cut: false }
}

pub(super) fn at_once(result: Result<Response, SendError>) -> Sending {
    Box::pin(async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        result
    })
}

pub(super) fn is_post(request: &Request) -> bool {
    request.method == http::Method::POST
}

pub(super) async fn sleep(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// An acknowledgement of n acknowledges all of the session up to n, also behind a
/// batch whose repeat was refused with the bit set: that one was stored, and so was the next.
#[tokio::test(start_paused = true)]
async fn an_ack_behind_a_batch_that_was_given_up_counts() {
    let late = delay(Fault::None, 0, 1_000);
    let server = Scripted::new([Fault::None, Fault::CutAfter, late, status(413)]);
    let engine = open_on(server.clone(), &cluster(), single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let _ = engine.flush().await;
    let third = outcome(&engine, 3).await;
    assert!(third.is_delivered() && !third.maybe_duplicate, "{third:?}");
    assert_eq!(server.stored(), numbers(1..=3));
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

/// Where HEAD gets no answer at all (a proxy that resets it or lets it hang) and POST does, looking
/// has decided nothing after a few tries and the batch is repeated under its tuple: the server
/// remembers it.
#[tokio::test(start_paused = true)]
async fn a_server_whose_head_hangs_holds_no_write_up() {
    let server = Scripted::new([Fault::None, Fault::CutAfter]);
    let no_head = |server: &Scripted, request: Request| match is_post(&request) {
        true => server.send(request),
        false => at_once(Err(SendError {
            sent: true,
            late: false,
            unreachable: false,
            message: "connection reset".into(),
        })),
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

/// A 404 has to persist for 5 s before it is final, counted from the first of a row.
#[tokio::test(start_paused = true)]
async fn a_404_an_hour_after_another_has_not_persisted() {
    let gone = Arc::new(AtomicU64::new(0));
    let left = gone.clone();
    let ingress = move |server: &Scripted, request: Request| {
        let less = |left: u64| left.checked_sub(1);
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => at_once(Ok(answer(404, &[]))),
            Err(_) => server.send(request),
        }
    };
    let server = Scripted::default();
    let options = single().delivery_timeout_ms(1_000u64);
    let engine = open_on(Behind(server.clone(), ingress), &model(), options);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    gone.store(1_000, Ordering::Relaxed);
    write(&engine, 2..=2);
    assert!(engine.flush().await.is_err(), "the deploy took longer than the write may");
    gone.store(0, Ordering::Relaxed);
    sleep(3_600_000).await;
    gone.store(1, Ordering::Relaxed);
    write(&engine, 3..=3);
    let flushed = engine.flush().await;
    assert!(flushed.is_ok(), "{:?}: {flushed:?}", engine.snapshot().state);
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
    let config = Config::new(Scope::Producer, &single(), "p", "application/json").unwrap();
    let head = Request::new(http::Method::HEAD, Arc::new(endpoint.clone()), Duration::from_secs(1));
    assert_eq!(routing.send(head).await.unwrap().status, 200);
    let engine = Engine::start_on(
        network::for_test(routing, Chance::seeded(0)),
        endpoint,
        config,
        None,
        None,
    );
    write(&engine, 1..=1);
    let flushed = engine.flush().await;
    assert!(flushed.is_ok(), "{:?}: {flushed:?}", engine.snapshot().state);
}

/// "404 before the first ack: create the stream where allowed (state producers), once".
#[tokio::test(start_paused = true)]
async fn a_404_before_the_first_ack_creates_the_stream_once() {
    let server = Scripted::new([Fault::None, status(404)]);
    let endpoint = Endpoint::resolve(&model()).unwrap();
    let mut config = Config::new(Scope::State, &Options::new(), "p", "application/json").unwrap();
    config.create = Some(http::HeaderMap::new());
    let runtime = network::for_test(Arc::new(server.clone()), server.chance.clone());
    let engine = Engine::start_on(runtime, endpoint, config, None, None);
    engine.ready().await.unwrap();
    sleep(3_600_000).await;
    write(&engine, 1..=1);
    let flushed = engine.flush().await;
    assert!(flushed.is_ok(), "{:?}: {flushed:?}", engine.snapshot().state);
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

/// The same where what is behind the slow one was refused: a session that can be trusted decides
/// about it ("its memory decides").
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

/// What had to go under another tuple, and was only late under the first, is there twice and says so.
#[tokio::test(start_paused = true)]
async fn what_may_only_have_been_late_is_flagged() {
    let script = [
        Fault::None,                   // 1
        delay(Fault::None, 13_000, 0), // 2: given up after 10 s, stored later
        Fault::None,                   // HEAD: the tail has not moved
        status(302),                   // 2 again, refused in a way that decides nothing
        Fault::None,                   // HEAD: nor now
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

/// "At most `max_in_flight` batches are on the wire", and memory is bounded: also where a server
/// acknowledges the last of several requests and never answers those before it.
#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_and_not_answered_is_still_on_the_wire() {
    struct Under(Arc<AtomicU64>);
    impl Drop for Under {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let (under_way, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (count, highest) = (under_way.clone(), most.clone());
    let hanging = move |server: &Scripted, request: Request| -> Sending {
        let seq: u64 = request.headers["producer-seq"].to_str().unwrap().parse().unwrap();
        let answer = server.send(request);
        highest.fetch_max(count.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let under = Under(count.clone());
        Box::pin(async move {
            let _under = under;
            let answer = answer.await;
            if seq > 8 && !seq.is_multiple_of(4) {
                sleep(3_600_000).await; // a body that trickles, say
            }
            answer
        })
    };
    let server = Scripted::default();
    let options = single().max_buffer_items(64u64).delivery_timeout_ms(0u64);
    let engine = open_on(Behind(server.clone(), hanging), &cluster(), options);
    for _ in 0..200 {
        let _ = engine.accept(&[b"1"]);
        sleep(5).await;
    }
    assert!(most.load(Ordering::Relaxed) <= 4, "{} under way", most.load(Ordering::Relaxed));
}

//! The engine over the model server, under virtual time: each promise of the delivery contract in a
//! file of its own.

mod absence;
mod acknowledgements;
mod buffer;
mod callbacks;
mod clock;
mod closing;
mod expiry;
mod fencing;
mod flush;
mod gathering;
mod headers;
mod herds;
mod lifecycle;
mod measured;
mod opening;
mod order;
mod outbox;
mod outcomes;
mod pages;
mod reconcile;
mod redirects;
mod refusals;
mod replay;
mod retry;
mod schedules;
mod session_loss;
mod sockets;
mod states;
mod traced;
mod unidentified;

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::buffer::lifecycle::Lifecycle;
use crate::delivery::config::{Config, Create};
use crate::delivery::engine::Engine;
use crate::error::{Detail, ErrorKind};
use crate::options::{Options, Scope};
use crate::outcome::{Outcome, Status};
use crate::protocol::answer::Response;
use crate::protocol::stream_type::StreamType;
use crate::reason::Reason;
use crate::runtime::chance::Chance;
use crate::runtime::io::Runtime;
use crate::runtime::threads::lock;
use crate::transport::endpoint::Endpoint;
use crate::transport::network;
use crate::transport::request::{Request, SendError, Sending, Transport};
use crate::transport::scripted::{FOREIGN, Fault, Scripted};

/// The stream of most tests.
fn model() -> Options {
    Options::new().url("http://model/stream")
}

/// Two addresses answer for the stream: no look decides anything.
fn cluster() -> Options {
    Options::new().stream_path("stream").endpoints("http://a,http://b").path_prefix("/")
}

/// The settings of a producer of JSON.
fn config(scope: Scope, options: &Options) -> Config {
    Config::new(scope, options, "p", StreamType::given("application/json")).unwrap()
}

/// A runtime over the test's executor; all of one server's are as if of one process.
fn runtime(server: &Scripted) -> Arc<Runtime> {
    network::for_test(Arc::new(server.clone()), server.chance.clone())
}

/// A producer, which knows that the stream ended at `tail` when it was opened, and comes `after`
/// another one.
fn start_at(
    runtime: &Arc<Runtime>,
    stream: &Options,
    options: Options,
    tail: Option<&str>,
    after: Option<Arc<Engine>>,
) -> Arc<Engine> {
    let endpoint = Endpoint::resolve(stream).unwrap();
    let config = Config { opened_at: tail.map(Into::into), ..config(Scope::Producer, &options) };
    Engine::start_on(runtime.clone(), endpoint, config, None, after)
}

fn start(runtime: &Arc<Runtime>, options: Options, after: Option<Arc<Engine>>) -> Arc<Engine> {
    start_at(runtime, &model(), options, None, after)
}

fn open(server: &Scripted, options: Options) -> Arc<Engine> {
    start(&runtime(server), options, None)
}

fn open_at(server: &Scripted, options: Options, tail: Option<&str>) -> Arc<Engine> {
    start_at(&runtime(server), &model(), options, tail, None)
}

fn open_on(transport: impl Transport, stream: &Options, options: Options) -> Arc<Engine> {
    let runtime = network::for_test(Arc::new(transport), Chance::seeded(0));
    start_at(&runtime, stream, options, None, None)
}

/// Opens a producer that knows that the stream was empty.
fn open_empty_on(transport: impl Transport, stream: &Options, options: Options) -> Arc<Engine> {
    let runtime = network::for_test(Arc::new(transport), Chance::seeded(0));
    start_at(&runtime, stream, options, Some("0"), None)
}

/// Opens a producer that creates its stream before its first batch.
fn open_creating(server: &Scripted, scope: Scope, options: Options) -> Arc<Engine> {
    let endpoint = Endpoint::resolve(&model()).unwrap();
    let create = Create { at_open: true, ..Create::default() };
    let config = Config { create: Some(create), ..config(scope, &options) };
    Engine::start_on(runtime(server), endpoint, config, None, None)
}

/// A producer that was fenced, and the newer one that did it.
async fn fenced(server: &Scripted) -> (Arc<Engine>, Arc<Engine>) {
    let old = open(server, Options::new());
    write(&old, 1..=1);
    old.flush().await.unwrap();
    let new = open(server, Options::new());
    write(&new, 1..=1);
    new.flush().await.unwrap();
    write(&old, 2..=2);
    assert!(old.flush().await.is_err());
    (old, new)
}

/// Runs what follows from a seed alone: on an executor of its own, whose virtual time begins anew,
/// so that nothing of what ran before is left.
fn in_virtual_time<T>(run: impl Future<Output = T>) -> T {
    let mut executor = tokio::runtime::Builder::new_current_thread();
    executor.enable_time().start_paused(true).build().unwrap().block_on(run)
}

/// A producer whose batches hold one write each, so that tests see single requests.
fn single() -> Options {
    Options::new().max_batch_items(1u64).max_in_flight(4u64)
}

fn write(engine: &Engine, range: std::ops::RangeInclusive<u64>) {
    for n in range {
        assert_eq!(engine.accept(&[n.to_string().as_bytes()]).unwrap(), n);
        check_accounts(engine);
    }
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn check_accounts(engine: &Engine) {
    let s = engine.stats();
    assert_eq!(s.accepted, s.delivered + s.rejected + s.cancelled + s.unknown + s.pending);
    assert!(s.buffered_bytes <= engine.config.max_buffer_bytes);
    let undelivered: u64 = s.undelivered.iter().sum();
    assert_eq!(undelivered, s.rejected + s.cancelled + s.unknown);
    assert_eq!(s.batch_writes.sum, s.delivered);
}

async fn outcome(engine: &Arc<Engine>, id: u64) -> Outcome {
    engine.wait(id).await.unwrap()
}

async fn sleep(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

fn delay(fault: Fault, there: u64, back: u64) -> Fault {
    let (there, back) = (Duration::from_millis(there), Duration::from_millis(back));
    Fault::Delay(Box::new(fault), there, back)
}

fn status(code: u16) -> Fault {
    Fault::Answer(code, Vec::new())
}

fn forgets(fault: Fault) -> Fault {
    Fault::Amnesia(Box::new(fault))
}

/// The model server behind something that changes requests or answers.
struct Behind<F>(Scripted, F);

impl<F> Transport for Behind<F>
where
    F: Fn(&Scripted, Request) -> Sending + Send + Sync + 'static,
{
    fn send(&self, request: Request) -> Sending {
        (self.1)(&self.0, request)
    }
}

/// A server whose other answers than to POST come from elsewhere.
struct Other<F>(Scripted, F);

impl<F: Fn(&Request) -> Option<Response> + Send + Sync + 'static> Transport for Other<F> {
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

fn answer(status: u16, headers: &[(&'static str, &str)]) -> Response {
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    Response { status, headers: map, body: bytes::Bytes::new(), cut: false }
}

fn at_once(result: Result<Response, SendError>) -> Sending {
    Box::pin(async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        result
    })
}

fn is_post(request: &Request) -> bool {
    request.method == http::Method::POST
}

/// An answer about the stream itself.
fn stream_answer(status: u16, headers: &[(&'static str, &str)], body: &'static str) -> Response {
    let mut map = http::HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    )]);
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    Response { status, headers: map, body: body.into(), cut: false }
}

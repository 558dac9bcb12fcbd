//! A callback that is registered while the library shuts down.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::thread::sleep;
use std::time::Duration;

use durstream_core::{DurableStream, IdempotentProducer, Options, shutdown};
use durstream_tests::proxy::{Fault, Moment, Proxy, Rule};
use durstream_tests::{fresh_path, server_address};

/// "The I/O thread waits for no callback": one that is registered while the library shuts down runs
/// where callbacks run.
#[test]
fn a_callback_registered_at_shutdown_runs_on_its_own_thread() {
    let proxy = Proxy::start(server_address()).unwrap();
    let options = Options::new().stream_path(fresh_path("shutdown")).content_type("text/plain");
    DurableStream::create(options.clone(), "").wait().unwrap();
    let stream = DurableStream::connect(options.endpoints(proxy.url())).unwrap();
    let producer = IdempotentProducer::open(&stream, "late", Options::new()).unwrap();
    let hold = Fault::Hold { name: "posts".into(), before: Moment::Forward };
    proxy.add(Rule::new(hold).method("POST").times(0)).unwrap();
    let receipt = producer.append("1").unwrap();
    assert!(proxy.wait_held("posts", 1, Duration::from_secs(30)));
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| shutdown(Duration::from_secs(30)));
        while producer.append("2").is_ok() {
            sleep(Duration::from_millis(1)); // until it has begun
        }
        producer.wait(receipt.id()).on_dispatcher(move |outcome| {
            let thread = std::thread::current().name().map(str::to_owned);
            tell.send((thread, outcome.map(|outcome| outcome.is_delivered()))).unwrap();
        });
        proxy.clear();
    });
    let (thread, delivered) = told.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!((thread.as_deref(), delivered.unwrap()), (Some("durstream-calls"), true));
}

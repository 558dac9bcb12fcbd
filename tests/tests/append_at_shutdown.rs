//! Appending what a source gives while the library is shut down: what was taken is told of in full.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::convert::Infallible;
use std::thread::sleep;
use std::time::Duration;

use durstream_core::{Detail, DurableStream, Error, FlushReport, Options, shutdown};
use durstream_tests::proxy::{Fault, Moment, Proxy, Rule};
use durstream_tests::{fresh_path, server_address};

/// Appends a message that the server holds back, and ends while a shutdown waits for it: until
/// `time` is up, or the server takes it after all.
fn append_while_shutting_down(
    idempotent: bool,
    time: Duration,
    is_taken: bool,
) -> Result<FlushReport, Error> {
    let proxy = Proxy::start(server_address()).unwrap();
    let options = Options::new().stream_path(fresh_path("shutdown")).content_type("text/plain");
    DurableStream::create(options.clone(), "").wait().unwrap();
    let options = options.endpoints(proxy.url()).idempotent(idempotent);
    let stream = DurableStream::connect(options).unwrap();
    let hold = Fault::Hold { name: "posts".into(), before: Moment::Forward };
    proxy.add(Rule::new(hold).method("POST").times(0)).unwrap();
    std::thread::scope(|scope| {
        let mut given = false;
        let source = std::iter::from_fn(|| {
            if !std::mem::replace(&mut given, true) {
                return Some(Ok::<_, Infallible>("1"));
            }
            assert!(proxy.wait_held("posts", 1, Duration::from_secs(30)));
            scope.spawn(move || shutdown(time));
            // Until it has begun.
            while !matches!(stream.append("2").wait_for(Duration::ZERO), Some(Err(_))) {
                sleep(Duration::from_millis(1));
            }
            scope.spawn(|| {
                sleep(Duration::from_millis(200)); // it is waited for by then
                if is_taken {
                    proxy.clear();
                }
            });
            None
        });
        stream.blocking_append_stream(source)
    })
}

#[test]
fn what_was_taken_is_told_of() {
    for idempotent in [true, false] {
        let report = append_while_shutting_down(idempotent, Duration::from_secs(30), true);
        assert_eq!(report.unwrap().delivered, 1, "idempotent: {idempotent}");
        let error = append_while_shutting_down(idempotent, Duration::from_millis(1), false);
        let error = error.unwrap_err();
        let Some(Detail::Delivery { delivered, undelivered, .. }) = error.detail() else {
            panic!("idempotent: {idempotent}: {error:?}")
        };
        assert_eq!((*delivered, *undelivered), (0, 1), "idempotent: {idempotent}");
    }
}

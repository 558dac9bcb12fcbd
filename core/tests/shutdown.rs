//! The end of the library, which is the whole process's.
#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::time::Duration;

use durstream_core::{DurableStream, ErrorKind, IdempotentProducer, Options, flush_all, shutdown};

#[test]
fn a_close_ends_with_the_library() {
    // Accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", silent.local_addr().unwrap());
    let stream = DurableStream::connect(Options::new().url(url)).unwrap();
    let producer = IdempotentProducer::open(&stream, "a", Options::new()).unwrap();
    let under_way = producer.close(None);
    let error = flush_all(Duration::from_millis(50)).wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "no write is pending, and the end is: {error}");
    assert!(shutdown(Duration::from_millis(50)).is_err());
    assert!(under_way.wait().is_err());
    assert!(producer.close(None).wait().is_err());
    shutdown(Duration::MAX).unwrap();
}

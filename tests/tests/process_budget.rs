//! The buffer budget of a process is for appends without an identity, too.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::time::Duration;

use durstream_core::{DurableStream, ErrorKind, Options, set_buffer_budget};
use durstream_tests::proxy::{Fault, Moment, Proxy, Rule};
use durstream_tests::{fresh_path, server_address};

#[test]
fn what_waits_without_an_identity_is_part_of_it() {
    let proxy = Proxy::start(server_address()).unwrap();
    let options = Options::new().stream_path(fresh_path("budget")).content_type("text/plain");
    DurableStream::create(options.clone(), "").wait().unwrap();
    let options = options.endpoints(proxy.url()).idempotent(false);
    let stream = DurableStream::connect(options).unwrap();
    let hold = Fault::Hold { name: "all".into(), before: Moment::Forward };
    proxy.add(Rule::new(hold).method("POST").times(0)).unwrap();
    set_buffer_budget(4 << 20);
    let message = vec![b'x'; 1 << 20];
    let mut sent = Vec::new();
    let refused = loop {
        let mut append = stream.append(&message);
        match append.wait_for(Duration::ZERO) {
            Some(result) => break result.unwrap_err(),
            None => sent.push(append),
        }
        assert!(sent.len() < 16, "16 MiB wait");
    };
    assert_eq!(refused.kind(), ErrorKind::BufferFull);
    assert!(refused.message().contains("of this process"), "{refused}");
    // What comes to the proxy only now would be held all the same.
    assert!(proxy.wait_held("all", 1, Duration::from_secs(30)));
    proxy.clear();
    for append in sent {
        append.wait().unwrap();
    }
    // What has settled is given back.
    for _ in 0..16 {
        stream.append(&message).wait().unwrap();
    }
}

//! Appends where the server takes no further producers: they go on without an identity.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::net::ToSocketAddrs;
use std::time::Duration;

use durstream_core::{DurableStream, ErrorKind, Options, Reason, pending_count, shutdown};
use durstream_tests::fresh_path;
use durstream_tests::proxy::{Fault, Proxy, Rule};

/// A stream behind a proxy that refuses whatever has a producer's identity, as a server does that
/// has too many.
fn full(name: &str) -> (Proxy, DurableStream) {
    let content_type = "application/json";
    let options = Options::new().stream_path(fresh_path(name)).content_type(content_type);
    let made = DurableStream::create(options, "").wait().unwrap();
    let (host, path) = made.url()["http://".len()..].split_once('/').unwrap();
    let proxy = Proxy::start(host.to_socket_addrs().unwrap().next().unwrap()).unwrap();
    let refusal =
        Fault::Answer { status: 429, headers: vec![], body: String::new(), forward: false };
    proxy.add(Rule::new(refusal).method("POST").header("producer-id").times(0)).unwrap();
    let options = Options::new().url(format!("{}/{path}", proxy.url())).content_type(content_type);
    let options = options.retry_initial_delay_ms(1u64).retry_max_delay_ms(10u64);
    (proxy, DurableStream::connect(options).unwrap())
}

fn items(stream: &DurableStream) -> Vec<u64> {
    let reader = stream.read(None).unwrap();
    let chunks = std::iter::from_fn(|| reader.next_chunk().wait().unwrap());
    let texts = |chunk: durstream_core::Chunk| {
        let items = chunk.items().unwrap();
        items.map(|item| std::str::from_utf8(item).unwrap().parse().unwrap()).collect::<Vec<_>>()
    };
    chunks.flat_map(texts).collect()
}

#[test]
fn the_order_of_the_calls_is_kept_while_it_turns_out() {
    let (_proxy, stream) = full("order");
    let mut sent = Vec::new();
    let mut n = 0u64;
    // Until some go without an identity, and then some more.
    while n < 400_000 && (n < 20_000 || sent.len() < 20_000) {
        sent.push(stream.append(n.to_string()));
        n += 1;
        if n.is_multiple_of(64) {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    for one in sent {
        one.wait().unwrap();
    }
    let stored = items(&stream);
    assert_eq!(stored.len() as u64, n);
    let at = stored.iter().zip(0..).position(|(a, b)| *a != b);
    assert_eq!(at, None, "{:?}", at.map(|at| &stored[at.saturating_sub(2)..at + 4]));
}

#[test]
fn an_end_right_behind_an_append_comes_behind_it() {
    let (_proxy, stream) = full("end");
    let append = stream.append("1");
    let end = stream.close(Some(b"2")).wait();
    append.wait().unwrap();
    end.unwrap();
    assert_eq!(items(&stream), [1, 2]);
}

/// Whoever waits for room in a buffer that is given up goes on without an identity.
#[test]
fn a_source_that_waits_for_room_goes_on_while_it_turns_out() {
    let (proxy, stream) = full("room");
    let closed = proxy.add(Rule::new(Fault::Closed { for_ms: None })).unwrap();
    let message = vec![b'1'; 4 << 20];
    let mut others = Vec::new();
    loop {
        let mut append = stream.append(&message);
        match append.wait_for(Duration::ZERO) {
            Some(result) => break assert_eq!(result.unwrap_err().kind(), ErrorKind::BufferFull),
            None => others.push(append),
        }
    }
    let (sender, given) = std::sync::mpsc::channel();
    let (appending, own) = (stream.clone(), message.clone());
    let source = (0..3).map(move |_| {
        let _ = sender.send(());
        Ok::<_, std::convert::Infallible>(own.clone())
    });
    let writer = std::thread::Builder::new()
        .spawn(move || appending.blocking_append_stream(source))
        .unwrap();
    given.recv().unwrap();
    std::thread::sleep(Duration::from_millis(200)); // it waits by then
    proxy.remove(closed);
    assert_eq!(writer.join().unwrap().unwrap().delivered, 3);
    others.into_iter().for_each(|append| drop(append.wait().unwrap()));
}

/// Its shutdown ends everybody's: run by the test below in a process of its own.
#[test]
#[ignore = "a part of `after_a_shutdown_nothing_is_sent`"]
fn shut_down_program() {
    let (_proxy, stream) = full("shutdown");
    stream.append("1").wait().unwrap();
    let options = Options::new().url(stream.url()).content_type(stream.content_type().unwrap());
    let bare = DurableStream::connect(options.idempotent(false)).unwrap();
    bare.append("2").wait().unwrap();
    shutdown(Duration::from_secs(5)).unwrap();
    for stream in [&stream, &bare] {
        let error = stream.append("3").wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProducerClosed);
        assert_eq!(error.reason(), Some(Reason::ProducerStopped));
        assert_eq!(stream.close(None).wait().unwrap_err().kind(), ErrorKind::ProducerClosed);
    }
    assert_eq!(pending_count(), 0);
    assert_eq!(items(&stream), [1, 2]);
}

#[test]
fn after_a_shutdown_nothing_is_sent() {
    let mut program = std::process::Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "shut_down_program", "--include-ignored"]);
    let output = program.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

//! Appending what a source gives, against a real server: in order, within bounds, and said in full
//! when it fails.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::cell::Cell;
use std::convert::Infallible;
use std::net::ToSocketAddrs;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use durstream_core::{Detail, DurableStream, Error, ErrorKind, FlushReport, Options};
use durstream_tests::fresh_path;
use durstream_tests::proxy::{Fault, Moment, Proxy, Rule};
use futures_core::Stream;

/// A proxy before the server, and a handle on a new stream behind it.
fn behind_a_proxy(name: &str, content_type: &str, idempotent: bool) -> (Proxy, DurableStream) {
    let options = Options::new().stream_path(fresh_path(name)).content_type(content_type);
    let made = DurableStream::create(options, "").wait().unwrap();
    let (host, path) = made.url()["http://".len()..].split_once('/').unwrap();
    let proxy = Proxy::start(host.to_socket_addrs().unwrap().next().unwrap()).unwrap();
    let options = Options::new().url(format!("{}/{path}", proxy.url())).content_type(content_type);
    let options = options.idempotent(idempotent).retry_initial_delay_ms(1u64);
    (proxy, DurableStream::connect(options).unwrap())
}

fn hold_posts(proxy: &Proxy) {
    let hold = Fault::Hold { name: "posts".into(), before: Moment::Forward };
    proxy.add(Rule::new(hold).method("POST").times(0)).unwrap();
}

fn items(stream: &DurableStream) -> Vec<String> {
    let reader = stream.read(None).unwrap();
    let chunks = std::iter::from_fn(|| reader.next_chunk().wait().unwrap());
    let texts = |chunk: durstream_core::Chunk| {
        let items = chunk.items().unwrap();
        items.map(|item| String::from_utf8(item.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    chunks.flat_map(texts).collect()
}

fn numbers(range: std::ops::Range<u64>) -> impl Iterator<Item = Result<String, Infallible>> {
    range.map(|n| Ok(n.to_string()))
}

fn expected(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Counts, first cause.
fn told(result: Result<FlushReport, Error>) -> (u64, u64, Error) {
    let error = result.unwrap_err();
    match (error.kind(), error.detail()) {
        (ErrorKind::Delivery, Some(Detail::Delivery { delivered, undelivered, cause, .. })) => {
            (*delivered, *undelivered, cause.clone())
        }
        _ => panic!("{error:?}"),
    }
}

#[test]
fn an_iterator_arrives_whole_in_order_and_in_few_requests() {
    /// As many as may be under way.
    const COUNT: u64 = 16_000;
    for idempotent in [true, false] {
        let (proxy, stream) = behind_a_proxy("whole", "application/json", idempotent);
        hold_posts(&proxy);
        let (taken, all_taken) = std::sync::mpsc::channel();
        let source = numbers(0..COUNT).chain(std::iter::from_fn(move || {
            taken.send(()).unwrap();
            None
        }));
        let appending = stream.clone();
        let writer = std::thread::Builder::new()
            .spawn(move || appending.blocking_append_stream(source))
            .unwrap();
        all_taken.recv_timeout(Duration::from_secs(60)).unwrap();
        proxy.clear();
        let report = writer.join().unwrap().unwrap();
        assert_eq!((report.delivered, report.duplicates, report.uncertain), (COUNT, 0, 0));
        assert_eq!(items(&stream), expected(0..COUNT), "idempotent: {idempotent}");
        assert!(proxy.log().len() < 100, "{} requests", proxy.log().len());
    }
}

#[test]
fn nothing_is_doubled_through_failures() {
    let (proxy, stream) = behind_a_proxy("faults", "application/json", true);
    let unavailable =
        Fault::Answer { status: 503, headers: vec![], body: String::new(), forward: true };
    // As many requests as there are, some meet them: at least those that the first rule waits for.
    for (skip, fault) in [(0, Fault::ResetAfter), (4, unavailable), (7, Fault::ResetBefore)] {
        proxy.add(Rule::new(fault).method("POST").skip(skip).times(8)).unwrap();
    }
    let slowly = numbers(0..300).inspect(|_| std::thread::sleep(Duration::from_millis(1)));
    assert_eq!(stream.blocking_append_stream(slowly).unwrap().delivered, 300);
    assert!(proxy.fired() >= 8);
    proxy.clear();
    assert_eq!(items(&stream), expected(0..300));
}

#[test]
fn a_source_that_fails_leaves_what_came_before() {
    let (_proxy, stream) = behind_a_proxy("source", "application/json", true);
    let source = (0..10).map(|n| match n {
        7 => Err("the disk is gone"),
        n => Ok(n.to_string()),
    });
    let result = stream.blocking_append_stream(source);
    assert!(result.as_ref().unwrap_err().to_string().contains("7 messages were delivered"));
    let (delivered, undelivered, cause) = told(result);
    assert_eq!((delivered, undelivered, cause.option_name()), (7, 0, Some("source")));
    assert!(cause.message().contains("the disk is gone"));
    assert_eq!(items(&stream), expected(0..7));
}

#[test]
fn a_message_that_is_refused_ends_it() {
    let (_proxy, stream) = behind_a_proxy("refused", "application/json", true);
    let asked = Cell::new(0);
    let source = ["1", "2", "{", "4"].into_iter().inspect(|_| asked.set(asked.get() + 1));
    let (delivered, undelivered, cause) =
        told(stream.blocking_append_stream(source.map(Ok::<_, Infallible>)));
    assert_eq!((delivered, undelivered, cause.kind()), (2, 1, ErrorKind::Validation));
    assert_eq!(asked.get(), 3, "the source is asked no further");
    assert_eq!(items(&stream), ["1", "2"]);
}

#[test]
fn empty_messages_of_a_byte_stream_are_skipped() {
    let tokens = ["Hello", "", ", ", "", "world"].map(Ok::<_, Infallible>);
    let (_proxy, stream) = behind_a_proxy("tokens", "text/plain", true);
    assert_eq!(stream.blocking_append_stream(tokens).unwrap().delivered, 3);
    let chunk = stream.read(None).unwrap().next_chunk().wait().unwrap().unwrap();
    assert_eq!(&chunk.data[..], b"Hello, world");

    let (_proxy, stream) = behind_a_proxy("no-json", "application/json", true);
    let (_, undelivered, cause) = told(stream.blocking_append_stream(tokens));
    assert_eq!((undelivered, cause.kind()), (1, ErrorKind::Validation));
}

#[test]
fn what_is_not_delivered_is_counted() {
    let (_proxy, stream) = behind_a_proxy("closed", "application/json", false);
    stream.append("0").wait().unwrap();
    stream.close(None).wait().unwrap();
    let (delivered, undelivered, cause) = told(stream.blocking_append_stream(numbers(0..5)));
    assert_eq!((delivered, cause.kind()), (0, ErrorKind::StreamClosed));
    assert!((1..=5).contains(&undelivered), "{undelivered}");
    assert_eq!(items(&stream), ["0"]);
}

/// A server that takes nothing slows the source down; it fails nothing and gathers little.
#[test]
fn a_slow_server_slows_the_source_down() {
    for idempotent in [true, false] {
        let (proxy, stream) = behind_a_proxy("slow", "text/plain", idempotent);
        hold_posts(&proxy);
        let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (count, message) = (taken.clone(), vec![b'x'; 1 << 20]);
        let source = (0..40).map(move |_| {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok::<_, Infallible>(message.clone())
        });
        let appending = stream.clone();
        let writer = std::thread::Builder::new()
            .spawn(move || appending.blocking_append_stream(source))
            .unwrap();
        assert!(proxy.wait_held("posts", 1, Duration::from_secs(30)));
        // It may take as long as it wants: it is never more than what may be under way.
        std::thread::sleep(Duration::from_millis(300));
        let taken = taken.load(std::sync::atomic::Ordering::SeqCst);
        assert!(taken <= 17, "{taken} MiB were taken from the source");
        proxy.clear();
        assert_eq!(writer.join().unwrap().unwrap().delivered, 40);
    }
}

/// Where others' messages fill the buffer, it waits for room and does not fail.
#[test]
fn a_full_buffer_is_waited_for() {
    for idempotent in [true, false] {
        let (proxy, stream) = behind_a_proxy("full", "text/plain", idempotent);
        hold_posts(&proxy);
        let message = vec![b'x'; 4 << 20];
        let mut others = Vec::new();
        loop {
            let mut append = stream.append(&message);
            match append.wait_for(Duration::ZERO) {
                Some(result) => {
                    break assert_eq!(result.unwrap_err().kind(), ErrorKind::BufferFull);
                }
                None => others.push(append),
            }
        }
        let (appending, own) = (stream.clone(), message.clone());
        let source = (0..3).map(move |_| Ok::<_, Infallible>(own.clone()));
        let writer = std::thread::Builder::new()
            .spawn(move || appending.blocking_append_stream(source))
            .unwrap();
        assert!(proxy.wait_held("posts", 1, Duration::from_secs(30)));
        proxy.clear();
        assert_eq!(writer.join().unwrap().unwrap().delivered, 3, "idempotent: {idempotent}");
        others.into_iter().for_each(|append| drop(append.wait().unwrap()));
    }
}

/// Gives numbers, and is not ready every other time.
struct Ticking {
    next: u64,
    end: u64,
    paused: bool,
}

impl Stream for Ticking {
    type Item = Result<String, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.paused = !self.paused;
        if self.paused {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.next == self.end {
            return Poll::Ready(None);
        }
        self.next += 1;
        Poll::Ready(Some(Ok((self.next - 1).to_string())))
    }
}

#[test]
fn an_async_stream_arrives_whole_and_in_order() {
    let (_proxy, stream) = behind_a_proxy("async", "application/json", true);
    let earlier = stream.append("\"first\"");
    let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let source = Ticking { next: 0, end: 500, paused: false };
    let report = executor.block_on(stream.append_stream(source)).unwrap();
    assert!(report.delivered == 500 && earlier.wait().unwrap().is_delivered());
    let mut all = vec!["\"first\"".to_owned()];
    all.extend(expected(0..500));
    assert_eq!(items(&stream), all);
}

/// Gives one message, and says nothing more.
struct Silent(Option<String>);

impl Stream for Silent {
    type Item = Result<String, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.take().map_or(Poll::Pending, |message| Poll::Ready(Some(Ok(message))))
    }
}

#[test]
fn a_failure_is_told_although_the_source_says_nothing() {
    let options = Options::new().stream_path(fresh_path("silent"));
    let stream = DurableStream::connect(options).unwrap(); // nobody created it
    let executor = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let appended = stream.append_stream(Silent(Some("1".to_owned())));
    let limited = async { tokio::time::timeout(Duration::from_secs(20), appended).await };
    let (delivered, undelivered, cause) = told(executor.block_on(limited).expect("it hangs"));
    assert_eq!((delivered, undelivered), (0, 1));
    assert_eq!(cause.kind(), ErrorKind::StreamNotFound);
}

#[test]
fn what_was_taken_before_the_future_was_dropped_is_appended() {
    let (proxy, stream) = behind_a_proxy("dropped", "application/json", true);
    hold_posts(&proxy);
    let given = Cell::new(0);
    let message = format!("\"{}\"", "x".repeat(1 << 20));
    let source = std::iter::from_fn(|| {
        given.set(given.get() + 1);
        Some(Ok::<_, Infallible>(&message))
    });
    {
        let mut appended = Box::pin(stream.append_stream(Ready(source)));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(appended.as_mut().poll(&mut context).is_pending(), "there is no room left");
    }
    proxy.clear();
    stream.append("1").wait().unwrap();
    assert_eq!(items(&stream).len(), given.get() + 1);
}

/// An iterator as a stream that is always ready.
struct Ready<I>(I);

impl<I: Iterator + Unpin> Stream for Ready<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next())
    }
}

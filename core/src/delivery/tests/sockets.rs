//! What only real sockets show.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::delivery::handle::Snapshot;
use crate::delivery::tests::*;
use crate::producer::IdempotentProducer;
use crate::state::producer::create_durable_stream;
use crate::state::schema::{Collection, StreamSchema, Validator};
use crate::stream::handle::DurableStream;
use crate::transport::http_client::HttpTransport;
use crate::transport::request::Keep;

/// Serves each request with `handle`, which gets its head and the connection; returns the URL.
fn serve(handle: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/s", listener.local_addr().unwrap());
    let handle = Arc::new(handle);
    start(move || {
        for connection in listener.incoming() {
            let (mut connection, handle) = (connection.unwrap(), handle.clone());
            start(move || {
                while let Some(head) = read_request(&mut connection) {
                    handle(&head, &mut connection);
                }
            });
        }
    });
    url
}

/// A stream of bytes, known to be one: nothing is asked before an append.
fn bytes(url: &str) -> Options {
    Options::new().url(url).content_type("text/plain")
}

fn start(body: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().spawn(body).unwrap();
}

fn read_request(connection: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if connection.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = header(&head, "content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    connection.read_exact(&mut body).ok()?;
    Some(head)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn echo(head: &str) -> String {
    let (epoch, seq) = (header(head, "producer-epoch"), header(head, "producer-seq"));
    format!("producer-epoch: {}\r\nproducer-seq: {}\r\n", epoch.unwrap(), seq.unwrap())
}

fn say(connection: &mut TcpStream, text: &str) {
    let _ = connection.write_all(text.as_bytes());
}

/// A server whose newest epoch wins, slowly, and how many requests had it when they came.
fn newest_wins() -> (String, Arc<std::sync::Mutex<(u64, u64)>>) {
    let newest = Arc::new(std::sync::Mutex::new((0u64, 0u64)));
    let known = newest.clone();
    let url = serve(move |head, connection| {
        let Some(epoch) = header(head, "producer-epoch").map(|epoch| epoch.parse().unwrap()) else {
            return say(connection, "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n");
        };
        let stale = {
            let mut known = known.lock().unwrap();
            known.0 = known.0.max(epoch);
            known.1 += u64::from(epoch == known.0);
            (epoch < known.0).then_some(known.0)
        };
        std::thread::sleep(Duration::from_millis(200));
        match stale {
            None => say(
                connection,
                &format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", echo(head)),
            ),
            Some(newest) => say(
                connection,
                &format!(
                    "HTTP/1.1 403 Forbidden\r\nproducer-epoch: {newest}\r\ncontent-length: 0\r\n\r\n"
                ),
            ),
        }
    });
    (url, newest)
}

/// "A process never fences itself": dropping a producer "delivers what was accepted in
/// the background", also if the next one of the same id is opened right after, of whichever kind.
#[test]
fn a_producer_opened_after_one_was_dropped_does_not_fence_it() {
    let then_state = |url: &str| {
        let options = Options::new().url(url).producer_id("id");
        let any = Collection::new("c", "id", Validator::Any);
        let schema = StreamSchema::new().collection("c", any);
        let next = create_durable_stream(options, schema).unwrap();
        next.delete("c", "3").unwrap();
        next.flush().wait().unwrap();
    };
    let then_another = |url: &str| {
        let stream = DurableStream::connect(bytes(url)).unwrap();
        let next = IdempotentProducer::open(&stream, "id", Options::new()).unwrap();
        next.append("3").unwrap();
        next.flush().wait().unwrap();
    };
    // Who it is makes no other stream of it: not in the URL, not in a parameter.
    let as_somebody_else = |url: &str| then_another(&url.replace("http://", "http://other:pw@"));
    let with_a_token = |url: &str| {
        let options = bytes(url).param("token", "other");
        let stream = DurableStream::connect(options).unwrap();
        let next = IdempotentProducer::open(&stream, "id", Options::new()).unwrap();
        next.append("3").unwrap();
        next.flush().wait().unwrap();
    };
    for (kind, then) in [
        ("another", &then_another as &dyn Fn(&str)),
        ("state", &then_state),
        ("somebody else", &as_somebody_else),
        ("another token", &with_a_token),
    ] {
        let (url, newest) = newest_wins();
        let stream = DurableStream::connect(bytes(&url)).unwrap();
        let first = IdempotentProducer::open(&stream, "id", Options::new()).unwrap();
        first.append("1").unwrap();
        while newest.lock().unwrap().1 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let second = first.append("2").unwrap();
        let (waiting, _) = (first.wait(second.id()), drop(first));
        then(&url);
        let outcome = waiting.wait().unwrap();
        assert!(outcome.is_delivered(), "{kind}: {outcome:?}");
    }
}

/// A server that takes what has the token `old` for a while only: its first request that writes.
fn serve_with_tokens() -> String {
    serve(move |head, connection| {
        let seq = header(head, "producer-seq");
        let old = header(head, "authorization") == Some("old");
        let answer = match seq {
            Some(seq) if old && seq != "0" => "401 Unauthorized\r\n".to_owned(),
            Some(_) => format!("200 OK\r\n{}", echo(head)),
            None => "201 Created\r\n".to_owned(),
        };
        say(connection, &format!("HTTP/1.1 {answer}content-length: 0\r\n\r\n"));
    })
}

fn until_refused(snapshot: impl Fn() -> Snapshot) {
    let refused = |error: crate::Error| error.kind() == ErrorKind::Unauthorized;
    while snapshot().attempt == 0 || !snapshot().last_error.is_some_and(refused) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whoever has new credentials does not wait for one whose own are refused for good.
#[test]
fn new_credentials_do_not_wait_for_refused_ones() {
    let stream = DurableStream::connect(bytes(&serve_with_tokens())).unwrap();
    let open = |token: &str| {
        let options = Options::new().header("authorization", token).delivery_timeout_ms(0u64);
        IdempotentProducer::open(&stream, "renewed", options).unwrap()
    };
    let old = open("old");
    old.append("1").unwrap();
    old.flush().wait().unwrap();
    old.append("2").unwrap();
    until_refused(|| old.snapshot());
    old.begin_shutdown();
    let new = open("new");
    new.append("3").unwrap();
    let flushed = new.flush().wait_for(Duration::from_secs(30));
    old.stop();
    assert!(flushed.is_some_and(|report| report.is_ok()), "it waits: {:?}", new.snapshot());
}

#[test]
fn nor_do_those_of_a_state_producer() {
    let url = serve_with_tokens();
    let open = |token: &str| {
        let options = Options::new().url(&url).producer_id("renewed");
        let options = options.header("authorization", token).delivery_timeout_ms(0u64);
        let any = Collection::new("c", "id", Validator::Any);
        create_durable_stream(options, StreamSchema::new().collection("c", any)).unwrap()
    };
    let old = open("old");
    old.delete("c", "1").unwrap();
    old.flush().wait().unwrap();
    old.delete("c", "2").unwrap();
    until_refused(|| old.snapshot());
    old.begin_shutdown();
    let new = open("new");
    new.delete("c", "3").unwrap();
    let flushed = new.flush().wait_for(Duration::from_secs(30));
    old.stop();
    assert!(flushed.is_some_and(|report| report.is_ok()), "it waits: {:?}", new.snapshot());
}

fn request(method: http::Method, url: &str, body: &'static str) -> Request {
    let endpoint = Endpoint::resolve(&Options::new().url(url)).unwrap();
    let plain = Request::new(method, Arc::new(endpoint), Duration::from_secs(2));
    Request { body: body.into(), ..plain }
}

/// `maybe_stored` is set by "an attempt that ended without complete status and headers". An
/// acknowledgement whose body never ends has both.
#[tokio::test]
async fn an_answer_whose_body_never_ends_is_an_answer() {
    let url = serve(|head, connection| {
        assert!(head.starts_with("post"));
        say(
            connection,
            "HTTP/1.1 200 OK\r\nproducer-epoch: 1\r\nproducer-seq: 0\r\n\
                         transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
        );
    });
    let answer =
        HttpTransport::new(Chance::System).send(request(http::Method::POST, &url, "[1]")).await;
    assert_eq!(answer.map(|response| response.status).map_err(|e| e.message), Ok(200));
}

/// "only connect failures close a host's gate for all its producers".
#[tokio::test]
async fn a_late_answer_to_a_request_without_a_body_closes_no_gate() {
    let url = serve(|head, connection| match head.starts_with("head") {
        true => std::thread::sleep(Duration::from_secs(3_600)),
        false => say(connection, "HTTP/1.1 204 No Content\r\n\r\n"),
    });
    let late = HttpTransport::new(Chance::System)
        .send(request(http::Method::HEAD, &url, ""))
        .await
        .unwrap_err();
    assert!(late.sent, "it had left");
    assert!(!late.unreachable, "and so somebody listens: {late:?}");
}

/// "`request_timeout_ms` is time without progress in one attempt, not its length": a head that comes
/// in bit by bit is progress, and one that does not come is none, whatever else the host answers.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_head_that_trickles_is_progress() {
    let url = serve(|head, connection| {
        if head.starts_with("head") {
            return say(connection, "HTTP/1.1 200 OK\r\n\r\n");
        }
        if head.contains("x-hangs") {
            return std::thread::sleep(Duration::from_secs(3_600));
        }
        let answer = "HTTP/1.1 204 No Content\r\nx-slow: bit by bit\r\n\r\n";
        for bit in answer.as_bytes().chunks(4) {
            std::thread::sleep(Duration::from_millis(300));
            connection.write_all(bit).unwrap();
        }
    });
    let transport = Arc::new(HttpTransport::new(Chance::System));
    let slow = tokio::spawn(transport.send(request(http::Method::POST, &url, "[1]")));
    let mut hangs = request(http::Method::POST, &url, "[1]");
    Arc::make_mut(&mut hangs.headers).insert("x-hangs", "1".parse().unwrap());
    let hangs = tokio::spawn(transport.send(hangs));
    let busy = tokio::spawn(async move {
        loop {
            transport.send(request(http::Method::HEAD, &url, "")).await.unwrap();
            sleep(20).await;
        }
    });
    let hung = hangs.await.unwrap().unwrap_err();
    assert!(hung.late, "{hung:?}");
    let answer = slow.await.unwrap();
    busy.abort();
    assert_eq!(answer.map(|response| response.status).map_err(|e| e.message), Ok(204));
}

/// Lets each task that is ready take one turn; tokio's own yield lets them take all they want.
async fn behind_what_is_ready() {
    let mut took_its_turn = false;
    std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        match std::mem::replace(&mut took_its_turn, true) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

/// "Giving a request up and its first byte leaving exclude each other by one atomic step": what was
/// withdrawn never arrives, whatever the connection's own task does with it afterwards.
#[tokio::test]
async fn what_was_withdrawn_never_arrives() {
    const ATTEMPTS: u64 = 500;
    let transport = Arc::new(HttpTransport::new(Chance::System));
    for body in ["[1]", ""] {
        let arrived = Arc::new(AtomicU64::new(0));
        let seen = arrived.clone();
        let url = serve(move |_, connection| {
            seen.fetch_add(1, Ordering::SeqCst);
            say(connection, "HTTP/1.1 204 No Content\r\n\r\n");
        });
        let transport = transport.clone();
        // In a task, which takes turns with the attempt's and the connection's.
        let sent = tokio::spawn(async move {
            let mut sent = 0;
            for n in 0..ATTEMPTS {
                tokio::task::yield_now().await; // what was aborted is gone
                // One that is answered, so that there is a connection to take the next.
                let before = request(http::Method::POST, &url, body);
                transport.send(before).await.unwrap();
                tokio::task::yield_now().await; // it is back in its place
                let request = request(http::Method::POST, &url, body);
                let departure = request.departure.clone();
                let attempt = tokio::spawn(transport.send(request));
                for _ in 0..n % 5 {
                    behind_what_is_ready().await;
                }
                attempt.abort(); // as those do who give up; it proves nothing
                sent += u64::from(!departure.withdraw());
            }
            sent
        });
        let sent = sent.await.unwrap();
        sleep(300).await; // what still comes
        let arrived = arrived.load(Ordering::SeqCst) - ATTEMPTS;
        assert!(0 < sent && sent < ATTEMPTS, "{sent}: it happens here and there");
        assert!(arrived <= sent, "{arrived} arrived, {sent} were not withdrawn ({body:?})");
    }
}

/// "A chunk nobody took, as when a wait was given up, comes again with the next call", and
/// concurrent calls take turns: nothing is skipped, doubled or swapped.
#[test]
fn chunks_nobody_took_come_again_in_their_order() {
    let url = serve(|head, connection| {
        let from = head.split("offset=").nth(1).unwrap().split([' ', '&']).next().unwrap();
        let from: usize = from.parse().unwrap_or(0);
        let (end, body) = (["false", "true"][usize::from(from >= 3)], "abcd".get(from..from + 1));
        let (next, body) = (from + usize::from(body.is_some()), body.unwrap_or_default());
        say(
            connection,
            &format!(
                "HTTP/1.1 200 OK\r\nstream-next-offset: {next}\r\nstream-up-to-date: {end}\r\n\
             content-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
        );
    });
    let stream = DurableStream::connect(bytes(&url)).unwrap();
    let reader = stream.read(None).unwrap();
    let given_up = [reader.next_chunk(), reader.next_chunk()];
    while reader.offset().as_deref() != Some("2") {
        std::thread::sleep(Duration::from_millis(1));
    }
    given_up.into_iter().for_each(drop);
    let mut text = String::new();
    while let Some(chunk) = reader.next_chunk().wait().unwrap() {
        text.push_str(std::str::from_utf8(&chunk.data).unwrap());
        assert!(text.len() < 20, "{text}");
    }
    assert_eq!(text, "abcd");
}

/// An offset that fits into no URL leaves nothing to look from, and holds no write up.
#[test]
fn an_offset_without_bounds_is_none() {
    let posts = std::sync::atomic::AtomicU64::new(0);
    let url = serve(move |head, connection| {
        let nth = posts.load(std::sync::atomic::Ordering::Relaxed);
        let offset = "9".repeat(70_000);
        if !head.starts_with("post") {
            let head = "HTTP/1.1 200 OK\r\nstream-next-offset: 2\r\ncontent-length: 0\r\n\r\n";
            return say(connection, head);
        }
        posts.store(nth + 1, std::sync::atomic::Ordering::Relaxed);
        if nth == 1 {
            let _ = connection.shutdown(std::net::Shutdown::Both);
            return;
        }
        let echo = echo(head);
        let next = format!("stream-next-offset: {offset}\r\n");
        say(connection, &format!("HTTP/1.1 200 OK\r\n{echo}{next}content-length: 0\r\n\r\n"));
    });
    let stream = DurableStream::connect(bytes(&url)).unwrap();
    let options = single().delivery_timeout_ms(0u64).retry_max_delay_ms(50u64);
    let producer = IdempotentProducer::open(&stream, "p", options).unwrap();
    for text in ["1", "2"] {
        producer.append(text).unwrap();
        let flushed = producer.flush().wait_for(Duration::from_secs(20));
        assert!(flushed.is_some_and(|report| report.is_ok()), "{:?}", producer.snapshot());
    }
}

/// A limit that bounds the time without progress, and attempts that take twice as long.
const LIMIT: Duration = Duration::from_millis(2_000);
const STEPS: u32 = 40;

fn patient(method: http::Method, url: &str, body: Vec<u8>) -> Request {
    let endpoint = Endpoint::resolve(&Options::new().url(url)).unwrap();
    let plain = Request::new(method, Arc::new(endpoint), LIMIT);
    Request { body: body.into(), keep: Keep::Whole(1_000), ..plain }
}

/// `request_timeout_ms` "is time without progress in one attempt, not its length".
#[tokio::test]
async fn an_answer_that_trickles_is_waited_for() {
    let url = serve(|_, connection| {
        say(connection, &format!("HTTP/1.1 200 OK\r\ncontent-length: {STEPS}\r\n\r\n"));
        for _ in 0..STEPS {
            std::thread::sleep(LIMIT * 2 / STEPS);
            say(connection, "x");
        }
    });
    let answer =
        HttpTransport::new(Chance::System).send(patient(http::Method::GET, &url, Vec::new())).await;
    assert_eq!(answer.map(|answer| answer.body.len() as u32).map_err(|e| e.message), Ok(STEPS));
}

#[tokio::test]
async fn a_body_that_trickles_is_waited_for() {
    const STEP: usize = 1 << 20; // more in all than the system's buffers hold
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/s", listener.local_addr().unwrap());
    start(move || {
        let (mut connection, mut part) = (listener.accept().unwrap().0, vec![0; STEP]);
        for _ in 0..STEPS {
            std::thread::sleep(LIMIT * 2 / STEPS);
            connection.read_exact(&mut part).unwrap();
        }
        say(&mut connection, "HTTP/1.1 204 No Content\r\n\r\n");
    });
    let body = vec![0; STEP * STEPS as usize];
    let answer =
        HttpTransport::new(Chance::System).send(patient(http::Method::POST, &url, body)).await;
    assert_eq!(answer.map(|answer| answer.status).map_err(|e| e.message), Ok(204));
}

/// The first request of each kind, and a producer's second one, is answered by what stands in
/// between, as `first` says; the next ones as a server of streams does. Names what it saw.
fn behind_a_front(first: &'static str) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let known = seen.clone();
    let url = serve(move |head, connection| {
        let method = head.split(' ').next().unwrap();
        let ends = header(head, "content-length").is_none_or(|length| length == "0");
        let kind = if method == "post" && ends { "close" } else { method };
        let nth = {
            let mut known = known.lock().unwrap();
            known.push(kind.to_owned());
            known.iter().filter(|other| *other == kind).count()
        };
        let answer = match (nth, kind, header(head, "producer-seq")) {
            (1, _, None) | (2, _, Some(_)) => first.to_owned(),
            (_, _, Some(_)) => format!("200 OK\r\n{}", echo(head)),
            (_, "put", _) => "201 Created\r\nstream-next-offset: 1\r\n".to_owned(),
            (_, "close", _) => "204 No Content\r\nstream-closed: true\r\n".to_owned(),
            (_, "delete", _) => "204 No Content\r\n".to_owned(),
            _ => "204 No Content\r\nstream-next-offset: 2\r\n".to_owned(),
        };
        say(connection, &format!("HTTP/1.1 {answer}content-length: 0\r\n\r\n"));
    });
    (url, seen)
}

fn quick(url: &str) -> Options {
    bytes(url).retry_initial_delay_ms(1u64).retry_max_delay_ms(5u64)
}

/// A success without what a server of streams says with it creates, stores, ends and deletes
/// nothing.
#[test]
fn a_maintenance_page_is_not_believed() {
    let (url, seen) = behind_a_front("200 OK\r\ncontent-type: text/html\r\n");
    let stream = DurableStream::create(quick(&url).idempotent(false), "first").wait().unwrap();
    let error = stream.append("second").wait().unwrap_err();
    assert!(!error.definite() && error.kind() == ErrorKind::Protocol, "{error:?}");
    stream.append("third").wait().unwrap();
    stream.close(None).wait().unwrap();
    stream.delete().wait().unwrap();
    let twice = ["put", "put", "post", "post", "close", "close", "delete", "delete"];
    assert_eq!(*seen.lock().unwrap(), twice);
}

/// A stream that was deleted by a request whose answer was not the server's is gone.
#[test]
fn a_stream_that_is_gone_for_the_repeat_was_deleted() {
    for gone in ["404 Not Found", "410 Gone"] {
        let count = std::sync::atomic::AtomicU64::new(0);
        let url = serve(move |_, connection| {
            let first = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
            let status = if first { "200 OK" } else { gone };
            say(connection, &format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
        });
        DurableStream::connect(quick(&url)).unwrap().delete().wait().unwrap();
    }
}

/// What comes once between good answers ends no producer: a page, or a status that is none.
#[test]
fn a_producer_outlives_what_stands_in_between() {
    for first in [
        "200 OK\r\ncontent-type: text/html\r\n",
        "204 No Content\r\n",
        "303 See Other\r\nlocation: /elsewhere\r\n",
        "799 Odd\r\n",
        "999 Odder\r\n",
        "101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
    ] {
        let (url, seen) = behind_a_front(first);
        let stream = DurableStream::connect(quick(&url)).unwrap();
        let options = Options::new().retry_initial_delay_ms(1u64).retry_max_delay_ms(5u64);
        let producer = IdempotentProducer::open(&stream, "p", options).unwrap();
        for text in ["1", "2", "3"] {
            producer.append(text).unwrap();
            let flushed = producer.flush().wait_for(Duration::from_secs(20));
            let flushed = flushed.unwrap_or_else(|| panic!("{first}: {:?}", producer.snapshot()));
            assert_eq!(flushed.unwrap().delivered, 1, "{first}");
        }
        assert!(seen.lock().unwrap().len() > 3, "{first}");
    }
}

/// "Repeated only while nothing can have been stored": not a message whose first attempt was cut.
#[test]
fn an_append_that_may_be_stored_is_not_made_again_without_identity() {
    let (asked, stored) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/s", listener.local_addr().unwrap());
    let count = stored.clone();
    let body = move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            while !request.ends_with(b"the message") {
                match connection.read(&mut chunk).unwrap() {
                    0 => break,
                    n => request.extend_from_slice(&chunk[..n]),
                }
            }
            let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
            let (own, n) = (head.contains("producer-id"), asked.fetch_add(1, Ordering::SeqCst));
            let answer = match (own, n) {
                (true, 0) => "", // stored, and the connection cut
                (true, _) => "HTTP/1.1 429 Too Many Requests\r\n",
                (false, _) => "HTTP/1.1 204 No Content\r\nstream-next-offset: 9\r\n",
            };
            count.fetch_add(usize::from(n == 0 || !own), Ordering::SeqCst);
            if !answer.is_empty() {
                let rest = "content-length: 0\r\nconnection: close\r\n\r\n";
                let _ = connection.write_all(format!("{answer}{rest}").as_bytes());
            }
        }
    };
    std::thread::Builder::new().spawn(body).unwrap();
    let stream = DurableStream::connect(quick(&url)).unwrap();
    let outcome = stream.append("the message").wait();
    let copies = stored.load(Ordering::SeqCst);
    assert!(copies == 1, "{copies} copies: {outcome:?}");
}

//! What writing and reading cost in memory: no allocation for each write, and little beyond the
//! bytes.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]
#![allow(clippy::print_stdout, reason = "the numbers are for who reads them with --nocapture")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use common::Sink;
use durstream_core::{
    Collection, DurableStream, IdempotentProducer, Options, StateProducer, StreamSchema, Validator,
    create_durable_stream,
};

/// The system's allocator, counted.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static OWN: Cell<u64> = const { Cell::new(0) };
}

fn count(grown: isize) {
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    let live = LIVE.fetch_add(grown, Ordering::Relaxed) + grown;
    PEAK.fetch_max(live, Ordering::Relaxed);
    OWN.with(|own| own.set(own.get() + 1));
}

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is the one this needs.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise is the one this needs.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise is the one this needs.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What is counted is the process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

const TYPES: [&str; 2] = ["text/plain", "application/json"];

/// Writes of 100 bytes on average, no two neighbours as long; returns how many bytes they were.
fn write(producer: &IdempotentProducer, count: usize) -> usize {
    let size = |n: usize| 80 + n * 7 % 41;
    for n in 0..count {
        let mut text = [b'x'; 120];
        (text[0], text[size(n) - 1]) = (b'"', b'"');
        producer.append(&text[..size(n)]).unwrap();
    }
    (0..count).map(size).sum()
}

#[test]
fn no_write_allocates() {
    const WRITES: usize = 100_000;
    let _alone = alone();
    let sink = Sink::start();
    for content_type in TYPES {
        let producer = sink.producer(content_type, Options::new().max_in_flight(1u64));
        write(&producer, 1);
        producer.flush().wait().unwrap();
        let held = sink.hold();
        write(&producer, 1);
        common::wait_until("a request", || producer.snapshot().in_flight == 1);
        let before = (OWN.get(), ALLOCATIONS.load(Ordering::Relaxed), producer.stats().requests);
        write(&producer, WRITES);
        let own = OWN.get() - before.0;
        drop(held);
        producer.flush().wait().unwrap();
        let all = ALLOCATIONS.load(Ordering::Relaxed) - before.1;
        let requests = producer.stats().requests - before.2;
        println!(
            "{content_type}: {own} allocations by {WRITES} writes; {all} until delivered, in {requests} requests"
        );
        assert!(own <= WRITES as u64 / 500, "{own} allocations by {WRITES} writes");
        // The server's are among them.
        assert!(all <= 300 * (requests + 1), "{all} allocations for {requests} requests");
    }
}

#[test]
fn the_buffer_takes_little_more_than_the_payload() {
    const WRITES: usize = 320_000;
    /// The open batch, half empty, and what an attempt to send one takes.
    const CONSTANT: usize = 3 << 20;
    let _alone = alone();
    durstream_core::set_log_sink(|_| {}); // what is given up here is not news
    let url = common::nowhere();
    for content_type in TYPES {
        let options = Options::new().max_in_flight(1u64);
        let producer = common::producer(&url, content_type, options);
        write(&producer, 1);
        common::wait_until("a failure", || producer.snapshot().last_error.is_some());
        let before = LIVE.load(Ordering::Relaxed);
        let payload = write(&producer, WRITES);
        let live = (LIVE.load(Ordering::Relaxed) - before) as usize;
        println!(
            "{content_type}: {live} bytes for a payload of {payload}, {:.3} times",
            live as f64 / payload as f64
        );
        assert!(live * 10 <= payload * 13 + CONSTANT * 10, "{live} bytes for {payload}");
        producer.stop();
        common::wait_until("the end", || producer.stats().pending == 0);
        drop(producer);
        common::wait_until("memory given back", || {
            LIVE.load(Ordering::Relaxed) - before < CONSTANT as isize
        });
    }
}

/// Nothing is acknowledged, so nobody knows yet whether the server takes the identity they carry.
#[test]
fn an_appended_message_is_held_once() {
    const COUNT: usize = 32;
    let _alone = alone();
    durstream_core::set_log_sink(|_| {}); // what is given up here is not news
    for is_idempotent in [true, false] {
        let options = Options::new().url(common::nowhere()).idempotent(is_idempotent);
        let stream = DurableStream::connect(options.max_retries(1_000u64)).unwrap();
        let message = vec![b'x'; 1 << 20];
        let before = LIVE.load(Ordering::Relaxed);
        let sent: Vec<_> = (0..COUNT).map(|_| stream.append(&message)).collect();
        let live = (LIVE.load(Ordering::Relaxed) - before) as f64 / (COUNT << 20) as f64;
        println!("idempotent {is_idempotent}: {live:.3} times the payload is held");
        assert!(live < 1.2, "{live} times the payload");
        drop(sent);
    }
}

/// The shortest messages there are, as one array or one a line.
fn messages(content_type: &str, length: usize) -> Vec<u8> {
    match content_type {
        "application/json" => [b"[1", &*b",1".repeat(length / 2 - 1), b"]"].concat(),
        _ => b"1\n".repeat(length / 2),
    }
}

#[test]
fn reading_takes_little_more_than_the_body() {
    const LENGTH: usize = 16 << 20;
    let _alone = alone();
    for content_type in ["application/json", "application/x-ndjson"] {
        // Kept: what the server gives back would count.
        let body: &[u8] = messages(content_type, LENGTH).leak();
        let length = body.len();
        for is_length_known in [true, false] {
            let url = common::serve_once(content_type, body, is_length_known);
            let stream = DurableStream::connect(Options::new().url(url)).unwrap();
            let reader = stream.read(None).unwrap();
            let before = LIVE.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            let chunk = reader.next_chunk().wait().unwrap().unwrap();
            assert_eq!((chunk.data.len(), chunk.item_count().unwrap()), (length, LENGTH / 2));
            assert!(
                chunk.item(LENGTH / 4) == Some(b"1") && chunk.items().unwrap().all(|m| m == b"1")
            );
            let grown = |now: isize| (now - before) as f64 / length as f64;
            let (peak, live) =
                (grown(PEAK.load(Ordering::Relaxed)), grown(LIVE.load(Ordering::Relaxed)));
            println!(
                "{content_type}, length known: {is_length_known}: {live:.3} bodies held, {peak:.3} at most"
            );
            assert!(peak <= 2.0 && live <= 1.1, "{peak} bodies at most, {live} held");
        }
    }
}

/// The bytes that one of many producers takes which are opened alike: idle, before its first write and
/// behind it. What they have in common is held once.
fn bytes_of_one<T>(open: impl Fn(usize) -> T, write: impl Fn(&T)) -> (usize, usize) {
    const COUNT: usize = 300;
    let mut all: Vec<_> = (0..20).map(&open).inspect(&write).collect();
    // A further connection, or a table that grows, falls into one round and not into each.
    let rounds = [(); 3].map(|()| {
        let before = LIVE.load(Ordering::Relaxed);
        let each = || (LIVE.load(Ordering::Relaxed) - before) as usize / COUNT;
        let first = all.len();
        let producers: Vec<_> = (first..first + COUNT).map(&open).collect();
        let opened = each();
        producers.iter().for_each(&write);
        let written = each();
        all.extend(producers);
        (opened, written)
    });
    let middle = |mut of: [usize; 3]| {
        of.sort_unstable();
        of[1]
    };
    (middle(rounds.map(|(opened, _)| opened)), middle(rounds.map(|(_, written)| written)))
}

#[test]
fn a_producer_beyond_the_first_takes_little() {
    /// The bytes of one that is open, and of one that has written.
    const MOST: (usize, usize) = (2_048, 2_900);
    let _alone = alone();
    let sink = Sink::start();
    let url = |n: usize| Options::new().url(format!("{}-{n}", sink.url()));
    let open = |n: usize| {
        let schema =
            StreamSchema::new().collection("c", Collection::new("c", "id", Validator::Any));
        let producer = create_durable_stream(url(n).producer_id("p"), schema).unwrap();
        producer.ready().wait().unwrap();
        producer
    };
    let write = |producer: &StateProducer| {
        producer.upsert_json("c", br#"{"id":"1"}"#).unwrap();
        producer.flush().wait().unwrap();
    };
    let of_state = bytes_of_one(open, write);
    let open = |n: usize| {
        let stream = DurableStream::connect(url(n).content_type("text/plain")).unwrap();
        IdempotentProducer::open(&stream, "p", Options::new()).unwrap()
    };
    let write = |producer: &IdempotentProducer| {
        producer.append("1").unwrap();
        producer.flush().wait().unwrap();
    };
    let of_messages = bytes_of_one(open, write);
    for (name, (opened, written)) in [("state", of_state), ("messages", of_messages)] {
        println!("{opened} bytes for each producer of {name}, {written} once it has written");
        assert!(opened <= MOST.0 && written <= MOST.1, "{name}: {opened}, {written} written");
    }
}

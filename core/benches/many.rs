//! What many producers in one process cost: opening them, a write of each, memory, connections and
//! the processor's time while all are idle. Held is what is allocated for them once they are open and
//! once each has written; resident is what the process has grown by, with what opening all of them at
//! once took and the allocator kept:
//! `cargo xtask with-server -- cargo bench -p durstream-core --bench many`.

#![expect(clippy::disallowed_methods, reason = "real time is what it measures")]
#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use durstream_core::{
    Collection, Options, StateProducer, StreamSchema, Validator, create_durable_stream,
};

const COUNTS: [usize; 5] = [1, 100, 1_000, 5_000, 10_000];
const IDLE: Duration = Duration::from_secs(2);

/// The system's allocator, with the bytes that are allocated.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the one this needs.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the one this needs.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_add(size, Ordering::Relaxed);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the one this needs.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn open(name: &str) -> StateProducer {
    let schema = StreamSchema::new().collection("c", Collection::new("c", "id", Validator::Any));
    let options = Options::new().stream_path(name).producer_id("bench");
    create_durable_stream(options, schema).expect("options are right")
}

/// A line of `/proc/self/status` in KiB.
fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// The process's connections: its sockets, and two more that its runtime has.
fn sockets() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let is_socket = |link: std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
    files
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .filter(|link| is_socket(link.clone()))
        .count()
}

/// The processor's time so far, in milliseconds.
fn processor() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // there is nothing to check without a server
    }
    println!(
        "{:>9} {:>9} {:>10} {:>11} {:>9} {:>12} {:>13} {:>8} {:>11}",
        "producers",
        "open ms",
        "opened ms",
        "a write ms",
        "held KiB",
        "written KiB",
        "resident KiB",
        "sockets",
        "idle cpu ms"
    );
    for count in COUNTS {
        let (memory, held) = (status("VmRSS"), HELD.load(Ordering::Relaxed));
        let held_each =
            || (HELD.load(Ordering::Relaxed) as f64 - held as f64) / 1024.0 / count as f64;
        let started = Instant::now();
        let name = |n| format!("/bench/many-{}-{count}-{n}", std::process::id());
        let producers: Vec<_> = (0..count).map(|n| open(&name(n))).collect();
        let open = started.elapsed();
        for producer in &producers {
            producer.ready().wait().expect("the stream is there");
        }
        let opened = started.elapsed();
        let (each, opened_each) = ((status("VmRSS") - memory) as f64 / count as f64, held_each());
        let started = Instant::now();
        for producer in &producers {
            producer
                .upsert("c", &std::collections::BTreeMap::from([("id", "1")]))
                .expect("there is room");
        }
        for producer in &producers {
            producer.flush().wait().expect("it is delivered");
        }
        let written = started.elapsed();
        let before = processor();
        std::thread::sleep(IDLE);
        let idle = processor() - before;
        println!(
            "{count:>9} {:>9} {:>10} {:>11} {opened_each:>9.2} {:>12.2} {each:>13.1} {:>8} {idle:>11}",
            open.as_millis(),
            opened.as_millis(),
            written.as_millis(),
            held_each(),
            sockets(),
        );
        drop(producers);
        durstream_core::shutdown(Duration::from_secs(20)).expect("nothing is left");
    }
}

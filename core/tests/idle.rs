//! A program whose producers have nothing to do is left alone.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

mod common;

use std::fs;
use std::time::Duration;

use common::Sink;
use durstream_core::{IdempotentProducer, Options};

/// How often the I/O thread was given the processor so far.
fn wake_ups() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named = |name: &str| name.trim_end() == "durstream-io";
    let threads: Vec<_> =
        tasks.filter(|task| named(&fs::read_to_string(task.join("comm")).unwrap())).collect();
    assert_eq!(threads.len(), 1, "one I/O thread for all producers");
    let status = fs::read_to_string(threads[0].join("status")).unwrap();
    let counts = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
    counts.map(|(_, count)| count.trim().parse::<u64>().unwrap()).sum()
}

#[test]
fn idle_producers_wake_nobody() {
    let sink = Sink::start();
    let producers: Vec<IdempotentProducer> =
        (0..100).map(|_| sink.producer("text/plain", Options::new())).collect();
    for _ in 0..3 {
        for producer in &producers {
            producer.append("x").unwrap();
        }
        for producer in &producers {
            producer.flush().wait().unwrap();
        }
    }
    // The last answers leave something to do, on a slow machine for longer.
    let is_quiet = |_| {
        let before = wake_ups();
        std::thread::sleep(Duration::from_secs(3));
        wake_ups() == before
    };
    assert!((0..20).any(is_quiet), "no three seconds without a wake-up");
    let before = wake_ups();
    producers[0].append("x").unwrap();
    producers[0].flush().wait().unwrap();
    assert!(wake_ups() > before, "a write is seen");
}

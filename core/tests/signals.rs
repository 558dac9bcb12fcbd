//! Signals are the host's.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

mod common;

use std::fs;
use std::path::Path;

use common::Sink;
use durstream_core::Options;

/// The signals that each thread so named blocks, as bits.
fn blocked(name: &str) -> Vec<u64> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named = tasks.filter(|task| {
        fs::read_to_string(task.join("comm")).is_ok_and(|own| own.trim_end() == name)
    });
    named.map(|task| mask(&task)).collect()
}

fn mask(task: &Path) -> u64 {
    let status = fs::read_to_string(task.join("status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}

fn own_mask() -> u64 {
    mask(Path::new("/proc/thread-self"))
}

/// SIGPIPE above all, which ends a host that does not ignore it. What the host's threads take is
/// as it was.
#[test]
fn the_librarys_threads_take_no_signal_of_the_hosts() {
    let before = own_mask();
    let sink = Sink::start();
    let producer = sink.producer("text/plain", Options::new());
    let sent = producer.append("x").unwrap();
    producer.wait(sent.id()).on_dispatcher(|_| ()); // starts the thread for callbacks
    producer.flush().wait().unwrap();
    common::wait_until("the dispatcher", || !blocked("durstream-calls").is_empty());
    for name in ["durstream-io", "durstream-calls"] {
        for mask in blocked(name) {
            for signal in [libc::SIGPIPE, libc::SIGINT, libc::SIGTERM, libc::SIGCHLD, libc::SIGHUP]
            {
                assert!(mask & (1 << (signal - 1)) != 0, "{name} takes {signal}: {mask:x}");
            }
            assert_eq!(mask & (1 << (libc::SIGSEGV - 1)), 0, "{name} hides a crash");
        }
    }
    assert_eq!(blocked("durstream-io").len(), 1);
    assert_eq!(own_mask(), before);
}

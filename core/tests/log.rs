//! The log where it goes wrong: a function that panics, a standard error that takes nothing.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]
#![allow(unsafe_code, reason = "standard error is exchanged for a while")]

mod common;

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use durstream_core::{DurableStream, IdempotentProducer, Options, set_log_sink};

static LINES: AtomicUsize = AtomicUsize::new(0);

/// A producer without `on_error` whose write is given up. Its server takes connections, so that no
/// loss of contact is logged besides.
fn log_a_line() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options::new().url(format!("http://{}/s", silent.local_addr().unwrap()));
    let stream = DurableStream::connect(options).unwrap();
    let producer = IdempotentProducer::open(&stream, "logs", Options::new().shared(true)).unwrap();
    producer.append("x").unwrap();
    producer.stop();
    assert!(producer.flush().wait().is_err());
}

/// Exchanges standard error for a file until dropped.
struct StandardError(i32);

impl StandardError {
    fn is(file: &std::fs::File) -> Self {
        // SAFETY: plain calls on descriptors that are open.
        unsafe {
            let kept = libc::dup(2);
            libc::dup2(file.as_raw_fd(), 2);
            StandardError(kept)
        }
    }
}

impl Drop for StandardError {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::dup2(self.0, 2) };
    }
}

/// One after the other: there is one log.
#[test]
fn a_log_that_goes_wrong() {
    what_cannot_be_written_is_still_counted();
    a_function_that_panics_is_not_told_of_its_panic();
}

fn what_cannot_be_written_is_still_counted() {
    let path = std::env::temp_dir().join(format!("durstream-log-{}", std::process::id()));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let taken = std::fs::File::create_new(&path).unwrap();
    {
        let _full = StandardError::is(&full);
        for _ in 0..3 {
            log_a_line();
        }
        // Nothing else tells when the last of them was tried. It outlives its last line by a second.
        common::wait_until("the log's thread", || threads_named("durstream-log") > 0);
        common::wait_until("the log's thread to end", || threads_named("durstream-log") == 0);
    }
    let _taken = StandardError::is(&taken);
    log_a_line();
    let mut written = String::new();
    common::wait_until("the next line", || {
        written = std::fs::read_to_string(&path).unwrap();
        written.lines().count() >= 2
    });
    std::fs::remove_file(&path).unwrap();
    let said = "durstream: 3 lines of this log were dropped: they could not be written in time \
                [lines-dropped]";
    assert_eq!(written.lines().next(), Some(said));
}

/// Nor is its line lost.
fn a_function_that_panics_is_not_told_of_its_panic() {
    let path = std::env::temp_dir().join(format!("durstream-panics-{}", std::process::id()));
    let taken = std::fs::File::create_new(&path).unwrap();
    let _taken = StandardError::is(&taken);
    set_log_sink(|_| {
        LINES.fetch_add(1, Ordering::Relaxed);
        std::panic::resume_unwind(Box::new("the host's own mistake")); // prints nothing
    });
    for _ in 0..2 {
        log_a_line();
    }
    common::wait_until("the log's thread to end", || {
        LINES.load(Ordering::Relaxed) > 1 && threads_named("durstream-log") == 0
    });
    assert_eq!(LINES.load(Ordering::Relaxed), 2, "it was told of its lines alone");
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let said = "durstream: the function for the log panics; what it does not take is here\n";
    assert_eq!(written.matches(said).count(), 1, "{written}");
    assert_eq!(written.matches("a write was cancelled").count(), 2, "{written}");
}

fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|own| own.trim_end() == name).count()
}

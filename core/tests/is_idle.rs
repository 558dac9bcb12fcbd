//! Whether a process has something under way, and giving all of it up.
#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use durstream_core::{
    Callbacks, DurableStream, IdempotentProducer, Options, behind_reports, callbacks_done,
    flush_all, is_idle, is_told, stop_all,
};

#[test]
fn nothing_is_idle_before_its_callback_was_told() {
    let stream = DurableStream::connect(Options::new().url("http://127.0.0.1:9/x")).unwrap();
    let (told, heard) = mpsc::channel();
    let (go_on, until) = mpsc::channel::<()>();
    let until = Mutex::new(until);
    let on_error = move |_| {
        told.send(()).unwrap();
        until.lock().unwrap().recv().unwrap();
    };
    let callbacks = Callbacks { on_error: Some(Arc::new(on_error)), ..Callbacks::default() };
    let producer = IdempotentProducer::open_with(&stream, "a", Options::new(), callbacks).unwrap();
    assert!(is_idle());
    producer.append(b"x").unwrap();
    assert!(!is_idle() && is_told());
    stop_all();
    flush_all(Duration::MAX).wait().unwrap();
    heard.recv().unwrap();
    assert!(!is_idle() && !is_told(), "the callback has not returned");
    let (behind, reached) = mpsc::channel();
    behind_reports(move || behind.send(()).unwrap());
    let done = callbacks_done();
    assert!(reached.try_recv().is_err(), "the callback has not returned");
    go_on.send(()).unwrap();
    reached.recv().unwrap();
    done.wait().unwrap();
    assert!(is_idle() && is_told());
    assert!(producer.append(b"y").is_err());
}

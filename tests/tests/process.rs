//! What concerns the process as a whole, in one of its own.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::time::Duration;

use durstream_core::{
    DurableStream, ErrorKind, IdempotentProducer, Options, flush_all, pending_count, shutdown,
};
use durstream_tests::readback::read_stream;
use durstream_tests::{fresh_path, server_address};

fn threads() -> Vec<String> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("durstream")).collect()
}

/// A service that is restarted: run by the test below in a process of its own, twice.
#[test]
#[ignore = "a part of `a_service_that_is_restarted_loses_nothing`"]
fn restarted_service() {
    let (path, run) =
        (std::env::var("RESTART_PATH").unwrap(), std::env::var("RESTART_RUN").unwrap());
    let options = Options::new().stream_path(path).content_type("application/json");
    let stream = DurableStream::create(options, "").wait().unwrap();
    let producer = IdempotentProducer::open(&stream, "restarted", Options::new()).unwrap();
    for n in 0..200 {
        producer.append(format!("\"{run}-{n}\"")).unwrap();
    }
    let report = producer.detach().wait().unwrap();
    assert_eq!((report.delivered, report.duplicates), (200, 0));
}

#[test]
fn a_service_that_is_restarted_loses_nothing() {
    let path = fresh_path("restart");
    for run in ["first", "second"] {
        let service = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "restarted_service", "--include-ignored"])
            .envs([("RESTART_PATH", path.as_str()), ("RESTART_RUN", run)])
            .output()
            .unwrap();
        assert!(service.status.success(), "{service:?}");
    }
    let expected: Vec<_> = ["first", "second"]
        .iter()
        .flat_map(|run| (0..200).map(move |n| serde_json::Value::String(format!("{run}-{n}"))))
        .collect();
    assert_eq!(read_stream(server_address(), &path).unwrap(), expected);
}

/// One test: the steps share the process.
#[test]
fn nothing_runs_before_the_first_open_and_nothing_after_shutdown() {
    assert!(threads().is_empty());
    shutdown(Duration::from_secs(1)).unwrap();
    assert!(threads().is_empty());

    let path = fresh_path("process");
    for round in 1..=2 {
        let options = Options::new().stream_path(&path).content_type("application/json");
        let stream = DurableStream::create(options, "").wait().unwrap();
        let producers: Vec<_> = (0..20)
            .map(|n| IdempotentProducer::open(&stream, &format!("p{n}"), Options::new()).unwrap())
            .collect();
        assert!(threads().len() <= 1 || !cfg!(target_os = "linux"), "{:?}", threads());
        for producer in &producers {
            producer.append("1").unwrap();
        }
        flush_all(Duration::from_secs(60)).wait().unwrap();
        assert_eq!(pending_count(), 0);
        for producer in &producers {
            producer.append("2").unwrap();
        }
        shutdown(Duration::from_secs(60)).unwrap();
        assert!(threads().is_empty(), "{:?}", threads());
        assert_eq!(read_stream(server_address(), &path).unwrap().len(), round * 40);
        let error = producers[0].append("3").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProducerClosed);
        assert_eq!(producers[0].flush().wait().unwrap_err().kind(), ErrorKind::Delivery);
    }
}

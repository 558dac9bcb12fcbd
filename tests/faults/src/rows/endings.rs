//! The stream ends under the producer: closed by somebody, or deleted.

use std::time::Duration;

use serde_json::json;

use super::row::Row;
use crate::expect::Expect;
use crate::stage::{self, Ran, Stage};
use crate::writer::Job;
use durstream_tests::failure::Result;
use durstream_tests::http;
use durstream_tests::numbered::Kind;
use durstream_tests::server::Durability;

/// When this many writes are settled, the stream ends.
const WRITTEN: usize = 1000;
/// Enough for what was on its way past the proxy when it began to hold.
const SETTLING: Duration = Duration::from_millis(300);

pub(super) fn rows() -> Vec<Row> {
    let expect = Expect::nothing_lost(1).ends("failed");
    let closed = |name, kind| Row::new(name, expect, move |stage: &Stage<'_>| closed(stage, kind));
    let deleted = |name, kind| {
        Row::new(name, expect.may_reject(), move |stage: &Stage<'_>| deleted(stage, kind))
    };
    vec![
        closed("stream closed by another", Kind::Json),
        closed("stream closed by another, state", Kind::State),
        deleted("stream deleted", Kind::Json),
        deleted("stream deleted, state", Kind::State),
    ]
}

fn closed(stage: &Stage<'_>, kind: Kind) -> Result<Ran> {
    let server = stage.server(Durability::Memory)?;
    let job = Job::new(kind, server.url());
    let path = path(&job);
    let mut injected = 0;
    let told = stage.run(std::slice::from_ref(&job), |settled| {
        if settled >= WRITTEN && injected == 0 {
            injected = 1;
            let headers = [("Stream-Closed", "true"), ("Content-Type", kind.content_type())];
            expect_success(&http::send(server.address(), "POST", &path, &headers, b"")?)?;
        }
        Ok(())
    })?;
    let stream = stage::read(server.address(), kind, &job.stream_path)?;
    Ok(Ran { injected, told, stream, ..Ran::default() })
}

/// Nobody can compare with a stream that is gone, so it is read while a proxy holds all writes.
fn deleted(stage: &Stage<'_>, kind: Kind) -> Result<Ran> {
    let server = stage.server(Durability::Memory)?;
    let proxy = stage.proxy(server.address())?;
    let job = Job { max_pending: usize::MAX, ..Job::new(kind, proxy.url()) };
    let path = path(&job);
    let mut last = None;
    let told = stage.run(std::slice::from_ref(&job), |settled| {
        if settled >= WRITTEN && last.is_none() {
            let hold = proxy.add_json(&json!({ "fault": "hold", "name": "writes", "times": 0 }))?;
            std::thread::sleep(SETTLING);
            last = Some(stage::read(server.address(), kind, &job.stream_path)?);
            expect_success(&http::send(server.address(), "DELETE", &path, &[], b"")?)?;
            proxy.remove(hold);
            proxy.release("writes");
        }
        Ok(())
    })?;
    let mut problems = Vec::new();
    if http::get(server.address(), &path)?.status == 200 {
        problems.push("the stream was created again".to_owned());
    }
    let injected = u64::from(last.is_some());
    Ok(Ran { injected, told, stream: last.unwrap_or_default(), problems })
}

fn path(job: &Job) -> String {
    format!("/v1/stream{}", job.stream_path)
}

fn expect_success(answer: &http::Response) -> Result {
    match answer.status {
        200..=299 => Ok(()),
        status => Err(format!("ending the stream was answered {status}").into()),
    }
}

//! What a server refuses: bodies too large, one record among many, old tokens.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::row::Row;
use crate::expect::Expect;
use crate::stage::{self, Ran, Stage};
use crate::writer::Job;
use durstream_tests::audit::outcomes::End;
use durstream_tests::failure::{Context, Result};
use durstream_tests::numbered::{self, Kind};
use durstream_tests::proxy::Proxy;
use durstream_tests::server::Durability;

/// The record that is refused.
const POISON: usize = 617;
const TOKEN_LIFE: Duration = Duration::from_millis(200);
/// For a moment the old token is refused and the new one is not there yet.
const TOKEN_GAP: Duration = Duration::from_millis(20);

/// How a row's writer differs from others.
type Change = fn(Job) -> Job;

pub(super) fn rows() -> Vec<Row> {
    let poison = |name, kind, change: Change| {
        Row::new(name, Expect::nothing_lost(1).rejects(1), move |stage: &Stage<'_>| {
            poisoned(stage, kind, change)
        })
    };
    vec![
        Row::new("413 beyond 4 KiB", Expect::nothing_lost(5), |stage: &Stage<'_>| {
            too_large(stage, Job::in_bulk)
        }),
        Row::new("413 beyond 4 KiB, step by step", Expect::nothing_lost(5), |stage: &Stage<'_>| {
            // So that requests grow beyond the limit again and again.
            too_large(stage, |job| Job { max_pending: 500, ..job.option("linger_ms", 100) })
        }),
        poison("one bad among a thousand", Kind::Json, Job::in_bulk),
        poison("one bad among a thousand, step by step", Kind::Json, |job| job),
        poison("one bad among a thousand, state", Kind::State, Job::in_bulk),
        Row::new("tokens that expire", Expect::nothing_lost(3), tokens),
    ]
}

fn run(stage: &Stage<'_>, rule: &serde_json::Value, job: Job) -> Result<Ran> {
    let server = stage.server(Durability::Memory)?;
    let proxy = stage.proxy(server.address())?;
    proxy.add_json(rule)?;
    let job = Job { url: proxy.url(), ..job };
    let told = stage.run(std::slice::from_ref(&job), |_| Ok(()))?;
    let stream = stage::read(server.address(), job.kind, &job.stream_path)?;
    Ok(Ran { injected: proxy.fired(), told, stream, ..Ran::default() })
}

fn too_large(stage: &Stage<'_>, change: Change) -> Result<Ran> {
    let rule = json!({ "fault": "answer", "status": 413, "min_bytes": 4097, "times": 0 });
    run(stage, &rule, change(Job::new(Kind::Json, String::new())))
}

fn poisoned(stage: &Stage<'_>, kind: Kind, change: Change) -> Result<Ran> {
    let record = format!("\"{}\"", numbered::key("a", POISON));
    let rule = json!({ "fault": "answer", "status": 400, "with_body": record, "times": 0 });
    let job = Job { writes: 1000, ..Job::new(kind, String::new()) };
    let mut ran = run(stage, &rule, change(job))?;
    if ran.told[0].ends.get(POISON) != Some(&End::Rejected) {
        ran.problems.push("the bad record was not the rejected one".to_owned());
    }
    Ok(ran)
}

/// A service whose tokens live for a moment: old ones get 401.
fn tokens(stage: &Stage<'_>) -> Result<Ran> {
    let server = stage.server(Durability::Memory)?;
    let proxy = stage.proxy(server.address())?;
    let file = stage.folder.join("token");
    let (mut number, mut issued, mut revoked) = (0, Instant::now(), None::<Instant>);
    issue(&file, number)?;
    let mut job = Job::new(Kind::Json, proxy.url());
    job.token_file = Some(file.clone());
    let told = stage.run(std::slice::from_ref(&job), |_| {
        if revoked.is_none() && issued.elapsed() >= TOKEN_LIFE {
            revoke(&proxy, number)?;
            revoked = Some(Instant::now());
        }
        if revoked.is_some_and(|revoked| revoked.elapsed() >= TOKEN_GAP) {
            number += 1;
            issue(&file, number)?;
            (issued, revoked) = (Instant::now(), None);
        }
        Ok(())
    })?;
    let stream = stage::read(server.address(), job.kind, &job.stream_path)?;
    Ok(Ran { injected: proxy.fired(), told, stream, ..Ran::default() })
}

/// A reader sees the old token or the new one.
fn issue(file: &Path, number: u32) -> Result {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, format!("token-{number}")).context(draft.display())?;
    std::fs::rename(&draft, file).context(file.display())
}

fn revoke(proxy: &Proxy, number: u32) -> Result {
    let rule = json!({
        "fault": "answer", "status": 401, "times": 0,
        "header": "Authorization", "header_value": format!("Bearer token-{number}"),
    });
    proxy.add_json(&rule).map(drop)
}

//! Several producers on one stream: of one id, where the newest wins, and side by side.

use serde_json::json;

use super::row::{NAMES, Row};
use crate::expect::Expect;
use crate::stage::{self, ROW_LIMIT, Ran, Stage};
use crate::writer::{Job, Told, Writer};
use durstream_tests::audit::outcomes::End;
use durstream_tests::failure::Result;
use durstream_tests::numbered::Kind;
use durstream_tests::server::Durability;

pub(super) fn rows() -> Vec<Row> {
    let fenced = |name, kind, count: usize| {
        let times = count as u64 - 1;
        let expect = Expect::nothing_lost(times).may_not_know().ends("fenced");
        Row::new(name, expect, move |stage: &Stage<'_>| rivals(stage, kind, &NAMES[..count]))
    };
    // A first batch that is taken again says nothing about the attempt before.
    let shared = Expect::nothing_lost(3).may_flag();
    let restarts = |name, kind| {
        let expect = Expect::nothing_lost(NAMES.len() as u64 - 1);
        Row::new(name, expect, move |stage: &Stage<'_>| restarts(stage, kind))
    };
    vec![
        restarts("restarted under its id", Kind::Json),
        restarts("restarted under its id, state", Kind::State),
        fenced("two of one id", Kind::Json, 2),
        fenced("four of one id", Kind::Json, 4),
        fenced("four of one id, state", Kind::State, 4),
        Row::new("four shared, answers reset", shared, |stage: &Stage<'_>| {
            side_by_side(stage, Kind::Json)
        }),
        Row::new("four shared, answers reset, state", shared, |stage: &Stage<'_>| {
            side_by_side(stage, Kind::State)
        }),
    ]
}

/// Each starts when the one before has ended.
fn restarts(stage: &Stage<'_>, kind: Kind) -> Result<Ran> {
    let server = stage.server(Durability::Memory)?;
    let job = Job { writes: 500, ..Job::new(kind, server.url()).in_bulk() };
    let lives = NAMES.iter().map(|name| stage.start(job.of(name))?.finish(ROW_LIMIT));
    let told = lives.collect::<Result<Vec<Told>>>()?;
    let stream = stage::read(server.address(), kind, &job.stream_path)?;
    Ok(Ran { injected: told.len() as u64 - 1, told, stream, ..Ran::default() })
}

/// Each starts while the one before is writing.
fn rivals(stage: &Stage<'_>, kind: Kind, names: &[&str]) -> Result<Ran> {
    let server = stage.server(Durability::Memory)?;
    let job = Job { writes: 2000, per_second: 1500, ..Job::new(kind, server.url()) };
    let mut writers: Vec<Writer> = Vec::new();
    for name in names {
        writers.push(stage.start(job.of(name))?);
        stage.wait(|| Ok(writers.last().is_some_and(|writer| writer.settled() > 0)))?;
    }
    let told = writers.into_iter().map(|writer| writer.finish(ROW_LIMIT));
    let told = told.collect::<Result<Vec<Told>>>()?;
    let stream = stage::read(server.address(), kind, &job.stream_path)?;
    let mut problems = Vec::new();
    let (newest, older) = told.split_last().ok_or("nobody wrote")?;
    if newest.ends.iter().any(|end| *end != End::Delivered) {
        problems.push("the newest did not deliver everything".to_owned());
    }
    let injected = older.iter().filter(|told| told.account.state == "fenced").count() as u64;
    Ok(Ran { injected, told, stream, problems })
}

fn side_by_side(stage: &Stage<'_>, kind: Kind) -> Result<Ran> {
    let server = stage.server(Durability::Memory)?;
    let proxy = stage.proxy(server.address())?;
    proxy.add_json(&json!({
        "fault": "reset-after", "method": "POST", "probability": 0.05, "times": 40,
    }))?;
    let job = Job { writes: 1500, per_second: 750, ..Job::new(kind, proxy.url()) };
    let job = job.option("shared", true);
    let told = stage.run(&NAMES.map(|name| job.of(name)), |_| Ok(()))?;
    let stream = stage::read(server.address(), kind, &job.stream_path)?;
    Ok(Ran { injected: proxy.fired(), told, stream, ..Ran::default() })
}

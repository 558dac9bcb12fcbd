//! The official server, on disk, ends and starts again while it is written to.

use std::time::Duration;

use serde_json::json;

use super::Row;
use crate::faults::expect::Expect;
use crate::faults::stage::{self, Ran, Stage};
use crate::faults::writer::Job;
use crate::server::{Durability, Server};
use durstream_tests::failure::Result;
use durstream_tests::numbered::Kind;

const CRASHES: usize = 5;
/// Who writes on while the server starts may be done before the last one.
pub(crate) const AT_LEAST: u64 = 3;
/// Requests of the largest size, one behind the other.
const BULK: usize = 100_000;
/// It waits for idle connections for 25 s; who runs it as a service does not.
const GRACE: Duration = Duration::from_millis(200);
/// Without connections it ends well within this.
const LONG_GRACE: Duration = Duration::from_secs(10);

pub(super) fn rows() -> Vec<Row> {
    let one = Expect::nothing_lost(AT_LEAST);
    let killed = |name, kind| {
        Row::new(name, one, move |stage: &Stage<'_>| {
            crash(stage, &[job(kind)], |server| server.kill_and_restart().map(drop))
        })
    };
    let bulk = |name, kind| {
        let job = Job { writes: BULK, per_second: 0, ..job(kind) };
        Row::new(name, Expect::nothing_lost(AT_LEAST), move |stage: &Stage<'_>| {
            crash(stage, std::slice::from_ref(&job), |server| server.kill_and_restart().map(drop))
        })
    };
    vec![
        killed("official server killed, JSON", Kind::Json),
        killed("official server killed, lines", Kind::Lines),
        killed("official server killed, state", Kind::State),
        Row::new(
            "official server killed, four writers, JSON",
            one.may_not_know().may_flag(),
            |stage: &Stage<'_>| {
                crash(stage, &side_by_side(Kind::Json), |server| {
                    server.kill_and_restart().map(drop)
                })
            },
        ),
        Row::new(
            "official server killed, four writers, state",
            one.may_flag(),
            |stage: &Stage<'_>| {
                crash(stage, &side_by_side(Kind::State), |server| {
                    server.kill_and_restart().map(drop)
                })
            },
        ),
        bulk("official server killed, in bulk, JSON", Kind::Json),
        bulk("official server killed, in bulk, state", Kind::State),
        // While it waits, it goes on answering.
        Row::new("official server stopped, then killed", one, |stage: &Stage<'_>| {
            crash(stage, &[job(Kind::Json)], |server| server.stop_and_restart(GRACE).map(drop))
        }),
        Row::new("official server stopped politely", one, polite_stop),
    ]
}

fn job(kind: Kind) -> Job {
    Job { per_second: 1500, ..Job::new(kind, String::new()) }
}

fn side_by_side(kind: Kind) -> Vec<Job> {
    let each = Job { writes: 1000, per_second: 400, ..job(kind) }.option("shared", true);
    ["a", "b", "c", "d"].map(|writer| each.of(writer)).to_vec()
}

/// Several ends at about even distances, in the middle of what is written.
fn crash(
    stage: &Stage<'_>,
    jobs: &[Job],
    mut end: impl FnMut(&mut Server) -> Result,
) -> Result<Ran> {
    let mut server = stage.server(Durability::Disk)?;
    let jobs: Vec<Job> = jobs.iter().map(|job| Job { url: server.url(), ..job.clone() }).collect();
    let mut moments = moments(stage.seed, jobs.iter().map(|job| job.writes).sum());
    let told = stage.run(stage.start(&jobs)?, |settled| {
        if moments.next_if(|moment| settled >= *moment).is_some() {
            end(&mut server)?;
        }
        Ok(())
    })?;
    let injected = (CRASHES - moments.len()) as u64;
    let stream = stage::read(server.address(), jobs[0].kind, &jobs[0].stream_path)?;
    Ok(Ran { injected, told, stream, ..Ran::default() })
}

/// After how many settled writes the server ends: once in each of as many equal parts, but not in
/// the last.
pub(crate) fn moments(seed: u64, writes: usize) -> std::iter::Peekable<std::vec::IntoIter<usize>> {
    let part = writes / (CRASHES + 1);
    let place = |n: usize| {
        let mixed = seed.wrapping_add(n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        part * n + (mixed >> 32) as usize % part
    };
    (0..CRASHES).map(place).collect::<Vec<_>>().into_iter().peekable()
}

/// A proxy drops its connections as the server is asked to end, so that it does end by itself.
fn polite_stop(stage: &Stage<'_>) -> Result<Ran> {
    let mut server = stage.server(Durability::Disk)?;
    let proxy = stage.proxy(server.address())?;
    let job = Job { url: proxy.url(), ..job(Kind::Json) };
    let (mut moments, mut killed) = (moments(stage.seed, job.writes), 0);
    let told = stage.run(stage.start(std::slice::from_ref(&job))?, |settled| {
        if moments.next_if(|moment| settled >= *moment).is_some() {
            let closed = proxy.add_json(&json!({ "fault": "closed" }))?;
            killed += u64::from(!server.stop_and_restart(LONG_GRACE)?);
            proxy.remove(closed);
        }
        Ok(())
    })?;
    let injected = (CRASHES - moments.len()) as u64 - killed;
    let stream = stage::read(server.address(), job.kind, &job.stream_path)?;
    Ok(Ran { injected, told, stream, ..Ran::default() })
}

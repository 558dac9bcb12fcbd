//! The official server, on disk, ends and starts again while it is written to.

use std::time::Duration;

use serde_json::json;

use super::row::{NAMES, Row};
use crate::expect::Expect;
use crate::stage::{self, Ran, Stage};
use crate::writer::Job;
use durstream_tests::failure::Result;
use durstream_tests::http;
use durstream_tests::numbered::Kind;
use durstream_tests::proxy::Proxy;
use durstream_tests::server::{Durability, Server};

const CRASHES: usize = 5;
/// Who writes in bulk may be done before the last one.
pub(crate) const AT_LEAST: u64 = 3;
/// Requests of the largest size, one behind the other.
const BULK: usize = 100_000;
/// It waits for idle connections for 25 s; who runs it as a service does not.
const GRACE: Duration = Duration::from_millis(200);
/// Without connections it ends well within this.
const LONG_GRACE: Duration = Duration::from_secs(10);

pub(super) fn rows() -> Vec<Row> {
    let one = Expect::nothing_lost(AT_LEAST);
    let killed = |name, expect: Expect, jobs: Vec<Job>| {
        Row::new(name, expect, move |stage: &Stage<'_>| {
            crash(stage, &jobs, |server| server.kill_and_restart().map(drop))
        })
    };
    let bulk = |kind| vec![Job { writes: BULK, ..job(kind).in_bulk() }];
    // Where others write too, a look decides nothing; what a server that forgot takes again is flagged.
    let (unknown, flagged) = (one.may_not_know().may_flag(), one.may_flag());
    // Nobody believes the look, so what was in flight is unknown, or sent again and flagged.
    let lags = |name, kind| {
        let expect = one.may_not_know().may_flag();
        Row::new(name, expect, move |stage: &Stage<'_>| lagging(stage, kind))
    };
    vec![
        killed("official server killed, JSON", one, vec![job(Kind::Json)]),
        killed("official server killed, lines", one, vec![job(Kind::Lines)]),
        killed("official server killed, state", one, vec![job(Kind::State)]),
        killed("official server killed, in bulk, JSON", one, bulk(Kind::Json)),
        killed("official server killed, in bulk, state", one, bulk(Kind::State)),
        killed("official server killed, four streams", one, apart()),
        killed("official server killed, four writers, JSON", unknown, side_by_side(Kind::Json)),
        killed("official server killed, four writers, state", flagged, side_by_side(Kind::State)),
        // While it waits, it goes on answering.
        Row::new("official server stopped, then killed", one, |stage: &Stage<'_>| {
            crash(stage, &[job(Kind::Json)], |server| server.stop_and_restart(GRACE).map(drop))
        }),
        Row::new("official server stopped politely", one, polite_stop),
        lags("official server killed, reads lag, JSON", Kind::Json),
        lags("official server killed, reads lag, state", Kind::State),
    ]
}

fn job(kind: Kind) -> Job {
    Job { per_second: 1500, ..Job::new(kind, String::new()) }
}

/// Services on one stream.
fn side_by_side(kind: Kind) -> Vec<Job> {
    let each = Job { writes: 1000, per_second: 400, ..job(kind) }.option("shared", true);
    NAMES.map(|writer| each.of(writer)).to_vec()
}

/// Services on a stream each.
fn apart() -> Vec<Job> {
    let each = Job { writes: 10_000, per_second: 5000, max_pending: 500, ..job(Kind::State) };
    let own = |writer| Job { stream_path: format!("/faults/{writer}"), ..each.of(writer) };
    NAMES.map(own).to_vec()
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
    let told = stage.run(&jobs, |settled| {
        if moments.next_if(|moment| settled >= *moment).is_some() {
            end(&mut server)?;
        }
        Ok(())
    })?;
    let injected = (CRASHES - moments.len()) as u64;
    let mut streams: Vec<&str> = jobs.iter().map(|job| job.stream_path.as_str()).collect();
    streams.dedup();
    let mut stream = Vec::new();
    for path in streams {
        stream.extend(stage::read(server.address(), jobs[0].kind, path)?);
    }
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
    let told = stage.run(std::slice::from_ref(&job), |settled| {
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

/// Two addresses answer for the stream, and whoever reads there sees it as it was at first.
fn lagging(stage: &Stage<'_>, kind: Kind) -> Result<Ran> {
    let mut server = stage.server(Durability::Disk)?;
    let proxies = [stage.proxy(server.address())?, stage.proxy(server.address())?];
    let urls = proxies.each_ref().map(Proxy::url).join(",");
    let job = Job { url: urls, ..job(kind) };
    let (mut moments, mut lags) = (moments(stage.seed, job.writes), false);
    let told = stage.run(std::slice::from_ref(&job), |settled| {
        if settled > 0 && !lags {
            lags = true;
            let path = format!("/v1/stream{}", job.stream_path);
            let tail = http::send(server.address(), "HEAD", &path, &[], b"")?;
            let tail = tail.header("stream-next-offset").ok_or("a stream without an end")?;
            for (proxy, (method, body)) in
                proxies.iter().flat_map(|proxy| [("HEAD", ""), ("GET", "[]")].map(|a| (proxy, a)))
            {
                proxy.add_json(&json!({
                    "fault": "answer", "method": method, "status": 200, "times": 0, "body": body,
                    "headers": {
                        "Content-Type": "application/json", "Stream-Next-Offset": tail,
                        "Stream-Up-To-Date": "true",
                    },
                }))?;
            }
        }
        if moments.next_if(|moment| settled >= *moment).is_some() {
            server.kill_and_restart()?;
        }
        Ok(())
    })?;
    let injected = (CRASHES - moments.len()) as u64;
    let stream = stage::read(server.address(), kind, &job.stream_path)?;
    Ok(Ran { injected, told, stream, ..Ran::default() })
}

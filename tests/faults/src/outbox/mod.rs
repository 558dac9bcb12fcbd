//! Rows about the outbox: writers of every language that are killed with SIGKILL, opened again and
//! killed again, while a proxy holds back what is in flight and the server is killed, too.

mod judge;
mod languages;
mod lives;
mod report;

use std::sync::atomic::{AtomicUsize, Ordering};

use super::stage::Stage;
use durstream_tests::console;
use durstream_tests::failure::Result;
use durstream_tests::needs::Need;
use durstream_tests::numbered::Kind;
use durstream_tests::server::Durability;
use durstream_tests::signals;
use durstream_tests::tree::Tree;
use languages::Language;
use lives::CameTo;
use report::Line;

/// How often the writers of a language are killed, where these rows are asked for, and beside all others.
pub(crate) const KILLS: usize = 200;
pub(crate) const FEW_KILLS: usize = 12;
/// Each language has so many rows.
const ROWS: usize = 2;

/// A writer that is killed.
pub(crate) struct Row {
    pub(crate) name: String,
    language: Language,
    kind: Kind,
    durability: Durability,
}

/// Messages on a server that keeps what it has and is killed, too; state on one that forgets.
pub(crate) fn rows() -> Vec<Row> {
    let of = |(language, kind): (Language, Kind)| {
        let (what, durability) = match kind {
            Kind::State => ("state", Durability::Memory),
            _ => ("messages, server too", Durability::Disk),
        };
        Row { name: format!("outbox, {}, {what}", language.title()), language, kind, durability }
    };
    let both = |language| [(language, Kind::Json), (language, Kind::State)];
    Language::ALL.into_iter().flat_map(both).map(of).collect()
}

pub(crate) fn needs(rows: &[Row]) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for need in rows.iter().map(|row| row.language.need()) {
        if !needs.contains(&need) {
            needs.push(need);
        }
    }
    needs
}

/// Runs the rows, so many beside each other, with so many kills of each language; whether all came to
/// what is expected.
pub(crate) fn run(
    stage: &Stage<'_>,
    rows: &[Row],
    kills: usize,
    lanes: usize,
) -> Result<Vec<Line>> {
    let next = AtomicUsize::new(0);
    let lane = || {
        let mut lines = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(row) = rows.get(index).filter(|_| !signals::interrupted()) else { break };
            console::status(&format!("  {} of {}: {}", index + 1, rows.len(), row.name));
            lines.push((index, line(stage, index, row, kills)));
        }
        lines
    };
    let lanes = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        let ended = lanes.into_iter().map(|lane| lane.join().map_err(|_| "a row panicked"));
        ended.collect::<std::result::Result<Vec<_>, _>>()
    })?;
    signals::check()?;
    let mut lines: Vec<_> = lanes.into_iter().flatten().collect();
    lines.sort_by_key(|(index, _)| *index);
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

fn line(stage: &Stage<'_>, index: usize, row: &Row, kills: usize) -> Line {
    let stage = stage.named(&format!("outbox-{index}"));
    let came_to = stage.and_then(|stage| {
        lives::run(&stage, row.language, row.kind, row.durability, kills.div_ceil(ROWS))
    });
    let failed = |failure: durstream_tests::failure::Failure| CameTo {
        problems: vec![failure.to_string()],
        ..CameTo::default()
    };
    Line { name: row.name.clone(), came_to: came_to.unwrap_or_else(failed) }
}

/// Shows what the rows came to, and writes it into the README where that is asked for.
pub(crate) fn show(tree: &Tree, lines: &[Line], writes: bool) -> Result<bool> {
    let clean = report::show(lines);
    if writes {
        report::write(tree, lines)?;
    }
    Ok(clean)
}

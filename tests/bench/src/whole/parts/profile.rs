//! Where one write's instructions, system calls and wake-ups go, beside those of a bare POST: counted
//! with few writes and with more, so that starting and ending do not count.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use std::time::Duration;

use crate::contestant::Id;
use crate::messages::{Kind, Messages};
use crate::run::{Program, log_of, stream_url};
use crate::whole::callgrind;
use crate::whole::lab::{Lab, Task};
use crate::whole::store::Point;
use durstream_tests::failure::{Context, Result};
use durstream_tests::server::Server;

/// Kinds of points.
pub(crate) const CRATES: &str = "instructions by crate";
pub(crate) const FUNCTIONS: &str = "instructions by function";
pub(crate) const CALLS: &str = "system calls";
pub(crate) const SLEEPS: &str = "sleeps";
/// What a whole count is kept as.
pub(crate) const ALL: &str = "all";
/// What one side has is below the name of that side.
pub(crate) const SIDES: [Id; 2] = [Id::Rust, Id::Bare];
const FEW: usize = 200;
const MORE: usize = 1_200;
/// Functions that are told of.
const FUNCTIONS_TOLD: usize = 14;

type Counts = BTreeMap<String, f64>;

pub(crate) fn measure(lab: &Lab<'_>) -> Result<Vec<Point>> {
    let messages = lab.messages(Kind::Json, 100)?;
    let mut points = Vec::new();
    for (kind, count) in [
        (CRATES, instructions as fn(&Lab<'_>, Id, &Messages, usize) -> Result<Counts>),
        (CALLS, system_calls),
        (SLEEPS, sleeps),
    ] {
        let mut sides = Vec::new();
        for id in SIDES {
            lab.say(&format!("profile, {kind}: {}", id.title()));
            let counted = count(lab, id, &messages, FEW)
                .and_then(|few| Ok((few, count(lab, id, &messages, MORE)?)))
                .map(|(few, more)| each(&few, &more));
            let mut failed = Point::of(id, kind);
            match counted {
                Ok(counts) => sides.push((id, counts)),
                Err(failure) => lab.note(&mut failed, Err(failure))?,
            }
            points.extend(failed.trouble.is_some().then_some(failed));
        }
        if kind == CRATES {
            points.extend(side_by_side(CRATES, &by_crate(&sides), usize::MAX));
            points.extend(side_by_side(FUNCTIONS, &sides, FUNCTIONS_TOLD));
        } else {
            points.extend(side_by_side(kind, &sides, usize::MAX));
        }
    }
    Ok(points)
}

/// What one write has of each.
fn each(few: &Counts, more: &Counts) -> Counts {
    let writes = (MORE - FEW) as f64;
    let of = |(name, more): (&String, &f64)| {
        (name.clone(), (more - few.get(name).copied().unwrap_or_default()) / writes)
    };
    more.iter().map(of).collect()
}

fn by_crate(sides: &[(Id, Counts)]) -> Vec<(Id, Counts)> {
    let of = |counts: &Counts| {
        let mut crates = Counts::new();
        for (name, count) in counts {
            *crates.entry(callgrind::crate_of(name).to_owned()).or_default() += count;
        }
        crates
    };
    sides.iter().map(|(id, counts)| (*id, of(counts))).collect()
}

/// A point for each name, with what each side has of it; the most first, and the whole.
fn side_by_side(kind: &str, sides: &[(Id, Counts)], most: usize) -> Vec<Point> {
    let mut points: BTreeMap<&str, Point> = BTreeMap::new();
    let mut all = Point { kind: kind.to_owned(), ..Point::new(ALL) };
    for (id, counts) in sides {
        all.add(id.name(), counts.values().sum());
        for (name, count) in counts {
            let new = || Point { kind: kind.to_owned(), ..Point::new(name) };
            points.entry(name).or_insert_with(new).add(id.name(), *count);
        }
    }
    let weight = |point: &Point| point.median(Id::Rust.name()).unwrap_or_default();
    let mut points: Vec<Point> = points.into_values().collect();
    points.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
    points.truncate(most);
    points.insert(0, all);
    points
}

/// Lets a program do its writes, one at a time, below another program.
fn below(
    lab: &Lab<'_>,
    id: Id,
    messages: &Messages,
    events: usize,
    watcher: &[&str],
) -> Result<Program> {
    let server = Server::start(lab.tree)?;
    let who = lab.those(&[id]).first().copied().ok_or("not there")?;
    let task =
        Task { mode: "idle", events, round_trip_ms: 0, options: Vec::new(), time: Duration::ZERO };
    let plain = lab.job(messages, &task).command(who, &stream_url(&server.url()));
    let command = match watcher {
        [] => plain,
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(plain.get_program()).args(plain.get_args());
            command
        }
    };
    Program::start(command, &log_of(lab.tree, id)?)
}

fn instructions(lab: &Lab<'_>, id: Id, messages: &Messages, events: usize) -> Result<Counts> {
    let file = lab.tree.directory("bench")?.join(format!("callgrind-{}", id.name()));
    let out = format!("--callgrind-out-file={}", file.display());
    let watcher =
        ["valgrind", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no", &out];
    below(lab, id, messages, events, &watcher)?.end()?;
    let text = read(&file)?;
    let counts = callgrind::functions(&text);
    if counts.is_empty() { Err("callgrind counted nothing".into()) } else { Ok(counts) }
}

fn system_calls(lab: &Lab<'_>, id: Id, messages: &Messages, events: usize) -> Result<Counts> {
    let file = lab.tree.directory("bench")?.join(format!("strace-{}", id.name()));
    let out = file.display().to_string();
    below(lab, id, messages, events, &["strace", "-f", "-c", "-o", &out])?.end()?;
    let counts = calls_in(&read(&file)?);
    if counts.is_empty() { Err("strace counted nothing".into()) } else { Ok(counts) }
}

/// `% time, seconds, usecs/call, calls, errors, syscall`; without errors there is nothing.
fn calls_in(text: &str) -> Counts {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, calls) = (*words.last()?, words.get(3)?.parse().ok()?);
        (name != "total" && words[0].parse::<f64>().is_ok()).then(|| (name.to_owned(), calls))
    };
    text.lines().filter_map(line).collect()
}

fn sleeps(lab: &Lab<'_>, id: Id, messages: &Messages, events: usize) -> Result<Counts> {
    let program = below(lab, id, messages, events, &[])?;
    let count = crate::machine::sleeps(program.id()).ok_or("not known on this system")?;
    program.end()?;
    Ok([("a thread sleeps and is woken".to_owned(), count as f64)].into())
}

fn read(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).context(file.display())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_calls_are_read_with_and_without_errors() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ------\n \
                    60.00    0.010000          10      1000       500 recvfrom\n \
                    40.00    0.010000          20       500           sendto\n\
                    ------ ----------- ----------- --------- --------- ------\n\
                    100.00    0.020000          13      1500       500 total\n";
        let expected = [("recvfrom".to_owned(), 1000.0), ("sendto".to_owned(), 500.0)];
        assert_eq!(calls_in(text), expected.into());
    }

    #[test]
    fn what_a_write_takes_is_what_more_of_them_add() {
        let counts = |one: f64, other: f64| Counts::from([("a".into(), one), ("b".into(), other)]);
        let writes = (MORE - FEW) as f64;
        let of = each(&counts(100.0, 7.0), &counts(100.0 + 3.0 * writes, 7.0));
        let sides = [(Id::Rust, of), (Id::Bare, counts(1.0, 2.0))];
        let points = side_by_side(CRATES, &sides, 1);
        let told: Vec<_> = points
            .iter()
            .map(|point| (point.of.as_str(), point.median("rust"), point.median("bare")))
            .collect();
        assert_eq!(told, [(ALL, Some(3.0), Some(3.0)), ("a", Some(3.0), Some(1.0))]);
    }
}

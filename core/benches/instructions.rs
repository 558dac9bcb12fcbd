//! How many instructions a write takes, counted by callgrind, beside what `instructions.json` says:
//! `cargo bench -p durstream-core --bench instructions`, with `DURSTREAM_REWRITE=1` to keep the new
//! numbers. A busy machine does not change them, so that what became slower shows.
//!
//! Only the thread that accepts is counted, and of it only what happens below `Writer::write`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is run for")]

#[path = "../tests/common/mod.rs"]
mod common;
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

use work::Writer;

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");
/// Writes before counting, and counted.
const WARM_UP: u64 = 2_000;
const COUNTED: u64 = 20_000;
/// What another compiler may add before it counts as slower, in per cent.
const TOLERANCE: u64 = 10;

/// The child that callgrind watches.
fn work(name: &str) {
    let (_, open) = Writer::ALL.iter().find(|(known, _)| *known == name).expect("a known name");
    let writer = open();
    writer.warm_up(WARM_UP);
    writer.write(COUNTED);
    writer.end();
}

/// The instructions of one write.
fn count(name: &str) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*work::Writer::write")
        .arg(own)
        .args(["--work", name])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split("Collected :").nth(1));
    let collected = collected.and_then(|number| number.trim().parse::<u64>().ok());
    match collected {
        Some(count) if output.status.success() && count > COUNTED => Ok(count / COUNTED),
        _ => Err(format!("callgrind counted nothing: {said}")),
    }
}

fn compare() -> Result<bool, String> {
    let kept = std::fs::read_to_string(KEPT).unwrap_or_else(|_| "{}".to_owned());
    let kept: BTreeMap<String, u64> =
        serde_json::from_str(&kept).map_err(|error| error.to_string())?;
    let mut now = BTreeMap::new();
    println!("{:<10} {:>8} {:>8}", "a write", "kept", "now");
    for (name, _) in Writer::ALL {
        let count = count(name)?;
        let before = kept.get(name).map_or("none".to_owned(), u64::to_string);
        println!("{name:<10} {before:>8} {count:>8}");
        now.insert(name, count);
    }
    if std::env::var_os("DURSTREAM_REWRITE").is_some() {
        let text = serde_json::to_string_pretty(&now).map_err(|error| error.to_string())?;
        std::fs::write(Path::new(KEPT), text + "\n").map_err(|error| error.to_string())?;
        return Ok(true);
    }
    let most = |name| kept.get(name).map_or(0, |before| before + before * TOLERANCE / 100);
    let slower: Vec<_> = now.iter().filter(|(name, count)| **count > most(**name)).collect();
    for (name, count) in &slower {
        eprintln!("{name} takes {count} instructions, more than the {} allowed", most(**name));
    }
    Ok(slower.is_empty())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--work") {
        work(&arguments[at + 1]);
        return ExitCode::SUCCESS;
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS; // an unoptimised build says nothing
    }
    match compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

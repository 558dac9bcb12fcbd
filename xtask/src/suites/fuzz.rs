//! The fuzz targets at length: each looks for inputs that break a promise, for some time.
//!
//! What a run finds new is kept below `target/`, and the next one begins with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::toolchain;
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::runner::Suite;
use durstream_tests::step::step;
use durstream_tests::tool::Tool;
use durstream_tests::tree::Tree;

const CARGO_FUZZ: Tool =
    Tool { crate_name: "cargo-fuzz", version: "0.13.2", binary: "cargo-fuzz", features: "" };
const SECONDS_VARIABLE: &str = "DURSTREAM_FUZZ_SECONDS";
const SECONDS: u64 = 60;
/// Beyond the time it was given: an input that takes half a minute is a finding of its own.
const ENDING: Duration = Duration::from_secs(60);
const OPTIONS: [&str; 4] =
    ["-timeout=30", "-rss_limit_mb=2048", "-max_len=4096", "-print_final_stats=1"];

pub(crate) fn suite(suite: &mut Suite<'_>) {
    let Some(folder) = suite.folder("fuzz/targets") else { return };
    let mut ready = None;
    suite.step("targets", |tree| {
        ready = Some((seconds()?, targets(&folder)?, build(tree)?));
        Ok(())
    });
    let Some((seconds, targets, binaries)) = ready else { return suite.blocked("runs") };
    for target in targets {
        let limit = Some(Duration::from_secs(seconds) + ENDING);
        match command(suite.tree, &binaries, &target, seconds) {
            Ok(command) => {
                if !suite.run_within(&target, command, limit) {
                    let findings = suite.tree.target.join("fuzz/findings");
                    console::line(&format!("The input is {}/{target}-*", findings.display()));
                }
            }
            Err(failure) => drop(suite.step(&target, |_| Err(failure))),
        }
    }
}

/// How long each target runs.
fn seconds() -> Result<u64> {
    match std::env::var(SECONDS_VARIABLE) {
        Ok(text) => text.parse().context(format!("{SECONDS_VARIABLE}={text}")),
        Err(_) => Ok(SECONDS),
    }
}

/// The names of the targets, in their order.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).context(folder.display())?.flatten();
    let name = |path: PathBuf| path.file_stem().map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<String> = entries.filter_map(|entry| name(entry.path())).collect();
    names.sort();
    if names.is_empty() {
        return Err(format!("{} holds no target", folder.display()).into());
    }
    Ok(names)
}

/// Builds every target; the folder of the binaries.
fn build(tree: &Tree) -> Result<PathBuf> {
    let cargo_fuzz = CARGO_FUZZ.install(tree, "cargo-fuzz")?;
    let target = tree.directory("fuzz")?;
    let triple = toolchain::host()?;
    step(tree, "Fuzz targets", |step| {
        let mut build = Command::new(cargo_fuzz);
        build.args(["build", "--fuzz-dir", ".", "--target", &triple]).arg("--target-dir");
        build.arg(&target).current_dir(tree.root.join("fuzz"));
        // A stable compiler has all it takes, and takes the flags only like this.
        step.run(build.env("RUSTC_BOOTSTRAP", "1"))
    })?;
    Ok(target.join(triple).join("release"))
}

/// The target over what it found before and over what is kept in the repository.
fn command(tree: &Tree, binaries: &Path, target: &str, seconds: u64) -> Result<Command> {
    let found = tree.directory(&format!("fuzz/corpus/{target}"))?;
    let findings = tree.directory("fuzz/findings")?;
    let mut command = Command::new(binaries.join(target));
    // The first folder is the one it writes to.
    command.arg(found).arg(tree.root.join("fuzz/corpus").join(target)).args(OPTIONS);
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/{target}-", findings.display()));
    Ok(command)
}

//! `packaging/REPORT.md`: what was made, how small it is, and what was tried with it.

use durstream_tests::failure::{Context, Result};
use durstream_tests::tree::Tree;

use crate::artefact::{Artefact, Tried};
use crate::host::Loading;
use crate::platforms::{PLATFORMS, Platform};

const REPORT: &str = "packaging/REPORT.md";

/// Writes it.
pub(crate) fn write(
    tree: &Tree,
    artefacts: &[Artefact],
    loading: &Loading,
    seconds: f64,
) -> Result {
    let file = tree.root.join(REPORT);
    std::fs::write(&file, text(artefacts, loading, seconds)).context(file.display())
}

pub(crate) fn text(artefacts: &[Artefact], loading: &Loading, seconds: f64) -> String {
    let mut text = format!(
        "# Packages of {}\n\n\
         Written by `cargo xtask package`, which made all of it in {:.0} minutes (a part of it may have been\n\
         compiled before) and tried it beside a server.\n\
         Sizes are in kB of 1000 bytes: of the file, and of what it takes installed. A program that ran wrote to\n\
         the server, and what it wrote was read back.\n\n\
         | artefact | for | file | installed | oldest glibc | how it was installed | what ran |\n\
         |---|---|---:|---:|---|---|---|\n",
        env!("CARGO_PKG_VERSION"),
        seconds / 60.0
    );
    for artefact in artefacts {
        text += &row(artefact);
    }
    let is_made = |platform: &Platform| artefacts.iter().any(|made| made.platform == platform.name);
    for platform in PLATFORMS.iter().filter(|platform| !is_made(platform)) {
        text += &not_tried(platform);
    }
    text += "\n| loading, median of 15 | ms | goal |\n|---|---:|---:|\n";
    for (name, taken) in
        [("`import durstream`", loading.python), ("`require(\"durstream\")`", loading.node)]
    {
        let taken = taken.map_or("not measured".to_owned(), |ms| format!("{ms:.1}"));
        text += &format!("| {name} | {taken} | 15 |\n");
    }
    text
}

/// The row of a platform of which nothing was made.
fn not_tried(platform: &Platform) -> String {
    let name = platform.name;
    let (what, why) = match &platform.here {
        Some(_) => {
            ("wheel, addon, C library", format!("not built: that takes `--platform {name}`"))
        }
        None => {
            ("wheel, addon", "not built: it is where it runs, by the release workflow".to_owned())
        }
    };
    format!("| {what} | {name} | – | – | – | not tried | {why} |\n")
}

fn row(artefact: &Artefact) -> String {
    let kilobytes =
        |bytes: u64| if bytes == 0 { "–".to_owned() } else { (bytes / 1000).to_string() };
    let glibc =
        artefact.glibc.map_or("–".to_owned(), |(major, minor)| format!("{major}.{minor}"));
    let platform = if artefact.platform.is_empty() { "all" } else { artefact.platform };
    let (installed, ran) = if artefact.tried.is_empty() {
        ("not tried".to_owned(), artefact.untried.to_owned())
    } else {
        let all = |part: fn(&Tried) -> &str| -> String {
            artefact.tried.iter().map(part).collect::<Vec<_>>().join("; ")
        };
        (all(|tried| &tried.installed), all(|tried| &tried.ran))
    };
    format!(
        "| `{}` | {platform} | {} | {} | {glibc} | {installed} | {ran} |\n",
        artefact.name(),
        kilobytes(artefact.bytes()),
        kilobytes(artefact.unpacked),
    )
}

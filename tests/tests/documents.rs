//! The pages: every link leads somewhere, every block is run, and commands that they name are there.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use durstream_core::{Lifecycle, Status};
use durstream_tests::markdown::{anchors, blocks, links, pages};
use durstream_tests::tree::Tree;

/// What is shown and no program. The rest is run.
const SHOWN: [&str; 7] = ["console", "text", "json", "yaml", "toml", "dockerfile", "http"];

/// What is run, and where: by the suite `readme`, as a doctest, by `tests/interop`, `tests/ends` or a
/// package's own tests.
const RUN: [&str; 7] = ["c", "cpp", "python", "js", "ts", "ini", "rust"];

/// Rust's blocks are doctests of the pages that this file takes in.
const DOCTESTS: &str = "tests/src/lib.rs";

fn root() -> PathBuf {
    Tree::find().unwrap().root
}

/// Every page, with its text.
fn read_all() -> Vec<(PathBuf, String)> {
    let read = |page: PathBuf| {
        let text = std::fs::read_to_string(&page).unwrap();
        (page, text)
    };
    let pages = pages(&root()).unwrap().into_iter().chain([root().join("llms.txt")]);
    let found: Vec<_> = pages.map(read).collect();
    assert!(found.len() > 20, "there are pages");
    found
}

/// Pages that are in a package, and shown where registries show it: away from everything beside them.
const PACKED: [&str; 5] = [
    "core/README.md",
    "bindings-node/README.md",
    "bindings-python/README.md",
    "bindings-node/skills/publishing-data/SKILL.md",
    "ffi-c/README.md",
];

/// What users read: the READMEs of the project and its packages, and `docs/`.
fn is_for_users(page: &Path) -> bool {
    let page = page.strip_prefix(root()).unwrap();
    let mut readmes = PACKED.iter().chain(&["README.md"]);
    page.starts_with("docs") || readmes.any(|readme| page == Path::new(readme))
}

/// What is wrong with a link of a page; nothing with one that leads out of the repository.
fn fault_of(page: &Path, text: &str, link: &str) -> Option<String> {
    if link.starts_with("https:") || link.starts_with("http:") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, a)| (path, Some(a)));
    let target = page.parent().unwrap().join(path);
    if !path.is_empty() && !target.exists() {
        return Some("there is no such file".to_owned());
    }
    let anchor = anchor?;
    let there = match path {
        "" => text.to_owned(),
        _ if path.ends_with(".md") => std::fs::read_to_string(&target).unwrap(),
        _ => std::fs::read_to_string(target.join("README.md")).ok()?,
    };
    let known = anchors(&there);
    let is_known = known.iter().any(|known| known == anchor);
    (!is_known).then(|| format!("no heading makes that anchor; there are {}", known.join(", ")))
}

#[test]
fn every_link_leads_somewhere() {
    let mut faults = Vec::new();
    let mut checked = 0;
    for (page, text) in read_all() {
        for (line, link) in links(&text) {
            checked += 1;
            let fault = fault_of(&page, &text, &link);
            faults.extend(fault.map(|why| format!("{}:{line}: {link}: {why}", page.display())));
        }
    }
    assert!(checked > 100, "{checked} links");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What such a page refers to is named by its path in the sources, which is right wherever it is read.
#[test]
fn a_packed_page_links_to_nothing_beside_it() {
    for name in PACKED {
        let text = std::fs::read_to_string(root().join(name)).unwrap();
        for (line, link) in links(&text) {
            assert!(link.starts_with("https://") || link.starts_with('#'), "{name}:{line}: {link}");
        }
        // A path begins with its folder: within a package there are others.
        for path in text.split('`').skip(1).step_by(2) {
            let is_path = path.ends_with(".md") || path.ends_with("/examples");
            assert!(!is_path || root().join(path).exists(), "{name}: {path}");
        }
    }
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = root().join("docs/README.md");
    let text = "# One heading\n";
    for link in ["none.md", "#another", "delivery.md#no-such-heading", "../core/none"] {
        assert!(fault_of(&page, text, link).is_some(), "{link}");
    }
    for link in ["delivery.md", "#one-heading", "../core", "https://example.org"] {
        assert!(fault_of(&page, text, link).is_none(), "{link}");
    }
}

#[test]
fn every_block_for_users_is_run_or_no_program() {
    let doctests = std::fs::read_to_string(root().join(DOCTESTS)).unwrap();
    for (page, text) in read_all().into_iter().filter(|(page, _)| is_for_users(page)) {
        let name = page.strip_prefix(root()).unwrap().display().to_string();
        for block in blocks(&text) {
            let language = block.language.as_str();
            let is_known = SHOWN.contains(&language) || RUN.contains(&language);
            assert!(is_known, "{name}:{}: a block in {language:?}", block.line);
            let is_taken = language != "rust" || doctests.contains(&format!("../../{name}\""));
            assert!(is_taken, "{name}:{}: {DOCTESTS} does not take it in", block.line);
        }
    }
}

#[test]
fn every_page_for_users_is_in_the_index() {
    let index = root().join("docs/README.md");
    let text = std::fs::read_to_string(&index).unwrap();
    let linked: BTreeSet<PathBuf> = links(&text)
        .into_iter()
        .map(|(_, link)| index.with_file_name(link.split('#').next().unwrap_or_default()))
        .collect();
    for page in pages(&root().join("docs")).unwrap() {
        assert!(page == index || linked.contains(&page), "{} is not", page.display());
    }
}

#[test]
fn the_commands_that_pages_name_are_there() {
    let main = std::fs::read_to_string(root().join("xtask/src/main.rs")).unwrap();
    for (page, text) in read_all() {
        for part in text.split("cargo xtask ").skip(1) {
            let name = part.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next().unwrap();
            let is_there = name.is_empty() || name == "help";
            let is_there = is_there || main.contains(&format!("name: \"{name}\""));
            assert!(is_there, "{}: cargo xtask {name}", page.display());
        }
    }
}

/// The project's README is what a stranger reads first, and no more than that.
#[test]
fn the_readme_is_short() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let lines = text.lines().count();
    assert!(lines <= 150, "{lines} lines");
}

#[test]
fn every_counter_state_and_outcome_has_a_line() {
    let text =
        |name: &str| std::fs::read_to_string(root().join("docs").join(name)).unwrap_or_default();
    let counters = text("monitoring.md") + &text("metrics.md");
    for metric in durstream_core::METRICS {
        let name = metric.name;
        assert!(counters.contains(&format!("`{name}`")), "the metric {name}");
    }
    for state in [
        Lifecycle::Connecting,
        Lifecycle::Ready,
        Lifecycle::Backoff,
        Lifecycle::Reconnecting,
        Lifecycle::Stopping,
        Lifecycle::Stopped,
        Lifecycle::Failed,
        Lifecycle::Fenced,
    ] {
        assert!(counters.contains(&format!("`{}`", state.as_str())), "the state {state:?}");
    }
    let outcomes = text("delivery.md");
    for status in [
        Status::Delivered,
        Status::DeliveryUnknown,
        Status::Rejected,
        Status::Cancelled,
        Status::Forgotten,
    ] {
        assert!(outcomes.contains(&format!("| `{}` |", status.as_str())), "{status:?}");
    }
}

//! `bench --report`: measures everything, part by part, and writes `tests/bench/REPORT.md` with its
//! pictures. `--only throughput,latency` measures those again and takes the rest as it was.

mod callgrind;
mod charts;
mod facts;
mod goals;
mod lab;
mod page;
mod parts;
mod peers;
mod store;
mod straight;
mod tables;
mod text;

use std::time::Instant;

use crate::contestant::{self, Id, rust_program};
use crate::options::Options;
use durstream_tests::console;
use durstream_tests::facts::{commit, machine, now};
use durstream_tests::failure::{Context, Result};
use durstream_tests::needs::Need;
use durstream_tests::process;
use durstream_tests::signals;
use durstream_tests::tree::Tree;
use lab::Lab;
use parts::Part;
use store::{Made, Measured, Store};

pub(crate) const REPORT: &str = "tests/bench/REPORT.md";
const PLOTS: &str = "durstream-bench-plots";

/// What must be there for the parts that are asked for. Peers are made later: theirs may be missing.
pub(crate) fn needs(options: &Options) -> Result<Vec<Need>> {
    let mut needs = vec![Need::RustPrograms(PLOTS.into())];
    if !chosen(options)?.is_empty() {
        needs.push(Need::RustPrograms("durstream-bench-programs".into()));
        let upstream = options.upstream_python.is_some() || options.upstream.is_some();
        let ids = who(options)?.into_iter();
        let ids = ids.filter(|id| *id != Id::UpstreamPython || upstream);
        let ids = ids.filter(|id| is_asked_for(options, *id));
        needs.extend(ids.filter_map(contestant::need));
        needs.push(Need::Server);
    }
    Ok(needs)
}

/// The parts that are measured: those named, or all; none for `--only page`.
fn chosen(options: &Options) -> Result<Vec<Part>> {
    let Some(only) = options.only.as_deref() else { return Ok(parts::ALL.into()) };
    let named: Vec<&str> = only.split(',').filter(|name| !matches!(*name, "" | "page")).collect();
    if let Some(name) = named.iter().find(|name| !parts::names().contains(name)) {
        let known = parts::names().join(", ");
        return Err(format!("the report has no part {name}: {known}; page writes it anew").into());
    }
    Ok(parts::ALL.into_iter().filter(|part| named.contains(&part.name)).collect())
}

/// Everybody who can take part in one of the chosen parts.
fn who(options: &Options) -> Result<Vec<Id>> {
    let parts = chosen(options)?;
    let all = Id::WHOLE.into_iter().chain([Id::Bare]);
    Ok(all.filter(|id| parts.iter().any(|part| part.who.contains(id))).collect())
}

pub(crate) fn report(tree: &Tree, options: &Options) -> Result<u8> {
    let parts = chosen(options)?;
    let mut store = Store::load(tree, &parts::names())?;
    let wanted: Vec<Id> =
        who(options)?.into_iter().filter(|id| is_asked_for(options, *id)).collect();
    let (contestants, missing) = peers::all(tree, options, &wanted);
    for line in &missing {
        console::line(&format!("  Not there: {line}."));
    }
    if parts.iter().any(|part| part.name == "calls") {
        parts::build_benchmarks(tree)?;
    }
    let shrink = options.shrink.unwrap_or(1);
    let mut lab = Lab { tree, contestants, quick: options.quick, shrink };
    let versions = facts::versions(tree, options, &wanted);
    for part in &parts {
        let measured = measure(&mut lab, part, &missing, versions.clone())?;
        let wrong = measured.points.iter().filter(|point| point.trouble.is_some()).count();
        let wrong = if wrong > 0 { format!(", {wrong} with trouble") } else { String::new() };
        let (name, took) = (part.name, measured.made.took_seconds);
        console::status("");
        console::line(&format!(
            "  {name:<12} {took:>6.0} s, {} rows{wrong}",
            measured.points.len()
        ));
        store.put(name, measured);
        store.save(tree, name)?;
    }
    draw(tree, &store)?;
    let file = tree.root.join(REPORT);
    std::fs::write(&file, page::write(&store, &parts::kept_instructions(&tree.root)?))
        .context(file.display())?;
    console::line(&format!("Wrote {}.", file.display()));
    Ok(0)
}

/// For a look at whether everything works, with fewer contestants.
fn is_asked_for(options: &Options, id: Id) -> bool {
    options
        .clients
        .as_deref()
        .is_none_or(|clients| clients.split(',').any(|name| name == id.name()))
}

fn measure(
    lab: &mut Lab<'_>,
    part: &Part,
    missing: &[String],
    versions: std::collections::BTreeMap<String, String>,
) -> Result<Measured> {
    let busy_before = facts::busy(std::time::Duration::from_secs(1));
    let started = Instant::now();
    let all = std::mem::take(&mut lab.contestants);
    let (taking_part, others) = all.into_iter().partition(|one| part.who.contains(&one.id));
    lab.contestants = taking_part;
    let points = (part.measure)(lab);
    lab.contestants.extend::<Vec<_>>(others);
    signals::check()?;
    let points = points?;
    let made = Made {
        at: now(),
        commit: commit(&lab.tree.root, &["tests/bench/report", REPORT]),
        machine: machine(),
        versions,
        quick: lab.quick || lab.shrink > 1,
        took_seconds: started.elapsed().as_secs_f64(),
        busy_before,
        missing: missing.to_vec(),
    };
    Ok(Measured { made, points })
}

fn draw(tree: &Tree, store: &Store) -> Result {
    let folder = tree.root.join("tests/bench").join(text::PICTURES);
    let order = serde_json::json!({ "folder": folder, "charts": charts::all(store) });
    let file = tree.directory("bench/report")?.join("charts.json");
    std::fs::write(&file, format!("{order:#}\n")).context(file.display())?;
    let mut plots = std::process::Command::new(rust_program(tree, "plots"));
    process::shown(plots.arg(&file), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(only: &str) -> Options {
        Options { report: true, only: Some(only.into()), ..Options::default() }
    }

    #[test]
    fn parts_are_named_together_or_not_at_all() {
        let names = |options: &Options| {
            chosen(options).unwrap().iter().map(|part| part.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&Options::default()), parts::names());
        assert_eq!(names(&with("outage,latency")), ["latency", "outage"]);
        assert_eq!(names(&with("page")), [] as [&str; 0]);
        assert!(chosen(&with("speed")).is_err());
    }

    #[test]
    fn peers_are_needed_by_nobody() {
        let needs = needs(&with("latency")).unwrap();
        assert!(needs.contains(&Need::NodePackage) && needs.contains(&Need::PythonPackage));
        assert!(!needs.iter().any(|need| matches!(need, Need::PythonEnvironment { .. })));
        let named = Options { upstream: Some("x".into()), ..with("latency") };
        let needs = super::needs(&named).unwrap();
        assert!(needs.iter().any(|need| matches!(need, Need::PythonEnvironment { .. })));
    }
}

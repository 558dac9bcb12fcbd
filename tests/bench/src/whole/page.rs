//! `REPORT.md`. Every number in it comes out of the store.

use durstream_tests::facts::date;

use super::goals;
use super::store::{Made, Point, Store};
use super::tables;
use super::text::Page;

pub(crate) fn write(store: &Store, kept: &[(String, u64)]) -> String {
    let mut page = Page::default();
    head(&mut page, store);
    wanted(&mut page, store);
    page.title("Throughput");
    if !store.points("throughput").is_empty() {
        page.picture("throughput", "Events a second by client: bars");
    }
    tables::throughput(&mut page, store);
    page.title("Latency");
    if !store.points("latency").is_empty() {
        page.picture("latency", "Median latency against the rate: lines");
    }
    tables::latency(&mut page, store);
    page.title("How costs grow");
    if !store.points("cost").is_empty() {
        page.picture(
            "cost",
            "Processor time of one event as events, streams and sizes grow: lines",
        );
    }
    tables::growth(&mut page, store);
    page.title("Many streams");
    tables::streams(&mut page, store);
    page.title("Memory");
    tables::memory(&mut page, store);
    page.title("An outage");
    tables::outage(&mut page, store);
    page.title("Starting, and sizes");
    tables::start(&mut page, store);
    page.title("Calls and instructions");
    tables::calls(&mut page, store, kept);
    page.title("Where one write goes");
    tables::profile(&mut page, store);
    page.title("How it was measured");
    tail(&mut page, store);
    page.text()
}

fn head(page: &mut Page, store: &Store) {
    page.line("<!-- Written by `cargo xtask bench --report`; edits are lost. -->");
    page.line("# How fast it is\n");
    let latest = store.parts().map(|(_, measured)| &measured.made).max_by_key(|made| made.at);
    let Some(made) = latest else {
        page.line("Nothing was measured yet.");
        return;
    };
    let Made { at, commit, machine, .. } = made;
    page.line(format!(
        "Measured on {machine}; the last part at {}, of commit {commit}.",
        date(*at)
    ));
    if store.parts().any(|(_, measured)| measured.made.quick) {
        page.line(
            "**Parts of it are a quick run** (see the end): good for a look, not to be quoted.",
        );
    }
    let missing: std::collections::BTreeSet<&String> =
        store.parts().flat_map(|(_, measured)| &measured.made.missing).collect();
    if !missing.is_empty() {
        page.line("\nNot there:\n");
        missing.iter().for_each(|line| page.line(format!("- {line}.")));
    }
    page.line(
        "\nEvery client runs with its defaults, in a process of its own, against an official server of its own in \
         memory mode. Unless a table says otherwise, the stream is then read back and has to be exactly what was \
         written. Ranges are from the least to the most of the rounds; ratios are taken round by round.",
    );
    page.line(
        "\n**The ceiling** is a sender on one thread that replays bodies prepared beforehand. **Upstream** are the \
         protocol's own clients. **librdkafka** writes to its mock broker, in its own process and over loopback: \
         another protocol, and the field's yardstick for a producer.",
    );
}

fn wanted(page: &mut Page, store: &Store) {
    page.title("Wanted, and reached");
    let goals = goals::all(store);
    let row = |goal: &goals::Goal| {
        let found = goal.found.as_ref();
        let text = found.map_or("not measured".to_owned(), |found| found.text.clone());
        let verdict = match found {
            None => "",
            Some(found) if found.reached => "yes",
            Some(_) => "**no**",
        };
        vec![goal.what.clone(), goal.wanted.clone(), text, verdict.to_owned()]
    };
    let rows: Vec<Vec<String>> = goals.iter().map(row).collect();
    page.table(&["", "wanted", "measured", "reached"], &rows);
    let bounds: Vec<String> = goals
        .iter()
        .filter_map(|goal| {
            let bound = goal.found.as_ref()?.bound.as_ref()?;
            Some(format!("- {}: {bound}.", goal.what))
        })
        .collect();
    if !bounds.is_empty() {
        page.line("What bounds those that were missed:\n");
        bounds.iter().for_each(|line| page.line(line));
    }
    page.line(
        "\nHow long a first run from a clone and the whole CI take is measured by doing them: \
         `time cargo xtask demo` in a fresh clone, and `time .ci/run`.",
    );
}

/// Under which circumstances each part was measured.
fn tail(page: &mut Page, store: &Store) {
    let row = |(name, measured): (&str, &super::store::Measured)| {
        let made = &measured.made;
        let busy = made.busy_before.map_or(String::new(), tables::percent);
        let others = measured.points.iter().filter_map(|point| point.median("others"));
        let others = crate::summary::Spread::of(others)
            .map_or(String::new(), |part| tables::percent(part.median));
        vec![
            name.to_owned(),
            date(made.at),
            made.commit.clone(),
            format!("{:.0} s", made.took_seconds),
            busy,
            others,
            if made.quick { "yes".to_owned() } else { String::new() },
        ]
    };
    let rows: Vec<Vec<String>> = store.parts().map(row).collect();
    page.line("`cargo xtask bench --report` measures all parts; `--only latency,outage` those again. See [README](README.md).\n");
    page.table(
        &["part", "when", "commit", "took", "machine busy before", "others meanwhile", "quick"],
        &rows,
    );
    let machines: std::collections::BTreeSet<&str> =
        store.parts().map(|(_, measured)| measured.made.machine.as_str()).collect();
    if machines.len() > 1 {
        page.line("**Not all parts are from the same machine**:\n");
        machines.iter().for_each(|machine| page.line(format!("- {machine}")));
        page.line("");
    }
    let mut versions = std::collections::BTreeMap::new();
    let mut parts: Vec<&Made> = store.parts().map(|(_, measured)| &measured.made).collect();
    // The latest say what there is.
    parts.sort_by_key(|made| made.at);
    parts.iter().for_each(|made| versions.extend(&made.versions));
    let versions: Vec<String> =
        versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    page.line(format!("Versions: {}.", versions.join("; ")));
    troubles(page, store);
}

fn troubles(page: &mut Page, store: &Store) {
    let text = |name: &str, point: &Point| {
        let why = point.trouble.as_ref()?.lines().next()?.replace('|', "/");
        let at: Vec<String> =
            point.at.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let why: String = why.chars().take(240).collect();
        Some(format!(
            "- {name}: {} {} ({}): {why}",
            tables::title(point),
            point.kind,
            at.join(", ")
        ))
    };
    let lines: Vec<String> = store
        .parts()
        .flat_map(|(name, measured)| {
            measured.points.iter().filter_map(move |point| text(name, point))
        })
        .collect();
    if !lines.is_empty() {
        page.line("\nWhat went wrong, in the words of the client or of the check of its stream:\n");
        lines.iter().for_each(|line| page.line(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contestant::Id;
    use crate::whole::store::Measured;

    #[test]
    fn a_page_tells_what_was_measured_and_who_was_not_there() {
        let mut store = Store::default();
        let mut rust = Point::of(Id::Rust, "json").at("bytes", 100usize).with("rate", 2.5e6);
        rust.add("cpu_us", 0.25);
        let mut npm = Point::of(Id::NpmClient, "json").at("bytes", 100usize);
        npm.trouble = Some("the stream holds 3 messages, not 4\nand more".into());
        let made = Made {
            at: 0,
            missing: vec!["upstream's Go: go is not installed".into()],
            ..Made::default()
        };
        store.put("throughput", Measured { made, points: vec![rust, npm] });
        let text = write(&store, &[("json".into(), 2196)]);
        for part in [
            "1970-01-01",
            "- upstream's Go: go is not installed.",
            "report/throughput-dark.svg",
            "| durstream, Rust |",
            "2.50",
            "the stream holds 3 messages, not 4",
            "2196",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("and more") && !text.contains("report/latency"), "{text}");
    }

    #[test]
    fn an_empty_store_makes_a_page_too() {
        assert!(write(&Store::default(), &[]).contains("Nothing was measured yet."));
    }
}

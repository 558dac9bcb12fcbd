//! `docs/soak.md`. Every number in it comes out of a run.

use std::fmt::Write;

use durstream_tests::console;
use durstream_tests::facts;
use durstream_tests::failure::{Context, Result};
use durstream_tests::server::OFFICIAL;
use durstream_tests::table::grouped;
use durstream_tests::tree::Tree;

use crate::judge::Rule;
use crate::report::{self, HOLDS, WRITES};
use crate::run::CameTo;

const PAGE: &str = "docs/soak.md";
const PICTURES: [&str; 2] = ["docs/pictures/soak-light.svg", "docs/pictures/soak-dark.svg"];

pub(crate) fn write(tree: &Tree, came_to: &CameTo, problems: &[String]) -> Result {
    let file = tree.root.join(PAGE);
    let [light, dark] = PICTURES;
    let state = facts::commit(&tree.root, &[PAGE, light, dark]);
    std::fs::write(&file, text(came_to, problems, &state)).context(file.display())?;
    console::line(&format!("Wrote {}.", file.display()));
    Ok(())
}

fn text(came_to: &CameTo, problems: &[String], state: &str) -> String {
    let minutes = came_to.lasts.as_secs() / 60;
    let written: usize = came_to.totals.iter().map(|totals| totals.written).sum();
    let rule = Rule::of(came_to.lasts);
    let seconds = |time: std::time::Duration| time.as_secs();
    let mut page = format!(
        "# {} of faults\n\n\
         `cargo xtask soak --minutes {minutes} --report` made this page: four services, each in another language, write through a proxy each to one\n\
         server while everything breaks. What they do: [tests/soak](../tests/soak/README.md).\n\n\
         | run | |\n|---|---|\n\
         | state | {state}, {} |\n| machine | {} |\n| server | {} {}, on disk |\n\
         | seed | {} |\n| writes | {} |\n| requests and connections that were hit | {} |\n| result | {} |\n",
        if minutes == 60 { "An hour".to_owned() } else { format!("{minutes} minutes") },
        facts::date(facts::now()),
        facts::machine(),
        OFFICIAL.crate_name,
        OFFICIAL.version,
        came_to.seed,
        grouped(written),
        grouped(came_to.hit as usize),
        if problems.is_empty() {
            "nothing wrong".to_owned()
        } else {
            format!("not as it should be: {}", problems.len())
        },
    );
    problems.iter().for_each(|problem| page += &format!("\n- {}\n", problem.replace('\n', " ")));
    let mut part = |title: &str, about: &str, headings: &[&str], rows: &[Vec<String>]| {
        let _ = write!(page, "\n## {title}\n\n{about}\n\n{}", table(headings, rows));
    };
    part(
        "What they wrote",
        "Every stream was read back with plain HTTP and compared with what was written, write by write. `moved` are writes out of order,\n\
         and what nobody wrote; `undelivered` and `flagged` (there, and possibly twice) what the services were told; `repeats` requests that were\n\
         sent again. What a request without an answer in time had when the server crashed is flagged ([why](servers.md#what-each-server-makes-possible)).",
        &WRITES,
        &report::writes(came_to),
    );
    let about = format!(
        "A look at `/proc` every {} s: the median (or the least) from second {} to {} beside that from second {} to {}. More than {:.0} %\n\
         above fails the run, but for one descriptor or thread and for 0.4 MiB of its own. An outage opens connections, up to the limit of a\n\
         host, which stay for a while, so the least number of descriptors counts. Node runs with `--max-semi-space-size=1`,\n\
         and its service has it collect every 10 s: its heap grows for an hour by itself otherwise, with nothing in it.\n\n\
         <picture>\n  <source media=\"(prefers-color-scheme: dark)\" srcset=\"pictures/soak-dark.svg\">\n  \
         <img alt=\"Memory, descriptors and threads of the four services over time: lines\" src=\"pictures/soak-light.svg\">\n</picture>",
        crate::run::between_samples(came_to.lasts).as_secs(),
        seconds(rule.early.start),
        seconds(rule.early.end),
        seconds(rule.late.start),
        seconds(rule.late.end),
        100.0 * rule.most,
    );
    part("What they hold", &about, &HOLDS, &report::holds(came_to).0);
    let about = "Chosen at random, by the seed. A fault hits one request or a few.";
    part("The faults", about, &["fault", "times"], &report::faults(came_to));
    page
}

fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: String| format!("| {cells} |\n");
    let rule: String = headings.iter().skip(1).map(|_| "---:|").collect();
    let rows = rows.iter().map(|row| line(row.join(" | ")));
    line(headings.join(" | ")) + &format!("|---|{rule}\n") + &rows.collect::<String>()
}

//! What a run came to, as tables, and what is wrong with it.

use durstream_tests::console;
use durstream_tests::table::{self, grouped};

use crate::judge::{self, MEASURES, Rule};
use crate::run::CameTo;

/// A fault that never happened was not tried; in a run of minutes some may not come.
const EVERY_KIND_FROM_MINUTES: u64 = 10;
/// How many kinds there are: those of a request, impostors, two ends of the server, tokens.
const KINDS: usize = 12 + 4 + 2 + 1;

pub(crate) const WRITES: [&str; 9] = [
    "service",
    "streams",
    "writes",
    "lost",
    "doubled",
    "moved",
    "undelivered",
    "flagged",
    "repeats",
];

pub(crate) const HOLDS: [&str; 5] = ["service", "what it holds", "early", "at the end", "change"];

/// Shows the tables; what is wrong.
pub(crate) fn show(came_to: &CameTo) -> Vec<String> {
    let mut problems = came_to.problems.clone();
    console::status("");
    console::line(&format!("\n{}", table::render(&WRITES, &writes(came_to))));
    let (rows, growths) = holds(came_to);
    console::line(&table::render(&HOLDS, &rows));
    console::line(&table::render(&["fault", "times"], &faults(came_to)));
    console::line(&format!("{} requests and connections were hit.", grouped(came_to.hit as usize)));
    problems.extend(growths);
    let minutes = came_to.lasts.as_secs() / 60;
    if minutes >= EVERY_KIND_FROM_MINUTES && came_to.faults.len() < KINDS {
        problems.push(format!("only these faults were made: {:?}", came_to.faults));
    }
    if came_to.totals.iter().any(|totals| totals.streams < 2) {
        problems.push("a service is not done with any stream".to_owned());
    }
    problems
}

pub(crate) fn writes(came_to: &CameTo) -> Vec<Vec<String>> {
    let row = |(service, totals): (&crate::services::Service, &crate::check::Totals)| {
        let counts = [
            totals.streams,
            totals.written,
            totals.lost,
            totals.doubled,
            totals.misplaced + totals.foreign,
            totals.undelivered,
            totals.uncertain,
            totals.retries,
        ];
        [service.title.to_owned()].into_iter().chain(counts.map(grouped)).collect()
    };
    came_to.services.iter().zip(&came_to.totals).map(row).collect()
}

/// What each service holds at both times, and what grew.
pub(crate) fn holds(came_to: &CameTo) -> (Vec<Vec<String>>, Vec<String>) {
    let rule = Rule::of(came_to.lasts);
    let (mut rows, mut growths) = (Vec::new(), Vec::new());
    for (number, service) in came_to.services.iter().enumerate() {
        for measure in &MEASURES {
            let (title, name) = (service.title, measure.name);
            let Some(change) = judge::change(&came_to.samples, number, measure, &rule) else {
                growths.push(format!("{title}: nobody looked at its {name} in time"));
                continue;
            };
            let percent = format!("{:+.1} %", change.percent());
            let values = [change.early, change.late].map(|value| format!("{value:.1}"));
            let [early, late] = values;
            if change.is_growth {
                growths.push(format!("{title}: {name} grew from {early} to {late}"));
            }
            rows.push(vec![title.to_owned(), name.to_owned(), early, late, percent]);
        }
    }
    (rows, growths)
}

pub(crate) fn faults(came_to: &CameTo) -> Vec<Vec<String>> {
    let row = |(kind, count): (&&str, &u64)| vec![(*kind).to_owned(), grouped(*count as usize)];
    came_to.faults.iter().map(row).collect()
}

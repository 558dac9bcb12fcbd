//! What the services held over time, as pictures.

use durstream_tests::failure::{Context, Result};
use durstream_tests::process;
use durstream_tests::tree::Tree;
use serde_json::{Value, json};

use crate::judge::{self, MEASURES, Measure};
use crate::run::CameTo;

/// It draws the benchmarks' pictures too.
pub(crate) const PROGRAM: &str = "durstream-bench-plots";
const WIDTH: u32 = 1120;
/// What is drawn: memory that is a service's own, descriptors, threads.
const DRAWN: [Measure; 3] = [MEASURES[1], MEASURES[2], MEASURES[4]];
/// Each language has its colour in all pictures.
const ROLES: [usize; 4] = [0, 1, 3, 2];

/// Writes `docs/pictures/soak-light.svg` and `soak-dark.svg`.
pub(crate) fn draw(tree: &Tree, came_to: &CameTo) -> Result {
    let folder = tree.root.join("docs/pictures");
    let order = json!({ "folder": folder, "charts": [chart(came_to)] });
    let file = tree.directory("soak")?.join("charts.json");
    std::fs::write(&file, format!("{order:#}\n")).context(file.display())?;
    let name = format!("bench-plots{}", std::env::consts::EXE_SUFFIX);
    process::shown(std::process::Command::new(tree.release(&name)).arg(&file), None)
}

fn chart(came_to: &CameTo) -> Value {
    let minutes = came_to.lasts.as_secs() / 60;
    let panels: Vec<Value> = DRAWN
        .iter()
        .map(|measure| {
            let series: Vec<Value> = came_to
                .services
                .iter()
                .enumerate()
                .map(|(number, service)| {
                    json!({
                        "label": service.title, "role": ROLES[number],
                        "points": points(came_to, number, measure, minutes),
                    })
                })
                .collect();
            let y = "median of each minute";
            json!({ "label": measure.name, "x": "minutes", "y": y, "series": series })
        })
        .collect();
    let title = format!("What each service holds, over {minutes} minutes of faults");
    json!({ "name": "soak", "title": title, "width": WIDTH, "lines": { "panels": panels } })
}

fn points(came_to: &CameTo, service: usize, measure: &Measure, minutes: u64) -> Vec<(f64, f64)> {
    let in_minute = |minute: u64| {
        let of_it = came_to.samples.iter().filter(|sample| sample.at.as_secs() / 60 == minute);
        let values = of_it.map(|sample| (measure.of)(&sample.held[service])).collect();
        Some((minute as f64 + 0.5, judge::median(values)?))
    };
    (0..minutes).filter_map(in_minute).collect()
}

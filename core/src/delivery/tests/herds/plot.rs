//! The picture of an outage: requests a second, as a part of the capacity.

use std::fmt::Write;
use std::time::Duration;

use crate::delivery::tests::herds::{Herd, WELL};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 380.0;
/// Left, right, top and bottom of the area within.
const AREA: [f64; 4] = [56.0, 840.0, 76.0, 330.0];
/// Seconds behind the return of the server.
const BEHIND: u64 = 15;
/// The highest value, in capacities.
const MOST: f64 = 2.5;
const COLOURS: [&str; 3] = ["#2a78d6", "#c2571a", "#1a8f5f"];

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#222}.axis{stroke:#bbb}.away{fill:#0001}\
.bound{stroke:#888;stroke-dasharray:5 4}.line{fill:none;stroke-width:2}svg{background:#fff}\
@media (prefers-color-scheme: dark){text{fill:#ddd}.axis{stroke:#555}.away{fill:#fff1}svg{background:#111}}";

pub(super) fn draw(herds: &[(&str, Herd)]) -> String {
    let away = herds[0].1.away.as_secs();
    let [left, right, top, bottom] = AREA;
    let all = (WELL.as_secs() + away + BEHIND) as f64;
    let x = |second: f64| left + (right - left) * second / all;
    let y = |value: f64| bottom - (bottom - top) * value.min(MOST) / MOST;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>Requests a second before, in and behind an outage of {away} s</title>\n\
         <style>{STYLE}</style>\n"
    );
    let (from, to) = (x(WELL.as_secs_f64()), x((WELL.as_secs() + away) as f64));
    let mut add = |part: std::fmt::Arguments<'_>| writeln!(svg, "{part}").unwrap();
    add(format_args!(
        "<rect class=\"away\" x=\"{from:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        to - from,
        bottom - top
    ));
    for value in [0.0, 1.0, 2.0] {
        let (class, at) = (if value > 0.0 { "bound" } else { "axis" }, y(value));
        add(format_args!(
            "<line class=\"{class}\" x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            left - 8.0,
            at + 4.0
        ));
    }
    for second in (0..all as u64).step_by(10) {
        let at = x((second + WELL.as_secs()) as f64);
        add(format_args!(
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second}</text>",
            bottom + 20.0
        ));
    }
    for (n, ((name, herd), colour)) in herds.iter().zip(COLOURS).enumerate() {
        let value = |second: u64| herd.in_second(Duration::from_secs(second)) / herd.capacity;
        let place = |second: u64| format!("{:.1},{:.1}", x(second as f64 + 0.5), y(value(second)));
        let places: Vec<_> = (0..all as u64).map(place).collect();
        let at = left + 10.0 + 190.0 * n as f64;
        add(format_args!(
            "<polyline class=\"line\" stroke=\"{colour}\" points=\"{}\"/>\
             <rect x=\"{at}\" y=\"46\" width=\"14\" height=\"4\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"52\">{name}</text>",
            places.join(" "),
            at + 20.0
        ));
    }
    add(format_args!(
        "<text x=\"{left}\" y=\"24\">Requests a second, in capacities of the server (1: all that it can \
         answer, 2: the bound)</text>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">the server is away</text>\
         <text x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">seconds</text>\n</svg>",
        f64::midpoint(from, to),
        top + 18.0,
        bottom + 38.0
    ));
    svg
}

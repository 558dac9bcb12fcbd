//! What was wanted and what was reached; for what was missed, what bounds it, from what was measured.

use super::parts::{
    ACCEPT, CALLS, CRATES, FIELDS, IDLE, INSTRUCTIONS, SLEEPS, UPSERT, WHOLE_COUNT,
};
use super::store::{Point, Store};
use crate::contestant::Id;
use crate::summary::Spread;

/// A number that was wanted.
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) wanted: String,
    pub(crate) found: Option<Found>,
}

pub(crate) struct Found {
    pub(crate) text: String,
    pub(crate) reached: bool,
    /// What bounds it, where it was missed.
    pub(crate) bound: Option<String>,
}

#[derive(Clone, Copy)]
enum Side {
    AtLeast,
    AtMost,
}
use Side::{AtLeast, AtMost};

const HUNDRED: [(&str, f64); 1] = [("bytes", 100.0)];
const OBJECTS: [(&str, f64); 1] = [("fields", FIELDS as f64)];

fn goal(
    what: impl Into<String>,
    side: Side,
    wanted: f64,
    unit: &str,
    found: Option<Spread>,
    bound: impl Fn() -> Option<String>,
) -> Goal {
    let number = |value: f64| {
        if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
    };
    let (word, is_reached): (_, fn(f64, f64) -> bool) = match side {
        AtLeast => ("at least", |found, wanted| found >= wanted),
        AtMost => ("at most", |found, wanted| found <= wanted),
    };
    let found = found.map(|Spread { median, low, high }| {
        let reached = is_reached(median, wanted);
        let range = if low == high {
            String::new()
        } else {
            format!(" ({} to {})", number(low), number(high))
        };
        let bound = if reached { None } else { bound() };
        Found { text: format!("{}{range}", number(median)), reached, bound }
    });
    let wanted = format!("{word} {wanted} {unit}");
    Goal { what: what.into(), wanted: wanted.trim_end().to_owned(), found }
}

pub(crate) fn all(store: &Store) -> Vec<Goal> {
    let mut goals = core(store);
    goals.extend(calls(store));
    goals.extend(rates(store));
    goals
}

fn core(store: &Store) -> Vec<Goal> {
    let accept = |name| store.one("calls", name, ACCEPT, &[]).and_then(|p| p.spread("median_ns"));
    let upsert = store.one("calls", Id::Rust.name(), UPSERT, &[]);
    let idle = store.one("calls", Id::Rust.name(), IDLE, &[]);
    vec![
        goal(
            "a JSON event of 100 bytes is accepted in",
            AtMost,
            150.0,
            "ns",
            accept("json, alone"),
            || json_check(store),
        ),
        goal(
            "one idle write, beside a bare POST by reqwest",
            AtMost,
            1.15,
            "times",
            idle.and_then(|p| p.spread("ratio")),
            || idle_write(store),
        ),
        goal(
            "an upsert that a JSON Schema checks",
            AtMost,
            1500.0,
            "ns",
            upsert.and_then(|p| p.spread("median_ns")),
            || {
                let all = counted(store, "upsert")?;
                Some(format!(
                    "an upsert without a schema takes {all:.0} instructions; the schema comes on top"
                ))
            },
        ),
    ]
}

fn calls(store: &Store) -> Vec<Goal> {
    let call = |id: Id, kind: &str, at: &[(&str, f64)]| {
        store.one("throughput", id.name(), kind, at).and_then(|point| point.spread("call_ns"))
    };
    let bound = |id: Id, kind: &'static str, at: &'static [(&'static str, f64)]| {
        move || {
            let own = store.one("throughput", id.name(), kind, at)?.median("call_ns")?;
            let core =
                store.one("calls", "json, beside sending", ACCEPT, &[])?.median("median_ns")?;
            Some(format!(
                "of {own:.0} ns a call the core's accepting takes {core:.0} beside sending; the rest is the \
                 language's side of the call"
            ))
        }
    };
    vec![
        goal(
            "Node: a call with an object of ten fields",
            AtMost,
            1000.0,
            "ns",
            call(Id::Node, "objects", &OBJECTS),
            bound(Id::Node, "objects", &OBJECTS),
        ),
        goal(
            "Node: a call with JSON text",
            AtMost,
            300.0,
            "ns",
            call(Id::Node, "json", &HUNDRED),
            bound(Id::Node, "json", &HUNDRED),
        ),
        goal(
            "Python: a call with a `str`",
            AtMost,
            250.0,
            "ns",
            call(Id::Python, "json", &HUNDRED),
            bound(Id::Python, "json", &HUNDRED),
        ),
    ]
}

fn rates(store: &Store) -> Vec<Goal> {
    let mut goals = Vec::new();
    let one = |id: Id, kind: &str, at: &[(&str, f64)]| store.one("throughput", id.name(), kind, at);
    let ratio = |id: Id, other: Id, kind: &str, at: &[(&str, f64)]| {
        one(id, kind, at)?.ratio(one(other, kind, at)?, "rate")
    };
    for id in [Id::Rust, Id::C] {
        for kind in ["json", "bytes"] {
            let name = format!("{}: {kind}, 100 bytes", id.title());
            let part = ratio(id, Id::Ceiling, kind, &HUNDRED);
            let why = || one(id, kind, &HUNDRED).and_then(bound);
            goals.push(goal(format!("{name}, of the ceiling"), AtLeast, 0.5, "", part, why));
            let rate = one(id, kind, &HUNDRED).and_then(|point| point.spread("rate"));
            let millions = rate.map(|Spread { median, low, high }| Spread {
                median: median / 1e6,
                low: low / 1e6,
                high: high / 1e6,
            });
            goals.push(goal(name, AtLeast, 3.0, "million events/s", millions, why));
        }
    }
    for (id, other, kind, at, wanted) in [
        (Id::Node, Id::NpmClient, "json", &HUNDRED, 2.5),
        (Id::Node, Id::NpmClient, "bytes", &HUNDRED, 2.5),
        (Id::Node, Id::NpmClient, "objects", &OBJECTS, 4.0),
        (Id::Python, Id::UpstreamPython, "bytes", &HUNDRED, 3.0),
        (Id::Python, Id::UpstreamPython, "objects", &OBJECTS, 2.0),
    ] {
        let what = format!("{}: {kind}, beside {}", id.title(), other.title());
        let why = || one(id, kind, at).and_then(bound);
        goals.push(goal(what, AtLeast, wanted, "times", ratio(id, other, kind, at), why));
    }
    goals
}

/// Where the time of a run goes, by what its process and the machine did meanwhile.
fn bound(point: &Point) -> Option<String> {
    let rate = point.median("rate")?;
    let cores = crate::machine::cores() as f64;
    let client = point.median("cpu_us")? * rate / 1e6;
    let server = point.median("server_us").unwrap_or_default() * rate / 1e6;
    let others = point.median("others").unwrap_or_default() * cores;
    Some(format!(
        "of {cores} cores the client uses {client:.2}, the server {server:.2}, other programs {others:.2}"
    ))
}

fn counted(store: &Store, name: &str) -> Option<f64> {
    store.one("calls", name, INSTRUCTIONS, &[])?.median("now")
}

fn json_check(store: &Store) -> Option<String> {
    let (json, bytes) = (counted(store, "json")?, counted(store, "bytes")?);
    Some(format!(
        "accepting takes {json:.0} instructions, {bytes:.0} of bytes: the check that it is one JSON value \
         takes the other {:.0}",
        json - bytes
    ))
}

fn idle_write(store: &Store) -> Option<String> {
    let side = |kind, of: &str, id: Id| store.one("profile", of, kind, &[])?.median(id.name());
    let both = |kind, of| Some((side(kind, of, Id::Rust)?, side(kind, of, Id::Bare)?));
    let (ours, bare) = both(CRATES, WHOLE_COUNT)?;
    let core = side(CRATES, "durstream_core", Id::Rust).unwrap_or_default();
    let mut text = format!(
        "a write takes {ours:.0} instructions and a bare POST {bare:.0}; the core's own code has {core:.0} of them, \
         what it calls the rest"
    );
    if let Some((ours, bare)) = both(CALLS, WHOLE_COUNT) {
        text += &format!("; {ours:.1} system calls beside {bare:.1}");
    }
    if let Some((ours, bare)) = both(SLEEPS, WHOLE_COUNT) {
        text += &format!("; threads are woken {ours:.1} times beside {bare:.1}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whole::store::Measured;

    fn store(part: &str, points: Vec<Point>) -> Store {
        let mut store = Store::default();
        store.put(part, Measured { points, ..Measured::default() });
        store
    }

    #[test]
    fn a_goal_is_judged_by_the_median() {
        let accept = |ns: f64| {
            let mut point = Point::new("json, alone").with("median_ns", ns);
            point.kind = ACCEPT.to_owned();
            store("calls", vec![point])
        };
        let reached = |ns| all(&accept(ns))[0].found.as_ref().map(|found| found.reached);
        assert_eq!((reached(150.0), reached(151.0)), (Some(true), Some(false)));
        assert!(all(&Store::default()).iter().all(|goal| goal.found.is_none()));
    }

    #[test]
    fn a_ratio_needs_both() {
        let point = |id: Id, rate| Point::of(id, "json").at("bytes", 100usize).with("rate", rate);
        let found = |points| {
            let goals = all(&store("throughput", points));
            let goal = goals.into_iter().find(|goal| goal.what.contains("Node: json, beside"));
            goal.and_then(|goal| goal.found).map(|found| found.reached)
        };
        assert_eq!(found(vec![point(Id::Node, 5.0)]), None);
        assert_eq!(found(vec![point(Id::Node, 5.0), point(Id::NpmClient, 2.0)]), Some(true));
        assert_eq!(found(vec![point(Id::Node, 4.0), point(Id::NpmClient, 2.0)]), Some(false));
    }
}

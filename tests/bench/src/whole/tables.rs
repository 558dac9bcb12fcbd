//! The report's tables: a row per client, a column per circumstance.

use super::parts::{
    ACCEPT, CALLS, CRATES, FIELDS, FIRST, FUNCTIONS, IDLE, IMPORT, INSTRUCTIONS, OUTAGE, RATES,
    ROUND_TRIPS_MS, SIDES, SIZE, SIZES, SLEEPS, STREAMS, UPSERT, WHOLE_COUNT,
};
use super::store::{Point, Store};
use super::straight;
use super::text::Page;
use crate::contestant::Id;
use crate::summary::Spread;

const NOTHING: &str = "";
const FAILED: &str = "failed";
/// A line that no point is farther from than this is straight.
const STRAIGHT: f64 = 0.25;

pub(crate) fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

pub(crate) fn title(point: &Point) -> String {
    point.id().map_or_else(|| point.of.clone(), |id| id.title().to_owned())
}

/// Three digits, however large it is.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        0.0 => 0,
        _ => 3,
    };
    format!("{value:.digits$}")
}

fn cell(point: Option<&Point>, show: impl Fn(&Point) -> Option<String>) -> String {
    match point {
        None => NOTHING.to_owned(),
        Some(point) => show(point).unwrap_or_else(|| {
            if point.trouble.is_some() { FAILED.to_owned() } else { NOTHING.to_owned() }
        }),
    }
}

fn median(point: Option<&Point>, name: &str, by: f64) -> String {
    cell(point, |point| point.median(name).map(|value| number(value / by)))
}

/// A row per client of which a part knows something.
fn clients(store: &Store, part: &str) -> Vec<Id> {
    let knows = |id: &Id| store.points(part).iter().any(|point| point.of == id.name());
    Id::WHOLE.into_iter().filter(knows).collect()
}

pub(crate) fn throughput(page: &mut Page, store: &Store) {
    page.line(
        "Million events a second from the first call to the end of the flush, medians, with the part of the ceiling \
         in brackets.\n",
    );
    for kind in ["json", "bytes", "objects"] {
        let rows = |id: Id| {
            let one = |at: &[(&str, f64)]| store.one("throughput", id.name(), kind, at);
            let ceiling =
                |at: &[(&str, f64)]| store.one("throughput", Id::Ceiling.name(), kind, at);
            let show = |at: &[(&str, f64)]| {
                cell(one(at), |point| {
                    let rate = number(point.median("rate")? / 1e6);
                    let part = ceiling(at).filter(|_| id != Id::Ceiling);
                    let part = part.and_then(|ceiling| point.ratio(ceiling, "rate"));
                    let part = part.map(|part| format!(" ({})", percent(part.median)));
                    Some(rate + &part.unwrap_or_default())
                })
            };
            let mut row = vec![id.title().to_owned()];
            row.extend(SIZES.map(|bytes| show(&[("bytes", bytes as f64)])));
            if kind == "objects" {
                row.push(show(&[("fields", FIELDS as f64)]));
            }
            row
        };
        let named: Vec<Vec<String>> = clients(store, "throughput").into_iter().map(rows).collect();
        let rows: Vec<Vec<String>> =
            named.into_iter().filter(|row| row[1..].iter().any(|cell| !cell.is_empty())).collect();
        let mut headings = vec![kind.to_owned()];
        headings.extend(SIZES.map(|bytes| format!("{bytes} bytes")));
        if kind == "objects" {
            headings.push(format!("{FIELDS} fields"));
        }
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        page.table(&headings, &rows);
    }
    details(page, store);
}

/// What else is known of 100 bytes of JSON.
fn details(page: &mut Page, store: &Store) {
    page.line("JSON text of 100 bytes in detail:\n");
    let row = |id: Id| {
        let one = |id: Id| store.one("throughput", id.name(), "json", &[("bytes", 100.0)]);
        let own = one(id)?;
        let other = id.alternative().and_then(one);
        let range = |spread: Spread| {
            format!("{} to {}", number(spread.low / 1e6), number(spread.high / 1e6))
        };
        let twice =
            |point: &Point| Some(percent(point.median("repeats")? / point.median("requests")?));
        let beside = other.and_then(|other| own.ratio(other, "rate"));
        Some(vec![
            id.title().to_owned(),
            cell(Some(own), |point| point.spread("rate").map(range)),
            beside.map_or(NOTHING.to_owned(), |ratio| {
                let other = id.alternative().map_or("", Id::title);
                format!("{:.1} times {other}", ratio.median)
            }),
            median(Some(own), "cpu_us", 1.0),
            median(Some(own), "server_us", 1.0),
            median(Some(own), "call_ns", 1.0),
            median(Some(own), "peak_mb", 1.0),
            cell(Some(own), twice),
        ])
    };
    let rows: Vec<Vec<String>> = clients(store, "throughput").into_iter().filter_map(row).collect();
    page.table(
        &[
            "",
            "M events/s, range",
            "beside",
            "CPU us",
            "server us",
            "ns a call",
            "peak MB",
            "sent twice",
        ],
        &rows,
    );
}

pub(crate) fn latency(page: &mut Page, store: &Store) {
    page.line(
        "JSON text of 100 bytes, from the moment an event is due to its acknowledgement, in milliseconds: p50 / p99 / \
         p99.9. A percentile that nothing lies beyond is left out. Up to 1 000 a second events come one by one, at \
         50 000 fifty come each millisecond. Our clients and librdkafka tell of each event; to the others what is due \
         is appended and flushed, as only a flush tells. *One at a time*: each write begins when the one before it was \
         acknowledged. In Rust and C delivery is reported and no caller waits, and a batch that no caller waits for \
         is held for a millisecond behind another request; in Python and Node each write is waited for.\n",
    );
    for ms in ROUND_TRIPS_MS {
        let row = |id: Id| {
            let show = |rate: usize| {
                let at = [("rate", rate as f64), ("round_trip_ms", ms as f64)];
                cell(store.one("latency", id.name(), "json", &at), |point| {
                    let names = ["p50_us", "p99_us", "p999_us"];
                    let parts = names.iter().filter_map(|name| point.median(name));
                    let parts: Vec<String> = parts.map(|us| number(us / 1e3)).collect();
                    let lost = point.median("lost").filter(|lost| *lost > 0.0);
                    let lost = lost.map_or(String::new(), |lost| format!(", {lost:.0} lost"));
                    (!parts.is_empty()).then(|| parts.join(" / ") + &lost)
                })
            };
            let mut row = vec![id.title().to_owned(), show(0)];
            row.extend(RATES.map(show));
            row
        };
        let rows: Vec<Vec<String>> = clients(store, "latency").into_iter().map(row).collect();
        let rows: Vec<Vec<String>> =
            rows.into_iter().filter(|row| row[1..].iter().any(|cell| !cell.is_empty())).collect();
        let first = format!("{ms} ms round trip");
        page.table(
            &[&first, "one at a time", "1 event/s", "1 000 events/s", "50 000 events/s"],
            &rows,
        );
    }
}

/// What `x` and the processor time are of somebody's points.
fn costs(store: &Store, part: &str, id: Id, kind: &str, x: &str) -> Vec<(f64, f64)> {
    let own = store
        .points(part)
        .iter()
        .filter(|point| point.of == id.name() && point.kind == kind && point.at.contains_key(x));
    own.filter_map(|point| Some((*point.at.get(x)?, point.median("cpu_us")?))).collect()
}

pub(crate) fn growth(page: &mut Page, store: &Store) {
    page.line(format!(
        "The client's processor time, all threads. A line is called straight where no point is farther from it than \
         {}.\n",
        percent(STRAIGHT)
    ));
    let mut rows = Vec::new();
    for id in Id::OURS {
        let mut row = |with: &str, text: Option<String>| {
            rows.extend(text.map(|text| vec![id.title().to_owned(), with.to_owned(), text]));
        };
        row("more events", events_growth(store, id));
        row("larger events", size_growth(store, id));
        row("more streams", streams_growth(store, id));
    }
    page.table(&["", "with", ""], &rows);
}

/// All of a run's time, as there are more events: a line through what a run costs.
fn events_growth(store: &Store, id: Id) -> Option<String> {
    let each = costs(store, "cost", id, "json", "events");
    let runs: Vec<(f64, f64)> = each.iter().map(|(events, us)| (*events, us * events)).collect();
    let line = straight::line(&runs)?;
    let (_, at_us) = each.iter().find(|(events, _)| *events == line.at)?;
    let (last, last_us) = each.iter().copied().max_by(|one, other| one.0.total_cmp(&other.0))?;
    let what =
        format!("{} us an event and {} ms a run", number(line.slope), number(line.base / 1e3));
    let why = format!(
        "{} us each in a run of {}, {} in one of {last}: what is done once, or until it is warm, is spread over fewer",
        number(*at_us),
        line.at,
        number(last_us)
    );
    Some(verdict(&line, &what, &why))
}

fn size_growth(store: &Store, id: Id) -> Option<String> {
    let line = straight::line(&costs(store, "throughput", id, "json", "bytes"))?;
    let point = store.one("throughput", id.name(), "json", &[("bytes", line.at)])?;
    let twice = point.median("repeats")? / point.median("requests")?;
    let what =
        format!("{} us an event and {} ns a byte", number(line.base), number(line.slope * 1e3));
    let why = format!(
        "the farthest is at {} bytes, where {} of the requests went twice",
        line.at,
        percent(twice)
    );
    Some(verdict(&line, &what, &why))
}

fn verdict(line: &straight::Line, what: &str, why: &str) -> String {
    let farthest = percent(line.farthest);
    if line.farthest <= STRAIGHT {
        format!("straight: {what}; no point is farther than {farthest}")
    } else {
        format!("not straight ({farthest} away from {what}): {why}")
    }
}

/// The same events in more streams make smaller batches: what each request costs more explains it.
fn streams_growth(store: &Store, id: Id) -> Option<String> {
    let of = |streams: usize| {
        let point = store.one("streams", id.name(), "json", &[("streams", streams as f64)])?;
        let (events, requests) = (point.median("events")?, point.median("requests")?);
        Some((point.median("cpu_us")?, requests / events))
    };
    let (one, many) = (of(*STREAMS.first()?)?, of(*STREAMS.last()?)?);
    let each = (many.0 - one.0) / (many.1 - one.1);
    Some(format!(
        "{} us an event in one stream, {} in {}: there is a request for every {} events, not for every {}, and each \
         request costs {} us",
        number(one.0),
        number(many.0),
        STREAMS.last()?,
        number(1.0 / many.1),
        number(1.0 / one.1),
        number(each)
    ))
}

pub(crate) fn streams(page: &mut Page, store: &Store) {
    page.line(
        "The same events over one, a hundred and ten thousand streams, a producer each: thousand events a second, and \
         the process's most memory in MB. Of many streams two hundred are read back.\n",
    );
    let row = |id: Id| {
        let one = |streams: usize| {
            store.one("streams", id.name(), "json", &[("streams", streams as f64)])
        };
        let show = |streams| {
            cell(one(streams), |point| {
                let rate = number(point.median("rate")? / 1e3);
                let memory = point.median("peak_mb").map(|mb| format!(", {} MB", number(mb)));
                Some(rate + &memory.unwrap_or_default())
            })
        };
        let each = || {
            let of = |streams| one(streams)?.median("peak_mb");
            let (first, last) = (*STREAMS.first()?, *STREAMS.last()?);
            Some((of(last)? - of(first)?) * 1e3 / (last - first) as f64)
        };
        let mut row = vec![id.title().to_owned()];
        row.extend(STREAMS.map(show));
        row.push(each().filter(|kb| *kb > 0.0).map_or(NOTHING.to_owned(), number));
        row
    };
    let rows: Vec<Vec<String>> = clients(store, "streams").into_iter().map(row).collect();
    page.table(&["", "1 stream", "100", "10 000", "KB for each more"], &rows);
}

pub(crate) fn memory(page: &mut Page, store: &Store) {
    page.line(
        "Events of 100 bytes queued while the server takes requests and answers none: the process's memory before and \
         after, and what each event took. Our clients' bounds are lifted for it (`max_buffer_bytes`, \
         `set_buffer_budget`); the others have none.\n",
    );
    let row = |id: Id| {
        let point = store.one("memory", id.name(), "json", &[]);
        let mut row = vec![id.title().to_owned()];
        row.push(cell(point, |point| Some(format!("{:.0}", point.median("events")?))));
        row.extend(["before_mb", "after_mb", "bytes_each"].map(|name| median(point, name, 1.0)));
        row
    };
    let rows: Vec<Vec<String>> = clients(store, "memory").into_iter().map(row).collect();
    page.table(&["", "events", "MB before", "MB after", "bytes for each"], &rows);
}

pub(crate) fn outage(page: &mut Page, store: &Store) {
    page.line(format!(
        "A thousand events a second go on while nobody listens for {} seconds: open connections end, new ones are \
         refused. Counted from the end of the outage: the first acknowledgement, and that of the last event that was \
         written before it ended. *Lost* are events that the client did not say were taken; then the stream is read \
         back.\n",
        OUTAGE.as_secs()
    ));
    let row = |id: Id| {
        let point = store.one("outage", id.name(), "json", &[]);
        let stream = match point {
            None => NOTHING.to_owned(),
            Some(Point { trouble: None, .. }) => "exactly what was written".to_owned(),
            Some(Point { trouble: Some(why), .. }) => {
                let first = why.lines().next().unwrap_or_default();
                first
                    .trim_start_matches("afterwards: ")
                    .replace('|', "/")
                    .chars()
                    .take(120)
                    .collect()
            }
        };
        vec![
            id.title().to_owned(),
            after(point, "first_ms"),
            after(point, "caught_up_ms"),
            cell(point, |point| Some(format!("{:.0}", point.median("lost")?))),
            stream,
        ]
    };
    let rows: Vec<Vec<String>> = clients(store, "outage").into_iter().map(row).collect();
    page.table(&["", "first, ms", "caught up, ms", "lost", "the stream"], &rows);
}

/// A time after the outage; a client that gave up what it had, and everything behind it, has none.
fn after(point: Option<&Point>, name: &str) -> String {
    cell(point, |point| {
        let told = point.median(name).map(number);
        told.or_else(|| point.median("lost").map(|_| "never".to_owned()))
    })
}

pub(crate) fn start(page: &mut Page, store: &Store) {
    page.line(
        "From the start of a process to the acknowledgement of its first write, which creates the stream: medians. \
         *Of that the write*: from its call on. An import is what an interpreter takes longer with it than without.\n",
    );
    let row = |id: Id| {
        let point = store.one("start", id.name(), FIRST, &[]);
        let import = store.one("start", id.name(), IMPORT, &[]);
        let mut row = vec![id.title().to_owned()];
        row.extend(["ms", "write_ms", "peak_mb"].map(|name| median(point, name, 1.0)));
        row.push(median(import, "ms", 1.0));
        row
    };
    let rows: Vec<Vec<String>> = clients(store, "start").into_iter().map(row).collect();
    page.table(&["", "first write, ms", "of that the write", "peak MB", "import, ms"], &rows);
    let sizes = store.points("start").iter().filter(|point| point.kind == SIZE);
    let rows: Vec<Vec<String>> = sizes
        .map(|point| {
            vec![
                point.of.clone(),
                median(Some(point), "mb", 1.0),
                median(Some(point), "stripped_mb", 1.0),
            ]
        })
        .collect();
    page.line("Sizes, of the `release` profile, whose line tables are not shipped:\n");
    page.table(&["", "MB", "MB stripped"], &rows);
}

pub(crate) fn calls(page: &mut Page, store: &Store, kept: &[(String, u64)]) {
    page.line(
        "What accepting one event of 100 bytes costs its caller, in nanoseconds (`cargo bench -p durstream-core --bench \
         accept` says how):\n",
    );
    let of =
        |kind: &'static str| store.points("calls").iter().filter(move |point| point.kind == kind);
    let row = |point: &Point| {
        let mut row = vec![point.of.clone()];
        row.extend(["median_ns", "p99_ns", "mean_ns"].map(|name| median(Some(point), name, 1.0)));
        row
    };
    let mut rows: Vec<Vec<String>> = of(ACCEPT).map(row).collect();
    rows.extend(of(UPSERT).map(|point| {
        let ns = median(Some(point), "median_ns", 1.0);
        vec![UPSERT.to_owned(), ns, NOTHING.to_owned(), NOTHING.to_owned()]
    }));
    page.table(&["", "median", "99 %", "mean"], &rows);
    if let Some(point) = of(IDLE).next() {
        let spread = |name| {
            point.spread(name).map_or(NOTHING.to_owned(), |spread| {
                format!(
                    "{} ({} to {})",
                    number(spread.median),
                    number(spread.low),
                    number(spread.high)
                )
            })
        };
        page.line(format!(
            "One idle write takes {} us, a bare POST of the same bytes by reqwest {} us: {} times.\n",
            spread("us"),
            spread("bare_us"),
            spread("ratio")
        ));
    }
    page.line(
        "Instructions of one write, counted by callgrind, on the caller's thread, beside what \
         `core/benches/instructions.json` keeps (`cargo bench -p durstream-core --bench instructions` fails where \
         they are more):\n",
    );
    let now = |name: &str| {
        let point = store.one("calls", name, INSTRUCTIONS, &[]);
        cell(point, |point| point.median("now").map(|count| format!("{count:.0}")))
    };
    let rows: Vec<Vec<String>> =
        kept.iter().map(|(name, count)| vec![name.clone(), count.to_string(), now(name)]).collect();
    page.table(&["", "kept", "now"], &rows);
}

pub(crate) fn profile(page: &mut Page, store: &Store) {
    page.line(
        "One idle write, all threads, beside a bare POST of the same bytes by the same HTTP client on a thread of its \
         own. Counted with few writes and with more: starting and ending are not in it.\n",
    );
    let table = |page: &mut Page, kind: &'static str, heading: &str, least: f64| {
        let points = store.points("profile").iter().filter(|point| point.kind == kind);
        let is_told = |point: &&Point| {
            SIDES.iter().any(|id| point.median(id.name()).is_some_and(|count| count >= least))
        };
        let row = |point: &Point| {
            // Long names would make the table as wide as they are.
            let name: String = if point.of == WHOLE_COUNT {
                "**all**".to_owned()
            } else {
                format!("`{}`", shortened(&point.of))
            };
            let mut row = vec![name];
            row.extend(SIDES.map(|id| median(Some(point), id.name(), 1.0)));
            row
        };
        let rows: Vec<Vec<String>> = points.filter(is_told).map(row).collect();
        if !rows.is_empty() {
            page.table(&[heading, "durstream, Rust", "bare POST"], &rows);
        }
    };
    table(page, CRATES, "instructions, by the crate whose function they are in", 100.0);
    table(page, FUNCTIONS, "instructions, of our functions with the most", 100.0);
    table(page, CALLS, "system calls", 0.02);
    table(page, SLEEPS, "wake-ups", 0.0);
}

/// A name without what stands in angle brackets, and not too long.
fn shortened(name: &str) -> String {
    const MOST: usize = 80;
    let name = name.replace('|', "/").replace('`', "'");
    if name.chars().count() <= MOST {
        return name;
    }
    name.chars().take(MOST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let texts = [0.0, 0.1234, 1.234, 12.34, 123.4, 12_345.6].map(number);
        assert_eq!(texts, ["0", "0.123", "1.23", "12.3", "123", "12346"]);
    }

    #[test]
    fn a_cell_tells_what_failed_from_what_was_not_there() {
        let failed = Point { trouble: Some("no".into()), ..Point::new("rust") };
        let show = |point| cell(point, |point| point.median("rate").map(number));
        assert_eq!(show(None), "");
        assert_eq!(show(Some(&failed)), "failed");
        assert_eq!(show(Some(&failed.clone().with("rate", 2.0))), "2.00");
    }

    #[test]
    fn more_streams_cost_what_their_requests_cost() {
        let point = |streams: usize, cpu, requests| {
            let point = Point::of(Id::Rust, "json").at("streams", streams);
            point.with("events", 1000.0).with("cpu_us", cpu).with("requests", requests)
        };
        let measured = crate::whole::store::Measured {
            points: vec![point(1, 0.5, 10.0), point(10_000, 20.0, 500.0)],
            ..Default::default()
        };
        let mut store = Store::default();
        store.put("streams", measured);
        let text = streams_growth(&store, Id::Rust).unwrap();
        assert!(text.contains("each request costs 39.8 us"), "{text}");
    }
}

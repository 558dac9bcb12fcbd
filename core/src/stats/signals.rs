//! What OpenTelemetry is shown: the instruments, and what each observes of a producer. Each name is
//! here or in the table of metrics, and in no binding.

use url::Url;

use crate::reason::Reason;
use crate::stats::names::Instrument;
use crate::stats::{METRICS, MetricKind, Stats};

/// The numbers of a distribution that are shown, with the part that is no larger.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];
/// What an append is in the messaging conventions.
pub(crate) const SENDING: [(&str, &str); 2] =
    [("messaging.operation.name", "append"), ("messaging.operation.type", "send")];
/// What is written to.
pub(crate) const SYSTEM: (&str, &str) = ("messaging.system", "durable_streams");
/// Why something was not delivered.
pub(crate) const ERROR_TYPE: &str = "error.type";

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AttributeValue {
    /// Text.
    Text(String),
    /// A whole number.
    Whole(u64),
    /// Any other number.
    Number(f64),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        AttributeValue::Text(text.to_owned())
    }
}

/// A name and its value.
pub(crate) type Attribute = (&'static str, AttributeValue);

/// What an instrument observes at one moment.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Observation {
    /// How much.
    pub value: f64,
    /// Of whom, and which part of it.
    pub attributes: Vec<Attribute>,
}

/// An instrument.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Signal {
    /// Its name.
    pub name: String,
    /// A counter or a gauge.
    pub kind: MetricKind,
    /// Whether its values are whole numbers.
    pub is_whole: bool,
    /// Its unit, in UCUM.
    pub unit: String,
    /// What it means.
    pub meaning: String,
    sources: Vec<Source>,
}

/// Where values come from: by the place in the table of metrics.
#[derive(Debug, Clone, Copy)]
enum Source {
    Number {
        place: usize,
        divisor: u64,
        attribute: Option<(&'static str, &'static str)>,
    },
    /// Delivered writes, and those that were not by the reason.
    Sent,
    Count {
        place: usize,
    },
    Sum {
        place: usize,
        divisor: u64,
    },
    Quantiles {
        place: usize,
        divisor: u64,
    },
    /// The state that a producer is in is 1.
    State,
}

/// Every instrument, each name once.
pub(crate) fn signals() -> Vec<Signal> {
    let mut all: Vec<Signal> = Vec::new();
    let mut add = |name: String, kind, is_whole, unit: &str, meaning: &str, source| {
        if let Some(known) = all.iter_mut().find(|known| known.name == name) {
            return known.sources.push(source);
        }
        let (unit, meaning) = (unit.to_owned(), meaning.trim().replace('`', ""));
        all.push(Signal { name, kind, is_whole, unit, meaning, sources: vec![source] });
    };
    use MetricKind::{Counter, Gauge, Histogram};
    for (place, metric) in METRICS.iter().enumerate() {
        let Instrument { name, unit, attribute, divisor } = metric.opentelemetry();
        let (meaning, is_whole) = (metric.meaning, divisor == 1);
        match metric.kind {
            Histogram => {
                let place = place - Stats::NUMBERS;
                let count = Source::Count { place };
                add(format!("{name}.count"), Counter, true, "{measurement}", meaning, count);
                let sum = Source::Sum { place, divisor };
                add(format!("{name}.sum"), Counter, is_whole, &unit, meaning, sum);
                let quantiles = Source::Quantiles { place, divisor };
                add(name, Gauge, is_whole, &unit, meaning, quantiles);
            }
            _ if metric.is_sent() => add(name, Counter, true, "{message}", meaning, Source::Sent),
            kind => {
                let number = Source::Number { place, divisor, attribute };
                add(name, kind, is_whole, &unit, meaning, number);
            }
        }
    }
    let meaning = "The state that a producer is in is 1.";
    add("durstream.state".to_owned(), Gauge, true, "1", meaning, Source::State);
    all
}

impl Signal {
    /// What it observes of a producer, beside what tells that from others.
    pub(crate) fn observe(&self, state: &str, stats: &Stats) -> Vec<Observation> {
        self.sources.iter().flat_map(|source| source.observe(state, stats)).collect()
    }
}

impl Source {
    fn observe(self, state: &str, stats: &Stats) -> Vec<Observation> {
        let one = |number: u64, divisor: u64, attributes: Vec<Attribute>| Observation {
            value: number as f64 / divisor as f64,
            attributes,
        };
        let named = |(name, value): (&'static str, &'static str)| (name, value.into());
        match self {
            Source::Number { place, divisor, attribute } => {
                let own = attribute.into_iter().map(named).collect();
                vec![one(stats.entries()[place].1, divisor, own)]
            }
            Source::Sent => {
                let sending = || SENDING.map(named).to_vec();
                let lost = Reason::ALL.iter().map(|reason| (reason, stats.undelivered(*reason)));
                let lost = lost.filter(|(_, count)| *count > 0).map(|(reason, count)| {
                    let why = (ERROR_TYPE, reason.as_str().into());
                    one(count, 1, [sending(), vec![why]].concat())
                });
                [one(stats.delivered, 1, sending())].into_iter().chain(lost).collect()
            }
            Source::Count { place } => vec![one(stats.distributions()[place].1.count, 1, vec![])],
            Source::Sum { place, divisor } => {
                vec![one(stats.distributions()[place].1.sum, divisor, vec![])]
            }
            Source::Quantiles { place, divisor } => {
                let found = stats.distributions()[place].1;
                let of = |name: &str| found.entries().into_iter().find(|(own, _)| *own == name);
                let parts = QUANTILES.iter().filter(|_| found.count > 0);
                let parts = parts.filter_map(|(name, part)| Some((of(name)?.1, *part)));
                let own = |part| vec![("quantile", AttributeValue::Number(part))];
                parts.map(|(number, part)| one(number, divisor, own(part))).collect()
            }
            Source::State => vec![one(1, 1, vec![("state", state.into())])],
        }
    }
}

/// What tells a producer from others: the system, the stream, the id, the server.
pub(crate) fn attributes_of(stream: &str, producer_id: &str) -> Vec<Attribute> {
    let url = Url::parse(stream).ok();
    let (path, host) = (url.as_ref().map_or("", Url::path), url.as_ref().and_then(Url::host_str));
    let mut attributes = vec![
        (SYSTEM.0, SYSTEM.1.into()),
        ("messaging.destination.name", path.into()),
        ("messaging.client.id", producer_id.into()),
        // An address of six without its brackets.
        ("server.address", host.unwrap_or_default().trim_matches(['[', ']']).into()),
    ];
    if let Some(port) = url.as_ref().and_then(Url::port) {
        attributes.push(("server.port", AttributeValue::Whole(port.into())));
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Counts, Meters};

    #[test]
    fn each_number_is_observed_once() {
        let counts = Counts { delivered: 7, answers_2xx: 3, unanswered: 2, ..Counts::default() };
        let mut meters = Meters::default();
        meters.delivery_latency_us.record(1_000_000);
        meters.count(Reason::Expired, 4);
        let stats = Stats::of(counts, Some(&meters));
        let all = signals();
        let observed = |name: &str| {
            let mut found = all.iter().filter(|signal| signal.name == name);
            let signal = found.next().unwrap_or_else(|| panic!("no {name}"));
            assert!(found.next().is_none(), "{name} twice");
            let of = |own: Observation| {
                let attributes = own.attributes.into_iter();
                let texts = attributes.map(|(name, value)| format!("{name}={value:?}"));
                (own.value, texts.collect::<Vec<_>>().join(" "))
            };
            signal.observe("ready", &stats).into_iter().map(of).collect::<Vec<_>>()
        };
        let sending =
            "messaging.operation.name=Text(\"append\") messaging.operation.type=Text(\"send\")";
        let lost = format!("{sending} error.type=Text(\"expired\")");
        assert_eq!(
            observed("messaging.client.sent.messages"),
            [(7.0, sending.into()), (4.0, lost)]
        );
        let answers = observed("durstream.answers");
        assert_eq!(answers.len(), 5);
        assert!(answers.contains(&(3.0, "class=Text(\"2xx\")".into())));
        assert!(answers.contains(&(2.0, "class=Text(\"none\")".into())));
        assert_eq!(observed("durstream.delivery_latency.sum"), [(1.0, String::new())]);
        assert_eq!(observed("durstream.delivery_latency").len(), 4);
        assert_eq!(observed("durstream.queue_latency"), [], "nothing was measured");
        assert_eq!(observed("durstream.state"), [(1.0, "state=Text(\"ready\")".into())]);
    }

    #[test]
    fn a_producer_is_told_from_others() {
        let of = |stream| attributes_of(stream, "p").into_iter().skip(1).collect::<Vec<_>>();
        let named = [
            ("messaging.destination.name", "/v1/s".into()),
            ("messaging.client.id", "p".into()),
            ("server.address", "h".into()),
        ];
        assert_eq!(of("https://h/v1/s"), named);
        assert_eq!(of("http://[::1]:80/")[2].1, "::1".into());
        assert_eq!(of("http://h:4437/s")[3], ("server.port", AttributeValue::Whole(4437)));
    }
}

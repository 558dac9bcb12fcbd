//! What a metric is called in other systems, by rules of theirs.

use crate::stats::{Metric, MetricKind};

/// The metrics that are one metric with a label there: its name, the label's, and the values by name.
const ANSWERS: (&str, &str, [(&str, &str); 5]) = (
    "answers",
    "class",
    [
        ("answers_2xx", "2xx"),
        ("answers_3xx", "3xx"),
        ("answers_4xx", "4xx"),
        ("answers_5xx", "5xx"),
        ("unanswered", "none"),
    ],
);

/// The messaging conventions of OpenTelemetry have a name for these.
const CONVENTIONS: [(&str, &str); 1] = [("delivered", "messaging.client.sent.messages")];

impl Metric {
    /// Whether it counts what was sent, which has the conventions' own name and attributes.
    pub(super) fn is_sent(&self) -> bool {
        CONVENTIONS.iter().any(|(known, _)| *known == self.name)
    }

    /// The name without a unit of time, and how many of its units make a second; 0 for no time.
    fn time(&self) -> (&'static str, u64) {
        match self.unit {
            "ms" => (self.name.trim_end_matches("_ms"), 1_000),
            "us" => (self.name.trim_end_matches("_us"), 1_000_000),
            _ => (self.name, 0),
        }
    }

    /// The label that tells it from others of its name, if there are any: the common name, the
    /// label's name and its value.
    pub(super) fn label(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let (common, label, values) = ANSWERS;
        let (_, value) = values.iter().find(|(name, _)| *name == self.name)?;
        Some((common, label, value))
    }

    /// The name that the samples for Prometheus have, and what they are divided by.
    pub(super) fn prometheus(&self) -> (String, u64) {
        let (name, per_second) = self.time();
        let name = self.label().map_or(name, |(common, ..)| common);
        let unit = if per_second > 0 { "_seconds" } else { "" };
        let total = if self.kind == MetricKind::Counter { "_total" } else { "" };
        (format!("durstream_{name}{unit}{total}"), per_second.max(1))
    }

    /// The sample for Prometheus with the label that it has of its own, as the reference shows it.
    pub fn prometheus_name(&self) -> String {
        let (name, _) = self.prometheus();
        match self.label() {
            Some((_, label, value)) => format!("{name}{{{label}=\"{value}\"}}"),
            None => name,
        }
    }

    /// The instrument for OpenTelemetry: its name, its unit, the attribute that it has of its own,
    /// and what numbers are divided by.
    pub fn opentelemetry(&self) -> Instrument {
        let (name, per_second) = self.time();
        let name = self.label().map_or(name, |(common, ..)| common);
        let known = CONVENTIONS.iter().find(|(known, _)| *known == self.name);
        Instrument {
            name: known.map_or_else(|| format!("durstream.{name}"), |(_, name)| (*name).to_owned()),
            unit: match self.unit {
                "ms" | "us" => "s".to_owned(),
                "byte" => "By".to_owned(),
                unit => format!("{{{unit}}}"),
            },
            attribute: self.label().map(|(_, label, value)| (label, value)),
            divisor: per_second.max(1),
        }
    }
}

/// How a metric is shown to OpenTelemetry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instrument {
    /// The instrument's name: that of the messaging conventions, where they have one.
    pub name: String,
    /// The unit, in UCUM.
    pub unit: String,
    /// The attribute that tells it from others of its name.
    pub attribute: Option<(&'static str, &'static str)>,
    /// What the number in [`Stats`](crate::Stats) is divided by.
    pub divisor: u64,
}

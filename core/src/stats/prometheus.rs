//! The text that Prometheus scrapes, of one producer or of several.

use std::fmt::Write as _;

use crate::reason::Reason;
use crate::stats::histogram::Histogram;
use crate::stats::merged::merged;
use crate::stats::{METRICS, Measured, Metric, MetricKind, Stats};

/// The format of the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exposition {
    /// `text/plain; version=0.0.4`.
    #[default]
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

impl Exposition {
    /// The value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The states of a producer, of which one is 1.
const STATES: [&str; 8] =
    ["connecting", "ready", "backoff", "reconnecting", "stopping", "stopped", "failed", "fenced"];

/// The upper bounds of the buckets that a distribution is shown with, powers of two of its unit:
/// from 256 µs to 67 s, up to 65 536 writes, and from 256 bytes to 16 MiB.
fn bounds(metric: &Metric) -> impl Iterator<Item = u64> {
    let exponents = match metric.unit {
        "us" => (8..=26).step_by(1),
        "byte" => (8..=24).step_by(2),
        _ => (0..=16).step_by(2),
    };
    exponents.map(|exponent| 1 << exponent)
}

/// The text about producers.
pub(crate) fn text(producers: Vec<Measured>, format: Exposition) -> String {
    let labelled = |one: Measured| {
        let (stream, id) = (escaped(&one.stream), escaped(&one.producer_id));
        (format!("stream=\"{stream}\",producer_id=\"{id}\""), one)
    };
    let all: Vec<(String, Measured)> = merged(producers).into_iter().map(labelled).collect();
    let mut text = Text { text: String::new(), format };
    text.numbers(&all);
    for metric in METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram) {
        text.histogram(metric, &all);
    }
    text.undelivered(&all);
    text.states(&all);
    if format == Exposition::OpenMetrics {
        text.text += "# EOF\n";
    }
    text.text
}

/// A label's value, or a help text, with what would end it escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

struct Text {
    text: String,
    format: Exposition,
}

impl Text {
    /// The lines before the samples of one name.
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // OpenMetrics names a counter without what its samples end with.
        let name = match self.format {
            Exposition::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
            Exposition::Prometheus => name,
        };
        let help = help.trim().replace('`', "");
        let _ = writeln!(self.text, "# HELP {name} {}\n# TYPE {name} {kind}", escaped(&help));
    }

    fn sample(&mut self, name: &str, labels: &str, own: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{name}{{{labels}{own}}} {value}");
    }

    /// Counters and gauges. Those of one name stand together.
    fn numbers(&mut self, all: &[(String, Measured)]) {
        let values: Vec<_> =
            all.iter().map(|(_, series)| Stats::of(series.counts, None).entries()).collect();
        let mut last = String::new();
        for (place, metric) in METRICS.iter().take(Stats::NUMBERS).enumerate() {
            let (name, divisor) = metric.prometheus();
            if name != last {
                let kind = if metric.kind == MetricKind::Counter { "counter" } else { "gauge" };
                let help = match metric.label() {
                    Some((_, label, _)) => format!("Requests by {label} of answer."),
                    None => metric.meaning.to_owned(),
                };
                self.head(&name, kind, &help);
            }
            let own = metric.label().map(|(_, label, value)| format!(",{label}=\"{value}\""));
            let own = own.unwrap_or_default();
            for ((labels, _), values) in all.iter().zip(&values) {
                let value = values[place].1;
                match divisor {
                    1 => self.sample(&name, labels, &own, value),
                    _ => self.sample(&name, labels, &own, value as f64 / divisor as f64),
                }
            }
            last = name;
        }
    }

    fn histogram(&mut self, metric: &Metric, all: &[(String, Measured)]) {
        let (name, divisor) = metric.prometheus();
        self.head(&name, "histogram", metric.meaning);
        let none = Histogram::default();
        for (labels, series) in all {
            let histograms = series.meters.as_ref().map(|meters| meters.histograms());
            let mut histograms = histograms.into_iter().flatten();
            let own = histograms.find(|(own, _)| *own == metric.name);
            let own = own.map_or(&none, |(_, own)| own);
            let bucket = format!("{name}_bucket");
            for bound in bounds(metric) {
                // OpenMetrics wants a point in each bound.
                let label = format!(",le=\"{:?}\"", bound as f64 / divisor as f64);
                self.sample(&bucket, labels, &label, own.count_up_to(bound));
            }
            self.sample(&bucket, labels, ",le=\"+Inf\"", own.count());
            self.sample(&format!("{name}_sum"), labels, "", own.sum() as f64 / divisor as f64);
            self.sample(&format!("{name}_count"), labels, "", own.count());
        }
    }

    /// Accepted writes that were not delivered, by reason: those that there were.
    fn undelivered(&mut self, all: &[(String, Measured)]) {
        let name = "durstream_undelivered_total";
        self.head(name, "counter", "Accepted writes that were not delivered, by reason.");
        for (labels, series) in all {
            for (reason, count) in series.meters.iter().flat_map(|meters| meters.by_reason()) {
                self.sample(
                    name,
                    labels,
                    &format!(",reason=\"{}\"", Reason::as_str(reason)),
                    count,
                );
            }
        }
    }

    fn states(&mut self, all: &[(String, Measured)]) {
        let name = "durstream_state";
        self.head(name, "gauge", "The state that a producer is in is 1.");
        for (labels, series) in all {
            for state in STATES {
                let own = format!(",state=\"{state}\"");
                self.sample(name, labels, &own, u8::from(series.state == state));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Counts, Meters};

    fn measured(stream: &str, id: &str, counts: Counts) -> Measured {
        Measured {
            stream: stream.into(),
            producer_id: id.to_owned(),
            state: "ready",
            counts,
            meters: None,
        }
    }

    #[test]
    fn what_would_end_a_label_is_escaped() {
        let one = measured("http://h/a", "a\"b\\c\nd", Counts::default());
        let text = text(vec![one], Exposition::Prometheus);
        assert!(text.contains(r#"producer_id="a\"b\\c\nd""#), "{text}");
    }

    #[test]
    fn producers_of_one_name_are_one_series() {
        let counts = |accepted, oldest, since| Counts {
            accepted,
            oldest_pending_ms: oldest,
            since_acknowledgement_ms: since,
            ..Counts::default()
        };
        let mut meters = Meters::default();
        meters.delivery_latency_us.record(1_000);
        meters.count(Reason::Expired, 2);
        let mut both = [
            measured("http://h/a", "p", counts(2, 70_000, 90_000)),
            measured("http://h/a", "p", counts(3, 10, 20)),
        ];
        both[0].meters = Some(Box::new(meters.clone()));
        both[1].meters = Some(Box::new(meters));
        let text = text(both.into(), Exposition::Prometheus);
        let labels = r#"{stream="http://h/a",producer_id="p"}"#;
        for line in [
            format!("durstream_accepted_total{labels} 5"),
            format!("durstream_oldest_pending_seconds{labels} 70"),
            format!("durstream_since_acknowledgement_seconds{labels} 0.02"),
            format!("durstream_delivery_latency_seconds_count{labels} 2"),
            format!("durstream_delivery_latency_seconds_sum{labels} 0.002"),
        ] {
            assert_eq!(text.lines().filter(|own| **own == line).count(), 1, "{line} in {text}");
        }
        let expired = r#"durstream_undelivered_total{stream="http://h/a",producer_id="p",reason="expired"} 4"#;
        assert!(text.contains(expired), "{text}");
    }

    #[test]
    fn every_bound_ends_a_part_of_the_histogram() {
        for metric in METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram) {
            for bound in bounds(metric) {
                let mut histogram = Histogram::default();
                histogram.record(bound);
                histogram.record(bound + 1);
                assert_eq!(histogram.count_up_to(bound), 1, "{bound} of {}", metric.name);
            }
        }
    }
}

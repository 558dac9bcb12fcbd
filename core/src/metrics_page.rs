//! `docs/metrics.md`: every metric with what it means, and what it is called in each system.

use crate::stats::{METRICS, Metric, MetricKind};

fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "distribution",
    };
    let instrument = metric.opentelemetry();
    let attribute = instrument.attribute.map(|(name, value)| format!(" with `{name}`=`{value}`"));
    let meaning = metric.meaning.trim();
    format!(
        "| `{}` | {kind} | {} | {meaning} | `{}` | `{}`{} |\n",
        metric.name,
        metric.unit,
        metric.prometheus_name(),
        instrument.name,
        attribute.unwrap_or_default(),
    )
}

fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Generated from the core's table; a test keeps it so (`DURSTREAM_REWRITE=1 cargo test -p durstream-core \
         metrics_page` rewrites it). What to alert on is in [monitoring](monitoring.md).\n\n\
         `stats()` of a producer has all of them in one consistent snapshot, under these names in Rust, C, C++ and \
         Python, and in Node in its spelling (`refusedInvalid`, `answers2xx`). A counter only grows while its producer \
         lives; a gauge is as it is now. At every instant\n\n    \
         accepted = delivered + rejected + cancelled + unknown + kept + pending\n\n",
    );
    let table = |page: &mut String, is_in: &dyn Fn(&Metric) -> bool| {
        *page += "| name | kind | unit | what it means | Prometheus | OpenTelemetry |\n|---|---|---|---|---|---|\n";
        METRICS.iter().filter(|metric| is_in(metric)).for_each(|metric| *page += &row(metric));
    };
    page += "## Counters and gauges\n\n";
    table(&mut page, &|metric| metric.kind != MetricKind::Histogram);
    page += "\n## Distributions\n\n\
             In `stats()` each is `count`, `sum`, `p50`, `p90`, `p99` and `max`; all but the sum are known to 3.2 %. A `us` \
             is a microsecond. They are measured once a batch, or once a request, and cost nothing for each write. \
             Prometheus has them as histograms, with buckets that end at powers of two; OpenTelemetry has them as the \
             instruments `.count` and `.sum`, and as gauges with the attribute `quantile`: 0.5, 0.9, 0.99 and 1.\n\n";
    table(&mut page, &|metric| metric.kind == MetricKind::Histogram);
    page += "\n## By reason, and the state\n\n\
             `undelivered` in `stats()` has how many accepted writes ended `rejected`, `cancelled` or `unknown`, by their \
             [reason](errors.md#reasons): `durstream_undelivered_total` with the label `reason` for Prometheus, \
             `messaging.client.sent.messages` with the attribute `error.type` for OpenTelemetry. `durstream_state` has the label \
             `state`: the [state](errors.md#states-of-a-producer) that the producer is in is 1, the others are 0.\n\n\
             ## Labels\n\n\
             Each series has `stream`, the URL without user info and query, and `producer_id`, the id as sent, with the random \
             part of an id that is `shared`. Two producers of one process with the same of both are one series.\n";
    page
}

#[test]
fn the_page_of_metrics_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    if std::env::var_os("DURSTREAM_REWRITE").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page());
}

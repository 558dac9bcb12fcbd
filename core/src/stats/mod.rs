//! What is counted and measured of a producer: one table, from which the struct, the text for
//! Prometheus, the instruments for OpenTelemetry and the reference page are made.

pub(crate) mod histogram;
pub(crate) mod merged;
pub(crate) mod names;
pub(crate) mod prometheus;
pub(crate) mod signals;

use crate::reason::Reason;
use histogram::{Distribution, Histogram};

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// As it is now.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One line of the table of metrics, [`METRICS`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Metric {
    /// Its name in [`Stats`], the same in every language.
    pub name: &'static str,
    /// How it behaves.
    pub kind: MetricKind,
    /// What there are so many of; `ms` and `us` are times.
    pub unit: &'static str,
    /// What it means, in Markdown.
    pub meaning: &'static str,
}

/// How many reasons [`Stats::undelivered`] has room for.
const REASONS: usize = 32;

macro_rules! metrics {
    (
        numbers { $($(#[doc = $doc:literal])* $name:ident: $kind:ident, $unit:literal;)* }
        distributions { $($(#[doc = $d_doc:literal])* $d_name:ident: $d_unit:literal;)* }
    ) => {
        /// The counters, gauges and distributions of a producer. At every instant `accepted = delivered
        /// + rejected + cancelled + unknown + kept + pending`.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])* pub $name: u64,)*
            $($(#[doc = $d_doc])* pub $d_name: Distribution,)*
            /// Of the accepted writes that were not delivered, how many for each reason: by the
            /// reason's number, and the first is of reasons that have no place here.
            pub undelivered: [u64; REASONS],
        }

        /// What is counted of a producer. Gauges are filled in where they are shown.
        #[derive(Debug, Clone, Copy, Default)]
        pub(crate) struct Counts { $(pub(crate) $name: u64,)* }

        /// What is measured of a producer, from its first batch on.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct Meters {
            $(pub(crate) $d_name: Histogram,)*
            undelivered: Vec<(Reason, u64)>,
        }

        /// Every metric, in the order of [`Stats`].
        pub const METRICS: &[Metric] = &[
            $(Metric {
                name: stringify!($name),
                kind: MetricKind::$kind,
                unit: $unit,
                meaning: concat!($($doc),*),
            },)*
            $(Metric {
                name: stringify!($d_name),
                kind: MetricKind::Histogram,
                unit: $d_unit,
                meaning: concat!($($d_doc),*),
            },)*
        ];

        impl Stats {
            /// How many counters and gauges there are.
            const NUMBERS: usize = [$(stringify!($name)),*].len();
            const DISTRIBUTIONS: usize = [$(stringify!($d_name)),*].len();

            /// Every counter and gauge with its name, for bindings that show them by name.
            pub fn entries(&self) -> [(&'static str, u64); Self::NUMBERS] {
                [$((stringify!($name), self.$name)),*]
            }

            /// Every distribution with its name.
            pub fn distributions(&self) -> [(&'static str, Distribution); Self::DISTRIBUTIONS] {
                [$((stringify!($d_name), self.$d_name)),*]
            }

            pub(crate) fn of(counts: Counts, meters: Option<&Meters>) -> Self {
                let mut stats = Stats { $($name: counts.$name,)* ..Stats::default() };
                if let Some(meters) = meters {
                    $(stats.$d_name = meters.$d_name.distribution();)*
                    stats.undelivered = meters.undelivered();
                }
                stats
            }
        }

        impl Counts {
            /// Sets all of them, in the order of the table.
            fn set(&mut self, values: impl Iterator<Item = u64>) {
                let mut values = values;
                $(self.$name = values.next().unwrap_or(0);)*
            }
        }

        impl Meters {
            pub(crate) fn histograms(&self) -> [(&'static str, &Histogram); Stats::DISTRIBUTIONS] {
                [$((stringify!($d_name), &self.$d_name)),*]
            }

            /// Takes in what others have.
            pub(crate) fn merge(&mut self, other: &Meters) {
                $(self.$d_name.merge(&other.$d_name);)*
                other.undelivered.iter().for_each(|(reason, count)| self.count(*reason, *count));
            }
        }
    };
}

metrics! {
    numbers {
        /// Writes accepted, and those found in the outbox.
        accepted: Counter, "write";
        /// Writes in the stream.
        delivered: Counter, "write";
        /// Of these, the writes that the server said it had already. They are there once.
        duplicates: Counter, "write";
        /// Of the delivered writes, those that may be in the stream twice.
        uncertain: Counter, "write";
        /// Accepted writes the server refused.
        rejected: Counter, "write";
        /// Accepted writes that were given up and are certainly not in the stream.
        cancelled: Counter, "write";
        /// Accepted writes that stay in doubt: nothing said whether they are stored.
        unknown: Counter, "write";
        /// Accepted writes not settled yet.
        pending: Gauge, "write";
        /// Calls turned away before accepting: invalid values.
        refused_invalid: Counter, "call";
        /// Calls turned away before accepting: buffer full, too large, producer closed.
        refused: Counter, "call";
        /// Bytes reserved by pending writes, overhead included.
        buffered_bytes: Gauge, "byte";
        /// Requests sent, repeats included.
        requests: Counter, "request";
        /// Requests that repeated a batch.
        retries: Counter, "request";
        /// Sessions begun, the first included.
        sessions: Counter, "session";
        /// Of the accepted writes, those of an earlier life that were found in the outbox.
        recovered: Counter, "write";
        /// Accepted writes that stay in the outbox: they are delivered once the producer is opened again.
        kept: Counter, "write";
        /// Of the cancelled and unknown writes, those that waited longer than `delivery_timeout_ms`.
        expired: Counter, "write";
        /// Batches in the stream.
        batches: Counter, "batch";
        /// Bytes of the delivered writes, without framing.
        delivered_bytes: Counter, "byte";
        /// Bytes of batches sent, framing and repeats included.
        sent_bytes: Counter, "byte";
        /// Requests answered with success.
        answers_2xx: Counter, "request";
        /// Requests answered with a redirect that was not followed.
        answers_3xx: Counter, "request";
        /// Requests refused: by status 4xx.
        answers_4xx: Counter, "request";
        /// Requests answered with an error of the server.
        answers_5xx: Counter, "request";
        /// Requests that ended without an answer: no connection, cut, or nothing came in time.
        unanswered: Counter, "request";
        /// Looks at the stream itself for what it holds of batches in doubt.
        reconciliations: Counter, "request";
        /// How often another producer with the same id took over.
        fenced: Counter, "fence";
        /// Requests with batches that are under way.
        in_flight: Gauge, "request";
        /// The bytes that may be buffered: `max_buffer_bytes`, with an outbox `outbox_max_bytes`.
        buffer_limit_bytes: Gauge, "byte";
        /// The age of the oldest pending write; 0 while none is pending.
        oldest_pending_ms: Gauge, "ms";
        /// How long ago a batch was acknowledged; before the first one, since the producer was opened.
        since_acknowledgement_ms: Gauge, "ms";
        /// The bytes of the `recovered` writes, without framing.
        recovered_bytes: Counter, "byte";
    }
    distributions {
        /// From the call of a batch's first write to the acknowledgement of the batch, once a batch.
        delivery_latency_us: "us";
        /// From the call of a batch's first write to the batch's first request, once a batch.
        queue_latency_us: "us";
        /// From the start of a request with a batch to its answer, repeats included.
        request_latency_us: "us";
        /// Writes of each delivered batch.
        batch_writes: "write";
        /// Bytes of each delivered batch, without framing.
        batch_bytes: "byte";
    }
}

impl Stats {
    /// How many accepted writes were not delivered for a reason.
    pub fn undelivered(&self, reason: Reason) -> u64 {
        self.undelivered.get(reason as usize).copied().unwrap_or(0)
    }
}

impl Meters {
    /// Counts writes that were not delivered.
    pub(crate) fn count(&mut self, reason: Reason, writes: u64) {
        match self.undelivered.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += writes,
            None => {
                self.undelivered.reserve_exact(1);
                self.undelivered.push((reason, writes));
            }
        }
    }

    /// The reasons that there were, with their writes.
    fn by_reason(&self) -> impl Iterator<Item = (Reason, u64)> {
        self.undelivered.iter().copied()
    }

    fn undelivered(&self) -> [u64; REASONS] {
        let mut counts = [0; REASONS];
        for (reason, count) in &self.undelivered {
            let place = Some(*reason as usize).filter(|place| *place < REASONS);
            counts[place.unwrap_or(0)] += count;
        }
        counts
    }
}

/// What a producer shows of itself, by what it is and where it writes.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// The stream's URL, without user info and query.
    pub(crate) stream: std::sync::Arc<str>,
    pub(crate) producer_id: String,
    /// The name of its state.
    pub(crate) state: &'static str,
    pub(crate) counts: Counts,
    pub(crate) meters: Option<Box<Meters>>,
}

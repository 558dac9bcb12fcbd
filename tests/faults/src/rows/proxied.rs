//! Every fault the proxy can make, between a producer and the official server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::row::Row;
use crate::expect::Expect;
use crate::stage::{self, Ran, Stage};
use crate::writer::Job;
use durstream_tests::failure::Result;
use durstream_tests::numbered::Kind;
use durstream_tests::proxy::Proxy;
use durstream_tests::server::Durability;

/// How likely a request is hit, and how often at most.
const PROBABILITY: f64 = 0.1;
const TIMES: u64 = 20;
/// A row in which the fault happened less often says too little.
const AT_LEAST: u64 = 3;
/// What happens to connections, or has to be ended, is done once in this time.
const PERIOD: Duration = Duration::from_millis(150);

/// After so many, connections are left alone.
const PERIODS: u64 = 10;

type EachPeriod = fn(&Proxy, u64) -> Result<u64>;

struct Proxied {
    name: &'static str,
    kind: Kind,
    rules: Vec<Value>,
    options: Vec<(&'static str, u64)>,
    expect: Expect,
    /// Done once in a [`PERIOD`], whose number it gets; how often a fault happened by it that no
    /// rule counts.
    each_period: EachPeriod,
}

impl Proxied {
    fn row(self) -> Row {
        Row::new(self.name, self.expect, move |stage| self.run(stage))
    }

    fn run(&self, stage: &Stage<'_>) -> Result<Ran> {
        let server = stage.server(Durability::Memory)?;
        let proxy = stage.proxy(server.address())?;
        for rule in &self.rules {
            proxy.add_json(rule)?;
        }
        let mut job = Job::new(self.kind, proxy.url());
        job.options = self.options.iter().map(|(name, ms)| (*name, ms.to_string())).collect();
        let (mut counted, mut period, mut last) = (0, 0, Instant::now());
        let told = stage.run(std::slice::from_ref(&job), |_| {
            if last.elapsed() >= PERIOD {
                last = Instant::now();
                counted += (self.each_period)(&proxy, period)?;
                period += 1;
            }
            Ok(())
        })?;
        let stream = stage::read(server.address(), job.kind, &job.stream_path)?;
        Ok(Ran { injected: proxy.fired() + counted, told, stream, ..Ran::default() })
    }

    fn option(mut self, name: &'static str, value: u64) -> Self {
        self.options.push((name, value));
        self
    }

    fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    fn expect(self, expect: Expect) -> Self {
        Self { expect, ..self }
    }
}

/// To requests that write: a few times for certain, and then now and then. What a rule says itself
/// goes before.
fn now_and_then(name: &'static str, rule: Value) -> Proxied {
    let certain = |n| json!({ "method": "POST", "skip": 5 * n });
    let mut rules = vec![with(certain(1), &rule)];
    if rule.get("times").is_none() {
        rules.extend((2..=AT_LEAST).map(|n| with(certain(n), &rule)));
        let by_chance =
            json!({ "method": "POST", "times": TIMES, "probability": PROBABILITY, "skip": 1 });
        rules.push(with(by_chance, &rule));
    }
    Proxied {
        name,
        kind: Kind::Json,
        rules,
        options: Vec::new(),
        expect: Expect::nothing_lost(AT_LEAST),
        each_period: |_, _| Ok(0),
    }
}

fn with(mut rule: Value, own: &Value) -> Value {
    if let (Some(rule), Some(own)) = (rule.as_object_mut(), own.as_object()) {
        rule.extend(own.clone());
    }
    rule
}

/// Once in a period, whatever there is.
fn each_period(name: &'static str, each_period: EachPeriod) -> Proxied {
    Proxied { each_period, rules: Vec::new(), ..now_and_then(name, json!({})) }
}

fn answer(name: &'static str, status: u16, forward: bool) -> Proxied {
    now_and_then(name, json!({ "fault": "answer", "status": status, "forward": forward }))
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = connections();
    rows.extend(answers());
    rows.push(everything());
    rows.into_iter().map(Proxied::row).collect()
}

fn connections() -> Vec<Proxied> {
    vec![
        each_period("connections refused", |proxy, period| {
            // What did not happen in the last one must not pile up.
            proxy.clear();
            if period < PERIODS {
                proxy.add_json(&json!({ "fault": "refuse" }))?;
            }
            Ok(0)
        }),
        each_period("nobody listens", |proxy, period| {
            if period < PERIODS {
                proxy.add_json(&json!({ "fault": "closed", "for_ms": 50 }))?;
            }
            Ok(u64::from(period < PERIODS))
        })
        .kind(Kind::State),
        now_and_then("reset before the server saw it", json!({ "fault": "reset-before" })),
        now_and_then("reset within the body", json!({ "fault": "reset-within", "bytes": 20 })),
        now_and_then("reset in place of the answer", json!({ "fault": "reset-after" })),
        now_and_then("reset in place of the answer, lines", json!({ "fault": "reset-after" }))
            .kind(Kind::Lines),
        now_and_then("reset in place of the answer, state", json!({ "fault": "reset-after" }))
            .kind(Kind::State),
        now_and_then("answer cut", json!({ "fault": "cut-answer", "head_bytes": 12 })),
        now_and_then(
            "answer cut, closed in order",
            json!({ "fault": "cut-answer", "head_bytes": 12, "close": true }),
        )
        .kind(Kind::Lines),
        now_and_then("reset behind the answer", json!({ "fault": "cut-answer", "bytes": 0 })),
        now_and_then("no answer", json!({ "fault": "stall" })).option("request_timeout_ms", 200),
        now_and_then(
            "no answer, server never asked",
            json!({ "fault": "stall", "forward": false }),
        )
        .option("request_timeout_ms", 200)
        .kind(Kind::State),
        now_and_then("late, when given up already", json!({ "fault": "delay", "ms": 400 }))
            .option("request_timeout_ms", 200),
        now_and_then("answer late", json!({ "fault": "delay", "ms": 100, "before": "answer" })),
        Proxied {
            each_period: |proxy, _| {
                proxy.release("held");
                Ok(0)
            },
            ..now_and_then("held", json!({ "fault": "hold", "name": "held" }))
        },
        now_and_then(
            "slow round trips",
            json!({ "fault": "latency", "ms": 20, "probability": 1, "times": 0 }),
        ),
    ]
}

fn answers() -> Vec<Proxied> {
    let later = |name, status: u16| {
        let headers = json!({ "Retry-After": "1" });
        let rule = json!({ "fault": "answer", "status": status, "headers": headers, "times": 3 });
        now_and_then(name, rule).expect(Expect::nothing_lost(1))
    };
    let echo = |name, epoch: &str, seq: &str| {
        let headers = json!({ "Producer-Epoch": epoch, "Producer-Seq": seq });
        let rule = json!({ "fault": "answer", "status": 200, "headers": headers, "forward": true });
        now_and_then(name, rule)
    };
    let no_echo = |name, status: u16| {
        let rule = json!({
            "fault": "answer", "status": status, "forward": true, "times": 1, "skip": 0,
        });
        let expect = Expect::nothing_lost(1).may_not_know().ends("failed");
        now_and_then(name, rule).expect(expect)
    };
    // Before the first acknowledgement, and for good, these would be final.
    let passing = |name, status: u16| {
        now_and_then(name, json!({ "fault": "answer", "status": status, "skip": 20 }))
    };
    vec![
        answer("408", 408, false),
        answer("408, but stored", 408, true),
        answer("425", 425, false),
        answer("429", 429, false),
        later("429 with Retry-After", 429).kind(Kind::State),
        answer("500", 500, false),
        answer("500, but stored", 500, true).kind(Kind::State),
        answer("502", 502, false),
        answer("502, but stored", 502, true),
        answer("503", 503, false),
        answer("503, but stored", 503, true).kind(Kind::Lines),
        later("503 with Retry-After", 503),
        answer("504, but stored", 504, true),
        answer("202, not stored", 202, false),
        answer("202, but stored", 202, true),
        echo("malformed echo, but stored", "x", "-1"),
        no_echo("200 without echo at first", 200),
        no_echo("204 without echo at first", 204),
        // Once the server has echoed, it was not the server.
        answer("a page with 200, not stored", 200, false),
        answer("a page with 200, but stored", 200, true),
        answer("a page with 204, but stored", 204, true),
        passing("passing 401", 401),
        passing("passing 403", 403),
        passing("passing 404", 404),
        passing("passing 410", 410),
        answer("400", 400, false).expect(Expect::nothing_lost(AT_LEAST).may_reject()),
        now_and_then(
            "409 as if the session were lost",
            json!({
                "fault": "answer", "status": 409,
                "headers": { "Producer-Expected-Seq": "0", "Producer-Received-Seq": "9" },
            }),
        ),
    ]
}

/// Several faults on every kind of request, the first and the looking included.
fn everything() -> Proxied {
    let faults = [
        json!({ "fault": "reset-before" }),
        json!({ "fault": "reset-within", "bytes": 50 }),
        json!({ "fault": "reset-after" }),
        json!({ "fault": "cut-answer", "head_bytes": 30 }),
        json!({ "fault": "stall" }),
        json!({ "fault": "answer", "status": 503 }),
        json!({ "fault": "answer", "status": 502, "forward": true }),
    ];
    let certain = (1..).zip(&faults).map(|(n, fault)| with(json!({ "skip": 3 * n }), fault));
    let by_chance = json!({ "probability": PROBABILITY / 5.0, "times": TIMES });
    let by_chance = faults.iter().map(|fault| with(by_chance.clone(), fault));
    let expect = Expect::nothing_lost(faults.len() as u64);
    let rules = certain.chain(by_chance).collect();
    Proxied { rules, expect, ..now_and_then("all of it, on every request", json!({})) }
        .option("request_timeout_ms", 200)
        // A look is two requests; pauses that double until both get through would be most of it.
        .option("retry_max_delay_ms", 500)
}

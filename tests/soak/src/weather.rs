//! The faults: what happens next to the requests of a service, and to the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use durstream_tests::failure::Result;
use durstream_tests::proxy::Proxy;
use durstream_tests::random::Random;
use durstream_tests::server::Server;
use serde_json::{Value, json};

use crate::tokens::Tokens;

/// From one fault of a service to its next. What has not happened until then does not happen.
const PAUSE_MS: std::ops::Range<u64> = 500..5_000;
/// From one end of the server to its next.
const BETWEEN_ENDS_MS: std::ops::Range<u64> = 15_000..60_000;
/// How long it is away, when it was killed.
const AWAY_MS: std::ops::Range<u64> = 0..5_000;
/// It waits for idle connections for longer, and is killed then.
const GRACE: Duration = Duration::from_millis(300);
/// So long a stream that stays has had an acknowledgement for certain. What an impostor answers
/// before is final.
const ESTABLISHED: Duration = Duration::from_secs(15);

/// What a request that was let go takes to the server.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// How often each kind of fault was made.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// The faults of one service.
pub(crate) struct Lane {
    pub(crate) proxy: Arc<Proxy>,
    name: &'static str,
    next: Instant,
    /// Until when a request may wait on its way to the server.
    late: Instant,
}

impl Lane {
    pub(crate) fn new(proxy: Arc<Proxy>, name: &'static str) -> Self {
        let now = Instant::now();
        Self { proxy, name, next: now + Duration::from_millis(PAUSE_MS.end), late: now }
    }

    /// Makes the next fault when it is time; none that has requests wait on their way where the
    /// server is about to end.
    pub(crate) fn advance(
        &mut self,
        random: &mut Random,
        tokens: &Tokens,
        running: Duration,
        is_ending: bool,
        counts: &mut Counts,
    ) -> Result {
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + Duration::from_millis(random.within(PAUSE_MS));
        self.clear(tokens)?;
        let (kind, mut rule) = if running > ESTABLISHED && random.within(0..6) == 0 {
            impostor(random, self.name)
        } else {
            fault(random)
        };
        if rule["before"] == "forward" {
            if is_ending {
                rule["before"] = json!("answer");
            } else {
                let longest = rule["ms"].as_u64().unwrap_or_default();
                self.late = self.next + Duration::from_millis(longest) + ON_ITS_WAY;
            }
        }
        self.proxy.add_json(&rule)?;
        *counts.entry(kind).or_default() += 1;
        Ok(())
    }

    /// Ends all faults, but for tokens that have expired.
    pub(crate) fn clear(&self, tokens: &Tokens) -> Result {
        self.proxy.clear();
        tokens.refusals().iter().try_for_each(|rule| self.proxy.add_json(rule).map(drop))
    }
}

/// A fault of any request.
fn fault(random: &mut Random) -> (&'static str, Value) {
    let times = random.within(1..6);
    let before = if random.coin() { "forward" } else { "answer" };
    match random.within(0..11) {
        0 => ("connections refused", json!({ "fault": "refuse", "times": times })),
        1 => ("nobody listens", json!({ "fault": "closed", "for_ms": random.within(50..3_000) })),
        2 => ("reset before the request", json!({ "fault": "reset-before", "times": times })),
        3 => {
            let bytes = random.within(0..400);
            let rule = json!({ "fault": "reset-within", "bytes": bytes, "times": times });
            ("reset within the request", rule)
        }
        4 => ("reset in place of the answer", json!({ "fault": "reset-after", "times": times })),
        5 => {
            let (bytes, close) = (random.within(0..60), random.coin());
            let rule = json!({ "fault": "cut-answer", "head_bytes": bytes, "close": close, "times": times });
            ("answer cut", rule)
        }
        6 => {
            let rule = json!({ "fault": "stall", "forward": random.coin(), "times": times });
            ("no answer", rule)
        }
        7 => {
            let ms = random.within(100..3_000);
            ("late", json!({ "fault": "delay", "ms": ms, "before": before, "times": times }))
        }
        8 => {
            let rule = json!({ "fault": "hold", "name": "held", "before": before, "times": times });
            ("held", rule)
        }
        9 => ("slow", json!({ "fault": "latency", "ms": random.within(10..200) })),
        _ => answer(random),
    }
}

/// An answer of somebody on the way, before or behind what the server did.
fn answer(random: &mut Random) -> (&'static str, Value) {
    let status = random.one_of(&[408, 425, 429, 500, 502, 503, 504]);
    let waits = matches!(status, 429 | 503) && random.coin();
    let headers = if waits { json!({ "Retry-After": "1" }) } else { json!({}) };
    let rule = json!({
        "fault": "answer", "status": status, "headers": headers,
        "forward": random.coin(), "times": random.within(1..10),
    });
    (if matches!(status, 429 | 503) { "429 or 503" } else { "another status" }, rule)
}

/// An answer to a stream that stays as no server of it would give it.
fn impostor(random: &mut Random, name: &str) -> (&'static str, Value) {
    let (kind, own) = random.one_of(&[
        ("a page with 200", json!({ "status": 200, "forward": true })),
        ("a page with 200", json!({ "status": 200 })),
        ("404 in passing", json!({ "status": 404 })),
        ("403 in passing", json!({ "status": 403 })),
        (
            "a session that was not lost",
            json!({
                "status": 409,
                "headers": { "Producer-Expected-Seq": "0", "Producer-Received-Seq": "9" },
            }),
        ),
    ]);
    let path = format!("/soak/{name}{}x0", random.within(0..2));
    let mut rule = json!({ "fault": "answer", "method": "POST", "path": path });
    if let (Some(rule), Some(own)) = (rule.as_object_mut(), own.as_object()) {
        rule.extend(own.clone());
    }
    (kind, rule)
}

/// The ends of the server.
pub(crate) struct Ends {
    next: Instant,
    /// Until when it is away.
    away: Option<Instant>,
}

impl Ends {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            next: Instant::now() + Duration::from_millis(random.within(BETWEEN_ENDS_MS)),
            away: None,
        }
    }

    /// Whether the server ends soon.
    pub(crate) fn is_due(&self) -> bool {
        self.away.is_none() && Instant::now() >= self.next
    }

    /// Ends the server, or brings it back, when it is time. No request may wait on its way then: a
    /// server that forgot its producers takes one that it has stored for a new one, and nobody at
    /// its other side can know. Where connections end with the server, there is no such request.
    pub(crate) fn advance(
        &mut self,
        server: &mut Server,
        lanes: &[Lane],
        random: &mut Random,
        counts: &mut Counts,
    ) -> Result {
        if let Some(away) = self.away {
            return if Instant::now() < away { Ok(()) } else { self.settle(server) };
        }
        if !self.is_due() || lanes.iter().any(|lane| lane.late > Instant::now()) {
            return Ok(());
        }
        self.next = Instant::now() + Duration::from_millis(random.within(BETWEEN_ENDS_MS));
        if random.within(0..4) == 0 {
            *counts.entry("server stopped").or_default() += 1;
            return server.stop_and_restart(GRACE).map(drop);
        }
        *counts.entry("server killed").or_default() += 1;
        server.kill();
        self.away = Some(Instant::now() + Duration::from_millis(random.within(AWAY_MS)));
        Ok(())
    }

    /// Brings it back, if it is away.
    pub(crate) fn settle(&mut self, server: &mut Server) -> Result {
        if self.away.take().is_some() { server.restart() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use durstream_tests::proxy::Rule;

    use super::*;

    #[test]
    fn every_fault_is_a_rule_and_all_kinds_come() {
        let (mut random, mut kinds) = (Random::new(5), Counts::new());
        for n in 0..2_000 {
            let (kind, rule) =
                if n % 2 == 0 { fault(&mut random) } else { impostor(&mut random, "rust") };
            Rule::from_json(&rule).unwrap();
            *kinds.entry(kind).or_default() += 1;
        }
        assert_eq!(kinds.len(), 12 + 4, "{kinds:?}");
        let choices = |seed| {
            let mut random = Random::new(seed);
            (0..50).map(|_| fault(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(choices(1), choices(1));
        assert_ne!(choices(1), choices(2));
    }
}

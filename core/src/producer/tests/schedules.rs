//! Random schedules of faults, against all promises at once.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// A random fault. Not every server forgets, and not every stream has other writers.
fn random_fault(rng: &mut StdRng, amnesia: bool, foreign: bool) -> Fault {
    match rng.random_range(0..16) {
        0 => Fault::Refuse,
        1 => Fault::CutBefore,
        2 | 3 => Fault::CutAfter,
        4 => status(503),
        5 => Fault::Answer(429, vec![("retry-after", "1".into())]),
        6 => status(500),
        7 | 8 => {
            let (there, back) = (rng.random_range(0..200), rng.random_range(0..200));
            delay(random_fault(rng, amnesia, foreign), there, back)
        }
        9 | 10 if amnesia => Fault::Amnesia(Box::new(random_fault(rng, amnesia, foreign))),
        11 if foreign => Fault::Foreign(Box::new(random_fault(rng, amnesia, foreign))),
        _ => Fault::None,
    }
}

async fn random_schedule(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (amnesia, foreign) = (seed.is_multiple_of(3), seed.is_multiple_of(2));
    let faults: Vec<_> =
        (0..rng.random_range(0..60)).map(|_| random_fault(&mut rng, amnesia, foreign)).collect();
    let server = Scripted::new(faults.clone());
    let poison = rng.random_bool(0.3);
    lock(&server.model).poison = poison.then_some("13");
    let options = Options::new()
        .max_batch_items(rng.random_range(1..20u64))
        .max_in_flight(rng.random_range(1..6u64))
        .linger_ms(rng.random_range(0..3u64))
        .delivery_timeout_ms(if rng.random_bool(0.2) { 2_000u64 } else { 0 })
        .on_uncertain(if rng.random_bool(0.5) { "resend" } else { "report" });
    let engine = open_at(&server, options, rng.random_bool(0.5).then_some("0"));
    let count = rng.random_range(1..120);
    for n in 1..=count {
        write(&engine, n..=n);
        if rng.random_bool(0.2) {
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..20))).await;
        }
    }
    let all = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
    assert!(all.is_ok(), "seed {seed} is stuck: {faults:?}");
    check_accounts(&engine);
    assert_eq!(engine.stats().buffered_bytes, 0);
    let stored = server.stored();
    for n in 1..=count {
        let outcome = outcome(&engine, n).await;
        let copies = stored.iter().filter(|m| **m == n.to_string()).count();
        let truthful = match outcome.status {
            // A server that forgets stores a repeat again; then the outcome says that it may.
            Status::Delivered if outcome.maybe_duplicate && amnesia => copies > 0,
            Status::Delivered => copies == 1,
            Status::DeliveryUnknown => amnesia || copies <= 1,
            _ => copies == 0,
        };
        assert!(truthful, "seed {seed}: {n} is {outcome:?} and stored {copies} times: {faults:?}");
    }
    let mut first_seen: Vec<u64> = Vec::new();
    for message in stored.iter().filter(|m| *m != FOREIGN).map(|m| m.parse().unwrap()) {
        if !first_seen.contains(&message) {
            first_seen.push(message);
        }
    }
    assert!(amnesia || first_seen.is_sorted(), "seed {seed}: {first_seen:?}");
}

/// `DURSTREAM_SEED` and `DURSTREAM_SCHEDULES` replay one failure or go far beyond the default.
#[tokio::test(start_paused = true)]
async fn random_schedules_keep_every_promise() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("DURSTREAM_SEED").unwrap_or(0);
    let count = number("DURSTREAM_SCHEDULES").unwrap_or(2_000);
    for seed in first..first + count {
        random_schedule(seed).await;
    }
}

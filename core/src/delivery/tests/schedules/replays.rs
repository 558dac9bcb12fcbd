//! Jobs that die somewhere and are run again under their epoch (delivery.md 2.5).

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::delivery::tests::replay::run_job;
use crate::delivery::tests::schedules::program::in_time;
use crate::delivery::tests::schedules::schedule::World;
use crate::delivery::tests::schedules::{Broken, Run, broken};
use crate::delivery::tests::*;

fn run(seed: u64, replay: impl AsyncFnOnce(&mut StdRng, &Scripted) -> Result<(), Broken>) -> Run {
    in_virtual_time(async {
        let server = Scripted::seeded(seed, []);
        let rng = &mut StdRng::seed_from_u64(seed);
        (replay(rng, &server).await, server.chance.journal())
    })
}

/// A batch for each write, each run with deadlines or without.
pub(super) fn of_single_writes(seed: u64) -> Run {
    run(seed, single_writes)
}

async fn single_writes(rng: &mut StdRng, server: &Scripted) -> Result<(), Broken> {
    let faults: Vec<_> = (0..rng.random_range(0..40)).map(|_| World::KIND.fault(rng)).collect();
    let count = rng.random_range(1..30u64);
    server.script(faults.clone());
    let runs = rng.random_range(2..4);
    // A run that lets batches expire goes on under later epochs, which fence the next run.
    let mut may_be_fenced = false;
    for run in 1..=runs {
        let deadline = if rng.random_bool(0.3) { rng.random_range(5..200u64) } else { 0 };
        may_be_fenced |= deadline > 0;
        let options = Options::new()
            .epoch(7u64)
            .max_batch_items(1u64)
            .max_in_flight(rng.random_range(1..9u64))
            .request_timeout_ms(rng.random_range(15..120u64))
            .delivery_timeout_ms(deadline);
        let opens_late = rng.random_bool(0.3);
        let engine = if opens_late {
            open_creating(server, Scope::Producer, options)
        } else {
            open(server, options)
        };
        lock(&server.model).down = opens_late && rng.random_bool(0.5);
        for n in 1..=count {
            match engine.accept(&[n.to_string().as_bytes()]) {
                Err(error) if !may_be_fenced => return broken("accepts", error.to_string()),
                _ => {}
            }
            if rng.random_bool(0.2) {
                sleep(rng.random_range(0..50)).await;
            }
        }
        if run < runs {
            sleep(rng.random_range(0..500)).await;
            lock(&server.model).down = false;
            engine.stop_now();
            engine.ended().await;
            continue;
        }
        lock(&server.model).down = false;
        let flushed = in_time(server, engine.flush(), "a flush").await?;
        server.quiet().await;
        let stored = server.stored();
        let undecided = || format!("{flushed:?} {stored:?} {faults:?}");
        if !may_be_fenced && (flushed.is_err() || stored != numbers(1..=count)) {
            return broken("everything once", undecided());
        }
        for n in 1..=engine.stats().accepted {
            let outcome = outcome(&engine, n).await;
            let copies = stored.iter().filter(|text| **text == n.to_string()).count();
            // What an earlier run had on its way under a later epoch may come behind this one's.
            let is_anothers = |(epoch, _, body): &(u64, u64, Bytes)| {
                *epoch > engine.snapshot().epoch && *body == format!("[{n}]")
            };
            let may_double =
                outcome.maybe_duplicate || lock(&server.model).seen.iter().any(is_anothers);
            if outcome.is_delivered() && (copies == 0 || (copies > 1 && !may_double)) {
                return broken("truth", format!("{n} is {outcome:?}: {}", undecided()));
            }
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Write,
    Pause(u64),
    Flush,
    /// For the outcome of a write that many before the last.
    Wait(u64),
}

async fn work(engine: Arc<Engine>, steps: Vec<Step>) {
    let mut written = 0;
    for step in steps {
        match step {
            Step::Write => {
                written += 1;
                engine.accept(&[written.to_string().as_bytes()]).unwrap();
            }
            Step::Pause(ms) => sleep(ms).await,
            Step::Flush => drop(engine.flush().await),
            Step::Wait(before) if written > before => {
                drop(engine.wait(written - before).await);
            }
            Step::Wait(_) => {}
        }
    }
}

/// Batches of several writes, cut by waiting too, over a faster or slower server each time.
pub(super) fn that_wait(seed: u64) -> Run {
    run(seed, waiting)
}

async fn waiting(rng: &mut StdRng, server: &Scripted) -> Result<(), Broken> {
    let steps: Vec<_> = (0..rng.random_range(1..40))
        .map(|_| match rng.random_range(0..20) {
            0..=12 => Step::Write,
            13..=16 => Step::Pause(rng.random_range(0..60)),
            17 => Step::Flush,
            _ => Step::Wait(rng.random_range(0..6)),
        })
        .collect();
    let count = steps.iter().filter(|step| matches!(step, Step::Write)).count() as u64;
    let items = rng.random_range(1..6u64);
    let timeout = if rng.random_bool(0.5) { 0 } else { 60_000u64 };
    let faults: Vec<_> = (0..rng.random_range(0..30))
        .map(|_| {
            let fault = match rng.random_range(0..10) {
                0 => Fault::CutBefore,
                1 | 2 => Fault::CutAfter,
                3 => status(503),
                4 => Fault::Refuse,
                _ => Fault::None,
            };
            delay(fault, rng.random_range(0..50), rng.random_range(0..50))
        })
        .collect();
    server.script(faults.clone());
    let options = || {
        Options::new()
            .max_batch_items(items)
            .delivery_timeout_ms(timeout)
            .retry_initial_delay_ms(5u64)
            .retry_max_delay_ms(50u64)
    };
    let job = |engine| work(engine, steps.clone());
    for _ in 0..rng.random_range(1..4) {
        run_job(server, options(), Some(rng.random_range(0..600)), job).await;
    }
    run_job(server, options(), None, job).await;
    match server.stored() == numbers(1..=count) {
        true => Ok(()),
        false => {
            let how = format!("{:?} of {count}, by {items}: {steps:?} {faults:?}", server.stored());
            broken("everything once", how)
        }
    }
}

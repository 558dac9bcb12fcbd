//! Random schedules of faults and calls, against all promises at once.
//!
//! A schedule follows from its seed alone. One that fails is shrunk, printed, and replayed with
//! `cargo xtask simulate --seed S --schedules 1`.

use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::delivery::callbacks::{Callbacks, Delivery, Failure};
use crate::delivery::closing::Last;
use crate::delivery::closing::close;
use crate::delivery::engine::accept::WriteOptions;
use crate::delivery::tests::*;

/// What no schedule needs: somebody asks in a loop.
const MOST_REQUESTS: usize = 2_000;

/// How often a failing schedule is run again to make it shorter.
const MOST_RUNS: usize = 200;

/// What the program does.
#[derive(Debug, Clone)]
enum Step {
    Write,
    Pause(u64),
    Flush,
    /// Another producer takes the id over and writes.
    Rival,
    Restart,
    /// Ends the stream, with a last message or without.
    Close(bool),
}

/// Everything that is decided by chance.
#[derive(Debug, Clone)]
struct Schedule {
    seed: u64,
    faults: Vec<Fault>,
    steps: Vec<Step>,
    poison: bool,
    mute: bool,
    forgets: bool,
    resends: bool,
    knows_tail: bool,
    callbacks: bool,
    options: Options,
}

/// A random fault. Not every server forgets, and not every stream has other writers.
fn random_fault(rng: &mut StdRng, forgets: bool, foreign: bool) -> Fault {
    match rng.random_range(0..20) {
        18 | 19 => {
            let held = Duration::from_millis(rng.random_range(1..40));
            Fault::Held(Box::new(random_fault(rng, forgets, foreign)), held)
        }
        0 => Fault::Refuse,
        1 => Fault::CutBefore,
        2 | 3 => Fault::CutAfter,
        4 => status(503),
        5 => Fault::Answer(429, vec![("retry-after", "1".into())]),
        6 => status(500),
        7 | 8 => {
            let (there, back) = (rng.random_range(0..200), rng.random_range(0..200));
            delay(random_fault(rng, forgets, foreign), there, back)
        }
        9 | 10 if forgets => Fault::Amnesia(Box::new(random_fault(rng, forgets, foreign))),
        11 if foreign => Fault::Foreign(Box::new(random_fault(rng, forgets, foreign))),
        12 if rng.random_bool(0.2) => status(401),
        13 if rng.random_bool(0.2) => status(413),
        // What stands in between answers in the server's place.
        14 => status([200, 204, 303, 799][rng.random_range(0..4)]),
        _ => Fault::None,
    }
}

fn random_step(rng: &mut StdRng) -> Step {
    match rng.random_range(0..100) {
        0..=74 => Step::Write,
        75..=93 => Step::Pause(rng.random_range(0..30)),
        94..=97 => Step::Flush,
        98 => Step::Restart,
        _ => Step::Rival,
    }
}

impl Schedule {
    fn random(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (forgets, foreign) = (rng.random_bool(0.4), rng.random_bool(0.4));
        let faults = (0..rng.random_range(0..60)).map(|_| random_fault(&mut rng, forgets, foreign));
        let faults = faults.collect();
        let mut steps: Vec<_> =
            (0..rng.random_range(1..150)).map(|_| random_step(&mut rng)).collect();
        if rng.random_bool(0.3) {
            steps.push(Step::Close(rng.random_bool(0.5)));
        }
        let resends = rng.random_bool(0.5);
        let deadline = match rng.random_range(0..10) {
            0..=2 => rng.random_range(3..60u64),
            3 | 4 => 2_000,
            _ => 0,
        };
        let options = Options::new()
            .max_batch_items(rng.random_range(1..20u64))
            .max_in_flight(rng.random_range(1..6u64))
            .linger_ms(rng.random_range(0..3u64))
            .delivery_timeout_ms(deadline)
            .max_buffer_items(if rng.random_bool(0.2) { 10u64 } else { 0 })
            .on_uncertain(if resends { "resend" } else { "report" });
        Schedule {
            seed,
            faults,
            steps,
            poison: rng.random_bool(0.2),
            mute: rng.random_bool(0.02),
            forgets,
            resends,
            knows_tail: rng.random_bool(0.5),
            callbacks: rng.random_bool(0.3),
            options,
        }
    }

    /// A shorter schedule that still fails, and how it does.
    fn shrink(mut self, mut failure: String) -> (Self, String) {
        let mut part = self.steps.len().max(self.faults.len()) / 2;
        let mut runs = 0;
        while part > 0 && runs < MOST_RUNS {
            let mut from = 0;
            while from < self.steps.len().max(self.faults.len()) && runs < MOST_RUNS {
                runs += 2;
                let mut shorter = Vec::new();
                let cut = |n: &usize| !(from..from + part).contains(n);
                let keep = |n: usize| cut(&n);
                let mut less = self.clone();
                less.faults = self
                    .faults
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| keep(*n))
                    .map(|(_, f)| f.clone())
                    .collect();
                shorter.push(less);
                let mut less = self.clone();
                less.steps = self
                    .steps
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| keep(*n))
                    .map(|(_, s)| s.clone())
                    .collect();
                shorter.push(less);
                let mut shrunk = false;
                for less in shorter {
                    if less.faults.len() + less.steps.len() < self.faults.len() + self.steps.len()
                        && let Err(still) = less.run().0
                    {
                        (self, failure, shrunk) = (less, still, true);
                        break;
                    }
                }
                if !shrunk {
                    from += part;
                }
            }
            part /= 2;
        }
        (self, failure)
    }

    /// What came of it, and all that happened.
    fn run(&self) -> (Result<(), String>, Vec<String>) {
        in_virtual_time(async {
            let server = Scripted::seeded(self.seed, self.faults.clone());
            (self.run_on(server.clone()).await, server.chance.journal())
        })
    }

    async fn run_on(&self, server: Scripted) -> Result<(), String> {
        lock(&server.model).poison = self.poison.then_some("13");
        lock(&server.model).mute = self.mute;
        let mut program = Program::start(self, server);
        for step in &self.steps {
            program.take(step).await?;
            program.check_accounts()?;
        }
        program.finish().await
    }
}

/// What a callback was told of a write.
#[derive(Debug, Clone)]
struct Told {
    id: u64,
    tag: u64,
    delivered: bool,
}

/// Most writes have a tag, some have none.
fn tag_of(id: u64) -> u64 {
    if id.is_multiple_of(3) { 0 } else { id << 32 }
}

/// Callbacks that note what they are told.
fn note(told: &Arc<Mutex<Vec<Told>>>) -> Callbacks {
    let (failures, deliveries) = (told.clone(), told.clone());
    let on_error = move |Failure { id, tag, .. }: Failure| {
        lock(&failures).push(Told { id, tag, delivered: false });
    };
    let on_delivery = move |Delivery { first_id, count, tags, .. }: Delivery| {
        let tag = |n: u64| tags.get(n as usize).copied().unwrap_or(0);
        let told = |n: u64| Told { id: first_id + n, tag: tag(n), delivered: true };
        lock(&deliveries).extend((0..count).map(told));
    };
    Callbacks { on_error: Some(Arc::new(on_error)), on_delivery: Some(Arc::new(on_delivery)) }
}

/// All that happens in a schedule.
pub(super) fn journal(seed: u64) -> Vec<String> {
    Schedule::random(seed).run().1
}

/// The program that a schedule describes, as it runs.
struct Program<'a> {
    schedule: &'a Schedule,
    server: Scripted,
    engine: Arc<Engine>,
    rivals: Vec<Arc<Engine>>,
    written: u64,
    told: Arc<Mutex<Vec<Told>>>,
    last: Option<bool>,
}

impl<'a> Program<'a> {
    fn start(schedule: &'a Schedule, server: Scripted) -> Self {
        let tail = schedule.knows_tail.then_some("0");
        let engine = open_simulated(&server, schedule.options.clone(), tail);
        let told = Arc::default();
        if schedule.callbacks {
            engine.listeners.add(0, note(&told));
        }
        let (rivals, written, last) = (Vec::new(), 0, None);
        Program { schedule, server, engine, rivals, written, told, last }
    }

    async fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Write => {
                // Refused calls take no number: the next one tries the same text again.
                let next = self.written + 1;
                let options = WriteOptions { tag: tag_of(next), block: false };
                if self.engine.accept_with(&[next.to_string().as_bytes()], 0, options).is_ok() {
                    self.written = next;
                }
            }
            Step::Pause(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Step::Flush => drop(self.in_time(self.engine.flush(), "a flush").await?),
            Step::Restart => drop(self.in_time(self.engine.restart(), "a restart").await?),
            Step::Rival => {
                let rival = open(&self.server, Options::new());
                let text = format!("{}", 1_000_000 + self.rivals.len());
                rival.accept(&[text.as_bytes()]).map_err(|e| e.to_string())?;
                self.rivals.push(rival);
            }
            Step::Close(message) => {
                let text = message.then(|| b"999999".to_vec());
                let last = text.as_deref().map_or(Last::Nothing, |text| Last::of(Some(text)));
                self.last = Some(self.in_time(close(&self.engine, last), "a close").await?.is_ok());
                // A last message is a write of its own.
                self.written += self.engine.stats().accepted - self.written;
            }
        }
        Ok(())
    }

    async fn in_time<T>(
        &self,
        mut pending: crate::Pending<T>,
        what: &str,
    ) -> Result<crate::Result<T>, String> {
        for _ in 0..60 {
            if let Ok(result) = tokio::time::timeout(Duration::from_secs(10), &mut pending).await {
                return Ok(result);
            }
            let seen = &lock(&self.server.model).seen;
            if seen.len() > MOST_REQUESTS {
                return Err(format!("{what} asks for ever: {:?}", &seen[seen.len() - 3..]));
            }
        }
        Err(format!("{what} is stuck"))
    }

    fn check_accounts(&self) -> Result<(), String> {
        let s = self.engine.stats();
        let settled = s.delivered + s.rejected + s.cancelled + s.unknown;
        if s.accepted != settled + s.pending || s.accepted != self.written {
            return Err(format!("the accounts are off: {s:?}"));
        }
        match self.engine.config.max_buffer_items {
            limit if limit > 0 && s.pending > limit + 1 => Err(format!("too much: {s:?}")),
            _ => Ok(()),
        }
    }

    async fn finish(self) -> Result<(), String> {
        let _ = self.in_time(self.engine.flush(), "the last flush").await?;
        for rival in &self.rivals {
            let _ = self.in_time(rival.flush(), "a rival's flush").await?;
        }
        self.check_accounts()?;
        self.server.quiet().await;
        let (mut settled, mut late) = (Vec::new(), Vec::new());
        let stored = self.server.stored();
        for n in 1..=self.written {
            let outcome = outcome(&self.engine, n).await;
            settled.push((n, outcome.is_delivered()));
            // One whose end nobody knew may still come to a server that forgot its session.
            if self.schedule.forgets && outcome.status == Status::DeliveryUnknown {
                late.push(n.to_string());
            }
            let text = match self.schedule.steps.last() {
                Some(Step::Close(true)) if n == self.written && self.last.is_some() => {
                    // Its number is the last one if it was accepted at all.
                    if stored.iter().any(|m| *m == n.to_string()) {
                        n.to_string()
                    } else {
                        "999999".into()
                    }
                }
                _ => n.to_string(),
            };
            self.check_outcome(n, &outcome, stored.iter().filter(|m| **m == text).count())?;
        }
        self.check_order(stored.iter().filter(|text| !late.contains(text)))?;
        let closed = lock(&self.server.model).closed;
        if self.last.is_some_and(|ended| ended && !closed) {
            return Err("a close that succeeded closed nothing".into());
        }
        self.check_callbacks(&settled).await?;
        match self.engine.stats().buffered_bytes {
            0 => Ok(()),
            held => Err(format!("{held} bytes are held for nothing")),
        }
    }

    fn check_outcome(&self, n: u64, outcome: &Outcome, copies: usize) -> Result<(), String> {
        let forgets = self.schedule.forgets || self.schedule.mute;
        let truthful = match outcome.status {
            // What is sent again without knowing says that it may be there twice.
            Status::Delivered if outcome.maybe_duplicate => copies > 0,
            Status::Delivered => copies == 1,
            Status::DeliveryUnknown => forgets || self.schedule.resends || copies <= 1,
            _ => copies == 0,
        };
        match truthful {
            true => Ok(()),
            false => Err(format!("{n} is {outcome:?} and stored {copies} times")),
        }
    }

    /// The first copy of each write stands in call order.
    fn check_order<'b>(&self, stored: impl Iterator<Item = &'b String>) -> Result<(), String> {
        let mut seen: Vec<u64> = Vec::new();
        for n in stored.filter_map(|m| m.parse().ok()) {
            if n != 0 && n < 999_999 && !seen.contains(&n) {
                seen.push(n);
            }
        }
        match seen.is_sorted() {
            true => Ok(()),
            false => Err(format!("out of order: {seen:?}")),
        }
    }

    /// Each write was told once, what was delivered in order, and nothing is held for it.
    async fn check_callbacks(&self, settled: &[(u64, bool)]) -> Result<(), String> {
        if !self.schedule.callbacks {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await; // they are tasks of their own
        let mut told = lock(&self.told).clone();
        if !told.iter().filter(|told| told.delivered).is_sorted_by_key(|told| told.id) {
            return Err(format!("told out of order: {told:?}"));
        }
        told.sort_unstable_by_key(|told| told.id);
        let same = |(told, &(id, delivered)): (&Told, &(u64, bool))| {
            // The last message of a stream has no tag.
            let tagged = told.tag == tag_of(id) || (told.tag == 0 && id == self.written);
            (told.id, told.delivered) == (id, delivered) && tagged
        };
        match told.len() == settled.len() && told.iter().zip(settled).all(same) {
            true => Ok(()),
            false => Err(format!("{settled:?} came to be, and told was {told:?}")),
        }
    }
}

/// `DURSTREAM_SEED` and `DURSTREAM_SCHEDULES` replay one failure or go far beyond the default.
#[test]
fn random_schedules_keep_every_promise() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("DURSTREAM_SEED").unwrap_or(0);
    let count = number("DURSTREAM_SCHEDULES").unwrap_or(500);
    for seed in first..first + count {
        let schedule = Schedule::random(seed);
        if let Err(failure) = schedule.run().0 {
            eprintln!("seed {seed}: {failure}; shrinking");
            let (schedule, failure) = schedule.shrink(failure);
            panic!("seed {seed}: {failure}\n{schedule:#?}");
        }
    }
}

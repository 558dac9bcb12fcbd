//! Rougher random schedules: late arrivals, short deadlines, stops and closes in between.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::delivery::callbacks::{Callbacks, ErrorCallback, Failure};
use crate::delivery::closing::Last;
use crate::delivery::closing::close;
use crate::delivery::tests::*;
use crate::transport::network;

#[derive(Debug, Clone)]
enum Step {
    Write,
    Pause(u64),
    Flush,
    DropFlush,
    Restart,
    DropRestart,
    Close(bool),
    DropClose,
    Rival,
    Forget,
    Stop(bool),
}

#[derive(Debug, Clone)]
struct Schedule {
    seed: u64,
    faults: Vec<Fault>,
    steps: Vec<Step>,
    poison: bool,
    forgets: bool,
    cluster: bool,
    resends: bool,
    callbacks: bool,
    tail: bool,
    options: Options,
    #[expect(dead_code, reason = "printed with a schedule that fails")]
    shown: String,
}

fn fault(rng: &mut StdRng, forgets: bool, foreign: bool, rough: bool) -> Fault {
    match rng.random_range(0..30) {
        26..=29 => {
            let held = Duration::from_millis(rng.random_range(1..40));
            Fault::Held(Box::new(fault(rng, forgets, foreign, rough)), held)
        }
        0 => Fault::Refuse,
        1 => Fault::CutBefore,
        2 | 3 => Fault::CutAfter,
        4 => status(503),
        5 => Fault::Answer(429, vec![("retry-after", "1".into())]),
        6 => status(502),
        7..=10 => {
            let (there, back) = (rng.random_range(0..60), rng.random_range(0..60));
            delay(fault(rng, forgets, foreign, rough), there, back)
        }
        11 if forgets => Fault::Amnesia(Box::new(fault(rng, forgets, foreign, rough))),
        12 if foreign => Fault::Foreign(Box::new(fault(rng, forgets, foreign, rough))),
        13 if rough => status(413),
        14 if rough => status(400),
        15 if rough => status(422),
        16 if rough => status(302),
        17 if rough => status(404),
        18 if rough => status(401),
        19 if rough => status(202),
        20 if rough => status([200, 204, 303, 799][rng.random_range(0..4)]),
        _ => Fault::None,
    }
}

impl Schedule {
    fn random(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let rng = &mut rng;
        let (forgets, foreign) = (rng.random_bool(0.3), rng.random_bool(0.3));
        // Of several servers none forgets.
        let cluster = rng.random_bool(0.2);
        let forgets = forgets && !cluster;
        let rough = rng.random_bool(0.5);
        let faults: Vec<_> =
            (0..rng.random_range(0..80)).map(|_| fault(rng, forgets, foreign, rough)).collect();
        let steps = (0..rng.random_range(1..120))
            .map(|_| match rng.random_range(0..200) {
                0..=119 => Step::Write,
                120..=169 => Step::Pause(rng.random_range(0..40)),
                170..=175 => Step::Flush,
                176..=178 => Step::DropFlush,
                179..=181 => Step::Restart,
                182..=184 => Step::DropRestart,
                185..=187 => Step::Close(rng.random_bool(0.5)),
                188 => Step::DropClose,
                189 => Step::Rival,
                190 if forgets => Step::Forget,
                191 => Step::Stop(rng.random_bool(0.5)),
                _ => Step::Write,
            })
            .collect();
        let resends = rng.random_bool(0.5);
        let timeout = match rng.random_range(0..4) {
            0 => 0,
            1 => rng.random_range(1..40u64),
            2 => rng.random_range(40..400),
            _ => rng.random_range(400..3_000),
        };
        let items = rng.random_range(1..6u64);
        let flights = rng.random_range(1..9u64);
        let bytes = rng.random_range(4..40u64);
        let buffer = rng.random_range(60..400u64);
        let request = rng.random_range(15..120u64);
        let linger = rng.random_range(0..if timeout == 0 { 3 } else { timeout.min(3) });
        let options = Options::new()
            .max_batch_items(items)
            .max_batch_bytes(bytes)
            .max_in_flight(flights)
            .linger_ms(linger)
            .request_timeout_ms(request)
            .retry_initial_delay_ms(rng.random_range(1..50u64))
            .retry_max_delay_ms(200u64)
            .delivery_timeout_ms(timeout)
            .max_buffer_bytes(buffer)
            .on_uncertain(if resends { "resend" } else { "report" });
        let shown = format!(
            "items {items} bytes {bytes} flights {flights} linger {linger} request {request} \
             timeout {timeout} buffer {buffer}"
        );
        Schedule {
            seed,
            faults,
            steps,
            poison: rng.random_bool(0.2),
            forgets,
            cluster,
            resends,
            callbacks: rng.random_bool(0.3),
            tail: rng.random_bool(0.5),
            options,
            shown,
        }
    }

    fn shrink(mut self, mut failure: String) -> (Self, String) {
        let same = |a: &str, b: &str| a.split(' ').next_back() == b.split(' ').next_back();
        for _ in 0..4 {
            let mut part = (self.steps.len().max(self.faults.len()) / 2).max(1);
            while part > 0 {
                let mut from = 0;
                while from < self.steps.len().max(self.faults.len()) {
                    let mut shrunk = false;
                    for which in 0..3 {
                        let mut less = self.clone();
                        let to = from + part;
                        match which {
                            0 if from < less.faults.len() => {
                                less.faults.drain(from..to.min(less.faults.len()));
                            }
                            1 if from < less.steps.len() => {
                                less.steps.drain(from..to.min(less.steps.len()));
                            }
                            2 if from < less.faults.len() && part == 1 => {
                                if matches!(less.faults[from], Fault::None) {
                                    continue;
                                }
                                less.faults[from] = Fault::None;
                            }
                            _ => continue,
                        }
                        if let Err(still) = less.run().0
                            && same(&still, &failure)
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
        let alone = Options::new().url("http://model/stream");
        let several = Options::new().stream_path("s").endpoints("http://a,http://b");
        let endpoint = Endpoint::resolve(if self.cluster { &several } else { &alone }).unwrap();
        let mut config =
            Config::new(Scope::Producer, &self.options, "p", "application/json").unwrap();
        config.opened_at = self.tail.then(|| "0".into());
        let runtime = network::simulated(Arc::new(server.clone()), server.chance.clone());
        let engine = Engine::start_on(runtime, endpoint, config, None, None);
        let reported = Arc::new(AtomicU64::new(0));
        if self.callbacks {
            let reported = reported.clone();
            let callback: ErrorCallback = Arc::new(move |_: Failure| {
                reported.fetch_add(1, Ordering::Relaxed);
            });
            engine.listeners.add(1, Callbacks { on_error: Some(callback), on_delivery: None });
        }
        let mut texts: Vec<String> = vec![String::new()];
        let mut rivals = Vec::new();
        let mut lasts = 0;
        let mut next = 0u64;
        for step in &self.steps {
            match step {
                Step::Write => {
                    let text = (next + 1).to_string();
                    if let Ok(id) = engine.accept(&[text.as_bytes()]) {
                        next += 1;
                        while texts.len() < id as usize {
                            texts.push("?".into());
                        }
                        texts.push(text);
                    }
                }
                Step::Pause(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
                Step::Flush => drop(in_time(&server, engine.flush(), "flush").await?),
                Step::DropFlush => drop(engine.flush()),
                Step::Restart => drop(in_time(&server, engine.restart(), "restart").await?),
                Step::DropRestart => drop(engine.restart()),
                Step::Close(message) => {
                    lasts += 1;
                    let text = (900_000 + lasts).to_string();
                    let last = match message {
                        true => Last::of(Some(text.as_bytes())),
                        false => Last::Nothing,
                    };
                    let ended = in_time(&server, close(&engine, last), "close").await?;
                    if ended.is_ok() && !lock(&server.model).closed {
                        return Err("close closed nothing".into());
                    }
                    while (texts.len() as u64) <= engine.stats().accepted {
                        texts.push(text.clone());
                    }
                }
                Step::DropClose => drop(close(&engine, Last::Nothing)),
                Step::Rival => {
                    let rival = open(&server, Options::new());
                    rival.accept(&[b"800000"]).unwrap();
                    rivals.push(rival);
                }
                Step::Forget => lock(&server.model).producers.clear(),
                Step::Stop(true) => engine.stop_now(),
                Step::Stop(false) => engine.begin_stop(),
            }
            let s = engine.stats();
            if s.accepted != s.delivered + s.rejected + s.cancelled + s.unknown + s.pending {
                return Err(format!("accounts {s:?}"));
            }
        }
        drop(in_time(&server, engine.flush(), "last-flush").await?);
        for rival in &rivals {
            drop(in_time(&server, rival.flush(), "rival-flush").await?);
        }
        engine.begin_stop();
        let ended = tokio::time::timeout(Duration::from_secs(600), engine.ended()).await;
        if ended.is_err() {
            return Err("never-ends".into());
        }
        server.quiet().await;
        let stored = server.stored();
        let mut failed = 0;
        let mut late = Vec::new();
        let s = engine.stats();
        let mut counts = [0u64; 4];
        for id in 1..=s.accepted {
            let Ok(outcome) = tokio::time::timeout(Duration::from_secs(60), engine.wait(id)).await
            else {
                return Err(format!("{id} unsettled"));
            };
            let outcome = outcome.unwrap();
            failed += u64::from(!outcome.is_delivered());
            let at = match outcome.status {
                Status::Delivered => 0,
                Status::Rejected => 1,
                Status::Cancelled => 2,
                _ => 3,
            };
            counts[at] += 1;
            let text = &texts[id as usize];
            let copies = stored.iter().filter(|m| *m == text).count();
            let truthful = match outcome.status {
                Status::Delivered if outcome.maybe_duplicate => copies > 0,
                Status::Delivered => copies == 1,
                // One that was late when a refusal put it under another tuple may be there twice.
                Status::DeliveryUnknown => {
                    let was_late = lock(&server.model).late.contains(text);
                    self.forgets || self.resends || was_late || copies <= 1
                }
                _ => copies == 0,
            };
            // One whose end nobody knew may still come to a server that forgot its session.
            if self.forgets && outcome.status == Status::DeliveryUnknown {
                late.push(text.clone());
            }
            if !truthful {
                let kind = match (outcome.status, copies) {
                    (Status::Delivered, 0) => "LOST",
                    (Status::Delivered, _) => "DOUBLED",
                    (Status::DeliveryUnknown, _) => "unknown-doubled",
                    _ => "LIED",
                };
                return Err(format!(
                    "{text} is {outcome:?}, {copies} copies of {stored:?}: {kind}"
                ));
            }
        }
        if counts != [s.delivered, s.rejected, s.cancelled, s.unknown] {
            return Err(format!("{counts:?} {s:?} counts"));
        }
        let mut seen: Vec<u64> = Vec::new();
        let in_order = stored.iter().filter(|text| !late.contains(text));
        for n in in_order.filter_map(|m| m.parse().ok()) {
            if n != 0 && n < 800_000 && !seen.contains(&n) {
                seen.push(n);
            }
        }
        if !seen.is_sorted() {
            return Err(format!("{seen:?} order"));
        }
        if self.callbacks {
            tokio::time::sleep(Duration::from_millis(1)).await; // they are tasks of their own
            if reported.load(Ordering::Relaxed) != failed {
                return Err(format!("{failed} {} callbacks", reported.load(Ordering::Relaxed)));
            }
        }
        let held = engine.stats().buffered_bytes;
        if held != 0 {
            return Err(format!("{held} bytes held"));
        }
        rivals.iter().for_each(|rival| rival.stop_now());
        Ok(())
    }
}

async fn in_time<T>(
    server: &Scripted,
    mut pending: crate::Pending<T>,
    what: &str,
) -> Result<crate::Result<T>, String> {
    for _ in 0..60 {
        if let Ok(result) = tokio::time::timeout(Duration::from_secs(10), &mut pending).await {
            return Ok(result);
        }
        if lock(&server.model).seen.len() > 5_000 {
            return Err(format!("{what} asks-for-ever"));
        }
    }
    Err(format!("{what} hangs"))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn rough_random_schedules_keep_every_promise() {
    let first = number("DURSTREAM_SEED").unwrap_or(0);
    for seed in first..first + number("DURSTREAM_SCHEDULES").unwrap_or(500) {
        let schedule = Schedule::random(seed);
        if let Err(failure) = schedule.run().0 {
            eprintln!("seed {seed}: {failure}; shrinking");
            let (schedule, failure) = schedule.shrink(failure);
            panic!("seed {seed}: {failure}\n{schedule:#?}");
        }
    }
}

/// A job that dies somewhere and is run again under its epoch, each run with deadlines or without.
async fn replay(seed: u64, server: Scripted) -> Result<(), String> {
    let rng = &mut StdRng::seed_from_u64(seed);
    let faults: Vec<_> =
        (0..rng.random_range(0..40)).map(|_| fault(rng, false, false, false)).collect();
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
        let engine =
            if opens_late { open_unopened(&server, options) } else { open(&server, options) };
        lock(&server.model).down = opens_late && rng.random_bool(0.5);
        for n in 1..=count {
            match engine.accept(&[n.to_string().as_bytes()]) {
                Err(error) if !may_be_fenced => return Err(error.to_string()),
                _ => {}
            }
            if rng.random_bool(0.2) {
                tokio::time::sleep(Duration::from_millis(rng.random_range(0..50))).await;
            }
        }
        if run < runs {
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..500))).await;
            lock(&server.model).down = false;
            engine.stop_now();
            engine.ended().await;
            continue;
        }
        lock(&server.model).down = false;
        let flushed = in_time(&server, engine.flush(), "flush").await?;
        server.quiet().await;
        let stored = server.stored();
        let undecided = || format!("{flushed:?} {stored:?} {faults:?}");
        if !may_be_fenced && (flushed.is_err() || stored != numbers(1..=count)) {
            return Err(undecided());
        }
        for n in 1..=engine.stats().accepted {
            let outcome = outcome(&engine, n).await;
            let copies = stored.iter().filter(|text| **text == n.to_string()).count();
            if outcome.is_delivered() && (copies == 0 || (copies > 1 && !outcome.maybe_duplicate)) {
                return Err(format!("{n} is {outcome:?}, {copies} times: {}", undecided()));
            }
        }
    }
    Ok(())
}

/// One that creates its stream before its first batch.
fn open_unopened(server: &Scripted, options: Options) -> Arc<Engine> {
    let endpoint = Endpoint::resolve(&Options::new().url("http://model/stream")).unwrap();
    let mut config = Config::new(Scope::Producer, &options, "p", "application/json").unwrap();
    config.create = Some(http::HeaderMap::new());
    Engine::start_on(
        network::simulated(Arc::new(server.clone()), server.chance.clone()),
        endpoint,
        config,
        None,
        None,
    )
}

/// All that happens in a schedule, and in one of replays.
pub(super) fn journals(seed: u64) -> [Vec<String>; 2] {
    [Schedule::random(seed).run().1, run_replay(seed).1]
}

fn run_replay(seed: u64) -> (Result<(), String>, Vec<String>) {
    in_virtual_time(async {
        let server = Scripted::seeded(seed, []);
        (replay(seed, server.clone()).await, server.chance.journal())
    })
}

#[test]
fn random_schedules_of_replays_store_everything_once() {
    let first = number("DURSTREAM_SEED").unwrap_or(0);
    for seed in first..first + number("DURSTREAM_SCHEDULES").unwrap_or(500) {
        if let Err(failure) = run_replay(seed).0 {
            panic!("seed {seed}: {failure}");
        }
    }
}

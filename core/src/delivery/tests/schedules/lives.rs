//! A program with an outbox that dies somewhere, and is started again until everything is delivered.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::AbortHandle;

use crate::delivery::buffer::batch::Tag;
use crate::delivery::callbacks::{Callbacks, Delivery, Failure};
use crate::delivery::engine::accept::{Full, WriteOptions};
use crate::delivery::open::open_outbox;
use crate::delivery::tests::schedules::program::{OTHERS, check_order, in_time};
use crate::delivery::tests::schedules::schedule::World;
use crate::delivery::tests::schedules::{Broken, Run, broken};
use crate::delivery::tests::*;
use crate::outbox::model::ModelDisk;
use crate::outbox::{Disk, Sizes};
use crate::transport::redirects::Redirects;

/// Small files: a schedule fills some of them.
const SIZES: Sizes = Sizes { control: 4_096, least: 512, most: 2_048 };

/// What happens in a life.
#[derive(Debug, Clone)]
enum Step {
    Write,
    WriteBroken,
    Group(u64),
    Pause(u64),
    Flush,
    DropFlush,
    Restart,
    DropRestart,
    /// Another producer takes the id over and writes.
    Rival,
    Forget,
    /// The server is away from here on, or back.
    Down(bool),
    /// The process dies.
    Crash,
    /// The machine does.
    MachineCrash,
    Stop,
    /// Delivers what was accepted first.
    Drain,
}

/// How the producer of each life is set up.
#[derive(Clone)]
struct Setup {
    options: Vec<(&'static str, u64)>,
    resends: bool,
    is_typed: bool,
    creates: bool,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Setup { options, resends, is_typed, creates } = self;
        let options: Vec<_> = options.iter().map(|(n, v)| format!("{n} {v}")).collect();
        write!(f, "resends {resends}, typed {is_typed}, creates {creates}: {}", options.join(", "))
    }
}

/// Everything that is decided by chance.
#[derive(Debug, Clone)]
pub(super) struct Lives {
    seed: u64,
    faults: Vec<Fault>,
    steps: Vec<Step>,
    forgets: bool,
    /// Other writers write to the stream, or take the id over.
    has_rivals: bool,
    poison: bool,
    cluster: bool,
    is_text: bool,
    sync: &'static str,
    setups: Vec<Setup>,
}

fn setup(rng: &mut StdRng, resends: bool, is_text: bool) -> Setup {
    let mut options = vec![
        ("max_in_flight", rng.random_range(1..9)),
        ("max_batch_items", rng.random_range(1..6)),
        ("linger_ms", rng.random_range(0..3)),
        ("max_batch_bytes", rng.random_range(4..40)),
        ("max_buffer_bytes", rng.random_range(4..200)),
        ("request_timeout_ms", rng.random_range(15..120)),
        ("retry_initial_delay_ms", rng.random_range(1..50)),
        ("retry_max_delay_ms", 200),
    ];
    if rng.random_bool(0.3) {
        options.push(("outbox_max_bytes", rng.random_range(60..400)));
    }
    let (is_typed, creates) = (rng.random_bool(0.7), rng.random_bool(0.2));
    Setup {
        options,
        resends,
        is_typed: (is_typed || creates) && !is_text,
        creates: creates && !is_text,
    }
}

fn step(rng: &mut StdRng, lives: &Lives) -> Step {
    match rng.random_range(0..200) {
        0..=43 => Step::Pause(rng.random_range(0..40)),
        44 => Step::Pause(rng.random_range(0..8_000)),
        45..=50 => Step::Flush,
        51..=53 => Step::DropFlush,
        54..=56 => Step::Restart,
        57 => Step::DropRestart,
        58..=59 if lives.has_rivals => Step::Rival,
        60..=61 if lives.forgets => Step::Forget,
        62..=63 => Step::Down(rng.random_bool(0.5)),
        64..=67 => Step::Crash,
        68..=69 => Step::MachineCrash,
        70..=71 => Step::Stop,
        72 => Step::Drain,
        73..=85 => Step::Group(rng.random_range(1..6)),
        86..=87 => Step::WriteBroken,
        _ => Step::Write,
    }
}

impl Lives {
    pub(super) fn random(seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed);
        let cluster = rng.random_bool(0.2);
        let forgets = rng.random_bool(0.3) && !cluster;
        let has_rivals = rng.random_bool(0.3);
        let refuses = rng.random_bool(0.3);
        let world = World {
            forgets,
            foreign: rng.random_bool(0.3),
            strangers: true,
            refuses,
            longest_delay: 200,
        };
        let faults = (0..rng.random_range(0..80)).map(|_| world.fault(rng)).collect();
        let is_text = rng.random_bool(0.2);
        let mut lives = Lives {
            seed,
            faults,
            steps: Vec::new(),
            forgets,
            has_rivals,
            poison: rng.random_bool(0.2),
            cluster,
            is_text,
            sync: ["process", "batch", "write"][rng.random_range(0..3)],
            setups: Vec::new(),
        };
        let count = rng.random_range(1..150);
        lives.steps = (0..count).map(|_| step(rng, &lives)).collect();
        let resends = rng.random_bool(0.5);
        lives.setups = (0..8).map(|_| setup(rng, resends, is_text)).collect();
        lives
    }

    pub(super) fn run(&self) -> Run {
        in_virtual_time(async {
            let server = Scripted::seeded(self.seed, self.faults.clone());
            {
                let mut model = lock(&server.model);
                model.poison = self.poison.then_some("13");
                model.content_type = self.is_text.then_some("text/plain");
            }
            let mut program = Program::new(self, server.clone());
            (program.run().await, server.chance.journal())
        })
    }

    /// A shorter one that breaks the same promise.
    pub(super) fn shrink(mut self, mut failure: Broken) -> (Self, Broken) {
        let mut part = self.steps.len().max(self.faults.len()) / 2;
        let mut runs = 0;
        while part > 0 {
            let mut from = 0;
            while from < self.steps.len().max(self.faults.len()) && runs < 600 {
                let mut less = Vec::new();
                if from < self.steps.len() {
                    let mut own = self.clone();
                    own.steps.drain(from..(from + part).min(self.steps.len()));
                    less.push(own);
                }
                if from < self.faults.len() {
                    let mut own = self.clone();
                    own.faults.drain(from..(from + part).min(self.faults.len()));
                    less.push(own);
                    let mut own = self.clone();
                    if !matches!(own.faults[from], Fault::None) {
                        own.faults[from] = Fault::None;
                        less.push(own);
                    }
                }
                let shorter = less.into_iter().find_map(|less| {
                    runs += 1;
                    let still = less.run().0.err()?;
                    (still.promise == failure.promise).then_some((less, still))
                });
                match shorter {
                    Some(shorter) => (self, failure) = shorter,
                    None => from += part,
                }
            }
            part /= 2;
        }
        (self, failure)
    }
}

struct Life {
    engine: Arc<Engine>,
    task: AbortHandle,
}

struct Program<'a> {
    lives: &'a Lives,
    server: Scripted,
    disk: ModelDisk,
    life: Option<Life>,
    /// How many lives there were.
    count: usize,
    /// By number, from 1: what was accepted.
    writes: Vec<String>,
    groups: Vec<std::ops::Range<usize>>,
    next: u64,
    rivals: u64,
    /// What each write was told, life after life.
    told: Arc<Mutex<BTreeMap<u64, Vec<Outcome>>>>,
    /// The machine crashed.
    has_crashed: bool,
    /// Bytes that were counted behind the end of a life.
    held: u64,
}

impl<'a> Program<'a> {
    fn new(lives: &'a Lives, server: Scripted) -> Self {
        Program {
            lives,
            server,
            disk: ModelDisk::new(lives.seed),
            life: None,
            count: 0,
            writes: Vec::new(),
            groups: Vec::new(),
            next: 1,
            rivals: 0,
            told: Arc::default(),
            has_crashed: false,
            held: 0,
        }
    }

    fn callbacks(&self) -> Callbacks {
        let (failures, deliveries) = (self.told.clone(), self.told.clone());
        type Told = Mutex<BTreeMap<u64, Vec<Outcome>>>;
        let note = |told: &Told, tag, outcome| lock(told).entry(tag).or_default().push(outcome);
        let on_error = move |failure: Failure| note(&failures, failure.tag, failure.outcome);
        let on_delivery = move |delivery: Delivery| {
            for tag in delivery.tags {
                note(&deliveries, tag, delivery.outcome.clone());
            }
        };
        Callbacks {
            on_error: Some(Arc::new(on_error)),
            on_delivery: Some(Arc::new(on_delivery)),
            ..Callbacks::default()
        }
    }

    fn open(&mut self) -> Result<Arc<Engine>, Broken> {
        if let Some(life) = &self.life {
            return Ok(life.engine.clone());
        }
        let setup = &self.lives.setups[self.count % self.lives.setups.len()];
        self.count += 1;
        let mut options = Options::new()
            .outbox_dir("somewhere")
            .outbox_sync(self.lives.sync)
            .on_uncertain(if setup.resends { "resend" } else { "report" });
        for (name, value) in &setup.options {
            options.set(name, &value.to_string()).expect("a number within its limits");
        }
        let content_type = match setup.is_typed {
            true => StreamType::given("application/json"),
            false => StreamType::default(),
        };
        let config = Config::new(Scope::Producer, &options, "p", content_type).unwrap();
        let create = setup.creates.then(|| Create { at_open: true, ..Create::default() });
        let config = Config { create, ..config };
        let stream = if self.lives.cluster { cluster() } else { model() };
        let transport: Arc<dyn Transport> = match self.lives.cluster {
            true => Arc::new(Redirects::new(self.server.clone(), self.server.chance.clone())),
            false => Arc::new(self.server.clone()),
        };
        let runtime = network::simulated(transport, self.server.chance.clone());
        let endpoint = Endpoint::resolve(&stream).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let kept = match open_outbox(&disk, SIZES, &endpoint, &config, None) {
            Ok(kept) => kept,
            Err(error) => return broken("opens", error.to_string()),
        };
        let (engine, task) =
            Engine::with_task(runtime, endpoint, config, Some(self.callbacks()), None, kept);
        let task = tokio::spawn(task.run()).abort_handle();
        self.life = Some(Life { engine: engine.clone(), task });
        Ok(engine)
    }

    async fn run(&mut self) -> Result<(), Broken> {
        for step in &self.lives.steps {
            self.take(step).await?;
        }
        self.end().await?;
        self.check()
    }

    async fn take(&mut self, step: &Step) -> Result<(), Broken> {
        let engine = self.open()?;
        let server = self.server.clone();
        match step {
            Step::Write => self.write(&engine, 1, false),
            Step::WriteBroken => self.write(&engine, 1, true),
            Step::Group(count) => self.write(&engine, *count, false),
            Step::Pause(ms) => sleep(*ms).await,
            Step::Flush if !lock(&server.model).down => {
                drop(in_time(&server, engine.flush(), "a flush").await?);
            }
            Step::Restart if !lock(&server.model).down => {
                drop(in_time(&server, engine.restart(), "a restart").await?);
            }
            Step::Flush | Step::DropFlush => drop(engine.flush()),
            Step::Restart | Step::DropRestart => drop(engine.restart()),
            Step::Rival => self.rival().await,
            Step::Forget => lock(&server.model).producers.clear(),
            Step::Down(down) => lock(&server.model).down = *down,
            Step::Crash => self.crash(engine).await,
            Step::MachineCrash => {
                self.crash(engine).await;
                self.disk.crash();
                self.has_crashed = true;
            }
            Step::Stop => {
                engine.stop_now();
                self.gone(engine).await?;
            }
            Step::Drain => {
                engine.begin_stop();
                if lock(&server.model).down {
                    self.crash(engine).await;
                } else {
                    self.gone(engine).await?;
                }
            }
        }
        self.check_accounts()
    }

    fn check_accounts(&self) -> Result<(), Broken> {
        let Some(life) = &self.life else { return Ok(()) };
        let s = life.engine.stats();
        let settled = s.delivered + s.rejected + s.cancelled + s.unknown + s.kept;
        match s.accepted == settled + s.pending {
            true => Ok(()),
            false => broken("accounts", format!("{s:?}")),
        }
    }

    fn write(&mut self, engine: &Arc<Engine>, count: u64, broken_json: bool) {
        let end = if self.lives.is_text { " " } else { "" };
        let text = |n: u64| match broken_json {
            true => format!("{n},{n}"),
            false => n.to_string(),
        };
        let texts: Vec<String> = (self.next..).take(count as usize).map(text).collect();
        let bytes: Vec<Vec<u8>> = texts.iter().map(|text| format!("{text}{end}").into()).collect();
        let checked: crate::Result<Vec<_>> =
            bytes.iter().map(|own| engine.check_message(own)).collect();
        let Ok(checked) = checked else { return };
        let accepted = match &bytes[..] {
            [one] => {
                let options = WriteOptions { tag: self.next, block: false };
                engine.accept_message(one, checked[0], options)
            }
            _ => {
                let tags = (self.next..).map(|number| Tag { number, holder: 0 });
                let group: Vec<_> = bytes.iter().map(Vec::as_slice).zip(tags).collect();
                engine.accept_group(&group, checked[0], Full::Refused)
            }
        };
        if accepted.is_ok() {
            self.next += count;
            self.groups.push(self.writes.len()..self.writes.len() + texts.len());
            self.writes.extend(texts);
        }
    }

    async fn rival(&mut self) {
        self.rivals += 1;
        let content_type = lock(&self.server.model).content_type();
        let (options, content_type) = (Options::new(), StreamType::given(content_type));
        let config = Config::new(Scope::Producer, &options, "p", content_type).unwrap();
        let endpoint = Endpoint::resolve(&model()).unwrap();
        let rival = Engine::start_on(runtime(&self.server), endpoint, config, None, None);
        let end = if self.lives.is_text { " " } else { "" };
        let text = format!("{}{end}", OTHERS + self.rivals);
        rival.accept(&[text.as_bytes()]).expect("a new one takes a write");
        sleep(20).await;
        rival.begin_stop();
    }

    /// The process dies: nothing of it runs any more.
    async fn crash(&mut self, engine: Arc<Engine>) {
        let Some(life) = self.life.take() else { return };
        life.task.abort();
        while !life.task.is_finished() {
            tokio::task::yield_now().await;
        }
        // One that was fenced has another task by now.
        engine.stop_now();
        engine.ended().await;
        sleep(1).await; // for the reports, which hold room
        self.held |= engine.stats().buffered_bytes;
        drop(engine);
        self.disk.kill();
    }

    async fn gone(&mut self, engine: Arc<Engine>) -> Result<(), Broken> {
        self.life = None;
        for _ in 0..600 {
            if tokio::time::timeout(Duration::from_secs(1), engine.ended()).await.is_ok() {
                sleep(1).await;
                self.held |= engine.stats().buffered_bytes;
                drop(engine);
                return Ok(());
            }
            let seen = lock(&self.server.model).seen.len();
            if seen > 3_000 {
                return broken("asks for ever", "a stop");
            }
        }
        broken("ends", format!("it does not: {:?}", engine.snapshot()))
    }

    /// As many lives as it takes until nothing is left.
    async fn end(&mut self) -> Result<(), Broken> {
        lock(&self.server.model).down = false;
        for _ in 0..20 {
            let engine = self.open()?;
            drop(in_time(&self.server, engine.flush(), "the last flush").await?);
            if engine.snapshot().state == Lifecycle::Fenced {
                drop(in_time(&self.server, engine.restart(), "the last restart").await?);
                drop(in_time(&self.server, engine.flush(), "the flush behind it").await?);
            }
            let s = engine.stats();
            let is_done = s.kept == 0 && s.pending == 0 && engine.takes_writes();
            engine.begin_stop();
            self.gone(engine).await?;
            if is_done {
                self.server.quiet().await;
                return Ok(());
            }
            // Answers of a script that is not over yet ended it.
            sleep(100).await;
        }
        broken("comes to an end", "not in 20 lives")
    }

    fn check(&self) -> Result<(), Broken> {
        if self.held > 0 {
            return broken("held", "bytes, for nothing");
        }
        let stored = lock(&self.server.model).stored.clone();
        let told = lock(&self.told).clone();
        // What was not sent only the strictest survives a crash of the machine.
        let may_be_lost = self.has_crashed && self.lives.sync != "write";
        let mut late = Vec::new();
        for (tag, text) in (1..).zip(&self.writes) {
            let copies = stored.iter().filter(|other| *other == text).count();
            // A process that dies may have recorded the outcome, and not have told it.
            let Some((outcome, before)) = told.get(&tag).and_then(|told| told.split_last()) else {
                if may_be_lost {
                    // Its request may still come, at a server that forgot what it took since.
                    late.extend(self.lives.forgets.then_some(text));
                } else if copies != 1 {
                    let how = format!("{text}, {copies} times in {stored:?}");
                    return broken("lost and untold", how);
                }
                continue;
            };
            let was = |is: fn(&Outcome) -> bool| is(outcome) || before.iter().any(is);
            // What was kept is told anew, and what a crash of the machine forgot is asked again.
            let is_told_twice = before.iter().any(|told| told.status != Status::Kept);
            if is_told_twice && outcome.status != Status::Kept && !self.has_crashed {
                return broken("told once", format!("{text}: {before:?}, {outcome:?}"));
            }
            // It is asked again where a crash of the machine forgot the refusal.
            let was_refused = was(|told| !matches!(told.status, Status::Delivered | Status::Kept));
            if was_refused && self.has_crashed {
                late.push(text);
            }
            let truthful = match outcome.status {
                Status::Delivered if outcome.maybe_duplicate => copies > 0,
                // And where it forgot that this was told.
                Status::Delivered if self.has_crashed && was(|told| told.maybe_duplicate) => {
                    copies > 0
                }
                Status::Delivered => copies == 1,
                // It was kept in one life, and its end in a later one was not told.
                Status::Kept => {
                    late.extend((may_be_lost && self.lives.forgets).then_some(text));
                    copies == 1 || may_be_lost
                }
                Status::DeliveryUnknown => {
                    late.push(text);
                    true
                }
                _ => copies == 0,
            };
            if !truthful {
                let promise = match (outcome.status, copies) {
                    (Status::Delivered | Status::Kept, 0) => "lost",
                    (Status::Delivered | Status::Kept, _) => "doubled",
                    _ => "lied",
                };
                let how = format!("{text} is {outcome:?}, {copies} times in {stored:?}");
                return broken(promise, how);
            }
        }
        let is_known = |text: &&String| {
            let is_others = text.parse().is_ok_and(|n: u64| n == 0 || n >= OTHERS);
            is_others || self.writes.contains(text)
        };
        if let Some(text) = stored.iter().find(|text| !is_known(text)) {
            return broken("its own words", format!("nobody wrote {text}: {stored:?}"));
        }
        for group in &self.groups {
            let texts = &self.writes[group.clone()];
            let first = |at: &usize| stored[*at] == texts[0];
            let whole = (0..stored.len())
                .filter(first)
                .filter(|at| stored.get(*at..at + texts.len()).is_some_and(|there| there == texts));
            let all = stored.iter().filter(|text| texts.contains(text)).count();
            if whole.count() * texts.len() != all {
                return broken("whole groups", format!("{texts:?} in {stored:?}"));
            }
        }
        check_order(stored.iter().filter(|text| !late.contains(text)))
    }
}

//! What is decided by chance: faults, calls and options.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::delivery::tests::schedules::Broken;
use crate::delivery::tests::*;

/// How often a failing schedule is run again to make it shorter.
const MOST_RUNS: usize = 400;

/// What the program does.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Write,
    /// Of what is no JSON value, but two of them side by side.
    WriteBroken,
    /// So many writes that stay together.
    Group(u64),
    /// With a `Stream-Seq`, as only an append can have.
    WriteInOrder,
    Pause(u64),
    Flush,
    /// And nobody takes the report.
    DropFlush,
    Restart,
    DropRestart,
    /// Ends the stream, with a last message or without.
    Close(bool),
    DropClose,
    /// Another producer takes the id over and writes.
    Rival,
    /// The server loses its producers' memory.
    Forget,
    /// The server crashes: what is not durable is gone.
    Crash,
    /// Somebody deletes the stream.
    Delete,
    /// Now, or once everything is delivered.
    Stop(bool),
}

/// Whose writes they are, and how they go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// A producer's, under its own.
    Producers,
    /// Appends, under one of the library's own.
    Appends,
    /// The same where the server takes no further producers.
    TooMany,
    /// Appends without one.
    No,
}

impl Identity {
    /// Whether they are appends, whose outcomes are waited for.
    pub(super) fn is_appends(self) -> bool {
        self != Identity::Producers
    }

    /// Whether requests with an identity are stored.
    pub(super) fn is_taken(self) -> bool {
        matches!(self, Identity::Producers | Identity::Appends)
    }
}

/// What a stream holds, and whether its producer knows that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    UnknownJson,
    UnknownText,
}

/// Everything that is decided by chance.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) identity: Identity,
    pub(super) faults: Vec<Fault>,
    pub(super) steps: Vec<Step>,
    /// The server refuses one of the messages.
    pub(super) poison: bool,
    /// It echoes no tuples.
    pub(super) mute: bool,
    /// It forgets its producers here and there.
    pub(super) forgets: bool,
    /// Several servers answer for the stream: no look decides anything then.
    pub(super) cluster: bool,
    pub(super) resends: bool,
    /// Where the stream ended is known from its opening.
    pub(super) knows_tail: bool,
    pub(super) callbacks: bool,
    /// What is known of the stream's type, and the type it has.
    pub(super) kind: Kind,
    /// How long the stream outlives its last use, in milliseconds; 0 for ever.
    pub(super) ttl: u64,
    /// How long it takes until a write is durable, in milliseconds.
    pub(super) sync_takes: u64,
    /// Answers tell the end of the stream as they leave.
    pub(super) tells_late: bool,
    /// By name: what is printed of [`Options`] has no values.
    pub(super) options: Vec<(&'static str, u64)>,
}

/// What goes wrong. Not every server forgets, and not every stream has other writers.
pub(super) struct World {
    pub(super) forgets: bool,
    pub(super) foreign: bool,
    /// Answers that are not the server's own, here and there.
    pub(super) strangers: bool,
    /// Refusals of every kind, whatever the request was.
    pub(super) refuses: bool,
    pub(super) longest_delay: u64,
}

impl World {
    /// Nothing but failures that pass.
    pub(super) const KIND: World = World {
        forgets: false,
        foreign: false,
        strangers: false,
        refuses: false,
        longest_delay: 60,
    };

    pub(super) fn fault(&self, rng: &mut StdRng) -> Fault {
        if self.refuses && rng.random_bool(0.25) {
            return one_of(rng, &[202, 302, 400, 401, 404, 413, 422]);
        }
        match rng.random_range(0..24) {
            0 => Fault::Refuse,
            1 => Fault::CutBefore,
            2 | 3 => Fault::CutAfter,
            4 => status(503),
            5 => Fault::Answer(429, vec![("retry-after", "1".into())]),
            6 => one_of(rng, &[500, 502]),
            7..=9 => {
                let mut time = || rng.random_range(0..self.longest_delay);
                let (there, back) = (time(), time());
                delay(self.fault(rng), there, back)
            }
            10..=12 => {
                let held = Duration::from_millis(rng.random_range(1..40));
                Fault::Held(Box::new(self.fault(rng)), held)
            }
            13 | 14 if self.forgets => Fault::Amnesia(Box::new(self.fault(rng))),
            15 if self.foreign => Fault::Foreign(Box::new(self.fault(rng))),
            16 if self.strangers && rng.random_bool(0.2) => one_of(rng, &[401, 413]),
            // What stands in between answers in the server's place.
            17 if self.strangers => one_of(rng, &[200, 204, 303, 799]),
            _ => Fault::None,
        }
    }
}

fn one_of(rng: &mut StdRng, codes: &[u16]) -> Fault {
    status(codes[rng.random_range(0..codes.len())])
}

fn step(rng: &mut StdRng, rough: bool, forgets: bool) -> Step {
    match rng.random_range(0..200) {
        0..=43 => Step::Pause(rng.random_range(0..40)),
        44..=50 => Step::Flush,
        51..=53 => Step::Restart,
        54 => Step::Rival,
        55 if !rough => Step::Rival,
        56..=58 if rough => Step::DropFlush,
        59..=61 if rough => Step::DropRestart,
        62..=64 if rough => Step::Close(rng.random_bool(0.5)),
        65 if rough => Step::DropClose,
        66 if rough && forgets => Step::Forget,
        67 if rough => Step::Stop(rng.random_bool(0.5)),
        _ => Step::Write,
    }
}

fn options(rng: &mut StdRng, rough: bool) -> Vec<(&'static str, u64)> {
    let deadline = match rng.random_range(0..20) {
        0..=4 if rough => 0,
        5..=9 if rough => rng.random_range(1..40),
        10..=14 if rough => rng.random_range(40..400),
        _ if rough => rng.random_range(400..3_000),
        0..=9 => 0,
        10..=13 => 2_000,
        _ => rng.random_range(3..60),
    };
    let lingers = if deadline == 0 { 3 } else { deadline.min(3) };
    let mut options = vec![
        ("max_in_flight", rng.random_range(1..if rough { 9 } else { 6 })),
        ("max_batch_items", rng.random_range(1..if rough { 6 } else { 20 })),
        ("linger_ms", rng.random_range(0..lingers)),
        ("delivery_timeout_ms", deadline),
    ];
    if rough {
        options.extend([
            ("max_batch_bytes", rng.random_range(4..40)),
            ("max_buffer_bytes", rng.random_range(60..400)),
            ("request_timeout_ms", rng.random_range(15..120)),
            ("retry_initial_delay_ms", rng.random_range(1..50)),
            ("retry_max_delay_ms", 200),
        ]);
    } else if rng.random_bool(0.2) {
        options.push(("max_buffer_items", 10));
    }
    options
}

impl Schedule {
    /// A `rough` one has late arrivals, short deadlines, small buffers, answers of every kind, calls
    /// whose results nobody takes, and ends in between.
    pub(super) fn random(seed: u64, rough: bool) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed);
        // Of several servers none forgets.
        let cluster = rough && rng.random_bool(0.2);
        let world = World {
            forgets: rng.random_bool(0.4) && !cluster,
            foreign: rng.random_bool(0.4),
            strangers: true,
            refuses: rough && rng.random_bool(0.5),
            longest_delay: if rough { 60 } else { 200 },
        };
        let faults = (0..rng.random_range(0..80)).map(|_| world.fault(rng)).collect();
        let steps = 0..rng.random_range(1..150);
        let mut steps: Vec<_> = steps.map(|_| step(rng, rough, world.forgets)).collect();
        match rng.random_range(0..10) {
            0..=2 => steps.push(Step::Close(rng.random_bool(0.5))),
            3 | 4 => steps.push(Step::Stop(true)),
            _ => {}
        }
        let mut schedule = Schedule {
            seed,
            identity: Identity::Producers,
            faults,
            steps,
            poison: rng.random_bool(0.2),
            mute: rng.random_bool(0.02),
            forgets: world.forgets,
            cluster,
            resends: rng.random_bool(0.5),
            knows_tail: rng.random_bool(0.5),
            callbacks: rng.random_bool(0.3),
            kind: Kind::Json,
            ttl: 0,
            options: options(rng, rough),
            tells_late: rng.random_bool(0.3),
            sync_takes: if !world.forgets && rng.random_bool(0.3) {
                rng.random_range(1..150)
            } else {
                0
            },
        };
        // Nobody hears of a server that takes longer than its callers wait.
        let patience = schedule.options.iter().find(|(name, _)| *name == "request_timeout_ms");
        let longest = patience.map_or(u64::MAX, |(_, ms)| ms - 5);
        schedule.sync_takes = schedule.sync_takes.min(longest);
        schedule
    }

    /// Of a server that crashes before writes are durable, and then knows more of them than it has.
    /// One request at a time: of several, its answers do not say how many it has.
    pub(super) fn crashing(seed: u64) -> Self {
        let mut schedule = Schedule::random(seed, false);
        let rng = &mut StdRng::seed_from_u64(!seed);
        (schedule.forgets, schedule.poison, schedule.mute) = (false, false, false);
        (schedule.sync_takes, schedule.knows_tail) = (rng.random_range(1..150), true);
        for fault in &mut schedule.faults {
            *fault = match rng.random_range(0..10) {
                0 => Fault::Crash(Box::new(World::KIND.fault(rng))),
                1..=3 => Fault::CutAfter,
                _ => World::KIND.fault(rng),
            };
        }
        for step in &mut schedule.steps {
            match step {
                Step::Rival | Step::Restart => *step = Step::Write,
                Step::Flush if rng.random_bool(0.3) => *step = Step::Crash,
                _ => {}
            }
        }
        schedule
            .options
            .retain(|(name, _)| !["max_in_flight", "delivery_timeout_ms"].contains(name));
        schedule.options.extend([("max_in_flight", 1), ("delivery_timeout_ms", 0)]);
        schedule
    }

    /// Of a producer, or of appends, that do not know the stream's type.
    pub(super) fn untyped(seed: u64) -> Self {
        let appends = seed % 4 == 3;
        let random = |seed| Schedule::random(seed, seed.is_multiple_of(2));
        let mut schedule = if appends { Schedule::of_appends(seed) } else { random(seed) };
        let rng = &mut StdRng::seed_from_u64(!seed);
        schedule.kind = if rng.random_bool(0.5) { Kind::UnknownJson } else { Kind::UnknownText };
        for step in &mut schedule.steps {
            if matches!(step, Step::Write) && rng.random_bool(0.1) {
                *step = Step::WriteBroken;
            }
        }
        schedule
    }

    /// Of groups among single writes, of a producer that may not know the stream's type.
    pub(super) fn grouped(seed: u64) -> Self {
        let mut schedule = match seed % 3 {
            0 => Schedule::untyped(seed),
            n => Schedule::random(seed, n == 1),
        };
        let rng = &mut StdRng::seed_from_u64(!seed);
        for step in &mut schedule.steps {
            if matches!(step, Step::Write) && rng.random_bool(0.4) {
                *step = Step::Group(rng.random_range(1..6));
            }
        }
        schedule
    }

    /// Of a stream that ends by itself where it is not used, and is created again.
    pub(super) fn mortal(seed: u64) -> Self {
        let mut schedule = Schedule::random(seed, seed.is_multiple_of(2));
        let rng = &mut StdRng::seed_from_u64(!seed);
        schedule.ttl = rng.random_range(100..1_000);
        for step in &mut schedule.steps {
            match step {
                Step::Pause(ms) if rng.random_bool(0.1) => *ms = rng.random_range(0..2_000),
                Step::Pause(_) if rng.random_bool(0.02) => *step = Step::Delete,
                _ => {}
            }
        }
        for fault in &mut schedule.faults {
            if rng.random_bool(0.05) {
                *fault = one_of(rng, &[404, 410]);
            }
        }
        schedule
    }

    /// Of appends, which nobody restarts, and which may have a `Stream-Seq`.
    pub(super) fn of_appends(seed: u64) -> Self {
        let mut schedule = Schedule::random(seed, seed.is_multiple_of(2));
        let rng = &mut StdRng::seed_from_u64(!seed);
        let kinds = [Identity::Appends, Identity::TooMany, Identity::No];
        schedule.identity = kinds[rng.random_range(0..kinds.len())];
        let in_order = rng.random_bool(0.3);
        for fault in &mut schedule.faults {
            if rng.random_bool(0.1) {
                *fault = status(429);
            }
        }
        for step in &mut schedule.steps {
            match step {
                Step::Restart | Step::DropRestart => *step = Step::Flush,
                Step::Write if in_order && rng.random_bool(0.2) => *step = Step::WriteInOrder,
                _ => {}
            }
        }
        (schedule.resends, schedule.callbacks) = (false, false);
        if rng.random_bool(0.5) {
            schedule.options.retain(|(name, _)| *name != "delivery_timeout_ms");
        }
        schedule
    }

    pub(super) fn options(&self) -> Options {
        let mut options =
            Options::new().on_uncertain(if self.resends { "resend" } else { "report" });
        for (name, value) in &self.options {
            options.set(name, &value.to_string()).expect("a number within its limits");
        }
        options
    }

    /// A shorter schedule that breaks the same promise, and how.
    pub(super) fn shrink(mut self, mut failure: Broken) -> (Self, Broken) {
        let mut runs = 0;
        let mut part = self.longest() / 2;
        while part > 0 {
            let mut from = 0;
            while from < self.longest() && runs < MOST_RUNS {
                let shorter = self.without(from..from + part).into_iter().find_map(|less| {
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

    fn longest(&self) -> usize {
        self.steps.len().max(self.faults.len())
    }

    /// It without these faults, without these steps, and with the first of the faults mended.
    fn without(&self, range: std::ops::Range<usize>) -> Vec<Self> {
        fn cut<T: Clone>(all: &[T], range: &std::ops::Range<usize>) -> Option<Vec<T>> {
            let end = range.end.min(all.len());
            (range.start < end).then(|| [&all[..range.start], &all[end..]].concat())
        }
        let faults = cut(&self.faults, &range);
        let steps = cut(&self.steps, &range);
        let mended = self.faults.get(range.start).filter(|fault| !matches!(fault, Fault::None));
        let mended = mended.map(|_| {
            let mut faults = self.faults.clone();
            faults[range.start] = Fault::None;
            faults
        });
        let with_faults = |faults| Schedule { faults, ..self.clone() };
        let with_steps = |steps| Schedule { steps, ..self.clone() };
        let less = [faults.map(with_faults), steps.map(with_steps), mended.map(with_faults)];
        less.into_iter().flatten().collect()
    }
}

//! Random programs of an outbox on the model's disk, killed and crashed at any step, against what
//! was promised.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::outbox::disk::Disk;
use crate::outbox::format::Entry;
use crate::outbox::ledger::{Base, Ledger, Range, Sent, SentFlags, Session};
use crate::outbox::model::ModelDisk;
use crate::outbox::store::{Found, Outbox, Recovery, Sizes, SyncMode};
use crate::outbox::tests::place;

/// Whether what happens is told, for whoever looks for a mistake with a seed.
static IS_TOLD: LazyLock<bool> = LazyLock::new(|| std::env::var_os("DURSTREAM_SEED").is_some());

macro_rules! note {
    ($($text:tt)*) => {
        if *IS_TOLD {
            eprintln!($($text)*);
        }
    };
}

/// How many programs a run of the tests takes.
const CASES: u64 = 10_000;
const DIR: &str = "/outbox";

#[derive(Debug, Clone, PartialEq)]
struct Write {
    bytes: Vec<u8>,
    tag: u64,
    /// The position behind its group.
    group_end: u64,
    last: bool,
}

/// What was promised, and what may have become of it.
#[derive(Default)]
struct Oracle {
    writes: BTreeMap<u64, Write>,
    next: u64,
    /// Writes before it survive the machine.
    durable_next: u64,
    /// What was known after each step, the oldest first; the first one is durable.
    states: Vec<Ledger>,
    /// The newest of these that the process's death does not take.
    recorded: usize,
    durable: usize,
    /// A group whose call had not returned.
    maybe: Vec<Write>,
    /// The machine went down since the last opening.
    is_crashed: bool,
    has_failed_sync: bool,
    /// It died before it could note that a sync failed: nothing is promised of the machine any more.
    is_cursed: bool,
}

/// What can be seen of a state.
#[derive(Debug, PartialEq)]
struct Seen {
    unsettled: Vec<u64>,
    ranges: Vec<Range>,
    session: Option<Session>,
    base: Option<Base>,
}

impl Oracle {
    fn new() -> Self {
        let states = vec![Ledger::default()];
        Oracle { next: 1, durable_next: 1, states, ..Oracle::default() }
    }

    fn now(&self) -> &Ledger {
        self.states.last().unwrap()
    }

    fn step(&mut self, change: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.now().clone();
        change(&mut ledger);
        self.states.push(ledger);
    }

    fn unsettled(&self, ledger: &Ledger, next: u64) -> Vec<u64> {
        ledger.unsettled(1, next).flat_map(|(from, end)| from..end).collect()
    }

    /// A state as an opening with this next position shows it.
    fn seen(&self, ledger: &Ledger, next: u64) -> Seen {
        let mut ledger = ledger.clone();
        ledger.cut(next);
        for (position, write) in self.writes.range(..next) {
            if write.last && !ledger.is_settled(*position, position + 1) {
                ledger.settled(*position, position + 1);
            }
        }
        Seen {
            unsettled: self.unsettled(&ledger, next),
            ranges: ledger.ranges().collect(),
            session: ledger.session,
            base: ledger.base.clone(),
        }
    }

    /// Checks what an opening found, and goes on from there.
    fn reopened(&mut self, outbox: &mut Outbox, found: &Found) {
        let maybe = std::mem::take(&mut self.maybe);
        let count = maybe.len() as u64;
        for (position, write) in (self.next..).zip(maybe) {
            self.writes.insert(position, write);
        }
        let (whole, next) = (self.next + count, found.next);
        let least_state = if self.is_crashed { self.durable } else { self.recorded };
        let is_settled = |state: &Ledger| next > 1 && state.is_settled(next - 1, next);
        let is_settled_to = self.states[least_state..].iter().any(is_settled);
        if self.is_crashed {
            assert!(next >= self.durable_next, "{next} of {}", self.durable_next);
            assert!(next <= whole);
        } else {
            assert!(next == self.next || next == whole, "{next}, not {} or {whole}", self.next);
        }
        let border = next == 1
            || self.writes.get(&(next - 1)).is_some_and(|write| write.group_end == next)
            || is_settled_to;
        assert!(border, "a group was torn at {next}");
        let mut positions = Vec::new();
        outbox
            .read(0, &mut |read| {
                let write = &self.writes[&read.position];
                assert_eq!(read.bytes, write.bytes, "at {}", read.position);
                assert_eq!(read.tag, write.tag);
                assert_eq!(read.joined, read.position + 1 < write.group_end);
                positions.push(read.position);
                true
            })
            .unwrap();
        assert!(positions.is_sorted());
        let seen = Seen {
            unsettled: positions,
            ranges: found.ranges.clone(),
            session: found.session,
            base: found.base.clone(),
        };
        let fits =
            self.states[least_state..].iter().rposition(|state| self.seen(state, next) == seen);
        let Some(fits) = fits else {
            let states = self.states[least_state..].iter().map(|state| self.seen(state, next));
            panic!("{seen:?} is none of {:#?}", states.collect::<Vec<_>>());
        };
        let mut ledger = self.states[least_state + fits].clone();
        ledger.cut(next);
        for (position, write) in self.writes.range(..next) {
            if write.last {
                ledger.settled(*position, position + 1);
            }
        }
        self.writes.split_off(&next);
        self.durable_next = if self.is_crashed { next } else { self.durable_next.min(next) };
        self.next = next;
        (self.states, self.recorded, self.durable) = (vec![ledger], 0, 0);
        self.is_crashed = false;
        self.has_failed_sync = false;
        let first = self.now().settled_to().min(next);
        assert_eq!((found.first, outbox.first(), outbox.next()), (first, first, next));
    }
}

struct Run {
    rng: StdRng,
    model: ModelDisk,
    disk: Arc<dyn Disk>,
    sizes: Sizes,
    oracle: Oracle,
    seq: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let model = ModelDisk::new(seed);
        let mut rng = StdRng::seed_from_u64(seed);
        let sizes = Sizes {
            control: [1024, 2048, 8192][rng.random_range(0..3)],
            least: [512, 1024][rng.random_range(0..2)],
            most: [1024, 4096][rng.random_range(0..2)],
        };
        let disk = Arc::new(model.clone());
        Run { rng, model, disk, sizes, oracle: Oracle::new(), seq: 0 }
    }

    fn go(&mut self) {
        for _ in 0..self.rng.random_range(2..5) {
            if self.rng.random_bool(0.7) {
                self.model.die_in(self.rng.random_range(1..150));
            }
            if self.rng.random_bool(0.1) {
                self.model.fail_in(self.rng.random_range(1..100));
            }
            self.model.set_full(self.rng.random_bool(0.05));
            self.life();
            self.oracle.is_cursed |= self.model.is_dead() && self.model.failed_syncs() > 0;
            if self.rng.random_bool(0.5) || self.oracle.is_cursed {
                self.model.kill();
            } else {
                note!("crash, dead {}", self.model.is_dead());
                self.model.crash();
                self.oracle.is_crashed = true;
            }
        }
        self.model.set_full(false);
        let (mut outbox, found) = self.open().expect("nothing is in the way");
        self.oracle.reopened(&mut outbox, &found);
    }

    fn open(&mut self) -> crate::error::Result<(Outbox, Found)> {
        let mode = [SyncMode::Process, SyncMode::Batch, SyncMode::Write];
        let mode = mode[self.rng.random_range(0..3)];
        let place = place(Path::new(DIR));
        Outbox::open_with(self.disk.clone(), &place, mode, Recovery::Refuse, self.sizes)
    }

    fn life(&mut self) {
        note!("open, of {} durable {}", self.oracle.next, self.oracle.durable_next);
        let (mut outbox, found) = match self.open() {
            Ok(opened) => opened,
            Err(error) => {
                let what = error.message().to_owned();
                assert!(!what.contains("damaged"), "{what}");
                return;
            }
        };
        if self.model.is_dead() {
            return; // what it found is of no use to anybody
        }
        self.oracle.reopened(&mut outbox, &found);
        for _ in 0..self.rng.random_range(0..40) {
            self.act(&mut outbox);
            if self.model.is_dead() {
                return;
            }
        }
        // It ends in an orderly way.
        drop(outbox);
    }

    fn act(&mut self, outbox: &mut Outbox) {
        let act = self.rng.random_range(0..100);
        note!(
            "step {}: {act}, next {}, ledger {:?}",
            self.model.steps(),
            outbox.next(),
            self.oracle.now()
        );
        match act {
            0..40 => self.append(outbox),
            40..55 => self.sent(outbox),
            55..60 => self.unsent(outbox),
            60..80 => self.settled(outbox),
            80..90 => self.sync(outbox),
            90..97 => self.chores(outbox),
            97 => {
                let end = outbox.next();
                self.oracle.step(|ledger| ledger.settled(1, end));
                let before = self.oracle.states.len();
                let expected = self.oracle.unsettled(&self.oracle.states[before - 2], end).len();
                assert_eq!(outbox.discard(), expected as u64);
                self.recorded(outbox);
            }
            _ => {
                let mut positions = Vec::new();
                let read = outbox.read(0, &mut |read| {
                    positions.push(read.position);
                    true
                });
                read.unwrap();
                let expected = self.oracle.unsettled(self.oracle.now(), self.oracle.next);
                assert_eq!(positions, expected);
                if !self.model.is_dead() {
                    outbox.check().unwrap();
                }
            }
        }
    }

    /// What was told is recorded, unless the process died or the disk failed on the way.
    fn recorded(&mut self, outbox: &mut Outbox) {
        if !self.model.is_dead() && outbox.failure().is_none() {
            self.oracle.recorded = self.oracle.states.len() - 1;
        }
    }

    fn append(&mut self, outbox: &mut Outbox) {
        let count = [1, 1, 1, 2, 3, 5][self.rng.random_range(0..6)];
        let most = [20, 100, 600, 2000][self.rng.random_range(0..4)];
        let last = self.rng.random_range(0..50) == 0;
        let writes: Vec<_> = (0..count)
            .map(|n| Write {
                bytes: vec![self.rng.random(); self.rng.random_range(0..most)],
                tag: if self.rng.random() { self.rng.random() } else { 0 },
                group_end: self.oracle.next + count,
                last: last && n == count - 1,
            })
            .collect();
        let parts: Vec<_> = writes
            .iter()
            .map(|write| {
                let middle = write.bytes.len() / 2;
                [&write.bytes[..middle], &write.bytes[middle..]]
            })
            .collect();
        let entries =
            writes.iter().zip(&parts).map(|(write, parts)| Entry { parts, tag: write.tag });
        let result = outbox.append(&entries.collect::<Vec<_>>(), last);
        if self.model.is_dead() {
            self.oracle.maybe = writes;
            return;
        }
        if let Ok(position) = result {
            assert_eq!(position, self.oracle.next);
            for write in writes {
                self.oracle.writes.insert(self.oracle.next, write);
                self.oracle.next += 1;
            }
        }
    }

    fn range(&mut self) -> Option<(u64, u64)> {
        let (first, next) = (self.oracle.now().settled_to(), self.oracle.next);
        if first >= next {
            return None;
        }
        let from = self.rng.random_range(first..(first + 6).min(next));
        let count = self.rng.random_range(1..=(next - from).min(5));
        Some((from, count))
    }

    fn sent(&mut self, outbox: &mut Outbox) {
        let Some((first, count)) = self.range() else { return };
        self.seq += 1;
        let flags = SentFlags::from_bits(self.rng.random_range(0..128));
        let sent = Sent { epoch: 3, seq: self.seq, first, count, flags };
        if outbox.failure().is_some() {
            return assert!(outbox.sent(&sent).is_err());
        }
        let result = outbox.sent(&sent);
        if result.is_ok() || self.model.is_dead() || outbox.failure().is_some() {
            let end = first + count;
            self.oracle.step(|ledger| ledger.sent(Arc::new(sent), first, end));
            self.recorded(outbox);
        }
    }

    fn unsent(&mut self, outbox: &mut Outbox) {
        let Some((first, count)) = self.range() else { return };
        let in_doubt = self.rng.random();
        outbox.unsent(first, count, in_doubt);
        self.oracle.step(|ledger| ledger.unsent(first, first + count, in_doubt));
        self.recorded(outbox);
    }

    fn settled(&mut self, outbox: &mut Outbox) {
        let Some((mut first, mut count)) = self.range() else { return };
        if self.rng.random_bool(0.7) {
            count += first - self.oracle.now().settled_to();
            first = self.oracle.now().settled_to();
        }
        let base = match self.rng.random_range(0..4) {
            0 => Some(None),
            1 => {
                let (offset, messages) = (self.seq.to_string().into(), self.rng.random_range(0..3));
                Some(Some(Base { offset, messages, bytes: 7 * messages }))
            }
            _ => None,
        };
        outbox.settled(first, count, base.clone());
        self.oracle.step(|ledger| {
            if let Some(base) = base
                && !ledger.is_settled(first, first + count)
            {
                ledger.base = base;
            }
            ledger.settled(first, first + count);
        });
        self.recorded(outbox);
    }

    fn sync(&mut self, outbox: &mut Outbox) {
        let result = outbox.syncer().sync();
        self.oracle.has_failed_sync |= result.is_err();
        if result.is_ok() && !self.model.is_dead() && !self.oracle.is_cursed {
            assert!(!self.oracle.has_failed_sync, "a sync fails for good");
            note!("synced");
            self.oracle.durable_next = self.oracle.next;
            self.oracle.durable = self.oracle.recorded;
        }
    }

    fn chores(&mut self, outbox: &mut Outbox) {
        let Some(chores) = outbox.chores() else { return };
        if chores.run().is_ok() && !self.model.is_dead() && !self.oracle.is_cursed {
            self.oracle.durable = self.oracle.recorded;
        }
    }
}

/// The seeds of a run, or the one that is asked for.
fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let cases = number("DURSTREAM_CASES").unwrap_or(CASES);
    match number("DURSTREAM_SEED") {
        Some(seed) => (seed..seed + number("DURSTREAM_CASES").unwrap_or(1)).collect(),
        None => {
            let first: u64 = crate::runtime::chance::random() >> 1;
            (first..first + cases).collect()
        }
    }
}

#[test]
fn random_programs_keep_what_was_promised() {
    for seed in seeds() {
        let run = std::panic::AssertUnwindSafe(|| Run::new(seed).go());
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("DURSTREAM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

//! Makes an outbox durable, outside its lock: callers that come while the disk is at work share
//! the next turn.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::error::Result;
use crate::outbox::disk::{Disk, Handle, failed, sync};
use crate::runtime::threads::lock;

/// Shared by an outbox and all who wait for it to be durable.
pub(crate) struct Syncer {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    state: Mutex<State>,
    done: Condvar,
    /// The position behind the last write that is in memory.
    appended: AtomicU64,
    /// The generation of the control file (upper half) and how far it is written.
    noted: AtomicU64,
    /// What of these is durable.
    durable: AtomicU64,
    durable_notes: AtomicU64,
    is_failed: AtomicBool,
}

/// Writes and records are made durable apart: a batch whose writes are on the disk waits for its record
/// alone.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Writes,
    Notes,
}

/// Those who come while the disk is at work wait for the next turn.
#[derive(Default)]
struct Turns {
    is_running: bool,
    started: u64,
    completed: u64,
}

#[derive(Default)]
struct State {
    turns: [Turns; 2],
    /// A sync that failed fails for good: the system has forgotten what it could not write.
    failure: Option<crate::error::Error>,
    /// Segments with something that was not synced, by number; the last is the one in use.
    segments: Vec<(u64, Arc<dyn Handle>)>,
    /// The control file in use.
    control: Option<Arc<dyn Handle>>,
    /// The one before, while something in it was not synced: until that is for what is noted then.
    other: Option<(Arc<dyn Handle>, u64)>,
    /// How often a file was made or renamed, and how many times of these are durable.
    folder_changes: u64,
    folder_synced: u64,
}

/// What a turn is of.
struct Work {
    segments: Vec<(u64, Arc<dyn Handle>)>,
    controls: Vec<Arc<dyn Handle>>,
    appended: u64,
    noted: u64,
    folder_changes: u64,
}

impl Syncer {
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: PathBuf) -> Self {
        Syncer {
            disk,
            folder,
            state: Mutex::default(),
            done: Condvar::new(),
            appended: AtomicU64::new(0),
            noted: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            durable_notes: AtomicU64::new(0),
            is_failed: AtomicBool::new(false),
        }
    }

    /// Whether a sync takes no time.
    pub(crate) fn is_instant(&self) -> bool {
        self.disk.is_instant()
    }

    /// Makes everything appended and recorded before the call durable. Waits; to be called from any
    /// thread, without a lock. Once it has failed it fails.
    pub(crate) fn sync(&self) -> Result<()> {
        self.sync_writes()?;
        self.sync_notes()
    }

    /// Makes a batch durable: the writes before a position, and what was recorded.
    pub(crate) fn sync_batch(&self, end: u64) -> Result<()> {
        self.sync_to(end)?;
        self.sync_notes()
    }

    /// Makes what was appended durable, without the records.
    pub(crate) fn sync_writes(&self) -> Result<()> {
        self.sync_to(self.appended.load(Ordering::Acquire))
    }

    /// Makes what is behind a batch durable, before the next ones ask for it: once that is as much as what
    /// is durable already. A disk takes little more time for much than for little.
    pub(crate) fn sync_ahead(&self, end: u64) -> Result<()> {
        let appended = self.appended.load(Ordering::Acquire);
        let durable = self.durable.load(Ordering::Acquire);
        let is_due = appended.saturating_sub(durable) >= durable.saturating_sub(end);
        let is_running = lock(&self.state).turns[Kind::Writes as usize].is_running;
        match is_due && !is_running {
            true => self.sync_to(appended),
            false => Ok(()),
        }
    }

    /// Makes the writes before a position durable.
    fn sync_to(&self, end: u64) -> Result<()> {
        self.wait_for(Kind::Writes, || self.durable.load(Ordering::Acquire) >= end)
    }

    /// Makes what was recorded durable, without the writes.
    pub(crate) fn sync_notes(&self) -> Result<()> {
        let noted = self.noted.load(Ordering::Acquire);
        self.wait_for(Kind::Notes, || self.durable_notes.load(Ordering::Acquire) >= noted)
    }

    fn wait_for(&self, kind: Kind, is_durable: impl Fn() -> bool) -> Result<()> {
        let mut state = lock(&self.state);
        let wanted = state.turns[kind as usize].started + 1;
        loop {
            if let Some(error) = &state.failure {
                return Err(error.clone());
            }
            if is_durable() {
                return Ok(());
            }
            let Some(work) = self.work(&state, kind) else { return Ok(()) };
            let turns = &mut state.turns[kind as usize];
            if turns.completed >= wanted {
                return Ok(());
            }
            if turns.is_running {
                state = self.done.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
                continue;
            }
            turns.is_running = true;
            turns.started += 1;
            let turn = turns.started;
            drop(state);
            let result = self.run(&work);
            state = lock(&self.state);
            let turns = &mut state.turns[kind as usize];
            turns.is_running = false;
            match result {
                Ok(()) => {
                    turns.completed = turn;
                    self.is_done(&mut state, &work);
                }
                Err(error) => self.fail(&mut state, &error),
            }
            self.done.notify_all();
        }
    }

    /// What is to be done; `None` where all of it is durable.
    fn work(&self, state: &State, kind: Kind) -> Option<Work> {
        let appended = self.appended.load(Ordering::Acquire);
        let noted = self.noted.load(Ordering::Acquire);
        let (mut segments, mut controls) = (Vec::new(), Vec::new());
        match kind {
            Kind::Writes if appended != self.durable.load(Ordering::Relaxed) => {
                segments.clone_from(&state.segments);
            }
            Kind::Notes if noted != self.durable_notes.load(Ordering::Relaxed) => {
                let other = state.other.iter().map(|(handle, _)| handle);
                controls.extend(other.chain(&state.control).cloned());
            }
            _ => return None,
        }
        let folder_changes = state.folder_changes;
        let (appended, noted) = match kind {
            Kind::Writes => (appended, 0),
            Kind::Notes => (0, noted),
        };
        Some(Work { segments, controls, appended, noted, folder_changes })
    }

    fn run(&self, work: &Work) -> std::io::Result<()> {
        let handles = work.segments.iter().map(|(_, handle)| handle).chain(&work.controls);
        for handle in handles {
            sync(self.disk.as_ref(), &self.folder, handle.as_ref())?;
        }
        // Not as a condition: the lock would be held for as long as the folder takes.
        let synced = lock(&self.state).folder_synced;
        if work.folder_changes > synced {
            self.disk.sync_folder(&self.folder)?;
        }
        Ok(())
    }

    fn is_done(&self, state: &mut State, work: &Work) {
        self.durable.fetch_max(work.appended, Ordering::AcqRel);
        self.durable_notes.fetch_max(work.noted, Ordering::AcqRel);
        let done = work.segments.last().map_or(0, |(number, _)| *number);
        state.segments.retain(|(number, _)| *number >= done);
        state.other.take_if(|(_, until)| *until <= work.noted);
        state.folder_synced = state.folder_synced.max(work.folder_changes);
    }

    fn fail(&self, state: &mut State, error: &std::io::Error) {
        let error = failed("write to the disk what is in", &self.folder, error);
        state.failure.get_or_insert(error);
        self.is_failed.store(true, Ordering::Release);
    }

    /// The failure of an earlier sync.
    pub(crate) fn failure(&self) -> Option<crate::error::Error> {
        match self.is_failed.load(Ordering::Relaxed) {
            true => lock(&self.state).failure.clone(),
            false => None,
        }
    }

    pub(crate) fn appended(&self, next: u64) {
        self.appended.store(next, Ordering::Release);
    }

    pub(crate) fn noted(&self, generation: u64, at: usize) {
        self.noted.store(notes(generation, at), Ordering::Release);
    }

    /// The position up to which writes are durable, and that of the control file: its generation
    /// and offset.
    pub(crate) fn durable(&self) -> (u64, u64, u64) {
        let notes = self.durable_notes.load(Ordering::Acquire);
        (self.durable.load(Ordering::Acquire), notes >> 32, notes & u64::from(u32::MAX))
    }

    /// What is known to be durable as the outbox opens.
    pub(crate) fn begin_at(&self, durable: u64) {
        self.durable.store(durable, Ordering::Release);
    }

    /// A segment from which on writes go.
    pub(crate) fn add_segment(&self, number: u64, handle: Arc<dyn Handle>, is_new: bool) {
        let mut state = lock(&self.state);
        state.segments.push((number, handle));
        state.folder_changes += u64::from(is_new);
    }

    /// All of a segment is settled: nobody waits for it.
    pub(crate) fn forget_segment(&self, number: u64) {
        lock(&self.state).segments.retain(|(other, _)| *other != number);
    }

    /// From here on records go to a control file; the other one is to be synced with them up to here.
    pub(crate) fn set_control(
        &self,
        control: Arc<dyn Handle>,
        other: Option<Arc<dyn Handle>>,
        (generation, at): (u64, usize),
        is_new: bool,
    ) {
        let mut state = lock(&self.state);
        state.control = Some(control);
        state.other = other.map(|other| (other, notes(generation, at)));
        state.folder_changes += u64::from(is_new);
        drop(state);
        self.noted(generation, at);
    }

    /// Something was put into the control file that is not in use: to be synced with what is noted next.
    pub(crate) fn touch(&self, other: Arc<dyn Handle>) {
        let mut state = lock(&self.state);
        state.other = Some((other, self.noted.load(Ordering::Acquire) + 1));
    }
}

/// The generation of a control file and how far it is written, as one number that rises.
fn notes(generation: u64, at: usize) -> u64 {
    generation << 32 | at as u64
}

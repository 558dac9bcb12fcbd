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

#[derive(Default)]
struct State {
    is_running: bool,
    started: u64,
    completed: u64,
    /// A sync that failed fails for good: the system has forgotten what it could not write.
    failure: Option<crate::error::Error>,
    /// Segments with something that was not synced, by number; the last is the one in use.
    segments: Vec<(u64, Arc<dyn Handle>)>,
    /// The control file in use, and the one before.
    controls: Vec<Arc<dyn Handle>>,
    /// A file was made or removed.
    is_folder_changed: bool,
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
        let mut state = lock(&self.state);
        let wanted = state.started + 1;
        loop {
            if let Some(error) = &state.failure {
                return Err(error.clone());
            }
            if state.completed >= wanted {
                return Ok(());
            }
            if state.is_running {
                state = self.done.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
                continue;
            }
            state.is_running = true;
            state.started += 1;
            let turn = state.started;
            let appended = self.appended.load(Ordering::Acquire);
            let noted = self.noted.load(Ordering::Acquire);
            let notes_changed = noted != self.durable_notes.load(Ordering::Relaxed);
            let segments = match appended == self.durable.load(Ordering::Relaxed) {
                true => Vec::new(),
                false => state.segments.clone(),
            };
            let controls = if notes_changed { state.controls.clone() } else { Vec::new() };
            let is_folder_changed = std::mem::take(&mut state.is_folder_changed);
            drop(state);
            let handles = segments.iter().map(|(_, handle)| handle).chain(&controls);
            let mut result = self.sync_each(handles);
            if result.is_ok() && is_folder_changed {
                result = self.disk.sync_folder(&self.folder);
            }
            state = lock(&self.state);
            state.is_running = false;
            match result {
                Ok(()) => {
                    state.completed = turn;
                    self.durable.fetch_max(appended, Ordering::AcqRel);
                    self.durable_notes.fetch_max(noted, Ordering::AcqRel);
                    let done = segments.last().map_or(0, |(number, _)| *number);
                    state.segments.retain(|(number, _)| *number >= done);
                }
                Err(error) => self.fail(&mut state, &error),
            }
            self.done.notify_all();
        }
    }

    /// Makes what was recorded durable, without the writes: for segments that are to be deleted.
    pub(crate) fn sync_notes(&self) -> Result<()> {
        let (controls, noted, is_folder_changed) = {
            let mut state = lock(&self.state);
            if let Some(error) = &state.failure {
                return Err(error.clone());
            }
            let noted = self.noted.load(Ordering::Acquire);
            if noted == self.durable_notes.load(Ordering::Relaxed) {
                return Ok(());
            }
            (state.controls.clone(), noted, std::mem::take(&mut state.is_folder_changed))
        };
        let mut result = self.sync_each(controls.iter());
        if result.is_ok() && is_folder_changed {
            result = self.disk.sync_folder(&self.folder);
        }
        match result {
            Ok(()) => {
                self.durable_notes.fetch_max(noted, Ordering::AcqRel);
                Ok(())
            }
            Err(error) => {
                let mut state = lock(&self.state);
                self.fail(&mut state, &error);
                Err(state.failure.clone().expect("it was set"))
            }
        }
    }

    fn sync_each<'a>(
        &self,
        mut handles: impl Iterator<Item = &'a Arc<dyn Handle>>,
    ) -> std::io::Result<()> {
        handles.try_for_each(|handle| sync(self.disk.as_ref(), &self.folder, handle.as_ref()))
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
        self.noted.store(generation << 32 | at as u64, Ordering::Release);
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
        state.is_folder_changed |= is_new;
    }

    /// All of a segment is settled: nobody waits for it.
    pub(crate) fn forget_segment(&self, number: u64) {
        lock(&self.state).segments.retain(|(other, _)| *other != number);
    }

    pub(crate) fn set_controls(&self, controls: Vec<Arc<dyn Handle>>, is_new: bool) {
        let mut state = lock(&self.state);
        state.controls = controls;
        state.is_folder_changed |= is_new;
    }
}

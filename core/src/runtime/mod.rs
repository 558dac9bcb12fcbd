//! The hidden runtime: one I/O thread for the process, a dispatcher thread for callbacks once
//! somebody registers one, and what makes both safe across `fork` and `shutdown`.
//!
//! Everything process-wide hangs off one [`Process`] slot. After `fork` the child gets a new
//! one; the parent's is leaked there, never dropped, because its epoll instance is shared with the
//! parent and its locks may be held by threads that do not exist in the child
//! (docs/adr/runtime-and-fork.md).
#![allow(unsafe_code, reason = "signal masks, and the slot that a fork replaces")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Result};
use crate::pending::{Pending, pending};
use crate::producer::budget::Budget;
use crate::producer::engine::Engine;
use crate::state::registry::Registry;
use crate::stream::{Lines, Writers};
use crate::transport::Transport;
use crate::transport::asking::Asking;
use crate::transport::http::HttpTransport;
use crate::transport::routing::Routing;

pub(crate) mod exit;
pub(crate) mod fork;
pub(crate) mod log;

pub(crate) use fork::{generation, made_in};

/// Large answers that are taken apart at the same time, beside the I/O thread.
const PARSING_THREADS: usize = 4;
/// How long such a thread stays after the last one.
const PARSING_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// How long a child waits for a lock that came through `fork`.
const INHERITED_LOCK_LIMIT: Duration = Duration::from_secs(1);

/// Locks, whatever a panicking thread left: the data is guarded by its own invariants.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The same for what may have come through `fork`, with the generation it was made in: a thread that
/// the child has not may hold it for good, and those it has hold it for moments.
pub(crate) fn lock_inherited<T>(mutex: &Mutex<T>, made_in: u64) -> Result<MutexGuard<'_, T>> {
    if made_in == generation() {
        return Ok(lock(mutex));
    }
    let started = Instant::now();
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if started.elapsed() > INHERITED_LOCK_LIMIT => {
                return Err(Error::forked("what this needs"));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

static CURRENT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());
/// The parent's slot, in a forked child: leaked, but not lost to those who look for leaks.
static INHERITED: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());
/// What producers together may buffer; forked children keep to it too.
static BUFFER_BUDGET: AtomicU64 = AtomicU64::new(512 << 20);

/// What exists once per process: per fork generation, that is.
pub(crate) struct Process {
    runtime: Mutex<Option<Arc<Runtime>>>,
    /// The one that is being shut down, for what its callbacks still hear.
    stopping: Mutex<Weak<Runtime>>,
    engines: Mutex<Engines>,
    pub(crate) lines: Lines,
    pub(crate) writers: Writers,
    pub(crate) registry: Registry,
    pub(crate) budget: Arc<Budget>,
}

/// A number no other process has, a forked one included: a generator of this process's own would go
/// on from the same state on both sides of a fork.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| rand::random())
}

/// The current process's slot, made at first use.
pub(crate) fn process() -> &'static Process {
    made_in(); // from here on a fork is noticed
    let mut slot = CURRENT.load(Ordering::Acquire);
    if slot.is_null() {
        let fresh = Box::into_raw(Box::new(Process {
            runtime: Mutex::new(None),
            stopping: Mutex::default(),
            engines: Mutex::default(),
            lines: Lines::default(),
            writers: Writers::default(),
            registry: Registry::default(),
            budget: Arc::new(Budget::new(BUFFER_BUDGET.load(Ordering::Relaxed))),
        }));
        match CURRENT.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => slot = fresh,
            Err(other) => {
                // SAFETY: `fresh` came from `Box::into_raw` above and was not shared.
                drop(unsafe { Box::from_raw(fresh) });
                slot = other;
            }
        }
    }
    // SAFETY: a slot is never freed once it is in `CURRENT`.
    unsafe { &*slot }
}

/// In a forked child: the parent's slot is the parent's.
fn leave_to_parent() {
    let parents = CURRENT.swap(ptr::null_mut(), Ordering::AcqRel);
    if !parents.is_null() {
        INHERITED.store(parents, Ordering::Relaxed);
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// The threads, and what they work with.
pub(crate) struct Runtime {
    handle: tokio::runtime::Handle,
    pub(crate) transport: Arc<dyn Transport>,
    stop: Arc<Notify>,
    io_thread: Mutex<Option<JoinHandle<()>>>,
    dispatcher: Arc<Dispatcher>,
    /// For header functions, which requests wait for: a slow callback makes no request late.
    header_lane: Arc<Dispatcher>,
}

/// A thread for the host's functions, which starts with the first one.
pub(crate) struct Dispatcher {
    thread_name: &'static str,
    calls: Mutex<Calls>,
}

enum Calls {
    NotStarted,
    Running {
        jobs: mpsc::Sender<Job>,
        thread: JoinHandle<()>,
    },
    /// Callbacks that come later run where they come from.
    Stopped,
}

thread_local! {
    /// Set on the library's own threads: whoever blocks there would wait for itself.
    static OWN_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is one of the library's own threads, as it is inside callbacks.
pub(crate) fn on_own_thread() -> bool {
    OWN_THREAD.with(Cell::get)
}

impl Process {
    /// The running runtime, started if there is none.
    pub(crate) fn runtime(&self) -> Result<Arc<Runtime>> {
        let mut slot = lock(&self.runtime);
        if let Some(runtime) = &*slot {
            return Ok(runtime.clone());
        }
        exit::register();
        let runtime = fork::uncut(|| Runtime::start(Arc::new(Routing::new(HttpTransport::new()))))?;
        let runtime = Arc::new(runtime);
        *slot = Some(runtime.clone());
        Ok(runtime)
    }

    /// The runtime, if one is running.
    pub(crate) fn running(&self) -> Option<Arc<Runtime>> {
        lock(&self.runtime).clone()
    }

    /// Tells every producer that there may be room, where somebody found none in the budget.
    pub(crate) fn budget_freed(&self) {
        if self.budget.was_starving() {
            self.live_engines().iter().for_each(|engine| engine.announce_own());
        }
    }

    /// The runtime whose callbacks' thread runs: the running one, or the one being shut down.
    pub(crate) fn calling(&self) -> Option<Arc<Runtime>> {
        self.running().or_else(|| lock(&self.stopping).upgrade())
    }

    pub(crate) fn register(&self, engine: &Arc<Engine>) {
        lock(&self.engines).add(engine);
    }

    pub(crate) fn live_engines(&self) -> Vec<Arc<Engine>> {
        let engines = lock(&self.engines);
        engines.by_identity.values().flatten().filter_map(Weak::upgrade).collect()
    }

    /// Those that write to a stream under an id, in the order in which they were opened.
    pub(crate) fn writers_of(&self, stream: &Arc<str>, id: &str) -> Vec<Arc<Engine>> {
        let identity = (stream.clone(), id.to_owned());
        let engines = lock(&self.engines);
        let known = engines.by_identity.get(&identity);
        known.into_iter().flatten().filter_map(Weak::upgrade).collect()
    }
}

/// The engines of a process by what they write to and under which id: opening one looks only at
/// those that it could meet.
#[derive(Default)]
struct Engines {
    by_identity: BTreeMap<(Arc<str>, String), Vec<Weak<Engine>>>,
    /// How many there are, ended ones included.
    count: usize,
    /// At how many the ended ones are forgotten.
    full: usize,
}

impl Engines {
    /// How many there may be at least before the ended ones are looked for.
    const LEAST: usize = 64;

    fn add(&mut self, engine: &Arc<Engine>) {
        if self.count >= self.full.max(Self::LEAST) {
            self.by_identity.retain(|_, engines| {
                engines.retain(|engine| engine.strong_count() > 0);
                !engines.is_empty()
            });
            self.count = self.by_identity.values().map(Vec::len).sum();
            self.full = 2 * self.count;
        }
        let identity = (engine.endpoint.stream.clone(), engine.config.producer_id.clone());
        self.by_identity.entry(identity).or_default().push(Arc::downgrade(engine));
        self.count += 1;
    }
}

impl Runtime {
    /// Starts the I/O thread over a transport.
    fn start(transport: Arc<dyn Transport>) -> Result<Self> {
        let failed = |e: std::io::Error| {
            Error::new(ErrorKind::Internal, format!("cannot start the I/O thread: {e}"))
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(PARSING_THREADS)
            .thread_keep_alive(PARSING_KEEP_ALIVE)
            .thread_name("durstream-parse")
            .build()
            .map_err(failed)?;
        let handle = runtime.handle().clone();
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let thread = spawn("durstream-io", move || {
            runtime.block_on(stopped.notified());
            runtime.shutdown_timeout(MIN_GRACE); // an answer may still be taken apart
        })
        .map_err(failed)?;
        let (dispatcher, header_lane) = Dispatcher::both();
        let transport = Arc::new(Asking::new(transport, header_lane.clone()));
        let io_thread = Mutex::new(Some(thread));
        Ok(Runtime { handle, transport, stop, io_thread, dispatcher, header_lane })
    }

    /// A runtime over the test's own executor, whose clock the test drives.
    #[cfg(test)]
    pub(crate) fn for_test(transport: Arc<dyn Transport>) -> Arc<Self> {
        let (dispatcher, header_lane) = Dispatcher::both();
        Arc::new(Runtime {
            handle: tokio::runtime::Handle::current(),
            transport: Arc::new(Asking::new(transport, header_lane.clone())),
            stop: Arc::default(),
            io_thread: Mutex::new(None),
            dispatcher,
            header_lane,
        })
    }

    /// Runs a task on the I/O thread.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    /// Runs a task on the I/O thread and hands its result out.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Pending<T> {
        let (completer, pending) = pending();
        self.spawn(async move { completer.complete(task.await) });
        pending
    }

    /// Runs a callback on the dispatcher thread.
    pub(crate) fn dispatch(&self, job: impl FnOnce() + Send + 'static) {
        self.dispatcher.dispatch(job);
    }

    fn stop(&self, deadline: Instant) {
        self.stop.notify_one();
        if let Some(thread) = lock(&self.io_thread).take() {
            let _ = thread.join();
        }
        self.header_lane.stop(deadline);
        self.dispatcher.stop(deadline);
    }
}

impl Dispatcher {
    fn new(thread_name: &'static str) -> Arc<Self> {
        Arc::new(Dispatcher { thread_name, calls: Mutex::new(Calls::NotStarted) })
    }

    /// The one for callbacks, and the one for header functions.
    fn both() -> (Arc<Self>, Arc<Self>) {
        (Dispatcher::new("durstream-calls"), Dispatcher::new("durstream-auth"))
    }

    pub(crate) fn dispatch(&self, job: impl FnOnce() + Send + 'static) {
        let mut calls = lock(&self.calls);
        if matches!(*calls, Calls::NotStarted) {
            let (jobs, queue) = mpsc::channel::<Job>();
            let run = move || queue.into_iter().for_each(guarded);
            if let Ok(thread) = spawn(self.thread_name, run) {
                *calls = Calls::Running { jobs, thread };
            }
        }
        let unsent = match &*calls {
            Calls::Running { jobs, .. } => jobs.send(Box::new(job)).map_err(|e| e.0).err(),
            _ => Some(Box::new(job) as Job),
        };
        drop(calls);
        if let Some(job) = unsent {
            guarded(job);
        }
    }

    fn stop(&self, deadline: Instant) {
        let calls = std::mem::replace(&mut *lock(&self.calls), Calls::Stopped);
        let Calls::Running { jobs, thread } = calls else { return };
        drop(jobs);
        // A callback of the host's may hang; it is given the rest of the time, then left alone.
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

/// A callback that panics is reported; the dispatcher goes on.
pub(crate) fn guarded(job: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
        log::warn("a callback panicked");
    }
}

/// Starts one of the library's threads. Signals are the host's: they stay blocked here, SIGPIPE
/// from a cut connection above all, which would end a host that does not ignore it.
pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let _blocked = SignalsBlocked::new();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        OWN_THREAD.with(|own| own.set(true));
        body();
    })
}

/// Blocks every signal that is sent from outside, on this thread, until dropped; a thread
/// started meanwhile inherits the mask.
struct SignalsBlocked {
    #[cfg(unix)]
    before: libc::sigset_t,
}

impl SignalsBlocked {
    #[cfg(unix)]
    fn new() -> Self {
        // SAFETY: plain libc calls on sets that live on this stack frame.
        unsafe {
            let mut set = std::mem::zeroed();
            let mut before = std::mem::zeroed();
            libc::sigfillset(&mut set);
            // These are raised by the thread's own instructions; blocked, they kill anyway,
            // but past the host's crash reporter. Profilers need theirs on every thread.
            for own in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
                libc::sigdelset(&mut set, own);
            }
            libc::sigdelset(&mut set, libc::SIGPROF);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut before);
            SignalsBlocked { before }
        }
    }

    #[cfg(not(unix))]
    fn new() -> Self {
        SignalsBlocked {}
    }
}

#[cfg(unix)]
impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: `before` was filled by `pthread_sigmask`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut()) };
    }
}

/// Bounds what all producers of this process together may buffer, in bytes; 512 MiB until set.
///
/// Each producer has room for one batch (`max_batch_bytes`) of its own, whatever the others hold;
/// what is beyond comes out of this, first come, first served. One that holds nothing is always let
/// in with a write. A smaller bound takes nothing back.
pub fn set_buffer_budget(bytes: u64) {
    BUFFER_BUDGET.store(bytes, Ordering::Relaxed);
    let process = process();
    process.budget.set_limit(bytes);
    process.live_engines().iter().for_each(|engine| engine.announce());
}

/// Writes of this process accepted and not settled, over all producers.
pub fn pending_count() -> u64 {
    let process = process();
    process.lines.pending() + pending_in(&process.live_engines())
}

fn pending_in(engines: &[Arc<Engine>]) -> u64 {
    engines.iter().map(|engine| engine.pending_count()).sum()
}

/// Waits until every write accepted so far, by any producer of this process, is settled.
///
/// For the end of a process, not in place of `flush`: it fails only if the time runs out, and
/// leaves to each producer's own `flush` and `on_error` what was not delivered.
pub fn flush_all(timeout: Duration) -> Pending<()> {
    let engines = process().live_engines();
    let Some(runtime) = process().running() else { return Pending::ready(Ok(())) };
    if process().lines.pending() + pending_in(&engines) == 0 {
        return Pending::ready(Ok(()));
    }
    settle_all(&runtime, engines, timeout)
}

/// What is said of writes that are given up.
pub(crate) fn still_pending(writes: u64, limit: Duration) -> String {
    let writes = if writes == 1 { "1 write was" } else { &format!("{writes} writes were") };
    format!("{writes} still pending after {} ms", limit.as_millis())
}

fn settle_all(runtime: &Runtime, engines: Vec<Arc<Engine>>, timeout: Duration) -> Pending<()> {
    let (completer, result) = pending();
    runtime.spawn(async move {
        let settle = async {
            for engine in &engines {
                engine.settled().await;
                engine.closed().await;
            }
            process().lines.settled().await;
        };
        if tokio::time::timeout(timeout, settle).await.is_ok() {
            return completer.complete(Ok(()));
        }
        let left = process().lines.pending() + pending_in(&engines);
        let text = still_pending(left, timeout);
        // Whoever gave the wait up, or was refused it, hears nothing of it.
        if !completer.is_abandoned() {
            log::warn(&text);
        }
        completer.complete(Err(Error::new(ErrorKind::Timeout, text)));
    });
    result
}

/// Stops everything: no new writes, accepted ones get until `timeout` to be delivered, what is
/// left settles as `producer-stopped`, and the library's threads end.
///
/// Handles stay safe to use and answer with `ProducerClosed`. A later open starts afresh. Blocks;
/// must not be called from a callback. Without a running library it does nothing.
pub fn shutdown(timeout: Duration) -> Result<()> {
    if on_own_thread() {
        return Err(would_deadlock());
    }
    // Taken first: what is opened from here on starts afresh.
    let runtime = {
        let mut slot = lock(&process().runtime);
        let Some(runtime) = slot.take() else { return Ok(()) };
        *lock(&process().stopping) = Arc::downgrade(&runtime);
        runtime
    };
    let now = Instant::now();
    let deadline = now.checked_add(timeout).unwrap_or(now + FOR_EVER);
    let mut engines = process().live_engines();
    engines.retain(|engine| Arc::ptr_eq(engine.runtime(), &runtime));
    engines.iter().for_each(|engine| engine.begin_stop());
    process().writers.clear();
    let drained = settle_all(&runtime, engines.clone(), timeout.min(FOR_EVER)).wait();
    engines.iter().for_each(|engine| engine.stop_now());
    // Outcomes reach their callbacks before the threads end.
    let grace = deadline.saturating_duration_since(Instant::now()).max(MIN_GRACE);
    let ended = async move {
        for engine in &engines {
            engine.ended().await;
        }
    };
    let _ = runtime.run(async move { Ok(tokio::time::timeout(grace, ended).await.is_ok()) }).wait();
    runtime.stop(deadline.max(Instant::now() + MIN_GRACE));
    log::close(MIN_GRACE);
    drained
}

/// As good as no limit, and no time overflows by it.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What the threads get to end, even when the time is up.
pub(crate) const MIN_GRACE: Duration = Duration::from_millis(200);

pub(crate) fn would_deadlock() -> Error {
    Error::new(ErrorKind::NotSupported, "would deadlock: a callback must not wait for the library")
        .with_reason("would-deadlock")
}

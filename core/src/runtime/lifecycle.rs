//! The runtime of this process, the work it has still to finish, and its ends.
//!
//! A module that accepts work registers it as [`Work`]; the functions that count, wait for or end
//! all work know nothing else of it.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result, amount};
use crate::runtime::chance::real_now;
use crate::runtime::dispatcher::guarded;
use crate::runtime::fork::{PerProcess, generation, uncut};
use crate::runtime::io::{MIN_GRACE, Runtime};
use crate::runtime::notice::Notice;
use crate::runtime::pending::{Pending, pending};
use crate::runtime::threads::{lock, on_own_thread, would_deadlock};
use crate::runtime::{exit, log};

/// Something that has accepted work, which the process finishes before it ends.
pub(crate) trait Work: Send + Sync + 'static {
    /// Writes accepted and not settled.
    fn pending(&self) -> u64 {
        0
    }

    /// Whether there is nothing to wait for: no write is pending, and no stream is being ended.
    fn is_settled(&self) -> bool {
        self.pending() == 0
    }

    /// Waits until what was accepted so far is settled.
    fn when_settled(self: Arc<Self>) -> Waiting {
        Box::pin(std::future::ready(()))
    }

    /// Whether what is pending outlives the process.
    fn is_kept(&self) -> bool {
        false
    }

    /// Waits until the process may end: what was accepted is settled, or outlives the process and cannot
    /// be delivered now.
    fn when_leavable(self: Arc<Self>) -> Waiting {
        self.when_settled()
    }

    /// Waits until its own task has ended.
    fn when_ended(self: Arc<Self>) -> Waiting {
        Box::pin(std::future::ready(()))
    }

    /// The stream it writes to, and the failure that holds it up, for people.
    fn place(&self) -> (String, Option<Error>) {
        (String::new(), None)
    }

    /// Whether its task ends with a runtime.
    fn runs_on(&self, _runtime: &Arc<Runtime>) -> bool {
        true
    }

    /// It takes no more, finishes what it took, and ends.
    fn begin_stop(&self) {}

    /// It ends now.
    fn stop_now(&self) {}

    /// There may be room in the budget that all share.
    fn room_freed(&self) {}
}

pub(crate) type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
struct Runtimes {
    running: Mutex<Option<Arc<Runtime>>>,
    /// The runtime that is being shut down: its callbacks still run.
    stopping: Mutex<Weak<Runtime>>,
}

#[derive(Default)]
struct Works {
    list: Vec<Weak<dyn Work>>,
    /// At how many the dropped ones are removed: at each registration it would cost the square.
    full: usize,
}

impl Works {
    /// The least number at which the dropped ones are removed.
    const LEAST: usize = 64;

    fn add(&mut self, work: Weak<dyn Work>) {
        if self.list.len() >= self.full.max(Self::LEAST) {
            self.list.retain(|work| work.strong_count() > 0);
            self.full = 2 * self.list.len();
        }
        self.list.push(work);
    }
}

static RUNTIMES: PerProcess<Runtimes> = PerProcess::new(Runtimes::default);
static WORKS: PerProcess<Mutex<Works>> = PerProcess::new(Mutex::default);

/// The running runtime, started if there is none.
pub(crate) fn runtime() -> Result<Arc<Runtime>> {
    let mut slot = lock(&RUNTIMES.get().running);
    if let Some(runtime) = &*slot {
        return Ok(runtime.clone());
    }
    exit::register(at_exit);
    let runtime = Arc::new(uncut(Runtime::start)?);
    *slot = Some(runtime.clone());
    Ok(runtime)
}

/// The runtime, if one is running.
fn running() -> Option<Arc<Runtime>> {
    lock(&RUNTIMES.get().running).clone()
}

/// The runtime whose callbacks' thread runs: the running one, or the one being shut down.
fn calling() -> Option<Arc<Runtime>> {
    running().or_else(|| lock(&RUNTIMES.get().stopping).upgrade())
}

impl<T: Send + 'static> Pending<T> {
    /// Calls back with the result on the dispatcher thread, where it may take its time: for
    /// hosts whose results need a lock of theirs, such as Python's GIL.
    pub fn on_dispatcher(self, callback: impl FnOnce(Result<T>) + Send + 'static) {
        match calling() {
            Some(runtime) => {
                self.on_complete(move |result| runtime.dispatch(move || callback(result)));
            }
            None => self.on_complete(callback),
        }
    }
}

/// Makes work part of what this process has to finish, as long as the work lives.
pub(crate) fn register(work: Weak<dyn Work>) {
    lock(WORKS.get()).add(work);
}

/// All work of this process.
pub(crate) fn works() -> Vec<Arc<dyn Work>> {
    lock(WORKS.get()).list.iter().filter_map(Weak::upgrade).collect()
}

/// Writes of this process accepted and not settled, over all producers.
pub fn pending_count() -> u64 {
    pending_in(&works())
}

fn pending_in(works: &[Arc<dyn Work>]) -> u64 {
    works.iter().map(|work| work.pending()).sum()
}

/// A report on its way to a callback of the host's, which the process has still to call.
pub(crate) struct Telling(&'static AtomicUsize);

static TELLING: PerProcess<AtomicUsize> = PerProcess::new(AtomicUsize::default);

impl Telling {
    /// Begins before the writes that are reported count as settled.
    pub(crate) fn begin() -> Self {
        let count = TELLING.get();
        count.fetch_add(1, Ordering::AcqRel);
        Telling(count)
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether this process has nothing under way: no write is pending, no stream is being ended, and no
/// report waits for its callback.
pub fn is_idle() -> bool {
    works().iter().all(|work| work.is_settled()) && is_told()
}

/// Whether no report waits for its callback in this process.
pub fn is_told() -> bool {
    TELLING.get().load(Ordering::Acquire) == 0
}

/// Ends every producer of this process now: what is pending settles as `cancelled` or
/// `delivery-unknown` and is reported. Waits for nothing; the library's threads stay, and a later
/// open works.
pub fn stop_all() {
    works().iter().for_each(|work| work.stop_now());
}

/// Calls back on the dispatcher thread, behind the reports that wait there; at once if there is none.
pub fn behind_reports(callback: impl FnOnce() + Send + 'static) {
    Pending::ready(Ok(())).on_dispatcher(move |_| callback());
}

/// Waits until every callback was called that has a report to receive by now.
pub fn callbacks_done() -> Pending<()> {
    let (completer, done) = pending();
    behind_reports(move || completer.complete(Ok(())));
    done
}

/// Waits until every write accepted so far, by any producer of this process, is settled, and every
/// close that was begun has ended. What is kept in an outbox is not waited for while its server is out
/// of reach: it is delivered when the producer is opened again.
///
/// For the end of a process, not in place of `flush`: it fails only if the time runs out, and each
/// producer's own `flush` and `on_error` still report the writes that were not delivered.
pub fn flush_all(timeout: Duration) -> Pending<()> {
    let works = works();
    let Some(runtime) = running() else { return Pending::ready(Ok(())) };
    if works.iter().all(|work| work.is_settled()) {
        return Pending::ready(Ok(()));
    }
    settle_all(&runtime, works, timeout)
}

/// As many streams are named where writes are given up.
const NAMED: usize = 3;

/// The text about writes that are given up: how many, of which streams, and why.
fn still_pending(works: &[Arc<dyn Work>], limit: Duration) -> String {
    let left: Vec<_> = works.iter().filter(|work| !work.is_settled()).collect();
    let counted = |writes: u64| match writes {
        0 => "the end of a stream".to_owned(), // no write, and still not settled
        _ => amount(writes, "write"),
    };
    let writes = pending_in(works);
    let verb = if writes > 1 { "were" } else { "was" };
    let are_kept = left.iter().all(|work| work.is_kept());
    let mut text = match (are_kept, writes) {
        (true, 1) => "1 write stays in the outbox".to_owned(),
        (true, _) => format!("{writes} writes stay in the outbox"),
        _ => format!("{} {verb} still pending after {} ms", counted(writes), limit.as_millis()),
    };
    let mut between = ": ";
    for work in left.iter().take(NAMED) {
        let (stream, failure) = work.place();
        text += &format!("{between}{} to {stream}", counted(work.pending()));
        if work.is_kept() && !are_kept {
            text += ", kept in the outbox";
        }
        if let Some(failure) = failure {
            text += &format!(" ({})", failure.message());
        }
        between = ", ";
    }
    if left.len() > NAMED {
        text += &format!(", and of {} other producers", left.len() - NAMED);
    }
    text
}

fn settle_all(runtime: &Runtime, works: Vec<Arc<dyn Work>>, timeout: Duration) -> Pending<()> {
    let (completer, result) = pending();
    runtime.spawn(async move {
        let settle = async {
            for work in &works {
                work.clone().when_leavable().await;
            }
        };
        if tokio::time::timeout(timeout, settle).await.is_ok() {
            if !works.iter().all(|work| work.is_settled()) && !completer.is_abandoned() {
                log::warn(Notice::StillPending, &still_pending(&works, timeout));
            }
            return completer.complete(Ok(()));
        }
        let text = still_pending(&works, timeout);
        // A caller that gave the wait up, or was refused it, gets no line in the log.
        if !completer.is_abandoned() {
            log::warn(Notice::StillPending, &text);
        }
        completer.complete(Err(Error::new(ErrorKind::Timeout, text)));
    });
    result
}

/// Stops everything: no new writes, accepted ones get until `timeout` to be delivered, the rest
/// settles as `producer-stopped`, and the library's threads end.
///
/// Handles stay safe to use and answer with `ProducerClosed`. A later open starts afresh. Blocks;
/// must not be called from a callback. If the library is not running it does nothing.
pub fn shutdown(timeout: Duration) -> Result<()> {
    if on_own_thread() {
        return Err(would_deadlock());
    }
    // Taken first: a producer opened from here on starts afresh.
    let runtime = {
        let runtimes = RUNTIMES.get();
        let mut slot = lock(&runtimes.running);
        let Some(runtime) = slot.take() else { return Ok(()) };
        *lock(&runtimes.stopping) = Arc::downgrade(&runtime);
        runtime
    };
    let now = real_now();
    let deadline = now.checked_add(timeout).unwrap_or(now + FOR_EVER);
    let works_of_it = || {
        let mut works = works();
        works.retain(|work| work.runs_on(&runtime));
        works
    };
    let works = works_of_it();
    works.iter().for_each(|work| work.begin_stop());
    let drained = settle_all(&runtime, works, timeout.min(FOR_EVER)).wait();
    // Also those that found the runtime before it was taken, and are known only now.
    let works = works_of_it();
    works.iter().for_each(|work| work.stop_now());
    // Outcomes reach their callbacks before the threads end.
    let grace = deadline.saturating_duration_since(real_now()).max(MIN_GRACE);
    let ended = async move {
        for work in &works {
            work.clone().when_ended().await;
        }
    };
    let _ = runtime.run(async move { Ok(tokio::time::timeout(grace, ended).await.is_ok()) }).wait();
    runtime.stop(deadline.max(real_now() + MIN_GRACE));
    log::close(MIN_GRACE);
    drained
}

/// Waits for moments until the lines of the log so far are written.
pub fn drain_log() {
    log::close(MIN_GRACE);
}

/// As good as no limit, and no time overflows by it.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

extern "C" fn at_exit() {
    /// The generation whose end has begun, plus one: two registrations are no two ends.
    static ENDING: AtomicU64 = AtomicU64::new(0);
    let own = generation() + 1;
    if ENDING.swap(own, Ordering::AcqRel) != own {
        guarded(drain);
    }
}

fn drain() {
    let limit = exit::exit_timeout();
    // A callback that ends the process would wait for itself.
    if on_own_thread() {
        return;
    }
    if !limit.is_zero() {
        // The log has what is left, unless a callback blocks the thread that would say so.
        let flushed = flush_all(limit).wait_for(limit.saturating_add(MIN_GRACE));
        if flushed.is_none() {
            log::warn(Notice::StillPending, &still_pending(&works(), limit));
        }
    }
    log::close(MIN_GRACE);
}

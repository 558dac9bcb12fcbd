//! The hidden runtime: one I/O thread, and the threads that run the host's functions.

use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::chance::Chance;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::pending::{Pending, pending};
use crate::runtime::threads::{lock, spawn};

/// Threads that parse large answers, beside the I/O thread.
const PARSING_THREADS: usize = 4;
/// How long a parsing thread stays after its last answer.
const PARSING_KEEP_ALIVE: Duration = Duration::from_secs(2);
/// The time the threads get to end, even when the time limit is up.
pub(crate) const MIN_GRACE: Duration = Duration::from_millis(200);

/// The threads, and the values that live as long as they do.
pub(crate) struct Runtime {
    handle: tokio::runtime::Handle,
    stop: Arc<Notify>,
    io_thread: Mutex<Option<JoinHandle<()>>>,
    dispatcher: Arc<Dispatcher>,
    /// For header functions, which requests wait for: a slow callback makes no request late.
    header_dispatcher: Arc<Dispatcher>,
    attached: OnceLock<Arc<dyn Any + Send + Sync>>,
    chance: Chance,
}

impl Runtime {
    /// Starts the I/O thread.
    pub(super) fn start() -> Result<Self> {
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
            // What it runs has events of its own, and this thread waits for no subscriber.
            let _untraced = tracing::dispatcher::set_default(&tracing::Dispatch::none());
            runtime.block_on(stopped.notified());
            runtime.shutdown_timeout(MIN_GRACE); // an answer may still be parsed
        })
        .map_err(failed)?;
        Ok(Self::over(handle, stop, Some(thread), Dispatcher::both(), Chance::System))
    }

    /// A runtime over the test's own executor, whose clock the test drives.
    #[cfg(test)]
    pub(crate) fn for_test(chance: Chance) -> Self {
        let handle = tokio::runtime::Handle::current();
        Self::over(handle, Arc::default(), None, Dispatcher::both(), chance)
    }

    /// A runtime over the test's own executor without a thread: the executor runs the host's
    /// functions, which must not block.
    #[cfg(test)]
    pub(crate) fn simulated(chance: Chance) -> Self {
        let handle = tokio::runtime::Handle::current();
        let dispatchers = Dispatcher::both_on(&handle);
        Self::over(handle, Arc::default(), None, dispatchers, chance)
    }

    fn over(
        handle: tokio::runtime::Handle,
        stop: Arc<Notify>,
        io_thread: Option<JoinHandle<()>>,
        (dispatcher, header_dispatcher): (Arc<Dispatcher>, Arc<Dispatcher>),
        chance: Chance,
    ) -> Self {
        let (io_thread, attached) = (Mutex::new(io_thread), OnceLock::new());
        Runtime { handle, stop, io_thread, dispatcher, header_dispatcher, attached, chance }
    }

    /// Its random numbers and its wall clock.
    pub(crate) fn chance(&self) -> &Chance {
        &self.chance
    }

    /// A value that another module keeps here because it cannot outlive the threads: connections,
    /// say. It is made once, and every caller gets it.
    pub(crate) fn attached<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let attached = self.attached.get_or_init(|| Arc::new(make()));
        attached.clone().downcast().expect("one kind of thing is attached")
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

    /// The thread that header functions are called on.
    pub(crate) fn header_dispatcher(&self) -> &Arc<Dispatcher> {
        &self.header_dispatcher
    }

    pub(super) fn stop(&self, deadline: Instant) {
        self.stop.notify_one();
        if let Some(thread) = lock(&self.io_thread).take() {
            let _ = thread.join();
        }
        self.header_dispatcher.stop(deadline);
        self.dispatcher.stop(deadline);
    }
}

//! Threads that run the host's functions, one at a time.

use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::runtime::chance::real_now;
use crate::runtime::log;
use crate::runtime::notice::Notice;
use crate::runtime::threads::{lock, spawn};

type Job = Box<dyn FnOnce() + Send>;

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
    /// Stopped: later callbacks run where they come from.
    Stopped,
    /// A test's executor runs them, in the order in which they come.
    #[cfg(test)]
    On(tokio::runtime::Handle),
}

impl Dispatcher {
    fn new(thread_name: &'static str) -> Arc<Self> {
        Arc::new(Dispatcher { thread_name, calls: Mutex::new(Calls::NotStarted) })
    }

    /// The dispatcher for callbacks, and the dispatcher for header functions.
    pub(super) fn both() -> (Arc<Self>, Arc<Self>) {
        (Dispatcher::new("durstream-calls"), Dispatcher::new("durstream-auth"))
    }

    /// Both dispatchers on a test's executor, without threads.
    #[cfg(test)]
    pub(super) fn both_on(executor: &tokio::runtime::Handle) -> (Arc<Self>, Arc<Self>) {
        let on = |thread_name| {
            Arc::new(Dispatcher { thread_name, calls: Mutex::new(Calls::On(executor.clone())) })
        };
        (on("calls"), on("auth"))
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
            #[cfg(test)]
            Calls::On(executor) => {
                executor.spawn(async move { guarded(job) });
                None
            }
            Calls::Running { jobs, .. } => jobs.send(Box::new(job)).map_err(|e| e.0).err(),
            _ => Some(Box::new(job) as Job),
        };
        drop(calls);
        if let Some(job) = unsent {
            guarded(job);
        }
    }

    pub(super) fn stop(&self, deadline: Instant) {
        let calls = std::mem::replace(&mut *lock(&self.calls), Calls::Stopped);
        let Calls::Running { jobs, thread } = calls else { return };
        drop(jobs);
        // A callback of the host may hang; it is given the rest of the time, then left alone.
        while !thread.is_finished() && real_now() < deadline {
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
        log::warn(Notice::CallbackFailed, "a callback panicked");
    }
}

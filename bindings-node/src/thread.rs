//! The failures under way to the JavaScript of one thread, and the wait until all were told.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

thread_local! {
    static HERE: Arc<Here> = Arc::default();
}

/// A thread that runs JavaScript.
#[derive(Default)]
pub struct Here(Mutex<State>);

#[derive(Default)]
struct State {
    last: u64,
    under_way: BTreeSet<u64>,
    waiting: Vec<Waker>,
}

impl Here {
    /// This thread.
    pub fn get() -> Arc<Self> {
        HERE.with(Arc::clone)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether no failure is under way.
    pub fn is_idle(&self) -> bool {
        self.state().under_way.is_empty()
    }

    /// A failure is under way until the ticket is dropped.
    pub fn enter(self: &Arc<Self>) -> Ticket {
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.under_way.insert(number);
        Ticket { here: self.clone(), number }
    }

    /// Waits until JavaScript was told of every failure that the core knows of by now.
    pub fn told(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let (done, here) = (durstream_core::callbacks_done(), self.clone());
        async move {
            let _ = done.await;
            let upto = here.state().last;
            poll_fn(|context| {
                let mut state = here.state();
                if state.under_way.first().is_none_or(|&oldest| oldest > upto) {
                    return Poll::Ready(());
                }
                state.waiting.push(context.waker().clone());
                Poll::Pending
            })
            .await;
        }
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut self.state().waiting);
        waiting.into_iter().for_each(Waker::wake); // not under the lock: they look again
    }
}

/// A failure under way.
pub struct Ticket {
    here: Arc<Here>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.here.state().under_way.remove(&self.number);
        self.here.wake();
    }
}

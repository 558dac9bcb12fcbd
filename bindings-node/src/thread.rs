//! The failures under way to the JavaScript of one thread, and the wait until all were told.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

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
    pub fn told(self: &Arc<Self>) -> Told {
        let upto = Arc::default();
        let told = Told { here: self.clone(), upto };
        let (here, upto) = (self.clone(), told.upto.clone());
        durstream_core::behind_reports(move || {
            *lock(&upto) = Some(here.state().last);
            here.wake();
        });
        told
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

type Upto = Arc<Mutex<Option<u64>>>;

fn lock(upto: &Upto) -> MutexGuard<'_, Option<u64>> {
    upto.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The wait until JavaScript was told.
pub struct Told {
    here: Arc<Here>,
    /// The last failure that is waited for, once the dispatcher has come to it.
    upto: Upto,
}

impl Future for Told {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.here.state();
        let upto = *lock(&self.upto);
        let is_told = upto.is_some_and(|upto| state.under_way.first().is_none_or(|&it| it > upto));
        if is_told {
            return Poll::Ready(());
        }
        state.waiting.push(context.waker().clone());
        Poll::Pending
    }
}

//! One result on its way from the hidden runtime to its caller: a future for async callers, a
//! blocking wait for the others, a callback for the bindings' promises.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::error::{Detail, Error, ErrorKind, Result};
use crate::runtime::chance::real_now;
use crate::runtime::fork::{generation, made_in};
use crate::runtime::threads::{lock, lock_inherited};

type Callback<T> = Box<dyn FnOnce(Result<T>) + Send>;
/// Takes back a result that no caller took.
type Unread<T> = Box<dyn FnOnce(Result<T>) + Send + Sync>;

enum State<T> {
    Waiting { waker: Option<Waker>, callback: Option<Callback<T>> },
    Done(Result<T>),
    Taken,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    done: Condvar,
    unread: Option<Unread<T>>,
    /// The fork generation of its completer.
    generation: u64,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }

    /// Whether its completer alone holds it, and nobody is called back.
    fn is_abandoned(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
            && matches!(&*self.lock(), State::Waiting { callback: None, .. })
    }

    /// The state, for the waiting side. In a forked child it is the state at the fork: nothing
    /// completes it there.
    fn look(&self) -> Result<MutexGuard<'_, State<T>>> {
        let state = lock_inherited(&self.state, self.generation)?;
        let is_left = self.generation != generation() && !matches!(*state, State::Done(_));
        if is_left { Err(Error::forked("the handle behind this result")) } else { Ok(state) }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let (Some(result), Some(unread)) = (take(state), self.unread.take()) {
            unread(result);
        }
    }
}

/// The result of an operation that goes on in the background.
///
/// Await it on any executor, [`wait`](Pending::wait) for it on a thread, or leave a callback.
/// Dropping it abandons the result, not the operation: no write is cancelled by it.
#[must_use = "the operation goes on without it, but its error is lost"]
pub struct Pending<T> {
    shared: Arc<Shared<T>>,
    overdue: Overdue,
}

type Hindrance = dyn Fn() -> Option<Error> + Send + Sync;

/// Makes the error of a wait whose time ran out. For the bindings that count the time themselves.
#[derive(Clone, Default)]
#[doc(hidden)]
pub struct Overdue(Option<Arc<Hindrance>>);

impl Overdue {
    /// The error: the operation goes on, and what keeps it from ending is its cause, where that is
    /// known.
    pub fn error(&self, what: &str, timeout: Duration) -> Error {
        self.saying(format!("{what} did not finish within {} ms; it goes on", timeout.as_millis()))
    }

    /// The error in a text of the caller's.
    pub fn saying(&self, text: String) -> Error {
        match self.0.as_ref().and_then(|hindrance| hindrance()) {
            Some(cause) => {
                let text = format!("{text}. The last failure: {}", cause.message());
                Error::new(ErrorKind::Timeout, text).with_detail(Detail::Timeout { cause })
            }
            None => Error::new(ErrorKind::Timeout, text),
        }
    }
}

/// Completes a [`Pending`]; dropped without a result it reports that the runtime ended.
pub(crate) struct Completer<T> {
    shared: Option<Arc<Shared<T>>>,
}

pub(crate) fn pending<T>() -> (Completer<T>, Pending<T>) {
    linked(None)
}

/// A pending result that must not be lost: if no caller takes it, `unread` gets it back.
pub(crate) fn pending_or_unread<T>(
    unread: impl FnOnce(Result<T>) + Send + Sync + 'static,
) -> (Completer<T>, Pending<T>) {
    linked(Some(Box::new(unread)))
}

fn linked<T>(unread: Option<Unread<T>>) -> (Completer<T>, Pending<T>) {
    let state = Mutex::new(State::Waiting { waker: None, callback: None });
    let (done, generation) = (Condvar::new(), made_in());
    let shared = Arc::new(Shared { state, done, unread, generation });
    let overdue = Overdue::default();
    (Completer { shared: Some(shared.clone()) }, Pending { shared, overdue })
}

impl<T> Completer<T> {
    pub(crate) fn complete(mut self, result: Result<T>) {
        if let Some(shared) = self.take() {
            finish(&shared, result);
        }
    }

    /// Takes what there is to complete. In a forked child that is nothing: a thread of the parent may
    /// hold its lock, so it is neither touched nor dropped.
    fn take(&mut self) -> Option<Arc<Shared<T>>> {
        let shared = self.shared.take()?;
        if shared.generation == generation() {
            return Some(shared);
        }
        std::mem::forget(shared);
        None
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.shared.as_ref().is_some_and(Shared::is_abandoned)
    }
}

impl<T> Drop for Completer<T> {
    fn drop(&mut self) {
        let Some(shared) = self.take() else { return };
        if !shared.is_abandoned() {
            let text = "the library was shut down before the operation ended";
            let error = Error::new(ErrorKind::ProducerClosed, text).with_definite(false);
            finish(&shared, Err(error));
        }
    }
}

fn finish<T>(shared: &Shared<T>, result: Result<T>) {
    let mut state = shared.lock();
    match std::mem::replace(&mut *state, State::Taken) {
        State::Waiting { waker, callback: None } => {
            *state = State::Done(result);
            drop(state);
            shared.done.notify_all();
            if let Some(waker) = waker {
                crate::runtime::dispatcher::guarded(|| waker.wake());
            }
        }
        State::Waiting { callback: Some(callback), .. } => {
            drop(state);
            // A panic here is the host's mistake: the completing code goes on.
            crate::runtime::dispatcher::guarded(|| callback(result));
        }
        State::Done(_) | State::Taken => unreachable!("a completer completes once"),
    }
}

impl<T> Pending<T> {
    /// A result that is there already.
    pub(crate) fn ready(result: Result<T>) -> Self {
        Pending {
            shared: Arc::new(Shared {
                state: Mutex::new(State::Done(result)),
                done: Condvar::new(),
                unread: None,
                generation: made_in(),
            }),
            overdue: Overdue::default(),
        }
    }

    /// Says what keeps the operation from ending, to a caller whose time runs out.
    pub(crate) fn hindered_by(
        mut self,
        hindrance: impl Fn() -> Option<Error> + Send + Sync + 'static,
    ) -> Self {
        self.overdue = Overdue(Some(Arc::new(hindrance)));
        self
    }

    /// Holds its lock, as a thread that completes it does.
    #[cfg(all(test, unix))]
    pub(crate) fn hold(&self) -> impl Sized + '_ {
        self.shared.lock()
    }

    /// Makes the error of a caller whose time ran out.
    #[doc(hidden)]
    pub fn overdue(&self) -> Overdue {
        self.overdue.clone()
    }

    /// Blocks this thread until the result is there.
    pub fn wait(mut self) -> Result<T> {
        loop {
            if let Some(result) = self.wait_for(Duration::from_secs(3600)) {
                return result;
            }
        }
    }

    /// Blocks this thread for at most `timeout`; `None` if the result is not there by then, and
    /// the wait may be taken up again.
    ///
    /// # Errors
    /// The operation's; `NotSupported` (`would-deadlock`) inside a callback of this library.
    pub fn wait_for(&mut self, timeout: Duration) -> Option<Result<T>> {
        let deadline = real_now().checked_add(timeout);
        let mut state = match self.shared.look() {
            Ok(state) => state,
            Err(error) => return Some(Err(error)),
        };
        // Refused even if the result is there: a mistake that shows only now and then is found too
        // late. A call with no time gets a result that is there.
        let may_wait = !timeout.is_zero() || matches!(*state, State::Waiting { .. });
        if may_wait && crate::runtime::threads::on_own_thread() {
            return Some(Err(crate::runtime::threads::would_deadlock()));
        }
        loop {
            if matches!(*state, State::Done(_)) {
                return take(&mut state);
            }
            let left = match deadline {
                Some(deadline) => deadline.checked_duration_since(real_now())?,
                None => Duration::from_secs(3600),
            };
            state = match self.shared.done.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// The result, if it is there. It comes once.
    pub(crate) fn now(&mut self) -> Option<Result<T>> {
        match self.shared.look() {
            Ok(mut state) => take(&mut state),
            Err(error) => Some(Err(error)),
        }
    }

    /// Blocks for at most `timeout`; running out is an [`ErrorKind::Timeout`] that names `what`.
    /// `None` waits without limit.
    pub fn wait_or_timeout(mut self, timeout: Option<Duration>, what: &str) -> Result<T> {
        let Some(timeout) = timeout else { return self.wait() };
        let settled = self.wait_for(timeout);
        settled.unwrap_or_else(|| Err(self.overdue.error(what, timeout)))
    }

    /// Calls back with the result: at once on this thread if it is there, else on the I/O
    /// thread. The callback must not block.
    pub fn on_complete(self, callback: impl FnOnce(Result<T>) + Send + 'static) {
        let mut state = match self.shared.look() {
            Ok(state) => state,
            Err(error) => return callback(Err(error)),
        };
        if let State::Waiting { callback: slot, .. } = &mut *state {
            *slot = Some(Box::new(callback));
            return;
        }
        let result = take(&mut state);
        drop(state);
        if let Some(result) = result {
            callback(result);
        }
    }
}

fn take<T>(state: &mut State<T>) -> Option<Result<T>> {
    match std::mem::replace(state, State::Taken) {
        State::Done(result) => Some(result),
        other => {
            *state = other;
            None
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = match self.shared.look() {
            Ok(state) => state,
            Err(error) => return Poll::Ready(Err(error)),
        };
        if let State::Waiting { waker, .. } = &mut *state {
            *waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(take(&mut state).expect("a finished future is not polled again"))
    }
}

impl<T> std::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_ran_out_can_be_taken_up_again() {
        let (completer, mut pending) = pending::<u32>();
        assert!(pending.wait_for(Duration::from_millis(1)).is_none());
        completer.complete(Ok(7));
        assert_eq!(pending.wait().unwrap(), 7);
    }

    #[test]
    fn a_dropped_completer_is_an_error_not_a_hang() {
        let (completer, pending) = pending::<u32>();
        drop(completer);
        assert_eq!(pending.wait().unwrap_err().kind(), ErrorKind::ProducerClosed);
    }

    #[test]
    fn callbacks_run_before_and_after() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (completer, first) = pending::<u32>();
        let send = sender.clone();
        first.on_complete(move |r| send.send(r.unwrap()).unwrap());
        completer.complete(Ok(1));
        Pending::ready(Ok(2)).on_complete(move |r| sender.send(r.unwrap()).unwrap());
        assert_eq!(receiver.iter().collect::<Vec<u32>>(), [1, 2]);
    }

    #[test]
    fn a_value_nobody_took_is_handed_back() {
        let (sender, returned) = std::sync::mpsc::channel();
        let make = || {
            let sender = sender.clone();
            pending_or_unread::<u32>(move |value| sender.send(value).unwrap())
        };
        let (completer, early) = make();
        drop(early);
        completer.complete(Ok(1));
        let (completer, late) = make();
        completer.complete(Ok(2));
        drop(late);
        let (completer, taken) = make();
        completer.complete(Ok(3));
        assert_eq!(taken.wait().unwrap(), 3);
        assert_eq!(returned.try_iter().flatten().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn abandoned_is_seen() {
        let (completer, pending) = pending::<u32>();
        assert!(!completer.is_abandoned());
        drop(pending);
        assert!(completer.is_abandoned());
    }
}

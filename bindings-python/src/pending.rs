//! A result on its way: waited for on a thread, or handed to a callback for asyncio.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use durstream_core::{Error, ErrorKind, Overdue};
use pyo3::prelude::*;

use crate::callable::Callables;
use crate::dispatcher;
use crate::errors::raised;
use crate::gil::{self, Inside};
use crate::limit::limit;

/// How often a wait looks whether Ctrl-C was pressed.
pub(crate) const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// The core's result and how Python sees it, whatever its type.
trait Waiting: Send {
    /// The result, if it is there within `patience`. Inside a callback of the library's no wait is
    /// allowed.
    fn take(&mut self, py: Python<'_>, patience: Duration) -> Option<PyResult<Py<PyAny>>>;
    /// The result, if it is there; else the waker is woken once it is.
    fn take_or_wake(&mut self, py: Python<'_>, waker: &Waker) -> Option<PyResult<Py<PyAny>>>;
    fn notify(self: Box<Self>, callback: Py<PyAny>);
    /// Gives the wait up; the operation goes on.
    fn give_up(self: Box<Self>);
    fn overdue(&self) -> Overdue;
}

/// Waits for a result; none if the deadline came first.
///
/// A signal is checked before the result: a wait that is interrupted has taken nothing.
fn wait(
    waiting: &mut dyn Waiting,
    py: Python<'_>,
    until: Option<Instant>,
) -> PyResult<Option<Py<PyAny>>> {
    py.check_signals()?;
    // A callback of the library's must not wait, not even for a result that is there.
    if let Some(result) = waiting.take(py, Duration::from_nanos(1)) {
        return result.map(Some);
    }
    let waker = Waker::from(Arc::new(Unparks(std::thread::current())));
    loop {
        if let Some(result) = waiting.take_or_wake(py, &waker) {
            return result.map(Some);
        }
        let slice = match until {
            Some(until) => SIGNAL_INTERVAL.min(until.saturating_duration_since(Instant::now())),
            None => SIGNAL_INTERVAL,
        };
        if slice.is_zero() {
            return Ok(None);
        }
        gil::detach(py, || std::thread::park_timeout(slice));
        py.check_signals()?;
    }
}

/// Wakes a thread that waits.
struct Unparks(Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Calls a Python callable on the dispatcher thread.
struct Calls(Mutex<Option<Py<PyAny>>>);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        dispatcher::dispatch(move |py| {
            let callable = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
            let Some(callable) = callable else { return };
            if let Err(error) = callable.call0(py) {
                dispatcher::report(py, error, Some(callable.bind(py)));
            }
        });
    }
}

struct Typed<T, C> {
    pending: durstream_core::Pending<T>,
    convert: C,
    /// The callables that the core calls while the operation goes on.
    called: Callables,
}

impl<T, C> Waiting for Typed<T, C>
where
    T: Send + 'static,
    C: Fn(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
{
    fn take(&mut self, py: Python<'_>, patience: Duration) -> Option<PyResult<Py<PyAny>>> {
        let result = self.pending.wait_for(patience)?;
        Some(converted(py, result, &self.convert))
    }

    fn take_or_wake(&mut self, py: Python<'_>, waker: &Waker) -> Option<PyResult<Py<PyAny>>> {
        match Pin::new(&mut self.pending).poll(&mut Context::from_waker(waker)) {
            Poll::Ready(result) => Some(converted(py, result, &self.convert)),
            Poll::Pending => None,
        }
    }

    fn notify(self: Box<Self>, callback: Py<PyAny>) {
        let (convert, called) = (self.convert, self.called);
        self.pending.on_dispatcher(move |result| {
            dispatcher::with_python(|py| {
                hand_over(py, result, &convert, &callback);
                drop(called);
            });
        });
    }

    fn overdue(&self) -> Overdue {
        self.pending.overdue()
    }

    fn give_up(self: Box<Self>) {
        if !self.called.is_empty() {
            let called = self.called;
            self.pending.on_dispatcher(move |_| dispatcher::with_python(|_| drop(called)));
        }
    }
}

fn converted<T>(
    py: Python<'_>,
    result: Result<T, Error>,
    convert: &impl Fn(Python<'_>, T) -> PyResult<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    convert(py, result.map_err(|error| raised(py, &error))?)
}

/// Calls back with (value, None) or (None, exception).
fn hand_over<T>(
    py: Python<'_>,
    result: Result<T, Error>,
    convert: &impl Fn(Python<'_>, T) -> PyResult<Py<PyAny>>,
    callback: &Py<PyAny>,
) {
    let called = match converted(py, result, convert) {
        Ok(value) => callback.call1(py, (value, py.None())),
        Err(error) => callback.call1(py, (py.None(), error.into_value(py))),
    };
    if let Err(error) = called {
        dispatcher::report(py, error, Some(callback.bind(py)));
    }
}

/// A result and its error as Python sees them: one of the two is None.
type Settled = (Py<PyAny>, Py<PyAny>);

fn settled(py: Python<'_>, result: PyResult<Py<PyAny>>) -> Settled {
    match result {
        Ok(value) => (value, py.None()),
        Err(error) => (py.None(), error.into_value(py).into_any()),
    }
}

/// A result that is not there yet. The first caller to ask takes it.
#[pyclass(frozen, module = "durstream._durstream")]
pub(crate) struct Pending {
    what: &'static str,
    waiting: Mutex<Option<Box<dyn Waiting>>>,
}

impl Pending {
    pub(crate) fn new<T: Send + 'static>(
        what: &'static str,
        pending: durstream_core::Pending<T>,
        convert: impl Fn(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> Self {
        Self::calling(what, pending, Callables::default(), convert)
    }

    /// A pending result of an operation that calls these callables, also when nobody waits for it.
    pub(crate) fn calling<T: Send + 'static>(
        what: &'static str,
        pending: durstream_core::Pending<T>,
        called: Callables,
        convert: impl Fn(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> Self {
        let waiting = Typed { pending, convert, called };
        Pending { what, waiting: Mutex::new(Some(Box::new(waiting))) }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Box<dyn Waiting>>> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn take(&self, py: Python<'_>) -> PyResult<Box<dyn Waiting>> {
        let taken = self.slot().take();
        taken.ok_or_else(|| {
            raised(py, &Error::new(ErrorKind::Internal, "the result was taken already"))
        })
    }
}

#[pymethods]
impl Pending {
    /// Blocks until the result is there, at most `timeout` seconds. Ctrl-C interrupts it.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let _inside = Inside::enter(py);
        self.wait_within(py, timeout)
    }

    /// The result as (value, None) or (None, exception) if it is there; else None, and it may be
    /// asked for again.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<Settled>> {
        let _inside = Inside::enter(py);
        self.look(py, |waiting| waiting.take(py, Duration::ZERO))
    }

    /// The result as `poll` gives it; if it is not there, calls back without arguments on the
    /// dispatcher thread once it is, and leaves it here.
    fn watch(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<Option<Settled>> {
        let _inside = Inside::enter(py);
        let waker = Waker::from(Arc::new(Calls(Mutex::new(Some(callback)))));
        self.look(py, |waiting| waiting.take_or_wake(py, &waker))
    }

    /// Gives the result up: one that must not be lost goes back to its source.
    fn abandon(&self, py: Python<'_>) {
        let _inside = Inside::enter(py);
        let abandoned = self.slot().take();
        drop(abandoned);
    }

    /// Calls back with (value, None) or (None, exception) on the dispatcher thread.
    fn notify(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let _inside = Inside::enter(py);
        self.take(py)?.notify(callback);
        Ok(())
    }
}

impl Pending {
    fn look(
        &self,
        py: Python<'_>,
        take: impl FnOnce(&mut dyn Waiting) -> Option<PyResult<Py<PyAny>>>,
    ) -> PyResult<Option<Settled>> {
        let mut waiting = self.take(py)?;
        let result = take(&mut *waiting);
        if result.is_none() {
            *self.slot() = Some(waiting);
        }
        Ok(result.map(|result| settled(py, result)))
    }

    pub(crate) fn wait_within(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let limit = limit(py, timeout)?;
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut waiting = self.take(py)?;
        let settled = wait(&mut *waiting, py, until);
        if let Ok(Some(value)) = settled {
            return Ok(value);
        }
        let overdue = waiting.overdue();
        waiting.give_up();
        settled?;
        Err(raised(py, &overdue.error(self.what, limit.unwrap_or_default())))
    }
}

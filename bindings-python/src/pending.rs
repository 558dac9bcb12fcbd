//! A result on its way: waited for on a thread, or handed to a callback for asyncio.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use durstream_core::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::dispatcher;
use crate::errors::raised;
use crate::gil::{self, Inside};
use crate::process::limit;

/// How often a wait looks whether Ctrl-C was pressed.
pub(crate) const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

type Converter<T> = fn(Python<'_>, T) -> PyResult<Py<PyAny>>;

/// The core's result and how Python sees it, whatever its type.
trait Waiting: Send {
    /// The result; none if the deadline came first.
    fn wait(&mut self, py: Python<'_>, until: Option<Instant>) -> PyResult<Option<Py<PyAny>>>;
    fn notify(self: Box<Self>, callback: Py<PyAny>);
}

struct Typed<T> {
    pending: durstream_core::Pending<T>,
    convert: Converter<T>,
}

impl<T: Send + 'static> Waiting for Typed<T> {
    fn wait(&mut self, py: Python<'_>, until: Option<Instant>) -> PyResult<Option<Py<PyAny>>> {
        let pending = &mut self.pending;
        let mut slice = Duration::ZERO;
        loop {
            let result = match slice.is_zero() {
                true => pending.wait_for(slice),
                false => gil::detach(py, || pending.wait_for(slice)),
            };
            if let Some(result) = result {
                let value = result.map_err(|error| raised(py, &error))?;
                return (self.convert)(py, value).map(Some);
            }
            py.check_signals()?;
            slice = match until {
                Some(until) => SIGNAL_INTERVAL.min(until.saturating_duration_since(Instant::now())),
                None => SIGNAL_INTERVAL,
            };
            if slice.is_zero() {
                return Ok(None);
            }
        }
    }

    fn notify(self: Box<Self>, callback: Py<PyAny>) {
        let convert = self.convert;
        self.pending.on_dispatcher(move |result| {
            dispatcher::with_python(|py| hand_over(py, result, convert, &callback));
        });
    }
}

/// Calls back with (value, None) or (None, exception).
fn hand_over<T>(
    py: Python<'_>,
    result: Result<T, Error>,
    convert: Converter<T>,
    callback: &Py<PyAny>,
) {
    let converted = match result {
        Ok(value) => convert(py, value),
        Err(error) => Err(raised(py, &error)),
    };
    let called = match converted {
        Ok(value) => callback.call1(py, (value, py.None())),
        Err(error) => callback.call1(py, (py.None(), error.into_value(py))),
    };
    if let Err(error) = called {
        dispatcher::report(py, error, Some(callback.bind(py)));
    }
}

/// A result that is not there yet. Taken once, by `wait` or by `notify`.
#[pyclass(frozen, module = "durstream._durstream")]
pub(crate) struct Pending {
    what: &'static str,
    waiting: Mutex<Option<Box<dyn Waiting>>>,
}

impl Pending {
    pub(crate) fn new<T: Send + 'static>(
        what: &'static str,
        pending: durstream_core::Pending<T>,
        convert: Converter<T>,
    ) -> Self {
        Pending { what, waiting: Mutex::new(Some(Box::new(Typed { pending, convert }))) }
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
    fn poll(&self, py: Python<'_>) -> PyResult<Option<(Py<PyAny>, Py<PyAny>)>> {
        let _inside = Inside::enter(py);
        let mut waiting = self.take(py)?;
        match waiting.wait(py, Some(Instant::now())) {
            Ok(Some(value)) => Ok(Some((value, py.None()))),
            Ok(None) => {
                *self.slot() = Some(waiting);
                Ok(None)
            }
            Err(error) => Ok(Some((py.None(), error.into_value(py).into_any()))),
        }
    }

    /// Calls back with (value, None) or (None, exception) on the dispatcher thread.
    fn notify(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let _inside = Inside::enter(py);
        self.take(py)?.notify(callback);
        Ok(())
    }
}

impl Pending {
    pub(crate) fn wait_within(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let limit = limit(py, timeout)?;
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut waiting = self.take(py)?;
        match waiting.wait(py, until)? {
            Some(value) => Ok(value),
            None => Err(raised(py, &self.ran_out(limit.unwrap_or_default()))),
        }
    }

    fn ran_out(&self, limit: Duration) -> Error {
        let (what, limit) = (self.what, limit.as_millis());
        let text = format!("{what} did not finish within {limit} ms; it goes on");
        Error::new(ErrorKind::Timeout, text)
    }
}

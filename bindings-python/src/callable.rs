//! Python callables that the core calls.
//!
//! A callable mostly refers to the handle it was given to. So the handle owns it and shows it to
//! the garbage collector, and the core refers to it weakly: a collected callable is never called
//! again, whatever the collector has taken apart by then.

use std::sync::{Mutex, MutexGuard};

use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit};

/// A callable as its handle owns it.
#[pyclass(frozen, weakref, module = "durstream._durstream")]
pub(crate) struct Callable(Mutex<Option<Py<PyAny>>>);

/// A callable as the core calls it: a weak reference.
pub(crate) struct Called(Py<PyWeakrefReference>);

impl Callable {
    pub(crate) fn new(py: Python<'_>, callable: Py<PyAny>) -> PyResult<(Py<Self>, Called)> {
        let owned = Bound::new(py, Callable(Mutex::new(Some(callable))))?;
        let called = Called::of(&owned)?;
        Ok((owned.unbind(), called))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[pymethods]
impl Callable {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.0.try_lock() {
            Ok(slot) => slot.as_ref().map_or(Ok(()), |callable| visit.call(callable)),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let callable = self.lock().take();
        drop(callable);
    }
}

impl Called {
    fn of(owned: &Bound<'_, Callable>) -> PyResult<Self> {
        Ok(Called(PyWeakrefReference::new(owned)?.unbind()))
    }

    /// The same, for another handle that owns it too.
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Called(self.0.clone_ref(py))
    }

    fn owned(&self, py: Python<'_>) -> Option<Py<Callable>> {
        self.0.bind(py).upgrade_as::<Callable>().ok().flatten().map(Bound::unbind)
    }

    /// The callable, if it still has an owner.
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let owned = self.owned(py)?;
        let callable = owned.get().lock();
        callable.as_ref().map(|callable| callable.bind(py).clone())
    }
}

/// The callables that one handle owns.
#[derive(Default)]
pub(crate) struct Callables(Vec<Py<Callable>>);

impl Callables {
    /// Owns one more callable.
    pub(crate) fn add(&mut self, py: Python<'_>, callable: Py<PyAny>) -> PyResult<Called> {
        let (owned, called) = Callable::new(py, callable)?;
        self.0.push(owned);
        Ok(called)
    }

    /// Owns the callables of another handle too.
    pub(crate) fn share(&mut self, py: Python<'_>, others: &Callables) {
        self.0.extend(others.0.iter().map(|owned| owned.clone_ref(py)));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The callables as the core calls them.
    pub(crate) fn called(&self, py: Python<'_>) -> PyResult<Vec<Called>> {
        self.0.iter().map(|owned| Called::of(owned.bind(py))).collect()
    }

    /// Owns, too, the callables that another handle still owns.
    pub(crate) fn own_again(&mut self, py: Python<'_>, called: &[Called]) {
        self.0.extend(called.iter().filter_map(|called| called.owned(py)));
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.iter().try_for_each(|owned| visit.call(owned))
    }
}

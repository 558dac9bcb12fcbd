//! Transactions: changes that reach the stream together, or not at all.

use std::sync::{Mutex, MutexGuard, PoisonError};

use durstream_core::{Changes, Error, ErrorKind, Full, Issue, Operation, Producer, Reason};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::errors::raised;
use crate::event::Event;
use crate::gil::{self, Inside};
use crate::receipt::Receipt;
use crate::room::until_room;
use crate::state::State;

/// The half of ``durstream.Transaction`` that is the core's.
#[pyclass(subclass, frozen, module = "durstream._durstream")]
pub(crate) struct Transaction {
    state: Py<State>,
    /// Other threads are refused, and may try at any time. Nothing of Python runs under it.
    changes: Mutex<Changes>,
    txid: String,
}

impl Transaction {
    fn changes(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, Changes>> {
        // Another thread of the parent may have held it at a fork.
        match self.state.get().core().is_inherited() {
            true => Err(raised(py, &Error::forked("this transaction"))),
            false => Ok(self.changes.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

#[pymethods]
impl Transaction {
    #[new]
    fn new(py: Python<'_>, state: Py<State>, txid: Option<&str>) -> PyResult<Self> {
        let _inside = Inside::enter(py);
        let begun = Changes::begin(state.get().core(), txid);
        let changes = begun.map_err(|error| raised(py, &error))?;
        let txid = changes.txid().to_owned();
        Ok(Transaction { state, changes: Mutex::new(changes), txid })
    }

    /// The transaction's id, which each of its changes has as its ``txid``.
    #[getter]
    fn txid(&self) -> &str {
        &self.txid
    }

    /// Adds a change of an entity given as JSON, or that the entity of the event's key is gone.
    fn _change(
        &self,
        py: Python<'_>,
        operation: &str,
        collection: &Bound<'_, PyString>,
        value: &Bound<'_, PyBytes>,
        event: Event<'_>,
    ) -> PyResult<()> {
        let _inside = Inside::enter(py);
        let operation = Operation::from_name(operation).map_err(|error| raised(py, &error))?;
        let collection = collection.to_string_lossy();
        let mut changes = self.changes(py)?;
        let added = event.with(|event| {
            let core = self.state.get().core();
            changes.change(core, operation, &collection, value.as_bytes(), event)
        });
        drop(changes);
        added.map_err(|error| raised(py, &error))
    }

    /// Adds a change that the Python half refused, with issues as (path, message).
    fn _refuse(
        &self,
        py: Python<'_>,
        collection: &Bound<'_, PyString>,
        reason: &str,
        key: Option<String>,
        issues: Vec<(String, String)>,
    ) -> PyResult<()> {
        let _inside = Inside::enter(py);
        let reason = Reason::from_name(reason).unwrap_or(Reason::InvalidValue);
        let issues = issues.into_iter().map(|(path, message)| Issue { path, message }).collect();
        let (core, collection) = (self.state.get().core(), collection.to_string_lossy());
        let added = self.changes(py)?.refuse(core, &collection, reason, key.as_deref(), issues);
        added.map_err(|error| raised(py, &error))
    }

    /// Whether it was committed or rolled back.
    #[getter]
    fn _ended(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.changes(py)?.has_ended())
    }

    /// Forgets the changes.
    fn _rollback(&self, py: Python<'_>) -> PyResult<()> {
        self.changes(py)?.rollback();
        Ok(())
    }

    /// Sends the changes as one group, once there is room; None where there are none.
    fn _commit(&self, py: Python<'_>) -> PyResult<Option<Receipt>> {
        let _inside = Inside::enter(py);
        let state = self.state.get();
        let commit = |full| -> PyResult<_> {
            drop(self.changes(py)?); // not in a forked child
            let changes = || self.changes.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(gil::writing(py, state.core(), || changes().commit(state.core(), full)))
        };
        let is_full = |error: &Error| error.kind() == ErrorKind::BufferFull;
        let committed = until_room(py, state.core(), || {
            let committed = commit(Full::Told)?;
            Ok(Some(committed).filter(|result| !result.as_ref().is_err_and(is_full)))
        })?;
        let committed = match committed {
            Some(committed) => committed,
            None => commit(Full::Refused)?,
        };
        match committed.map_err(|error| raised(py, &error))? {
            Some(written) => state.receipt(py, written).map(Some),
            None => Ok(None),
        }
    }
}

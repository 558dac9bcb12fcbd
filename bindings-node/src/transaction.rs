//! Transactions: changes that reach the stream together, or not at all.

use std::sync::Arc;

use durstream_core::{Changes, Full, Operation, Reason, Result, StateProducer};
use napi_derive::napi;

use crate::crossing::{Payload, Written, bytes, guarded, written_if_any};
use crate::said::{Said, issues_of};

/// A transaction of one holder, which it keeps.
#[napi]
pub struct Transaction {
    producer: Arc<StateProducer>,
    changes: Changes,
}

impl Transaction {
    /// Begins one.
    pub fn begin(producer: Arc<StateProducer>, txid: Option<&str>) -> Result<Self> {
        let changes = Changes::begin(&producer, txid)?;
        Ok(Transaction { producer, changes })
    }
}

#[napi]
impl Transaction {
    /// Its id.
    #[napi(getter)]
    pub fn txid(&self) -> String {
        self.changes.txid().to_owned()
    }

    /// Adds a change of an entity given as JSON, or that the entity of the key is gone. Headers are a flat
    /// list of names and values.
    #[napi]
    #[allow(clippy::too_many_arguments, reason = "an object costs more to cross than its fields")]
    pub fn change(
        &mut self,
        operation: String,
        collection: String,
        value: Payload<'_>,
        headers: Vec<String>,
        txid: Option<String>,
        timestamp: Option<String>,
        key: Option<String>,
        old_value: Option<Payload<'_>>,
    ) -> napi::Result<()> {
        let said = Said { txid, timestamp, headers, key, old_value };
        guarded(|| {
            let operation = Operation::from_name(&operation)?;
            let (producer, value) = (&self.producer, bytes(&value));
            said.with(|options| {
                self.changes.change(producer, operation, &collection, value, &options)
            })
        })
    }

    /// Adds a change that the facade refused. Issues are a flat list of paths and messages.
    #[napi]
    pub fn refuse(
        &mut self,
        collection: String,
        reason: String,
        key: Option<String>,
        issues: Vec<String>,
    ) -> napi::Result<()> {
        guarded(|| {
            let reason = Reason::from_name(&reason).unwrap_or(Reason::InvalidValue);
            let issues = issues_of(&issues);
            self.changes.refuse(&self.producer, &collection, reason, key.as_deref(), issues)
        })
    }

    /// Sends the changes as one group; null where there are none.
    #[napi]
    pub fn commit(&mut self) -> Option<Written> {
        written_if_any(|| self.changes.commit(&self.producer, Full::Refused))
    }

    /// Forgets the changes.
    #[napi]
    pub fn rollback(&mut self) {
        self.changes.rollback();
    }
}

//! Transactions: changes that reach the stream together, or not at all.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use durstream_core::{Changes, Error, Full, Producer, StateProducer};

use crate::args::{handle, let_go, optional_out, optional_text, out};
use crate::either::{Opened, accepted};
use crate::event::{Change, durstream_event, told};
use crate::ffi_guard::{call, get};
use crate::given::{c_string, give, take};
use crate::problem::{Problem, durstream_code, durstream_error};
use crate::state::durstream_state;

/// Changes of entities that become one group: they travel in one request, nothing else of the producer
/// stands between them in the stream, and all of them are stored or none is. It belongs to the thread
/// that began it.
pub struct durstream_transaction {
    opened: Arc<Opened<StateProducer>>,
    /// Other threads are refused, and may try at any time.
    changes: Mutex<Changes>,
    txid: CString,
}

impl durstream_transaction {
    fn with<T>(
        &self,
        call: impl FnOnce(&mut Changes, &StateProducer) -> durstream_core::Result<T>,
    ) -> Result<T, Problem> {
        // Another thread of the parent may have held it at the fork.
        if self.opened.producer.is_inherited() {
            return Err(Error::forked("this transaction").into());
        }
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(call(&mut changes, &self.opened.producer)?)
    }
}

/// Begins a transaction. `txid` is the `txid` of all its changes, NULL for a new UUID; a reader that made
/// the changes before waits for it. It is for `durstream_transaction_free`, and keeps the handle `state`
/// open until then. A producer has one on a thread at a time. Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT`: `txid` is empty, or a transaction of this producer is open on
/// this thread; `_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_begin(
    state: *const durstream_state,
    txid: *const c_char,
    transaction: *mut *mut durstream_transaction,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let opened = handle(state, "state")?.opened.clone();
            let transaction = out(transaction, "transaction")?;
            let changes = Changes::begin(&opened.producer, optional_text(txid, "txid")?)?;
            let txid = c_string(changes.txid());
            let changes = Mutex::new(changes);
            transaction.set(|| give(durstream_transaction { opened, changes, txid }));
            Ok(())
        })
    }
}

/// Ends a transaction; what was not committed is rolled back, and nothing is sent. NULL is fine. Any
/// thread, as its last use; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_transaction_free(transaction: *mut durstream_transaction) {
    // SAFETY: the caller gives back what `durstream_state_begin` gave out.
    unsafe { get((), || let_go(take(transaction), |own| own.opened.producer.is_inherited())) }
}

/// The transaction's id. Owned by the transaction; NULL for NULL. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_transaction_txid(
    transaction: *const durstream_transaction,
) -> *const c_char {
    // SAFETY: NULL or a live transaction.
    unsafe { get(ptr::null(), || Some(transaction.as_ref()?.txid.as_ptr())) }
}

/// Adds a change to a transaction, as `durstream_state_change` takes it. A refused one makes the commit
/// fail. The thread that began the transaction; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT`: no such operation, an `event` of no known size, another thread,
/// or the transaction has ended; `_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_transaction_change(
    transaction: *mut durstream_transaction,
    operation: i32,
    collection: *const c_char,
    value: *const u8,
    length: usize,
    event: *const durstream_event,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let transaction = handle(transaction, "transaction")?;
            told(operation, collection, (value, length), event, |change| {
                let Change { operation, collection, value, options } = change;
                transaction.with(|changes, producer| {
                    changes.change(producer, operation, collection, value, &options)
                })
            })
        })
    }
}

/// Sends the changes as one group, and ends the transaction. `id` (may be NULL) receives the receipt of
/// the last change, whose outcome is that of all: the others have the ids before it, without a gap; 0
/// where there were no changes. The thread that began the transaction; blocks only while the buffer is
/// full, at most `max_block_ms`, and never inside a callback.
///
/// Errors: nothing is sent. `DURSTREAM_VALIDATION`: changes were refused, and the issues say which;
/// `_TOO_LARGE`: the group is larger than `max_write_bytes`, `max_batch_items` or the buffer;
/// `_BUFFER_FULL`, after which it may be committed again; `_PRODUCER_CLOSED`, or the error that the
/// producer failed with; those of `durstream_transaction_change`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_transaction_commit(
    transaction: *mut durstream_transaction,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || commit(transaction, Full::Waits, id)) }
}

/// Sends the changes as `durstream_transaction_commit` does, without waiting for room: a full buffer
/// answers `DURSTREAM_BUFFER_FULL` at once. The thread that began the transaction; does not block.
///
/// Errors: those of `durstream_transaction_commit`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_transaction_try_commit(
    transaction: *mut durstream_transaction,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || commit(transaction, Full::Refused, id)) }
}

/// # Safety
/// The pointers are those of `durstream_transaction_commit`.
unsafe fn commit(
    transaction: *mut durstream_transaction,
    full: Full,
    id: *mut u64,
) -> Result<(), Problem> {
    // SAFETY: the caller's promise.
    unsafe {
        let transaction = handle(transaction, "transaction")?;
        let id = optional_out(id);
        match transaction.with(|changes, producer| changes.commit(producer, full))? {
            Some(receipt) => accepted(&receipt, id),
            None => {
                id.set(|| 0);
                Ok(())
            }
        }
    }
}

//! Either producer as C holds it: the calls that both have, each with one body.

use std::ffi::{CString, c_char};
use std::ptr;

use durstream_core::{CloseResult, Error, Outcome, Pending, Producer, Receipt};

use crate::args::{Out, limit, optional_out};
use crate::given::{c_string, give, given};
use crate::outcome::durstream_outcome;
use crate::problem::{Problem, durstream_error};
use crate::stats::{
    SizedOut, durstream_flush_report, durstream_lifecycle, durstream_stats, exposition,
    lifecycle_of,
};

/// A producer, with the texts that its handle owns.
pub(crate) struct Opened<P> {
    pub(crate) producer: P,
    id: CString,
    url: CString,
}

impl<P: Producer> Opened<P> {
    pub(crate) fn new(producer: P) -> Self {
        let (id, url) = (c_string(producer.producer_id()), c_string(producer.url()));
        Opened { producer, id, url }
    }

    /// The producer, for calls that a forked child cannot make.
    fn own(&self) -> Result<&P, Problem> {
        match self.producer.is_inherited() {
            true => Err(Error::forked("this producer").into()),
            false => Ok(&self.producer),
        }
    }

    /// Waits for a write's outcome and hands it over.
    ///
    /// # Safety
    /// `outcome` is NULL or may be written to.
    pub(crate) unsafe fn wait(
        &self,
        id: u64,
        timeout_ms: i64,
        outcome: *mut *mut durstream_outcome,
    ) -> Result<(), Problem> {
        // SAFETY: the caller's promise.
        unsafe { settled(self.producer.wait(id), timeout_ms, "the write", outcome) }
    }

    /// # Safety
    /// `report` is NULL or a place for one.
    pub(crate) unsafe fn flush(
        &self,
        timeout_ms: i64,
        report: *mut durstream_flush_report,
    ) -> Result<(), Problem> {
        // SAFETY: the caller's promise.
        let report = unsafe { SizedOut::optional(report, "report") }?;
        let found = self.producer.flush().wait_or_timeout(limit(timeout_ms), "flush")?;
        SizedOut::set_optional(report, found);
        Ok(())
    }

    /// Waits until writes are taken; running out of time says what is `missing`.
    pub(crate) fn wait_ready(&self, timeout_ms: i64, missing: &str) -> Result<(), Problem> {
        let mut ready = self.producer.ready();
        let Some(limit) = limit(timeout_ms) else { return Ok(ready.wait()?) };
        Ok(ready.wait_for(limit).unwrap_or_else(|| {
            let text = format!("{missing} within {} ms", limit.as_millis());
            Err(ready.overdue().saying(text))
        })?)
    }

    pub(crate) fn begin_shutdown(&self) -> Result<(), Problem> {
        self.own()?.begin_shutdown();
        Ok(())
    }

    pub(crate) fn stop(&self) -> Result<(), Problem> {
        self.own()?.stop();
        Ok(())
    }

    pub(crate) fn restart(&self, timeout_ms: i64) -> Result<(), Problem> {
        Ok(self.producer.restart().wait_or_timeout(limit(timeout_ms), "restart")?)
    }

    /// # Safety
    /// `dropped` is NULL or may be written to.
    pub(crate) unsafe fn discard_outbox(
        &self,
        timeout_ms: i64,
        dropped: *mut u64,
    ) -> Result<(), Problem> {
        let dropped = optional_out(dropped);
        let discarded = self.producer.discard_outbox();
        let count = discarded.wait_or_timeout(limit(timeout_ms), "discard_outbox")?;
        // SAFETY: the caller's promise.
        unsafe { dropped.set(|| count) };
        Ok(())
    }

    /// # Safety
    /// `stats` is NULL or a place for them.
    pub(crate) unsafe fn stats(&self, stats: *mut durstream_stats) -> Result<(), Problem> {
        // SAFETY: the caller's promise.
        let stats = unsafe { SizedOut::new(stats, "stats") }?;
        stats.set(self.own()?.stats());
        Ok(())
    }

    pub(crate) fn stats_prometheus(&self, openmetrics: i32) -> *mut c_char {
        given(Some(&self.producer.stats_prometheus(exposition(openmetrics))))
    }

    pub(crate) fn state(&self) -> Option<durstream_lifecycle> {
        Some(lifecycle_of(self.own().ok()?.snapshot().state))
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.producer.snapshot().epoch
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.producer.snapshot().next_seq
    }

    pub(crate) fn pending_count(&self) -> u64 {
        self.producer.snapshot().buffered_writes
    }

    pub(crate) fn in_flight_count(&self) -> u64 {
        self.producer.snapshot().in_flight as u64
    }

    pub(crate) fn last_offset(&self) -> *mut c_char {
        given(self.producer.snapshot().last_offset.as_deref())
    }

    pub(crate) fn last_error(&self) -> *mut durstream_error {
        let error = self.producer.snapshot().last_error;
        error.map_or(ptr::null_mut(), |error| durstream_error::boxed(Problem::Core(error)))
    }

    pub(crate) fn id(&self) -> *const c_char {
        self.id.as_ptr()
    }

    pub(crate) fn url(&self) -> *const c_char {
        self.url.as_ptr()
    }
}

/// Hands over the id of an accepted write, or says why it was refused.
///
/// # Safety
/// The promises of [`Out::set`].
pub(crate) unsafe fn accepted(receipt: &Receipt, id: Out<u64>) -> Result<(), Problem> {
    if let Some(outcome) = receipt.refusal() {
        let error = outcome.error.clone().map(Problem::Core);
        return Err(error.unwrap_or_else(|| Problem::Panic("refused without an error".to_owned())));
    }
    // SAFETY: the caller's promise.
    unsafe { id.set(|| receipt.id()) };
    Ok(())
}

/// Waits for the outcome of a write and hands it over.
///
/// # Safety
/// `outcome` is NULL or may be written to.
pub(crate) unsafe fn settled(
    waiting: Pending<Outcome>,
    timeout_ms: i64,
    what: &str,
    outcome: *mut *mut durstream_outcome,
) -> Result<(), Problem> {
    let settled = waiting.wait_or_timeout(limit(timeout_ms), what)?;
    // SAFETY: the caller's promise.
    unsafe { optional_out(outcome).set(|| give(durstream_outcome::new(settled))) };
    Ok(())
}

/// Waits for the end of a stream and hands its offset over.
///
/// # Safety
/// `final_offset` is NULL or may be written to.
pub(crate) unsafe fn ended(
    closing: Pending<CloseResult>,
    timeout_ms: i64,
    final_offset: *mut *mut c_char,
) -> Result<(), Problem> {
    let closed = closing.wait_or_timeout(limit(timeout_ms), "close")?;
    // SAFETY: the caller's promise.
    unsafe { optional_out(final_offset).set(|| given(closed.final_offset.as_deref())) };
    Ok(())
}

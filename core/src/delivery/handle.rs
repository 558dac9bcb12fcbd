//! [`Producer`]: what both producers offer. The snapshot that each shows of itself, and the waits of
//! its receipts.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::buffer::lifecycle::Lifecycle;
use crate::delivery::engine::Engine;
use crate::delivery::permit::{HasEngine, Permit};
use crate::error::{Error, Result};
use crate::outbox::SyncMode;
use crate::outcome::{FlushReport, Outcome};
use crate::runtime::pending::Pending;
use crate::stats::Stats;
use crate::stats::prometheus::Exposition;

/// What [`IdempotentProducer`] and [`StateProducer`] have in common, for code that takes either.
///
/// [`IdempotentProducer`]: crate::producer::IdempotentProducer
/// [`StateProducer`]: crate::state::producer::StateProducer
#[expect(private_bounds, reason = "there are no other producers than this crate's")]
pub trait Producer: HasEngine + Send + Sync {
    /// Waits for the outcome of an accepted write.
    ///
    /// # Errors
    /// `InvalidArgument` for an id this producer never gave out.
    fn wait(&self, id: u64) -> Pending<Outcome> {
        self.engine().wait(id)
    }

    /// The waits of its receipts, which keep neither the producer nor a holder of it open.
    fn receipts(&self) -> Receipts {
        Receipts { engine: self.engine().clone() }
    }

    /// Waits until everything accepted before this call is settled, not for later writes.
    ///
    /// # Errors
    /// `Delivery` with counts and first cause, if any call since the last flush ended
    /// undelivered. Giving up the wait cancels nothing and consumes nothing.
    fn flush(&self) -> Pending<FlushReport> {
        self.engine().flush()
    }

    /// Waits until writes are taken at once: the buffer has room for the write that last found
    /// none, or for any other. A state producer also waits until its stream exists.
    ///
    /// # Errors
    /// The error that the producer ended with, if it has.
    fn ready(&self) -> Pending<()> {
        self.engine().ready()
    }

    /// Reserves room in the buffer for one write: a message, an entity's JSON or a key of so many
    /// bytes. Waits while there is none; a write that will be refused whatever room there is waits for
    /// none. Dropping the future gives it up.
    ///
    /// # Errors
    /// Those of [`ready`](Self::ready).
    fn reserve(&self, size: usize) -> impl Future<Output = Result<Permit<'_, Self>>> + Send
    where
        Self: Sized,
    {
        async move {
            loop {
                match self.try_reserve(size) {
                    Some(permit) => return Ok(permit),
                    None => self.ready().await?,
                }
            }
        }
    }

    /// Reserves room as [`reserve`](Self::reserve) does, if there is any now; else
    /// [`ready`](Self::ready) waits for it.
    fn try_reserve(&self, size: usize) -> Option<Permit<'_, Self>>
    where
        Self: Sized,
    {
        self.permit(size)
    }

    /// How long a write that blocks waits for room, as the option `max_block_ms` says.
    fn max_block(&self) -> Duration {
        self.engine().config.max_block
    }

    /// Whether a write waits for the disk before it returns, as the option `outbox_sync` says. For
    /// bindings whose hosts have a lock that is not held meanwhile.
    fn waits_for_disk(&self) -> bool {
        let outbox = self.engine().config.outbox.as_ref();
        outbox.is_some_and(|outbox| outbox.sync == SyncMode::Write)
    }

    /// Takes no more writes, delivers the accepted ones and ends by itself; for all holders.
    fn begin_shutdown(&self);

    /// Ends now, for all holders: pending writes settle as `cancelled`, or as `delivery-unknown` if
    /// they were under way.
    fn stop(&self);

    /// Ends now, for all holders, and drops what its outbox holds: how many writes that were. They
    /// settle as `cancelled`, or as `delivery-unknown` if they were under way. It is the other way out,
    /// beside `restart`, for a producer that was fenced.
    ///
    /// # Errors
    /// `InvalidArgument` without an outbox; `ProducerClosed` where the producer has ended and its outbox
    /// is closed: open it again first; `OutboxFailed`.
    fn discard_outbox(&self) -> Pending<u64>;

    /// Begins a fresh session, which may claim the id, once everything accepted so far is settled; of
    /// a fenced producer also what its outbox holds is delivered then. It is the way back after another
    /// producer took over (`StaleEpoch`).
    ///
    /// # Errors
    /// `ProducerClosed`, of a state producer also where another one of its stream was opened since; or
    /// the error that the producer failed with.
    fn restart(&self) -> Pending<()>;

    /// The producer's state. In a forked child that of a stopped producer.
    fn snapshot(&self) -> Snapshot {
        self.engine().snapshot()
    }

    /// Counters and gauges, in one consistent snapshot. In a forked child all are 0.
    fn stats(&self) -> Stats {
        self.engine().stats()
    }

    /// The text for Prometheus about this producer; [`stats_prometheus`] is about all of the process.
    ///
    /// [`stats_prometheus`]: crate::stats_prometheus
    fn stats_prometheus(&self, format: Exposition) -> String {
        self.engine().prometheus(format)
    }

    /// The producer id as sent: with its suffix if `shared`.
    fn producer_id(&self) -> &str {
        self.engine().producer_id()
    }

    /// The stream's URL, without user info and query.
    fn url(&self) -> &str {
        self.engine().url()
    }

    /// Whether it came through `fork`: it writes nothing and waits for nothing in this process, which
    /// has to open one of its own.
    fn is_inherited(&self) -> bool {
        self.engine().is_foreign()
    }
}

/// Waits for the outcomes of a producer's writes. It keeps nothing open: the producer may be let go
/// of meanwhile, and ends all the same.
#[derive(Clone)]
pub struct Receipts {
    engine: Arc<Engine>,
}

impl Receipts {
    /// Waits for the outcome of an accepted write.
    ///
    /// # Errors
    /// `InvalidArgument` for an id the producer never gave out.
    pub fn wait(&self, id: u64) -> Pending<Outcome> {
        self.engine.wait(id)
    }
}

/// The state of a producer, for a person or a dashboard.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// The lifecycle state.
    pub state: Lifecycle,
    /// Failed attempts in a row; 0 when all is well.
    pub attempt: u32,
    /// Writes accepted and not settled.
    pub buffered_writes: u64,
    /// Bytes that these writes reserve, overhead included.
    pub buffered_bytes: u64,
    /// The most recent failure, transient ones included.
    pub last_error: Option<Error>,
    /// The epoch in use (PROTOCOL.md 5.2.1).
    pub epoch: u64,
    /// The next sequence number in this epoch.
    pub next_seq: u64,
    /// Requests under way.
    pub in_flight: usize,
    /// The stream's offset after the last acknowledged batch.
    pub last_offset: Option<Arc<str>>,
}

impl Snapshot {
    /// The snapshot that a forked child gets of its parent's producer, whose locks it must not
    /// touch.
    fn foreign() -> Self {
        Snapshot {
            state: Lifecycle::Stopped,
            attempt: 0,
            buffered_writes: 0,
            buffered_bytes: 0,
            last_error: None,
            epoch: 0,
            next_seq: 0,
            in_flight: 0,
            last_offset: None,
        }
    }
}

impl Engine {
    pub(crate) fn snapshot(&self) -> Snapshot {
        if self.is_foreign() {
            return Snapshot::foreign();
        }
        let book = self.book();
        Snapshot {
            state: book.lifecycle.state(),
            attempt: book.gauges.attempt,
            buffered_writes: book.pending(),
            buffered_bytes: book.buffered_bytes(),
            last_error: book.last_error().cloned(),
            epoch: book.gauges.epoch,
            next_seq: book.gauges.next_seq,
            in_flight: book.gauges.in_flight,
            last_offset: book.gauges.last_offset.clone(),
        }
    }

    /// The id as sent: with its suffix if `shared`.
    pub(crate) fn producer_id(&self) -> &str {
        &self.config.producer_id
    }

    /// The stream's URL, without user info and query.
    pub(crate) fn url(&self) -> &str {
        &self.endpoint.shown
    }
}

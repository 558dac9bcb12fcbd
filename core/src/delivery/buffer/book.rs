//! The book of one producer: its accepted writes, their outcomes, and the callers that wait.
//! Handles and the owner task share it under one short lock; nothing waits under it, and no code of
//! the host's runs.

use std::sync::Arc;

use crate::delivery::buffer::batch::{BATCH_OVERHEAD, Batch, Builder, OVERHEAD, Tag};
use crate::delivery::buffer::budget::{Budget, Reserved};
use crate::delivery::buffer::flushes::{DueFlush, FlushKind, Ticket};
use crate::delivery::buffer::lifecycle::{End, StateMachine, Stop};
use crate::delivery::buffer::queue::{Queue, Queued};
use crate::delivery::buffer::record::Record;
use crate::delivery::buffer::store::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::outcome::{FlushReport, Outcome, Status};
use crate::reason::Reason;
use crate::runtime::pending::Completer;
use crate::stats::{Counts, Meters, Stats};
use tokio::time::Instant;

/// How much may gather in one batch, and how much may be buffered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) json: bool,
    pub(crate) batch_bytes: usize,
    pub(crate) batch_items: u64,
    pub(crate) buffer_bytes: u64,
    /// 0 for none.
    pub(crate) buffer_items: u64,
    /// Batches are cut where a replay cuts them too: not because earlier batches take the room.
    pub(crate) is_replay: bool,
}

/// When a write wakes the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Never: the task is busy, and checks by itself when it is not.
    Nothing,
    /// Any write.
    Data,
    /// For a full batch, or for a caller that waits: the open batch still gathers.
    FullBatch,
}

/// The state that the task shows to handles.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauges {
    pub(crate) epoch: u64,
    pub(crate) next_seq: u64,
    pub(crate) in_flight: usize,
    /// Failed attempts in a row.
    pub(crate) attempt: u32,
    /// Whether its server is known to echo a producer's tuple.
    pub(crate) echoed: bool,
    /// When the oldest write was accepted that is under way and not settled.
    pub(crate) oldest: Option<Instant>,
    pub(crate) last_offset: Option<Arc<str>>,
}

/// Completions to run once the lock is released.
#[derive(Default)]
#[must_use = "completes the waits, once the lock is released"]
pub(crate) struct Due {
    waiters: Vec<(Completer<Outcome>, Outcome)>,
    flushes: Vec<DueFlush>,
}

impl Due {
    pub(crate) fn complete(self) {
        for (completer, outcome) in self.waiters {
            completer.complete(Ok(outcome));
        }
        for (completer, report) in self.flushes {
            completer.complete(report);
        }
    }
}

/// How long ago that was, in microseconds.
fn micros(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}

/// What is counted of idle producers, too. All else that is counted is in the record.
#[derive(Clone, Copy, Default)]
struct Tally {
    accepted: u64,
    pending: u64,
    requests: u64,
    sessions: u64,
    answers_2xx: u64,
}

pub(crate) struct Book {
    /// Changed only by its own methods.
    pub(crate) lifecycle: StateMachine,
    /// Written by the task alone.
    pub(crate) gauges: Gauges,
    bounds: Bounds,
    pub(super) wants: Wants,
    pub(super) queue: Queue,
    pub(super) next_id: u64,
    tally: Tally,
    /// From the first write, flush or failure on: an idle producer has none.
    record: Option<Box<Record>>,
    /// When the last batch was acknowledged, or the producer opened.
    acknowledged: Instant,
    /// The bytes that its writes hold, overhead included.
    reserved: Reserved,
    budget: Arc<Budget>,
    /// How many writes room is held for that were not made yet.
    held: u64,
    last_error: Option<Error>,
    /// Whether the stream is known to exist, where the task asks that first.
    is_opened: bool,
    /// Whether the stream was found to hold JSON after writes had been accepted without that.
    learned_json: bool,
    /// The size of the write that last found no room.
    wanted: usize,
    /// How many threads sleep until there is room.
    blocked: usize,
    /// Callers that wait for room.
    ready: Vec<Completer<()>>,
    /// Callers that wait for a fresh session.
    restarts: Vec<Completer<()>>,
    /// The outbox that its writes are kept in; see `kept`.
    pub(super) store: Option<Box<Store>>,
}

/// Accepting.
impl Book {
    pub(crate) fn new(bounds: Bounds, is_opened: bool, budget: Arc<Budget>) -> Self {
        Book {
            lifecycle: StateMachine::default(),
            gauges: Gauges::default(),
            bounds,
            wants: Wants::Nothing,
            queue: Queue::new(bounds.json),
            next_id: 1,
            tally: Tally::default(),
            record: None,
            acknowledged: Instant::now(),
            reserved: Reserved::new(bounds.batch_bytes as u64),
            budget,
            held: 0,
            last_error: None,
            is_opened,
            learned_json: false,
            wanted: 0,
            blocked: 0,
            ready: Vec::new(),
            restarts: Vec::new(),
            store: None,
        }
    }

    /// Whether the write fits this producer's own bounds.
    pub(crate) fn fits(&self, size: usize) -> Result<(), Reason> {
        self.fits_cost(size as u64 + OVERHEAD, 1)
    }

    fn fits_cost(&self, cost: u64, writes: u64) -> Result<(), Reason> {
        let items = self.bounds.buffer_items;
        if items > 0 && self.tally.pending + self.held + writes > items {
            return Err(Reason::BufferCountExceeded);
        }
        if self.reserved.bytes() + cost > self.bounds.buffer_bytes {
            return Err(Reason::BufferBytesExceeded);
        }
        Ok(())
    }

    /// Reserves room for a write of so many bytes, or says which bound has none.
    pub(crate) fn reserve(&mut self, size: usize) -> Result<(), Reason> {
        self.reserve_group(size, 1)
    }

    /// Reserves room for so many writes of so many bytes together.
    pub(crate) fn reserve_group(&mut self, size: usize, writes: u64) -> Result<(), Reason> {
        let cost = size as u64 + writes * OVERHEAD;
        self.fits_cost(cost, writes)?;
        if !self.reserved.add(cost, &self.budget) {
            return Err(Reason::BufferBytesExceeded);
        }
        if size >= self.wanted {
            self.wanted = 0;
        }
        Ok(())
    }

    /// Whether so many writes of so many bytes together find room; what never will finds an empty buffer.
    pub(crate) fn has_room(&self, size: usize, writes: u64) -> bool {
        let cost = (size as u64 + writes * OVERHEAD).min(self.bounds.buffer_bytes);
        self.fits_cost(cost, writes).is_ok() && self.reserved.could_add(cost, &self.budget)
    }

    /// Reserves room for a write that is made later, of so many bytes or less: the bytes that are
    /// held for it, 0 if it will be refused whatever room there is. `None` if there is no room now.
    pub(crate) fn hold(&mut self, size: usize) -> Option<u64> {
        if self.lifecycle.check_alive().is_err() {
            return Some(0);
        }
        let cost = (size as u64 + OVERHEAD).min(self.bounds.buffer_bytes);
        if self.fits_cost(cost, 1).is_err() || !self.reserved.add(cost, &self.budget) {
            return None;
        }
        if size >= self.wanted {
            self.wanted = 0;
        }
        self.held += 1;
        Some(cost)
    }

    /// Reserves the room of a write out of what is held for it, and gives the rest back.
    pub(crate) fn redeem(&mut self, held: u64, size: usize) -> Result<(), Reason> {
        match held.checked_sub(size as u64 + OVERHEAD) {
            Some(rest) => self.release_held(rest),
            None => {
                self.release_held(held);
                self.reserve(size)?;
            }
        }
        Ok(())
    }

    /// Gives back what is held for a write, or is left of it.
    pub(crate) fn release_held(&mut self, bytes: u64) {
        self.held -= 1;
        self.release(bytes);
    }

    /// A write found no room, and its writer may wait for it.
    pub(crate) fn want(&mut self, size: usize) {
        self.wanted = size;
    }

    /// Seals the open batch, since there is no room for more; whether there is a batch to send. A
    /// replay waits for its earlier batches instead: whether they are pending differs each time.
    #[must_use = "the task is to be woken for it"]
    pub(crate) fn make_room(&mut self) -> bool {
        let alone = self.tally.pending == self.queue.open_items();
        let seals = self.queue.open_items() > 0 && (alone || !self.bounds.is_replay);
        if seals {
            self.seal();
        }
        seals
    }

    /// Accepts a write that room was reserved for: its id, and whether the task is to be woken.
    pub(crate) fn accept(&mut self, parts: &[&[u8]], size: usize, tag: Tag) -> (u64, bool) {
        let id = self.put(parts, size);
        self.queue.tag(tag);
        (id, self.after_accepting())
    }

    /// Accepts writes that room was reserved for as one group of `size` bytes: they go into one batch.
    /// The id of the first, and whether the task is to be woken.
    pub(crate) fn accept_group(&mut self, writes: &[(&[u8], Tag)], size: usize) -> (u64, bool) {
        let first = self.next_id;
        let parts = writes.iter().map(|(write, tag)| (std::slice::from_ref(write), *tag));
        (first, self.gather_group(parts, size))
    }

    /// Gathers a group that is accepted with this; whether the task is to be woken.
    pub(super) fn gather_group<'a>(
        &mut self,
        writes: impl ExactSizeIterator<Item = (&'a [&'a [u8]], Tag)>,
        size: usize,
    ) -> bool {
        if self.is_too_much(size, writes.len() as u64) {
            self.seal();
        }
        for (n, (parts, tag)) in writes.enumerate() {
            if n > 0 {
                self.queue.join();
            }
            self.gather(parts);
            self.queue.tag(tag);
        }
        self.after_accepting()
    }

    /// Whether so many writes of `size` bytes together do not fit into the open batch.
    pub(super) fn is_too_much(&self, size: usize, writes: u64) -> bool {
        self.open_bytes() + size + writes as usize + 1 > self.bounds.batch_bytes
            || self.queue.open_items() + writes > self.bounds.batch_items
    }

    /// How many bytes a batch may have.
    pub(super) fn most_in_a_batch(&self) -> usize {
        self.bounds.batch_bytes
    }

    /// Whether so much makes up a batch.
    pub(super) fn is_enough(&self, builder: &Builder) -> bool {
        builder.bytes() >= self.bounds.batch_bytes || builder.items() >= self.bounds.batch_items
    }

    /// Seals a full batch.
    pub(super) fn seal_if_full(&mut self) {
        let is_full = self.open_bytes() >= self.bounds.batch_bytes
            || self.queue.open_items() >= self.bounds.batch_items;
        if is_full {
            self.seal();
        }
    }

    /// Seals a full batch; whether the task is to be woken.
    fn after_accepting(&mut self) -> bool {
        self.seal_if_full();
        let wakes = match self.wants {
            Wants::Nothing => false,
            Wants::Data => true,
            Wants::FullBatch => self.is_awaited() || !self.queue.is_empty(),
        };
        if wakes {
            self.wants = Wants::Nothing;
        }
        wakes
    }

    /// Accepts a write that travels alone with its `Stream-Seq`, and is waited for.
    pub(crate) fn accept_alone(&mut self, message: &[u8], seq: &str, waiter: Completer<Outcome>) {
        self.seal();
        self.wait_for_next(waiter);
        self.put(&[message], message.len());
        self.seal();
        self.queue.set_stream_seq(seq);
    }

    /// Accepts the stream's last message, whatever room there is, to be sent alone and with the end
    /// of the stream.
    ///
    /// # Errors
    /// That of the outbox, where there is one: nothing is accepted.
    pub(crate) fn accept_last(&mut self, message: &[u8]) -> Result<u64> {
        self.keep_last(message)?;
        self.seal();
        self.reserve_anyway(message.len() as u64 + OVERHEAD);
        let id = self.put(&[message], message.len());
        self.seal();
        self.queue.close_with_last();
        Ok(id)
    }

    /// Accepts the end of the stream alone.
    pub(crate) fn accept_end(&mut self) {
        self.seal();
        self.queue.push_back(Batch::end(self.bounds.json, self.next_id));
        self.queue.close_with_last();
    }

    /// Copies a write into the open batch, whose predecessor is sealed if it does not fit.
    fn put(&mut self, parts: &[&[u8]], size: usize) -> u64 {
        if self.open_bytes() + size + 2 > self.bounds.batch_bytes {
            self.seal();
        }
        self.gather(parts)
    }

    fn gather(&mut self, parts: &[&[u8]]) -> u64 {
        let id = self.next_id;
        self.queue.gather(id, parts);
        self.count_accepted(1);
        id
    }

    /// Counts writes that were accepted, with the next ids.
    pub(super) fn count_accepted(&mut self, writes: u64) {
        self.next_id += writes;
        self.tally.accepted += writes;
        self.tally.pending += writes;
    }

    /// Counts writes of an earlier life, whose ids are given out.
    pub(super) fn count_recovered(&mut self, writes: u64, bytes: u64) {
        self.tally.accepted += writes;
        self.tally.pending += writes;
        if writes > 0 {
            let counts = &mut self.record().counts;
            counts.recovered += writes;
            counts.recovered_bytes += bytes;
        }
    }

    /// Settles ids that no caller of this life knows.
    pub(super) fn settle_unseen(&mut self, first: u64, count: u64, outcome: &Outcome) {
        let waiters = self.record().ledger.settle(first, count, outcome);
        debug_assert!(waiters.is_empty(), "nobody knows them");
    }

    /// The bytes of the open batch, of which there may be so many. A replay counts them in one way
    /// whatever the stream holds: when its type comes to be known is by chance.
    fn open_bytes(&self) -> usize {
        match self.bounds.is_replay {
            true => self.queue.open_framed_bytes(),
            false => self.queue.open_bytes(),
        }
    }

    /// Moves the open batch to the queue.
    pub(crate) fn seal(&mut self) {
        if self.queue.seal() {
            self.reserve_anyway(BATCH_OVERHEAD);
        }
    }

    /// Counts a call that was turned away.
    pub(crate) fn count_refused(&mut self) {
        self.record().counts.refused += 1;
    }

    /// Counts a call that was turned away for its value: a skip, of which no flush fails.
    pub(crate) fn count_invalid(&mut self) {
        let record = self.record();
        record.counts.refused_invalid += 1;
        record.flushes.count_invalid();
    }

    /// Counts a call that was turned away, which the next flush has to report as undelivered.
    pub(crate) fn count_turned_away(&mut self, error: &Error) {
        self.record().flushes.count_turned_away(error);
    }
}

/// Waiting.
impl Book {
    /// The outcome of a write, if it is settled.
    ///
    /// # Errors
    /// `InvalidArgument` for an id that was never given out.
    pub(crate) fn outcome(&self, id: u64) -> Result<Option<Outcome>> {
        if id == 0 || id >= self.next_id {
            return Err(Error::option("id", format!("there is no write with receipt id {id}")));
        }
        Ok(self.record.as_deref().and_then(|record| record.ledger.outcome(id)))
    }

    /// Registers a wait for the outcome of a write that is not settled; whether to wake the task.
    pub(crate) fn wait(&mut self, id: u64, waiter: Completer<Outcome>) -> bool {
        self.record().ledger.wait(id, waiter);
        if !self.is_awaited() {
            return false;
        }
        if self.bounds.is_replay {
            self.seal(); // the caller wants it sent
        }
        self.wants == Wants::FullBatch
    }

    /// Registers a wait for the outcome of the next write, before it is accepted: a write that
    /// settles before its wait keeps only its status.
    pub(crate) fn wait_for_next(&mut self, waiter: Completer<Outcome>) {
        let next = self.next_id;
        self.record().ledger.wait(next, waiter);
    }

    /// Whether a caller waits for a write that still gathers.
    pub(crate) fn is_awaited(&self) -> bool {
        self.queue.first_open_id().is_some_and(|id| self.last_awaited() >= Some(id))
    }

    /// Registers a flush of everything accepted so far.
    pub(crate) fn flush(&mut self, kind: FlushKind, waiter: Completer<FlushReport>) -> Due {
        if !matches!(kind, FlushKind::Look) {
            self.seal(); // the flush waits for these writes: they gather no more
        }
        let up_to = self.next_id - 1;
        let record = self.record();
        record.flushes.add(kind, up_to, waiter);
        Due { waiters: Vec::new(), flushes: record.due_flushes() }
    }

    /// The id of the write that comes next.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    fn record(&mut self) -> &mut Record {
        self.record.get_or_insert_default()
    }

    fn last_awaited(&self) -> Option<u64> {
        self.record.as_deref()?.ledger.last_awaited()
    }

    /// Takes back a report that reached nobody: the next flush reports again what no other report of
    /// its time told.
    pub(crate) fn take_back(&mut self, ticket: &Ticket) {
        self.record().flushes.take_back(ticket);
    }

    /// Registers a wait for room.
    pub(crate) fn wait_for_room(&mut self, waiter: Completer<()>) {
        self.ready.retain(|waiter| !waiter.is_abandoned());
        self.ready.push(waiter);
    }

    /// Counts a thread that begins to sleep until there is room; `unblock` uncounts it.
    pub(crate) fn block(&mut self) {
        self.blocked += 1;
    }

    pub(crate) fn unblock(&mut self) {
        self.blocked -= 1;
    }

    /// Whether a thread sleeps until there is room.
    pub(crate) fn is_blocking(&self) -> bool {
        self.blocked > 0
    }

    /// Which bound has no room, where a caller waits for some.
    pub(crate) fn lacking(&self) -> Option<Reason> {
        let waits = self.is_blocking() || (self.is_opened && !self.ready.is_empty());
        if !waits || self.has_room(self.wanted, 1) {
            return None;
        }
        Some(self.fits(self.wanted).err().unwrap_or(Reason::BufferBytesExceeded))
    }

    /// How many writes are settled.
    pub(crate) fn settled(&self) -> u64 {
        self.tally.accepted - self.tally.pending
    }

    /// The waits for room that have an answer now.
    pub(crate) fn take_ready(&mut self) -> Option<(Vec<Completer<()>>, Result<()>)> {
        if self.ready.is_empty() {
            return None;
        }
        let alive = self.lifecycle.check_alive();
        let is_answered = alive.is_err() || (self.is_opened && self.has_room(self.wanted, 1));
        is_answered.then(|| (std::mem::take(&mut self.ready), alive))
    }

    /// Registers a wait for a fresh session.
    pub(crate) fn wait_for_restart(&mut self, waiter: Completer<()>) {
        self.restarts.push(waiter);
    }

    pub(crate) fn has_restarts(&self) -> bool {
        !self.restarts.is_empty()
    }

    pub(crate) fn take_restarts(&mut self) -> Vec<Completer<()>> {
        std::mem::take(&mut self.restarts)
    }

    /// Gives back the memory that waits and batches have left.
    pub(crate) fn rest(&mut self) {
        self.queue.rest();
        if let Some(record) = &mut self.record {
            record.flushes.rest();
        }
    }

    /// How many waits are kept.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.record.as_deref().map_or(0, |own| own.flushes.waiting() + own.ledger.waiting())
    }
}

/// For the task.
impl Book {
    /// Sealed batches and the open one.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The next batch, if one is sealed.
    pub(crate) fn pop(&mut self) -> Option<Queued> {
        self.queue.pop()
    }

    /// The next batch, sealed or still open.
    pub(crate) fn pop_any(&mut self) -> Option<Queued> {
        if self.queue.is_empty() {
            self.seal();
        }
        self.queue.pop()
    }

    /// Puts batches back, ahead of all others, in their order.
    pub(crate) fn put_back(&mut self, batches: impl DoubleEndedIterator<Item = Queued>) {
        self.queue.put_back(batches);
    }

    /// Takes out what waits and may be in the stream already, or still come there.
    pub(crate) fn take_in_doubt(&mut self) -> Vec<Queued> {
        self.queue.take_in_doubt()
    }

    /// Frames what waits as the stream's type wants it; returns the writes that are no JSON values,
    /// each with the reason.
    #[must_use = "they are to be settled"]
    pub(crate) fn frame_as(&mut self, json: bool) -> Vec<(Queued, String)> {
        self.learned_json = json;
        let before = self.queue.sealed();
        let wrong = self.queue.frame_as(json);
        let parts = self.queue.sealed() + wrong.len() - before;
        self.reserve_anyway(parts as u64 * BATCH_OVERHEAD);
        wrong
    }

    /// Whether the stream was found to hold JSON after writes had been accepted without that.
    pub(crate) fn learned_json(&self) -> bool {
        self.learned_json
    }

    /// Counts every batch accepted before `then` as accepted then, once.
    pub(crate) fn enqueued_not_before(&mut self, then: Instant) {
        self.queue.enqueued_not_before(then);
    }

    /// Sets when a write wakes the task from here on.
    pub(crate) fn set_wants(&mut self, wants: Wants) {
        self.wants = wants;
    }

    /// The stream is known to exist.
    pub(crate) fn set_opened(&mut self) {
        self.is_opened = true;
    }

    /// Counts a request.
    pub(crate) fn count_request(&mut self) {
        self.tally.requests += 1;
    }

    /// Counts a request with a batch.
    pub(crate) fn count_batch_sent(&mut self, queued: &Queued) {
        self.count_request();
        let record = self.record();
        record.counts.sent_bytes += queued.batch.body.len() as u64;
        match queued.attempts {
            1 if !queued.batch.is_end() => {
                record.meters.queue_latency_us.record(micros(queued.enqueued.at));
            }
            1 => {}
            _ => record.counts.retries += 1,
        }
    }

    /// Counts the answer to a request by its status, `None` for no answer, and how long it took where
    /// the request had a batch.
    pub(crate) fn count_answer(&mut self, status: Option<u16>, started: Option<Instant>) {
        let count = match status.map(|status| status / 100) {
            Some(2) => &mut self.tally.answers_2xx,
            Some(3) => &mut self.record().counts.answers_3xx,
            Some(4) => &mut self.record().counts.answers_4xx,
            Some(_) => &mut self.record().counts.answers_5xx,
            None => &mut self.record().counts.unanswered,
        };
        *count += 1;
        if let (Some(_), Some(started)) = (status, started) {
            self.record().meters.request_latency_us.record(micros(started));
        }
    }

    /// Counts a look at the stream for what it holds.
    pub(crate) fn count_reconciliation(&mut self) {
        self.count_request();
        self.record().counts.reconciliations += 1;
    }

    /// Measures a batch that is about to be settled as delivered: since when it waited.
    pub(crate) fn measure_delivery(&mut self, enqueued: Instant) {
        self.record().meters.delivery_latency_us.record(micros(enqueued));
    }

    pub(crate) fn count_session(&mut self) {
        self.tally.sessions += 1;
    }

    pub(crate) fn note_error(&mut self, error: Error) {
        self.last_error = Some(error);
    }

    /// Ends the producer for a reason that no call asked for.
    pub(crate) fn fail(&mut self, end: End, error: Error) {
        if end == End::Fenced && self.lifecycle.end().is_none() {
            self.record().counts.fenced += 1;
        }
        self.note_error(error.clone());
        self.lifecycle.end_with(end, error);
    }

    /// Reserves room for bytes that are held in any case.
    pub(crate) fn reserve_anyway(&mut self, cost: u64) {
        self.reserved.force(cost, &self.budget);
    }

    pub(crate) fn release(&mut self, cost: u64) {
        self.reserved.subtract(cost, &self.budget);
    }

    /// Records the outcome of a batch's writes; `release` gives their room back.
    pub(crate) fn settle(&mut self, batch: &Batch, outcome: Outcome, release: bool) -> Due {
        let count = batch.writes;
        self.tally.pending -= count;
        if let Some(store) = self.store().filter(|_| outcome.status != Status::Kept) {
            store.record_settled(batch.first_id, count, outcome.is_delivered());
        }
        if outcome.is_delivered() {
            self.acknowledged = Instant::now();
        }
        if release {
            self.release(batch.cost());
        }
        let record = self.record();
        record.count(batch, &outcome);
        let waiters = record.ledger.settle(batch.first_id, count, &outcome);
        let waiters = waiters.into_iter().map(|w| (w, outcome.clone())).collect();
        Due { waiters, flushes: record.due_flushes() }
    }
}

/// Snapshots and counters.
impl Book {
    /// Everything that is counted and measured, as it is now.
    pub(crate) fn stats(&self) -> Stats {
        Stats::of(self.counts(), self.record.as_deref().map(|record| &record.meters))
    }

    /// Counters and gauges, as they are now.
    pub(crate) fn counts(&self) -> Counts {
        let oldest = [self.gauges.oldest, self.queue.oldest()].into_iter().flatten().min();
        let oldest = oldest.filter(|_| self.tally.pending > 0);
        let Tally { accepted, pending, requests, sessions, answers_2xx } = self.tally;
        Counts {
            accepted,
            pending,
            requests,
            sessions,
            answers_2xx,
            buffered_bytes: self.reserved.bytes(),
            buffer_limit_bytes: self.bounds.buffer_bytes,
            in_flight: self.gauges.in_flight as u64,
            oldest_pending_ms: oldest.map_or(0, |oldest| oldest.elapsed().as_millis() as u64),
            since_acknowledgement_ms: self.acknowledged.elapsed().as_millis() as u64,
            ..self.record.as_deref().map_or_else(Counts::default, |record| record.counts)
        }
    }

    /// What is measured, once there was something.
    pub(crate) fn measured(&self) -> Option<Box<Meters>> {
        self.record.as_deref().map(|record| Box::new(record.meters.clone()))
    }

    /// Writes accepted and not settled.
    pub(crate) fn pending(&self) -> u64 {
        self.tally.pending
    }

    /// The bytes that pending writes hold, overhead included.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        self.reserved.bytes()
    }

    /// Whether the server acknowledged any write.
    pub(crate) fn has_delivered(&self) -> bool {
        self.record.as_deref().is_some_and(|record| record.counts.delivered > 0)
    }

    pub(crate) fn last_error(&self) -> Option<&Error> {
        self.last_error.as_ref()
    }

    /// Whether the server refuses the producer's credentials now.
    pub(crate) fn is_refused(&self) -> bool {
        let refused = |error: &Error| error.kind() == ErrorKind::Unauthorized;
        self.gauges.attempt > 0 && self.last_error.as_ref().is_some_and(refused)
    }

    /// Whether the producer was asked to drain and has drained.
    pub(crate) fn is_drained(&self) -> bool {
        self.lifecycle.stop() == Stop::Drain
            && !self.lifecycle.is_closing()
            && self.queue.is_all_empty()
            && !self.has_unread()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Detail;
    use crate::runtime::pending::pending;

    fn book() -> Book {
        let bounds = Bounds {
            json: false,
            batch_bytes: 1000,
            batch_items: 100,
            buffer_bytes: 1000,
            buffer_items: 0,
            is_replay: false,
        };
        Book::new(bounds, true, Arc::new(Budget::new(0)))
    }

    fn accept(book: &mut Book, count: u64) -> Batch {
        for _ in 0..count {
            book.reserve_anyway(1 + OVERHEAD);
            book.put(&[b"x"], 1);
        }
        book.pop_any().unwrap().batch
    }

    fn refused() -> Outcome {
        Outcome::failed(Status::Rejected, Reason::Refused, Error::new(ErrorKind::Protocol, "no"))
    }

    fn flush(book: &mut Book) -> crate::Pending<FlushReport> {
        let (completer, waiting) = pending();
        book.flush(FlushKind::Report(Arc::default()), completer).complete();
        waiting
    }

    #[test]
    fn concurrent_flushes_all_report_and_the_next_one_starts_afresh() {
        let mut book = book();
        let batch = accept(&mut book, 3);
        let (first, second) = (flush(&mut book), flush(&mut book));
        book.settle(&batch, refused(), true).complete();
        for waiting in [first, second] {
            let error = waiting.wait().unwrap_err();
            assert!(matches!(error.detail(), Some(Detail::Delivery { undelivered: 3, .. })));
        }
        assert_eq!(flush(&mut book).wait().unwrap(), FlushReport::default());
        assert_eq!(book.stats().buffered_bytes, 0);
    }

    #[test]
    fn an_abandoned_flush_consumes_nothing() {
        let mut book = book();
        let batch = accept(&mut book, 1);
        drop(flush(&mut book));
        book.settle(&batch, refused(), true).complete();
        assert!(flush(&mut book).wait().is_err());
    }

    #[test]
    fn what_comes_behind_a_flush_and_ends_before_it_is_the_next_ones() {
        let mut book = book();
        let first = accept(&mut book, 1);
        let waiting = flush(&mut book);
        let later = accept(&mut book, 2);
        book.settle(&later, refused(), true).complete();
        book.settle(&first, Outcome::delivered(), true).complete();
        assert_eq!(waiting.wait().unwrap().delivered, 1);
        let error = flush(&mut book).wait().unwrap_err();
        let Some(Detail::Delivery { delivered, undelivered, .. }) = error.detail() else {
            panic!("{error:?}")
        };
        assert_eq!((*delivered, *undelivered), (0, 2));
        assert!(error.message().ends_with("no"), "{error:?}");
    }

    #[test]
    fn a_flush_does_not_wait_for_later_writes() {
        let mut book = book();
        let first = accept(&mut book, 1);
        let waiting = flush(&mut book);
        let _later = accept(&mut book, 1);
        book.settle(&first, Outcome::delivered(), true).complete();
        assert_eq!(waiting.wait().unwrap().delivered, 1);
    }
}

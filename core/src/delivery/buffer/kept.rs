//! A book with an outbox: what it keeps there, what it reads ahead, and what it takes up again.
//!
//! Writes go to the outbox first. As long as they fit they gather in memory as well; behind the first
//! one that does not, all go to the outbox alone, and are read into memory once there is room.

use crate::delivery::buffer::batch::{BATCH_OVERHEAD, Builder, OVERHEAD, Tag};
use crate::delivery::buffer::book::{Book, Wants};
use crate::delivery::buffer::doubt::Doubt;
use crate::delivery::buffer::queue::Queued;
use crate::delivery::buffer::store::{Left, Resume, Store};
use crate::error::{Error, Result};
use crate::outbox::{Found, Sent};
use crate::outcome::{Outcome, Status};
use crate::protocol::json::check;

/// A batch under way in an earlier life, with its sequence number.
pub(crate) struct Again {
    pub(crate) seq: u64,
    pub(crate) queued: Queued,
    /// It was sent more than once.
    pub(crate) is_repeated: bool,
}

/// A write that was read and does not go out.
pub(crate) enum Aside {
    /// It is no JSON value, for this reason.
    Unfit(Queued, String),
    /// It may be in the stream, and nothing tells.
    InDoubt(Queued),
}

/// One write of a group that is being read.
type Read = (Vec<u8>, Tag);

impl Book {
    /// Whether its writes outlive the process.
    pub(crate) fn is_kept(&self) -> bool {
        self.store.is_some()
    }

    pub(crate) fn store(&mut self) -> Option<&mut Store> {
        self.store.as_deref_mut()
    }

    /// Lets the outbox go: another producer may open it.
    pub(crate) fn close_store(&mut self) -> Option<Box<Store>> {
        self.store.take()
    }

    /// Keeps writes in an outbox from here on, what was found there before all others: the session of
    /// the life before goes on if it `resumes`.
    pub(crate) fn keep_in(&mut self, mut store: Store, found: Found) {
        let left = store.take_up(found, self.next_id, true);
        self.store = Some(Box::new(store));
        self.take_up(&left);
    }

    /// Takes up once more what stayed in the outbox when the producer was fenced.
    pub(crate) fn take_up_again(&mut self) {
        let Some(store) = self.store.as_deref_mut() else { return };
        let left = store.take_up(store.outbox.found(), self.next_id, false);
        self.take_up(&left);
    }

    fn take_up(&mut self, left: &Left) {
        let (_, count) = left.ids;
        self.next_id += count;
        self.count_recovered(left.writes, left.bytes);
        let unread = left.bytes + left.writes * OVERHEAD;
        self.reserve_anyway(unread);
        if let Some(store) = &mut self.store {
            store.unread = unread;
        }
        for (first, count) in &left.settled {
            let known = Outcome { status: Status::Forgotten, ..Outcome::delivered() };
            self.settle_unseen(*first, *count, &known);
        }
    }

    /// The batches that were under way when the life before ended, framed as they were.
    pub(crate) fn take_resume(&mut self) -> Result<Option<(Resume, Vec<Again>)>> {
        let Some(mut store) = self.store.take() else { return Ok(None) };
        let first = store.read_to;
        let read = Self::read_sent(&mut store);
        if read.is_err() {
            store.read_to = first; // none of it is in memory
        }
        self.store = Some(store);
        let Some((resume, again)) = read? else { return Ok(None) };
        for own in &again {
            self.count_read(&own.queued);
        }
        Ok(Some((resume, again)))
    }

    fn read_sent(store: &mut Store) -> Result<Option<(Resume, Vec<Again>)>> {
        let Some(resume) = store.take_resume() else { return Ok(None) };
        let mut again = Vec::new();
        for sent in &resume.sent {
            let mut builder = Builder::new(sent.flags.json);
            let mut left = sent.count;
            let (mut id, from) = (sent.first, store.position(sent.first));
            let mut was_joined = false;
            store.outbox.read(from, &mut |read| {
                if was_joined {
                    builder.join();
                }
                builder.push(id, &[read.bytes]);
                builder.tag(Tag { number: read.tag, holder: 0 });
                was_joined = read.joined;
                (id, left) = (id + 1, left - 1);
                left > 0
            })?;
            store.read_to = id;
            let Some(batch) = builder.seal() else { continue };
            let mut queued = Queued::new(batch);
            queued.closes = sent.flags.closes;
            if sent.flags.in_doubt_before {
                queued.doubt.stored_elsewhere();
            }
            // All of its attempts may still be on their way; of more than two there is no more to know.
            let is_repeated = sent.flags.repeated;
            (0..1 + u32::from(is_repeated)).for_each(|_| queued.doubt.unanswered(true));
            queued.attempts = 1;
            again.push(Again { seq: sent.seq, queued, is_repeated });
        }
        Ok(Some((resume, again)))
    }

    /// Accepts writes that room was reserved for as one group of `size` bytes: the id of the first, and
    /// whether the task is to be woken.
    ///
    /// # Errors
    /// That of the outbox: nothing is accepted.
    pub(crate) fn keep(&mut self, writes: &[(&[&[u8]], Tag)], size: usize) -> Result<(u64, bool)> {
        let first = self.next_id;
        let Some(store) = self.store.as_deref_mut() else { return Err(Error::closed()) };
        let position = store.append(writes, false)?;
        debug_assert_eq!(position, store.position(first));
        let is_short = store.runs_short();
        let count = writes.len() as u64;
        if store.read_to == first && self.queue.bytes() + size <= store.memory {
            store.read_to += count;
            let wakes = self.gather_group(writes.iter().copied(), size);
            return Ok((first, wakes || is_short));
        }
        store.unread += size as u64 + count * OVERHEAD;
        // A tag counts once it is in memory.
        let tags: usize = writes.iter().map(|(_, tag)| tag.cost()).sum();
        self.release(tags as u64);
        self.count_accepted(count);
        let wakes = self.wants != Wants::Nothing || is_short;
        self.wants = Wants::Nothing;
        Ok((first, wakes))
    }

    /// Keeps the stream's last message, which goes out behind everything else.
    pub(crate) fn keep_last(&mut self, message: &[u8]) -> Result<()> {
        let Some(store) = self.store.as_deref_mut() else { return Ok(()) };
        store.append(&[(&[message], Tag::default())], true)?;
        store.read_to += 1;
        Ok(())
    }

    /// Whether writes wait in the outbox alone.
    pub(crate) fn has_unread(&self) -> bool {
        self.store.as_deref().is_some_and(|store| store.read_to < self.next_id)
    }

    /// Whether a batch waits behind those under way.
    pub(crate) fn has_sealed(&self) -> bool {
        self.queue.sealed() > 0
    }

    /// Whether some of them find room in memory.
    pub(crate) fn wants_reading(&self) -> bool {
        self.has_unread()
            && (self.queue.is_all_empty()
                || self.store.as_deref().is_some_and(|store| self.queue.bytes() < store.memory))
    }

    /// Reads writes into memory, about a batch of them. Adds those that do not go out to `aside`; what may
    /// be in the stream already is sent again only if it `resends`.
    ///
    /// # Errors
    /// That of the outbox, behind what could be read.
    pub(crate) fn read_ahead(
        &mut self,
        is_json: bool,
        resends: bool,
        aside: &mut Vec<Aside>,
    ) -> Result<()> {
        let Some(mut store) = self.store.take() else { return Ok(()) };
        let read = self.read_some(&mut store, is_json, resends, aside);
        self.store = Some(store);
        read
    }

    /// Reads up to the next range in doubt, or that range.
    fn read_some(
        &mut self,
        store: &mut Store,
        is_json: bool,
        resends: bool,
        aside: &mut Vec<Aside>,
    ) -> Result<()> {
        let first = store.read_to;
        let doubt = store.begins_doubt(first);
        let end = match doubt {
            Some(count) => first + count,
            None => store.next_doubt().unwrap_or(self.next_id),
        };
        if doubt.is_some() {
            self.seal();
        }
        let checks = is_json && (first < store.unchecked_to || self.learned_json());
        let mut group: Vec<Read> = Vec::new();
        let (mut read_to, mut unread) = (first, store.unread);
        // Writers wait for the lock meanwhile: no more than is sent at once.
        let memory = store.memory.min(self.queue.bytes() + self.most_in_a_batch());
        let shift = store.position(0);
        let from = store.position(first);
        let mut has_room = true;
        let mut in_doubt = Builder::new(self.queue.is_framed());
        let result = store.outbox.read(from, &mut |read| {
            let id = read.position.wrapping_sub(shift);
            if id >= end {
                return false;
            }
            let tag = Tag { number: read.tag, holder: 0 };
            group.push((read.bytes.to_vec(), tag));
            if read.joined {
                return true;
            }
            let first = id + 1 - group.len() as u64;
            // The ids of a batch have no gap.
            if in_doubt.next_id().is_some_and(|next| next != first) {
                has_room = false;
                return false;
            }
            read_to = id + 1;
            let size: u64 = group.iter().map(|(bytes, _)| bytes.len() as u64 + OVERHEAD).sum();
            unread = unread.saturating_sub(size);
            let tags: usize = group.iter().map(|(_, tag)| tag.cost()).sum();
            self.reserve_anyway(tags as u64);
            let why = checks.then(|| group.iter().find_map(|(own, _)| check(own).err())).flatten();
            if let Some(why) = why {
                aside.push(Aside::Unfit(self.alone(first, &group), why));
            } else if doubt.is_some() {
                gather(&mut in_doubt, first, &group);
            } else {
                self.put_read(first, &group);
            }
            group.clear();
            has_room = match doubt {
                Some(_) => !self.is_enough(&in_doubt),
                None => self.queue.bytes() < memory,
            };
            has_room
        });
        // Settled ones are passed over.
        store.read_to = if has_room && result.is_ok() { end } else { read_to };
        if doubt.is_some() {
            store.pass_doubt(store.read_to);
        }
        store.unread = unread;
        // The ids of a batch have no gap, and the next write may be accepted right into it.
        if self.queue.next_open_id().is_some_and(|next| next != store.read_to) {
            self.seal();
        }
        if let Some(batch) = in_doubt.seal() {
            let mut queued = Queued::new(batch);
            queued.doubt.stored_elsewhere();
            self.reserve_anyway(BATCH_OVERHEAD);
            match resends {
                true => self.queue.push_queued(queued),
                false => aside.push(Aside::InDoubt(queued)),
            }
        }
        result
    }

    /// A batch of its own for a group that does not go out.
    fn alone(&mut self, first: u64, group: &[Read]) -> Queued {
        self.seal();
        self.reserve_anyway(BATCH_OVERHEAD);
        let mut builder = Builder::new(self.queue.is_framed());
        gather(&mut builder, first, group);
        Queued::new(builder.seal().expect("a group has a write"))
    }

    /// Gathers a group that was read, which is accepted already.
    fn put_read(&mut self, first: u64, group: &[Read]) {
        let size: usize = group.iter().map(|(bytes, _)| bytes.len()).sum();
        let is_behind = self.queue.next_open_id().is_some_and(|next| next != first);
        if is_behind || self.is_too_much(size, group.len() as u64) {
            self.seal();
        }
        for (n, (bytes, tag)) in group.iter().enumerate() {
            if n > 0 {
                self.queue.join();
            }
            self.queue.gather(first + n as u64, &[bytes]);
            self.queue.tag(*tag);
        }
        self.seal_if_full();
    }

    fn count_read(&mut self, queued: &Queued) {
        let batch = &queued.batch;
        let unread = batch.cost() - batch.tags.cost() - BATCH_OVERHEAD;
        if let Some(store) = self.store.as_deref_mut() {
            store.unread = store.unread.saturating_sub(unread);
        }
        self.reserve_anyway(batch.tags.cost() + BATCH_OVERHEAD);
    }

    /// Of what waits in the outbox alone and is given up, the next writes that are not settled: first
    /// id and number. They count as read, and hold no room any more.
    pub(crate) fn take_unread(&mut self) -> Option<(u64, u64)> {
        let next_id = self.next_id;
        let store = self.store.as_deref_mut().filter(|store| store.read_to < next_id)?;
        let run = store.take_run(next_id);
        let is_last = store.read_to >= next_id;
        let unread = if is_last { std::mem::take(&mut store.unread) } else { 0 };
        self.release(unread);
        run
    }

    /// Records the tuple of a batch that is about to be sent for the first time under it.
    pub(crate) fn record_sent(&mut self, sent: Sent) -> Result<()> {
        self.store.as_deref_mut().map_or(Ok(()), |store| store.record_sent(sent))
    }

    /// Records that a batch has no tuple any more, and what is in doubt about it.
    pub(crate) fn record_unsent(&mut self, queued: &Queued) {
        let (batch, doubt): (_, Doubt) = (&queued.batch, queued.doubt);
        if let Some(store) = self.store.as_deref_mut().filter(|_| batch.writes > 0) {
            store.record_unsent(batch.first_id, batch.writes, doubt.is_open());
        }
    }
}

fn gather(builder: &mut Builder, first: u64, group: &[Read]) {
    for (n, (bytes, tag)) in group.iter().enumerate() {
        if n > 0 {
            builder.join();
        }
        builder.push(first + n as u64, &[bytes]);
        builder.tag(*tag);
    }
}

//! Accepting: room is reserved, the write copied into the open batch, and the task woken if the
//! write is worth it. All under one short lock.

use std::mem;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use crate::delivery::buffer::batch::{OVERHEAD, Tag};
use crate::delivery::buffer::book::Book;
use crate::delivery::engine::Engine;
use crate::error::{Error, ErrorKind, Issue, Result};
use crate::outbox::{SyncMode, Syncer};
use crate::outcome::Outcome;
use crate::protocol::json;
use crate::reason::Reason;
use crate::runtime::chance::real_now;
use crate::runtime::pending::{Pending, pending};
use crate::runtime::threads::on_own_thread;

/// The longest `Stream-Seq`, as long as the longest producer id.
const MAX_STREAM_SEQ: usize = 256;

/// How far a message was checked before it is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    Whole,
    /// Whether it has to be JSON was not known: the stream's type was not.
    InPart,
}

/// How a write is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteOptions {
    /// A number of the caller's that comes back in the [callbacks], where the receipt may not be
    /// known yet; 0 is none. It counts 16 bytes against the buffer.
    ///
    /// [callbacks]: crate::delivery::callbacks::Callbacks
    pub tag: u64,
    /// Waits up to `max_block_ms` for room in a full buffer, which blocks the thread.
    pub block: bool,
}

impl WriteOptions {
    pub(crate) const BLOCKING: WriteOptions = WriteOptions { tag: 0, block: true };
}

/// What becomes of a write that finds the buffer full.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// It is refused, and counted as such.
    Refused,
    /// It waits up to `max_block_ms`, and is refused then.
    Waits,
    /// Its caller is told, which tries again: nothing is counted.
    Told,
}

impl Full {
    pub(crate) fn of(options: WriteOptions) -> Self {
        if options.block { Full::Waits } else { Full::Refused }
    }
}

/// The text where other producers take the room, and not this one's own bound.
pub(crate) const PROCESS_FULL: &str =
    "the buffers of this process are full, other producers' included";

impl Engine {
    /// Refuses a message that no server would take: an empty one, or one that is no JSON value on a
    /// JSON stream. While the stream's type is unknown that shows later.
    pub(crate) fn check_message(&self, message: &[u8]) -> Result<Checked> {
        self.check_fork()?;
        if message.is_empty() {
            return Err(self.refuse_value("the message is empty".to_owned()));
        }
        match self.config.content_type.is_json() {
            None => Ok(Checked::InPart),
            Some(false) => Ok(Checked::Whole),
            Some(true) => match json::check(message) {
                Ok(()) => Ok(Checked::Whole),
                Err(wrong) => Err(self.refuse_value(unfit(&wrong))),
            },
        }
    }

    #[cold]
    fn refuse_value(&self, text: String) -> Error {
        self.count_invalid();
        invalid(Reason::InvalidValue, text).with_url(&self.endpoint.shown)
    }

    /// Accepts one write of a holder, given in parts that make up what the stream takes, or says why
    /// not.
    pub(crate) fn accept_with(
        &self,
        parts: &[&[u8]],
        holder: u32,
        options: WriteOptions,
    ) -> Result<u64> {
        let tag = Tag { number: options.tag, holder };
        self.accept_parts(parts, tag, Full::of(options))
    }

    /// Accepts one write, given in parts.
    pub(crate) fn accept_parts(&self, parts: &[&[u8]], tag: Tag, full: Full) -> Result<u64> {
        self.accept_any(parts, Checked::Whole, tag, full)
    }

    /// Accepts one message that was checked as far as the stream's type was known.
    #[inline]
    pub(crate) fn accept_message(
        &self,
        message: &[u8],
        checked: Checked,
        options: WriteOptions,
    ) -> Result<u64> {
        let tag = Tag { number: options.tag, holder: 0 };
        self.accept_any(&[message], checked, tag, Full::of(options))
    }

    #[cfg(test)]
    pub(crate) fn accept(&self, parts: &[&[u8]]) -> Result<u64> {
        self.accept_parts(parts, Tag::default(), Full::Refused)
    }

    #[inline]
    fn accept_any(&self, parts: &[&[u8]], checked: Checked, tag: Tag, full: Full) -> Result<u64> {
        if full == Full::Waits {
            return self.accept_blocking(parts, checked, tag);
        }
        let size = self.check_size(parts, tag.cost())?;
        let mut book = self.book();
        self.check_open(&mut book)?;
        self.check_late(&mut book, parts, checked)?;
        if let Err(error) = self.reserve(&mut book, size + tag.cost(), 1, full) {
            return Err(self.turned_away(book, error, full));
        }
        self.put(book, parts, size, tag)
    }

    /// Accepts one message if there is room for it; else `ready` waits for that, and nothing is
    /// counted.
    pub(crate) fn accept_if_room(&self, message: &[u8], checked: Checked) -> Option<Result<u64>> {
        match self.accept_any(&[message], checked, Tag::default(), Full::Told) {
            Err(error) if error.kind() == ErrorKind::BufferFull => None,
            told => Some(told),
        }
    }

    /// Accepts one write whose outcome the caller waits for; with a `Stream-Seq` it travels alone.
    pub(crate) fn accept_awaited(
        &self,
        message: &[u8],
        checked: Checked,
        seq: Option<&str>,
    ) -> Result<Pending<Outcome>> {
        let extra = seq.map_or(0, str::len);
        let parts = &[message];
        let size = self.check_size(parts, extra)?;
        let (completer, waiting) = pending();
        let mut book = self.book();
        self.check_open(&mut book)?;
        self.check_late(&mut book, parts, checked)?;
        if let Err(error) = self.reserve(&mut book, size + extra, 1, Full::Refused) {
            return Err(self.turned_away(book, error, Full::Refused));
        }
        match seq {
            None => {
                book.wait_for_next(completer);
                self.put(book, parts, size, Tag::default())?;
            }
            Some(seq) => {
                book.accept_alone(message, seq, completer);
                drop(book);
                self.wake.notify_one();
            }
        }
        Ok(waiting)
    }

    /// Accepts one write, and waits up to `max_block_ms` for room.
    fn accept_blocking(&self, parts: &[&[u8]], checked: Checked, tag: Tag) -> Result<u64> {
        let size = self.check_size(parts, tag.cost())?;
        let mut deadline = None;
        let mut book = self.book();
        loop {
            self.check_open(&mut book)?;
            self.check_late(&mut book, parts, checked)?;
            if book.reserve(size + tag.cost()).is_ok() {
                return self.put(book, parts, size, tag);
            }
            book = match self.sleep_for_room(book, &mut deadline) {
                Ok(book) => book,
                Err(mut book) => {
                    let reserved = self.reserve(&mut book, size + tag.cost(), 1, Full::Refused);
                    if let Err(error) = reserved {
                        return Err(self.turned_away(book, error, Full::Refused));
                    }
                    return self.put(book, parts, size, tag);
                }
            }
        }
    }

    /// Accepts writes as one group, which is sent whole or not at all: the id of the first; the others
    /// have the next ones. The caller waits for room, if it wants to.
    pub(crate) fn accept_group(
        &self,
        writes: &[(&[u8], Tag)],
        checked: Checked,
        full: Full,
    ) -> Result<u64> {
        let size = writes.iter().map(|(write, _)| write.len()).sum();
        let tags: usize = writes.iter().map(|(_, tag)| tag.cost()).sum();
        let (count, mut deadline) = (writes.len() as u64, None);
        self.check_group(writes, size, tags)?;
        let mut book = self.book();
        loop {
            self.check_open(&mut book)?;
            for (write, _) in writes {
                self.check_late(&mut book, &[write], checked)?;
            }
            if full != Full::Waits || book.has_room(size + tags, count) {
                break;
            }
            book = match self.sleep_for_room(book, &mut deadline) {
                Ok(book) => book,
                Err(late) => {
                    book = late;
                    break;
                }
            }
        }
        if let Err(error) = self.reserve(&mut book, size + tags, count, full) {
            return Err(self.turned_away(book, error, full));
        }
        if book.is_kept() {
            let writes: Vec<_> =
                writes.iter().map(|(write, tag)| (std::slice::from_ref(write), *tag)).collect();
            return self.keep(book, &writes, size);
        }
        let (first, wakes) = book.accept_group(writes, size);
        drop(book);
        if wakes {
            self.wake.notify_one();
        }
        Ok(first)
    }

    /// Refuses a group that can never be sent whole.
    fn check_group(&self, writes: &[(&[u8], Tag)], size: usize, tags: usize) -> Result<()> {
        self.check_fork()?;
        let text = || {
            let count = writes.len() as u64;
            let most = [self.config.max_batch_items, self.config.max_buffer_items];
            if let Some(most) = most.into_iter().filter(|most| (1..count).contains(most)).min() {
                return Some(format!(
                    "a group of {count} writes is larger than the {most} allowed"
                ));
            }
            let largest = self.largest(tags + (writes.len() - 1) * OVERHEAD as usize);
            let is_large = size > largest;
            is_large
                .then(|| format!("a group of {size} bytes is larger than the {largest} allowed"))
        };
        let Some(text) = text() else { return Ok(()) };
        let mut book = self.book();
        let error = self.refuse(&mut book, Error::new(ErrorKind::TooLarge, text), Reason::TooLarge);
        book.count_turned_away(&error);
        Err(error)
    }

    /// Waits until there may be room; an error once `max_block_ms` are over, or on a thread that does
    /// not wait. Only a caller that waits reads the clock, for the deadline of its first call.
    fn sleep_for_room<'a>(
        &'a self,
        mut book: MutexGuard<'a, Book>,
        deadline: &mut Option<Instant>,
    ) -> std::result::Result<MutexGuard<'a, Book>, MutexGuard<'a, Book>> {
        let now = real_now();
        let deadline = *deadline.get_or_insert_with(|| now + self.config.max_block);
        let left = deadline.saturating_duration_since(now);
        self.make_room(&mut book);
        if left.is_zero() || on_own_thread() {
            return Err(book);
        }
        self.watch_room();
        book.block();
        let mut book = match self.room.wait_timeout(book, left) {
            Ok((book, _)) => book,
            Err(poisoned) => poisoned.into_inner().0,
        };
        book.unblock();
        Ok(book)
    }

    /// Refuses a message that is no JSON, where the type came to be known behind its check: what waits
    /// was checked then.
    #[inline]
    fn check_late(&self, book: &mut Book, parts: &[&[u8]], checked: Checked) -> Result<()> {
        match checked == Checked::InPart && book.learned_json() {
            true => self.check_again(book, &parts.concat()),
            false => Ok(()),
        }
    }

    #[cold]
    fn check_again(&self, book: &mut Book, message: &[u8]) -> Result<()> {
        json::check(message).map_err(|wrong| {
            book.count_invalid();
            not_json(&wrong).with_url(&self.endpoint.shown)
        })
    }

    /// Refuses a write that can never fit, with the `extra` bytes of its tag or `Stream-Seq`.
    #[inline]
    pub(crate) fn check_size(&self, parts: &[&[u8]], extra: usize) -> Result<usize> {
        self.measure(parts, extra).inspect_err(|error| {
            if !self.is_foreign() {
                self.book().count_turned_away(error);
            }
        })
    }

    fn measure(&self, parts: &[&[u8]], extra: usize) -> Result<usize> {
        self.check_fork()?;
        let size = parts.iter().map(|part| part.len()).sum();
        let largest = self.largest(extra);
        if size > largest {
            let text = format!("a write of {size} bytes is larger than the {largest} allowed");
            let error = Error::new(ErrorKind::TooLarge, text);
            return Err(self.refuse(&mut self.book(), error, Reason::TooLarge));
        }
        Ok(size)
    }

    /// The size of the largest write, beside the `extra` bytes of its tag or `Stream-Seq`.
    fn largest(&self, extra: usize) -> usize {
        let room = self.config.buffer_bytes.saturating_sub(OVERHEAD + extra as u64);
        self.config.max_write_bytes.min(room as usize)
    }

    #[inline]
    fn check_open(&self, book: &mut Book) -> Result<()> {
        let Err((error, reason)) = book.lifecycle.check_open() else { return Ok(()) };
        let error = self.refuse(book, error, reason);
        book.count_turned_away(&error);
        Err(error)
    }

    fn reserve(&self, book: &mut Book, size: usize, writes: u64, full: Full) -> Result<()> {
        book.reserve_group(size, writes).map_err(|reason| match full {
            Full::Told => {
                self.make_room(book);
                book.want(size);
                Error::new(ErrorKind::BufferFull, "the buffer is full").with_reason(reason)
            }
            _ => self.no_room(book, size, reason),
        })
    }

    /// Counts a write that found no room; the error.
    fn no_room(&self, book: &mut Book, size: usize, reason: Reason) -> Error {
        self.make_room(book);
        book.want(size);
        let is_kept = self.config.outbox.is_some();
        let (reason, text) = match reason {
            Reason::BufferBytesExceeded if is_kept => (
                Reason::OutboxFull,
                format!("the outbox is full: {} bytes are pending", book.buffered_bytes()),
            ),
            _ => (reason, self.text_of(book, size, reason)),
        };
        let error = self.refuse(book, Error::new(ErrorKind::BufferFull, text), reason);
        book.count_turned_away(&error);
        error
    }

    fn text_of(&self, book: &Book, size: usize, reason: Reason) -> String {
        match reason {
            Reason::BufferCountExceeded => {
                format!("the buffer is full: {} writes are pending", book.pending())
            }
            _ if book.fits(size).is_ok() => PROCESS_FULL.to_owned(),
            _ => format!("the buffer is full: {} bytes are pending", book.buffered_bytes()),
        }
    }

    /// Reserves room for a write of `size` bytes that grows to `most` at the most: the bytes that are
    /// held for it, 0 if it will be refused anyway. If there is no room, the open batch is sealed to
    /// make some, and `ready` waits for that.
    pub(crate) fn hold(&self, size: usize, most: usize) -> Option<u64> {
        if self.is_foreign() || size > self.largest(0) {
            return Some(0);
        }
        let mut book = self.book();
        let held = book.hold(most);
        if held.is_none() {
            book.want(most);
            self.make_room(&mut book);
        }
        held
    }

    /// Waits until there is room for writes of so many bytes together, which others may take again;
    /// whether there is. Where nothing is taken any more there is, too: the writes will say so.
    pub(crate) fn wait_for_room(
        &self,
        size: usize,
        writes: u64,
        deadline: &mut Option<Instant>,
    ) -> bool {
        let mut book = self.book();
        loop {
            if book.lifecycle.check_open().is_err() || book.has_room(size, writes) {
                return true;
            }
            book.want(size);
            book = match self.sleep_for_room(book, deadline) {
                Ok(book) => book,
                Err(_) => return false,
            };
        }
    }

    /// Accepts one write into the room that is `held` for it, or says why not.
    pub(crate) fn accept_held(
        &self,
        parts: &[&[u8]],
        checked: Checked,
        tag: Tag,
        held: &mut u64,
    ) -> Result<u64> {
        if *held == 0 {
            return self.accept_any(parts, checked, tag, Full::Refused);
        }
        let size = self.check_size(parts, tag.cost())?;
        let mut book = self.book();
        self.check_open(&mut book)?;
        self.check_late(&mut book, parts, checked)?;
        let (held, reserved) = (mem::take(held), size + tag.cost());
        if let Err(reason) = book.redeem(held, reserved) {
            let error = self.no_room(&mut book, reserved, reason);
            return Err(self.turned_away(book, error, Full::Refused));
        }
        let id = self.put(book, parts, size, tag)?;
        if held > reserved as u64 + OVERHEAD {
            self.announce();
        }
        Ok(id)
    }

    /// Gives back the room that was held for a write.
    pub(crate) fn release_held(&self, held: u64) {
        if !self.is_foreign() {
            self.book().release_held(held);
            self.announce();
        }
    }

    fn make_room(&self, book: &mut Book) {
        if book.make_room() {
            self.wake.notify_one();
        }
    }

    /// Counts a call of a handle that may not write any more; the other holders' flush does not
    /// report it.
    pub(crate) fn turn_away(&self, error: Error, reason: Reason) -> Error {
        self.refuse(&mut self.book(), error, reason)
    }

    fn refuse(&self, book: &mut Book, error: Error, reason: Reason) -> Error {
        book.count_refused();
        error.with_reason(reason).with_url(&self.endpoint.shown)
    }

    /// Accepts the stream's last message, to be sent alone and with the end of the stream.
    pub(crate) fn accept_last(&self, message: &[u8]) -> Result<u64> {
        self.measure(&[message], 0)?; // `close` itself reports it, and no flush after it
        let mut book = self.book();
        if let Some(error) = book.lifecycle.error() {
            return Err(error.clone());
        }
        if book.learned_json() {
            // Its check may have been before the type was known.
            json::check(message)
                .map_err(|wrong| not_json(&wrong).with_url(&self.endpoint.shown))?;
        }
        let id = book.accept_last(message).map_err(|error| error.with_url(&self.endpoint.shown))?;
        let syncer = self.syncer_of_call(&mut book);
        drop(book);
        self.wake.notify_one();
        self.on_disk(syncer)?;
        Ok(id)
    }

    /// Sends the end of the stream alone, under a tuple like every write.
    pub(crate) fn end(&self) -> Result<Pending<Outcome>> {
        let (completer, ended) = pending();
        let mut closes = self.closes();
        let mut book = self.book();
        if let Some(error) = book.lifecycle.error() {
            return Err(error.clone());
        }
        closes.get_or_insert_default().end = Some(completer);
        book.accept_end();
        drop((book, closes));
        self.wake.notify_one();
        Ok(ended)
    }

    /// Counts a call that was turned away for its value; no flush fails of it.
    pub(crate) fn count_invalid(&self) {
        if !self.is_foreign() {
            self.book().count_invalid();
        }
    }

    fn put(
        &self,
        mut book: MutexGuard<'_, Book>,
        parts: &[&[u8]],
        size: usize,
        tag: Tag,
    ) -> Result<u64> {
        if book.is_kept() {
            return self.keep(book, &[(parts, tag)], size);
        }
        let (id, wakes) = book.accept(parts, size, tag);
        drop(book);
        if wakes {
            self.wake.notify_one();
        }
        Ok(id)
    }

    /// Accepts a group, that room was reserved for, into the outbox. Out of the way of those who have none;
    /// what it does is not to be compiled for being rare.
    #[cold]
    fn keep(
        &self,
        book: MutexGuard<'_, Book>,
        writes: &[(&[&[u8]], Tag)],
        size: usize,
    ) -> Result<u64> {
        self.keep_group(book, writes, size)
    }

    #[inline(never)]
    fn keep_group(
        &self,
        mut book: MutexGuard<'_, Book>,
        writes: &[(&[&[u8]], Tag)],
        size: usize,
    ) -> Result<u64> {
        let (first, wakes) = match book.keep(writes, size) {
            Ok(kept) => kept,
            Err(error) => {
                let tags: usize = writes.iter().map(|(_, tag)| tag.cost()).sum();
                book.release((size + tags) as u64 + writes.len() as u64 * OVERHEAD);
                let reason = match error.kind() {
                    ErrorKind::BufferFull => Reason::OutboxFull,
                    _ => Reason::ProducerFailed,
                };
                let error = self.refuse(&mut book, error, reason);
                book.count_turned_away(&error);
                return Err(self.turned_away(book, error, Full::Refused));
            }
        };
        let syncer = self.syncer_of_call(&mut book);
        drop(book);
        if wakes {
            self.wake.notify_one();
        }
        self.on_disk(syncer)?;
        Ok(first)
    }

    /// What a call waits for before it returns, where accepted is on disk.
    fn syncer_of_call(&self, book: &mut Book) -> Option<Arc<Syncer>> {
        let config = self.config.outbox.as_ref()?;
        let store = book.store().filter(|_| config.sync == SyncMode::Write)?;
        Some(store.syncer())
    }

    /// Waits until what was accepted is on disk. A disk that fails ends the producer.
    fn on_disk(&self, syncer: Option<Arc<Syncer>>) -> Result<()> {
        let Some(Err(error)) = syncer.map(|syncer| syncer.sync_writes()) else { return Ok(()) };
        self.wake.notify_one();
        Err(error.with_definite(false).with_url(&self.endpoint.shown))
    }

    /// Waits until the write that last found no room, or any other, would be taken.
    pub(crate) fn ready(self: &Arc<Self>) -> Pending<()> {
        if let Err(error) = self.check_fork() {
            return Pending::ready(Err(error));
        }
        let (completer, waiting) = pending();
        {
            let mut book = self.book();
            book.wait_for_room(completer);
            if book.lacking().is_some() {
                self.watch_room();
            }
        }
        self.announce();
        self.hindering(waiting)
    }
}

/// Refuses a text that is no `Stream-Seq`.
pub(crate) fn check_seq(seq: Option<&str>) -> Result<()> {
    let is_one = |seq: &str| {
        (1..=MAX_STREAM_SEQ).contains(&seq.len()) && seq.bytes().all(|b| b.is_ascii_graphic())
    };
    if seq.is_none_or(is_one) {
        return Ok(());
    }
    let text = format!("`seq` takes 1 to {MAX_STREAM_SEQ} visible ASCII characters");
    Err(Error::option("seq", text))
}

fn unfit(why: &str) -> String {
    format!("the message {why}")
}

/// The error of a message that is no JSON, which shows only once the stream's type is known.
pub(crate) fn not_json(why: &str) -> Error {
    invalid(Reason::InvalidValue, unfit(why))
}

/// The error of a value that could not be serialised.
pub(crate) fn unserialisable(why: &str) -> Error {
    invalid(Reason::SerializationFailed, why.to_owned())
}

fn invalid(reason: Reason, text: String) -> Error {
    let issue = Issue { path: String::new(), message: text.clone() };
    Error::validation(reason, "", None, vec![issue], text)
}

//! The queue of one handle's appends that carry no identity: their order, what travels together, and
//! what all of it costs.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::delivery::buffer::batch::OVERHEAD;
use crate::delivery::buffer::budget::{Budget, Reserved};
use crate::delivery::engine::accept::PROCESS_FULL;
use crate::error::Result;
use crate::options::Options;
use crate::outcome::{CloseResult, Outcome};
use crate::runtime::fork::PerProcess;
use crate::runtime::lifecycle::{Waiting, Work, register};
use crate::runtime::pending::{Completer, Pending, pending};
use crate::runtime::threads::lock;

/// A message of a plain append.
pub(super) struct PlainAppend {
    pub(super) message: Bytes,
    pub(super) seq: Option<String>,
}

static QUEUES: PerProcess<Arc<PlainQueues>> = PerProcess::new(Arc::default);

/// The messages of all plain queues of this process that are not settled.
#[derive(Default)]
struct PlainQueues {
    pending: AtomicU64,
    settled: Notify,
    is_registered: AtomicBool,
}

impl PlainQueues {
    fn of_process() -> &'static Arc<Self> {
        QUEUES.get()
    }

    fn add(self: &Arc<Self>) {
        self.pending.fetch_add(1, Ordering::SeqCst);
        if !self.is_registered.swap(true, Ordering::SeqCst) {
            let own: Weak<Self> = Arc::downgrade(self);
            register(own);
        }
    }

    fn settle(&self, count: u64) {
        self.pending.fetch_sub(count, Ordering::SeqCst);
        self.settled.notify_waiters();
    }
}

impl Work for PlainQueues {
    fn pending(&self) -> u64 {
        self.pending.load(Ordering::SeqCst)
    }

    /// Waits until none is left.
    fn when_settled(self: Arc<Self>) -> Waiting {
        Box::pin(async move {
            loop {
                let settled = self.settled.notified();
                let mut settled = pin!(settled);
                settled.as_mut().enable(); // before the look: what settles after it wakes
                if self.pending() == 0 {
                    return;
                }
                settled.await;
            }
        })
    }
}

/// The appends of one handle that carry no identity.
pub(super) struct PlainQueue {
    bounds: Bounds,
    state: Mutex<State>,
}

struct State {
    waiting: VecDeque<Group>,
    /// How many are tried with an identity first.
    trying: u64,
    /// What came after those and goes without one at once: not before they are decided.
    behind: VecDeque<Group>,
    /// What everything accepted and not settled costs, of the process's budget too.
    held: Reserved,
    /// How many that are.
    count: u64,
    /// A task sends what waits.
    busy: bool,
    closed: Option<CloseResult>,
    /// Who waits for room.
    room: Vec<Completer<()>>,
}

/// What goes out as one request.
pub(super) struct Group {
    pub(super) messages: Vec<Waiter>,
    pub(super) bytes: usize,
    pub(super) seq: Option<String>,
    /// The stream ends with it.
    pub(super) last: bool,
}

pub(super) struct Waiter {
    message: Bytes,
    completer: Completer<Outcome>,
}

/// What one request may carry, and what may wait.
struct Bounds {
    batch_bytes: usize,
    batch_items: usize,
    held: u64,
}

impl PlainQueue {
    /// An empty one, within the bounds a producer has by default.
    pub(super) fn new() -> Self {
        let default = |name| Options::new().number(name, None);
        let bounds = Bounds {
            batch_bytes: default("max_batch_bytes") as usize,
            batch_items: default("max_batch_items") as usize,
            held: default("max_buffer_bytes"),
        };
        let state = Mutex::new(State::new(bounds.batch_bytes as u64));
        PlainQueue { bounds, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Puts a message behind what waits; whether a task has to begin with it.
    ///
    /// # Errors
    /// Why there is no room for it, which whoever holds nothing always has.
    pub(super) fn put(
        &self,
        message: PlainAppend,
        completer: Completer<Outcome>,
    ) -> std::result::Result<bool, String> {
        let mut state = self.state();
        let (cost, held) = (cost(message.message.len(), 1), state.held.bytes());
        if held > 0 && held + cost > self.bounds.held {
            return Err(format!("the buffer is full: {held} bytes are pending"));
        }
        if !state.held.add(cost, Budget::of_process()) {
            return Err(PROCESS_FULL.to_owned());
        }
        state.count();
        self.bounds.add(state.back(), message, completer);
        Ok(state.begins())
    }

    /// Puts the end of the stream behind what waits.
    pub(super) fn put_last(&self, message: Bytes, completer: Completer<Outcome>) -> bool {
        let mut state = self.state();
        state.accept(message.len());
        let bytes = message.len();
        let messages = vec![Waiter { message, completer }];
        state.back().push_back(Group { messages, bytes, seq: None, last: true });
        state.begins()
    }

    /// What the stream's end gave, once it ended.
    pub(super) fn closed(&self) -> Option<CloseResult> {
        self.state().closed.clone()
    }

    /// Drops what waits: whoever waits for it hears of it.
    pub(super) fn give_up(&self) {
        let left = self.state().give_up(self.bounds.batch_bytes as u64);
        PlainQueues::of_process().settle(left.count);
        Budget::of_process().tell_starving();
        drop(left); // not under the lock: who waits may append again
    }

    /// One is tried with an identity first.
    pub(super) fn try_one(&self) {
        self.state().trying += 1;
    }

    /// One that was tried is decided, or is `back` and goes before all that came after it.
    pub(super) fn tried(&self, back: Option<(PlainAppend, Completer<Outcome>)>) -> bool {
        let mut state = self.state();
        if let Some((message, completer)) = back {
            state.accept(message.message.len());
            self.bounds.add(&mut state.waiting, message, completer);
        }
        state.trying -= 1;
        if state.trying == 0 {
            let behind = std::mem::take(&mut state.behind);
            state.waiting.extend(behind);
        }
        state.begins()
    }

    /// Waits until anything of what is held has settled.
    pub(super) fn room(&self) -> Pending<()> {
        let (completer, waiting) = pending();
        let mut state = self.state();
        if state.held.bytes() == 0 {
            return Pending::ready(Ok(()));
        }
        state.room.push(completer);
        waiting
    }

    pub(super) fn next(&self) -> Option<Group> {
        let mut state = self.state();
        let next = state.waiting.pop_front();
        state.busy = next.is_some();
        next
    }

    pub(super) fn settle(&self, group: Group, result: &Result<Outcome>) {
        let count = group.messages.len() as u64;
        let room = {
            let mut state = self.state();
            state.held.subtract(cost(group.bytes, count), Budget::of_process());
            state.count -= count;
            if let (true, Ok(outcome)) = (group.last, result) {
                state.closed = Some(CloseResult { final_offset: outcome.offset.clone() });
            }
            std::mem::take(&mut state.room)
        };
        group.messages.into_iter().for_each(|waiting| waiting.completer.complete(result.clone()));
        PlainQueues::of_process().settle(count);
        Budget::of_process().tell_starving();
        room.into_iter().for_each(|waiting| waiting.complete(Ok(())));
    }

    /// Puts a group that was refused back in two halves, so that one bad message takes no other
    /// with it.
    pub(super) fn split(&self, mut group: Group) {
        // Nothing joins an end or a `Stream-Seq`, and only several messages are taken apart.
        debug_assert!(!group.last && group.seq.is_none(), "such a group is one message");
        let messages = group.messages.split_off(group.messages.len() / 2);
        let bytes = messages.iter().map(|waiting| waiting.message.len()).sum();
        group.bytes -= bytes;
        let mut state = self.state();
        state.waiting.push_front(Group { messages, bytes, seq: None, last: false });
        state.waiting.push_front(group);
    }
}

impl State {
    /// With a share of the process's budget.
    fn new(share: u64) -> Self {
        State {
            waiting: VecDeque::new(),
            trying: 0,
            behind: VecDeque::new(),
            held: Reserved::new(share),
            count: 0,
            busy: false,
            closed: None,
            room: Vec::new(),
        }
    }

    /// Takes a message in any case.
    fn accept(&mut self, bytes: usize) {
        self.held.force(cost(bytes, 1), Budget::of_process());
        self.count();
    }

    fn count(&mut self) {
        self.count += 1;
        PlainQueues::of_process().add();
    }

    /// Leaves nothing of what waits.
    fn give_up(&mut self, share: u64) -> State {
        self.held.subtract(self.held.bytes(), Budget::of_process());
        let (trying, closed) = (self.trying, self.closed.clone());
        std::mem::replace(self, State { trying, closed, ..State::new(share) })
    }

    /// Where what comes now has its place.
    fn back(&mut self) -> &mut VecDeque<Group> {
        if self.trying == 0 { &mut self.waiting } else { &mut self.behind }
    }

    /// Whether a task has to begin with what waits.
    fn begins(&mut self) -> bool {
        !self.waiting.is_empty() && !std::mem::replace(&mut self.busy, true)
    }
}

/// What messages take of the room: their bytes, and what each costs beyond them.
fn cost(bytes: usize, count: u64) -> u64 {
    bytes as u64 + OVERHEAD * count
}

impl Bounds {
    /// Adds a message, in one request with those before it where that may be.
    fn add(&self, to: &mut VecDeque<Group>, message: PlainAppend, completer: Completer<Outcome>) {
        let PlainAppend { message, seq } = message;
        let bytes = message.len();
        let waiting = Waiter { message, completer };
        match to.back_mut() {
            Some(group) if seq.is_none() && self.let_join(group, bytes) => {
                group.bytes += bytes;
                group.messages.push(waiting);
            }
            _ => to.push_back(Group { messages: vec![waiting], bytes, seq, last: false }),
        }
    }

    fn let_join(&self, group: &Group, bytes: usize) -> bool {
        group.seq.is_none()
            && !group.last
            && group.bytes + bytes <= self.batch_bytes
            && group.messages.len() < self.batch_items
    }
}

impl Group {
    /// As the server takes them: an array on a JSON stream, else one behind the other.
    pub(super) fn body(&self, json: bool) -> Bytes {
        let messages = self.messages.iter().map(|waiting| &waiting.message[..]);
        match messages.len() {
            1 if !json => return self.messages[0].message.clone(),
            _ if self.bytes == 0 => return Bytes::new(),
            _ => {}
        }
        if !json {
            return messages.collect::<Vec<_>>().concat().into();
        }
        let mut body = Vec::with_capacity(self.bytes + self.messages.len() + 1);
        for (n, message) in messages.enumerate() {
            body.push(if n == 0 { b'[' } else { b',' });
            body.extend_from_slice(message);
        }
        body.push(b']');
        body.into()
    }
}

//! `onError`, `onDelivery` and `onState`: reports on their way from the dispatcher thread to the event
//! loop.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};

use durstream_core::{Callbacks, Delivery, Error, Failure, StateChange, UntilTold};
use napi::Status;
use napi::bindgen_prelude::{FnArgs, Function, Uint8Array};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use serde_json::json;

use crate::crossing::outcome;
use crate::thread::{Here, Ticket};

type Arguments = FnArgs<(String, Uint8Array)>;
/// Weak: it does not keep Node alive. A call is for the failure of a number in the queue.
type Channel = ThreadsafeFunction<u64, (), Arguments, Status, false, true>;

/// A function that the facade registers, and the number by which the facade knows it.
#[napi(object, object_to_js = false)]
pub struct Listener<'env> {
    /// Its number, of those of this thread.
    pub number: u32,
    /// The function: of a report's text, and of a failure's bytes. An empty text is no report.
    pub call: Function<'env, Arguments, ()>,
    /// Whether it hears of the writes that are not delivered.
    pub on_error: bool,
    /// Whether it hears of those that are.
    pub on_delivery: bool,
    /// Whether it hears of the producer's states.
    pub on_state: bool,
}

/// A failure that the event loop did not come to.
#[napi(object, object_from_js = false)]
pub struct LeftFailure {
    /// The number of the function it is for.
    pub number: u32,
    /// Its text.
    pub text: String,
    /// The write's bytes.
    pub payload: Uint8Array,
}

/// Bytes of failures under way to JavaScript before the dispatcher waits for it: the core gives
/// a write's room back when the callback returns, so this bounds what is held beyond it.
const WINDOW_BYTES: usize = 1 << 20;
/// The bytes a failure counts beside its payload.
const OVERHEAD: usize = 2048;

/// The core's callbacks for a JavaScript function.
pub fn callback(listener: Option<Listener<'_>>) -> napi::Result<Callbacks> {
    let Some(Listener { number, call, on_error, on_delivery, on_state }) = listener else {
        return Ok(Callbacks::default());
    };
    let here = Here::get();
    let queue = Arc::new(Queue { number, ..Queue::default() });
    QUEUES.with_borrow_mut(|queues| queues.add(&queue));
    let asked = queue.clone();
    let builder = call.build_threadsafe_function::<u64>().callee_handled::<false>().weak::<true>();
    let channel: Channel = builder.build_callback(move |context| {
        let (text, payload) = asked.take_one(context.value);
        Ok(FnArgs::from((text, Uint8Array::new(payload))))
    })?;
    let tell = Arc::new(move |text: String, payload: &[u8], kept: Option<UntilTold>| {
        let permit = queue.enter(payload.len() + OVERHEAD);
        let call = queue.push(text, payload, (kept, permit, here.enter()));
        // Dropped with the channel's own queue when the environment ends, and so is the failure.
        channel.call_with_return_value(
            call.number,
            ThreadsafeFunctionCallMode::NonBlocking,
            move |_, _| {
                drop(call); // the host is told only now
                Ok(())
            },
        );
    });
    let mut callbacks = Callbacks::default();
    if on_error {
        let tell = tell.clone();
        callbacks.on_error = Some(Arc::new(move |failure: Failure| {
            let outcome = outcome(&failure.outcome);
            let text = json!({ "failure": { "id": failure.id, "outcome": outcome } }).to_string();
            tell(text, &failure.payload, Some(failure.until_told()));
        }));
    }
    if on_delivery {
        let tell = tell.clone();
        callbacks.on_delivery = Some(Arc::new(move |delivery: Delivery| {
            let Delivery { first_id, count, .. } = delivery;
            let outcome = outcome(&delivery.outcome);
            let told = json!({ "firstId": first_id, "count": count, "outcome": outcome });
            tell(json!({ "delivery": told }).to_string(), &[], None);
        }));
    }
    if on_state {
        callbacks.on_state = Some(Arc::new(move |change: StateChange| {
            let error = change.error.as_ref().map(Error::to_json);
            let (from, to) = (change.from.as_str(), change.to.as_str());
            let told = json!({ "from": from, "to": to, "error": error });
            tell(json!({ "state": told }).to_string(), &[], None);
        }));
    }
    Ok(callbacks)
}

/// The queues of one thread's functions.
#[derive(Default)]
struct Queues {
    list: Vec<Weak<Queue>>,
    /// At how many the dropped ones are removed: at each it would cost the square.
    full: usize,
}

thread_local! {
    static QUEUES: RefCell<Queues> = RefCell::default();
}

impl Queues {
    /// The least number at which the dropped ones are removed.
    const LEAST: usize = 64;

    fn add(&mut self, queue: &Arc<Queue>) {
        if self.list.len() >= self.full.max(Self::LEAST) {
            self.list.retain(|queue| queue.strong_count() > 0);
            self.full = 2 * self.list.len();
        }
        self.list.push(Arc::downgrade(queue));
    }

    fn all() -> Vec<Arc<Queue>> {
        QUEUES.with_borrow(|queues| queues.list.iter().filter_map(Weak::upgrade).collect())
    }
}

/// Lets every failure to this thread come, however many wait: they are about to be taken.
pub fn unbound() {
    Queues::all().iter().for_each(|queue| queue.unbound());
}

/// The failures that the event loop of this thread did not come to.
pub fn take() -> Vec<LeftFailure> {
    Queues::all().iter().flat_map(|queue| queue.take()).collect()
}

/// A failure in the queue, and what is kept until the function was called with it.
struct Item {
    number: u64,
    /// Empty once it was taken.
    text: String,
    payload: Vec<u8>,
    _until_told: Kept,
}

/// What is kept until a report was told.
type Kept = (Option<UntilTold>, Permit, Ticket);

/// The failures under way to one function.
#[derive(Default)]
struct Queue {
    number: u32,
    /// In the order of their numbers.
    failures: Mutex<VecDeque<Item>>,
    last: AtomicU64,
    bytes: Mutex<usize>,
    left: Condvar,
    /// The event loop has ended, and the rest is taken in one go.
    is_unbounded: AtomicBool,
}

impl Queue {
    fn failures(&self) -> MutexGuard<'_, VecDeque<Item>> {
        self.failures.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn bytes(&self) -> MutexGuard<'_, usize> {
        self.bytes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn push(self: &Arc<Self>, text: String, payload: &[u8], _until_told: Kept) -> Call {
        let (number, payload) = (self.last.fetch_add(1, Ordering::Relaxed) + 1, payload.to_vec());
        self.failures().push_back(Item { number, text, payload, _until_told });
        Call { queue: self.clone(), number }
    }

    /// A failure's text and its bytes; nothing if it was taken before.
    fn take_one(&self, number: u64) -> (String, Vec<u8>) {
        let mut failures = self.failures();
        match failures.binary_search_by_key(&number, |item| item.number) {
            Ok(place) => {
                let Item { text, payload, .. } = &mut failures[place];
                (std::mem::take(text), std::mem::take(payload))
            }
            Err(_) => Default::default(),
        }
    }

    fn remove(&self, number: u64) -> Option<Item> {
        let mut failures = self.failures();
        let place = failures.binary_search_by_key(&number, |item| item.number).ok()?;
        failures.remove(place)
    }

    /// Waits for room, which a single failure of any size has when it is alone.
    fn enter(self: &Arc<Self>, cost: usize) -> Permit {
        let mut bytes = self.bytes();
        while *bytes > 0 && *bytes + cost > WINDOW_BYTES && !self.is_unbounded() {
            bytes = self.left.wait(bytes).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        *bytes += cost;
        Permit { queue: self.clone(), cost }
    }

    fn is_unbounded(&self) -> bool {
        self.is_unbounded.load(Ordering::Acquire)
    }

    /// Takes every failure from here on.
    fn unbound(&self) {
        let _bytes = self.bytes();
        self.is_unbounded.store(true, Ordering::Release);
        self.left.notify_all();
    }

    /// What the event loop did not come to, for its function to be called with at once.
    fn take(&self) -> Vec<LeftFailure> {
        let number = self.number;
        let taken: VecDeque<Item> = {
            let mut failures = self.failures();
            let (being_told, left) =
                failures.drain(..).partition(|item: &Item| item.text.is_empty());
            *failures = being_told;
            left
        };
        let left = |Item { text, payload, .. }| LeftFailure {
            number,
            text,
            payload: Uint8Array::new(payload),
        };
        taken.into_iter().map(left).collect() // not under the lock: it gives back what was kept
    }
}

/// A call under way to JavaScript: dropped, its failure was told, or never will be.
struct Call {
    queue: Arc<Queue>,
    number: u64,
}

impl Drop for Call {
    fn drop(&mut self) {
        drop(self.queue.remove(self.number)); // not under the lock
    }
}

struct Permit {
    queue: Arc<Queue>,
    cost: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.queue.bytes() -= self.cost;
        self.queue.left.notify_all();
    }
}

//! `onError`: failures on their way from the dispatcher thread to the event loop.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use durstream_core::{Callbacks, Failure};
use napi::Status;
use napi::bindgen_prelude::{FnArgs, Function, Uint8Array};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use serde_json::json;

use crate::crossing::outcome;
use crate::thread::Here;

type Arguments = FnArgs<(String, Uint8Array)>;
/// Weak: it does not keep Node alive. A call takes the next failure of the queue.
type Channel = ThreadsafeFunction<(), (), Arguments, Status, false, true>;

/// A function that the facade registers, and the number by which the facade knows it.
#[napi(object, object_to_js = false)]
pub struct Listener<'env> {
    /// Its number, of those of this thread.
    pub number: u32,
    /// The function: of a failure's text and the write's bytes. An empty text is no failure.
    pub call: Function<'env, Arguments, ()>,
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
    let Some(Listener { number, call }) = listener else { return Ok(Callbacks::default()) };
    let here = Here::get();
    let queue = Arc::new(Queue { number, ..Queue::default() });
    here.add(&queue);
    let taken = queue.clone();
    let builder = call.build_threadsafe_function::<()>().callee_handled::<false>().weak::<true>();
    let channel: Channel = builder.build_callback(move |_| {
        let (text, payload) = taken.pop().unwrap_or_default();
        Ok(FnArgs::from((text, Uint8Array::new(payload))))
    })?;
    let tell = move |failure: Failure| {
        let permit = (queue.enter(failure.payload.len() + OVERHEAD), here.enter());
        let text = json!({ "id": failure.id, "outcome": outcome(&failure.outcome) }).to_string();
        queue.push((text, failure.payload.to_vec()));
        // Dropped with the channel's own queue when the environment ends, the permit with it.
        let status = channel.call_with_return_value(
            (),
            ThreadsafeFunctionCallMode::NonBlocking,
            move |_, _| {
                drop((failure, permit)); // the host is told only now
                Ok(())
            },
        );
        if status != Status::Ok {
            queue.clear();
        }
    };
    Ok(Callbacks { on_error: Some(Arc::new(tell)), ..Callbacks::default() })
}

/// A failure's text and its bytes.
type Text = (String, Vec<u8>);

/// The failures under way to one function.
#[derive(Default)]
pub struct Queue {
    number: u32,
    failures: Mutex<VecDeque<Text>>,
    bytes: Mutex<usize>,
    left: Condvar,
    /// The event loop has ended, and the rest is taken in one go.
    is_unbounded: AtomicBool,
}

impl Queue {
    fn failures(&self) -> MutexGuard<'_, VecDeque<Text>> {
        self.failures.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn bytes(&self) -> MutexGuard<'_, usize> {
        self.bytes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn push(&self, failure: Text) {
        self.failures().push_back(failure);
    }

    fn pop(&self) -> Option<Text> {
        self.failures().pop_front()
    }

    fn clear(&self) {
        self.failures().clear();
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
    pub fn unbound(&self) {
        let _bytes = self.bytes();
        self.is_unbounded.store(true, Ordering::Release);
        self.left.notify_all();
    }

    /// What the event loop did not come to.
    pub fn take(&self) -> Vec<LeftFailure> {
        let number = self.number;
        let failures = std::mem::take(&mut *self.failures());
        let left =
            |(text, payload)| LeftFailure { number, text, payload: Uint8Array::new(payload) };
        failures.into_iter().map(left).collect()
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

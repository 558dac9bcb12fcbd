//! `onError`: failures on their way from the dispatcher thread to the event loop.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use durstream_core::{Callbacks, Failure};
use napi::Status;
use napi::bindgen_prelude::{FnArgs, Function, Uint8Array};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use serde_json::json;

use crate::crossing::outcome;

type Arguments = FnArgs<(String, Uint8Array)>;
/// Weak: it does not keep Node alive.
type Channel = ThreadsafeFunction<Arguments, (), Arguments, Status, false, true>;
/// The function that the facade registers: of the failure's text and the write's bytes.
pub type Callback<'a> = Function<'a, Arguments, ()>;

/// Bytes of failures under way to JavaScript before the dispatcher waits for it: the core gives
/// a write's room back when the callback returns, so this bounds what is held beyond it.
const WINDOW_BYTES: usize = 1 << 20;
/// The bytes a failure counts beside its payload; so at most 512 are under way, fewer than Node
/// hands over in one turn of its event loop.
const OVERHEAD: usize = 2048;

/// The core's callbacks for a JavaScript function.
pub fn callback(function: Option<Callback<'_>>) -> napi::Result<Callbacks> {
    let Some(function) = function else { return Ok(Callbacks::default()) };
    let builder = function.build_threadsafe_function::<Arguments>();
    let channel: Channel = builder.callee_handled::<false>().weak::<true>().build()?;
    let window = Arc::new(Window::default());
    let tell = move |failure: Failure| {
        let permit = window.enter(failure.payload.len() + OVERHEAD);
        let text = json!({ "id": failure.id, "outcome": outcome(&failure.outcome) }).to_string();
        let arguments = FnArgs::from((text, Uint8Array::new(failure.payload.to_vec())));
        // Dropped with the queue when the environment ends, the permit with it.
        channel.call_with_return_value(
            arguments,
            ThreadsafeFunctionCallMode::NonBlocking,
            move |_, _| {
                drop((failure, permit)); // the host is told only now
                Ok(())
            },
        );
    };
    Ok(Callbacks { on_error: Some(Arc::new(tell)), ..Callbacks::default() })
}

#[derive(Default)]
struct Window {
    under_way: Mutex<usize>,
    left: Condvar,
}

impl Window {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.under_way.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits for room, which a single failure of any size has when it is alone.
    fn enter(self: &Arc<Self>, cost: usize) -> Permit {
        let mut under_way = self.lock();
        while *under_way > 0 && *under_way + cost > WINDOW_BYTES {
            under_way = self.left.wait(under_way).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        *under_way += cost;
        Permit { window: self.clone(), cost }
    }
}

struct Permit {
    window: Arc<Window>,
    cost: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.window.lock() -= self.cost;
        self.window.left.notify_all();
    }
}

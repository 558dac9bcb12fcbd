//! Promises fed by the core, and waits that can be given up.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use durstream_core::{Overdue, Pending};
use napi::bindgen_prelude::Object;
use napi::{Env, JsDeferred};
use napi_derive::napi;
use serde_json::Value;

use crate::crossing::settled;

type Resolver = Box<dyn FnOnce(Env) -> napi::Result<String> + Send>;
type Text = Pin<Box<dyn Future<Output = String> + Send>>;

/// A wait for one result. Giving it up drops the core's [`Pending`], so that an abandoned
/// flush takes nothing from the report of the next one.
#[napi]
pub struct Wait {
    shared: Arc<Shared>,
    overdue: Overdue,
}

struct Shared {
    state: Mutex<State>,
}

struct State {
    text: Option<Text>,
    deferred: Option<JsDeferred<String, Resolver>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn look(self: &Arc<Self>) {
        let mut state = self.lock();
        let Some(text) = &mut state.text else { return };
        let waker = Waker::from(self.clone());
        if let Poll::Ready(text) = text.as_mut().poll(&mut Context::from_waker(&waker)) {
            state.text = None;
            let deferred = state.deferred.take();
            drop(state);
            resolve(deferred, text);
        }
    }
}

impl Wake for Shared {
    /// Called by the core on its I/O thread.
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

fn resolve(deferred: Option<JsDeferred<String, Resolver>>, text: String) {
    if let Some(deferred) = deferred {
        deferred.resolve(Box::new(move |_| Ok(text)));
    }
}

impl Wait {
    /// A wait for an operation of the core.
    pub fn new<T: Send + 'static>(pending: Pending<T>, value: fn(&T) -> Value) -> Self {
        let overdue = pending.overdue();
        Wait { overdue, ..Wait::of(async move { settled(pending.await, value) }) }
    }

    /// A wait for a result's text.
    pub fn of(text: impl Future<Output = String> + Send + 'static) -> Self {
        let state = State { text: Some(Box::pin(text)), deferred: None };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        Wait { shared, overdue: Overdue::default() }
    }
}

#[napi]
impl Wait {
    /// The promise of the result's text; empty if it was given up. Called once.
    #[napi]
    pub fn done<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let (deferred, promise) = env.create_deferred::<String, Resolver>()?;
        self.shared.lock().deferred = Some(deferred);
        self.shared.look();
        Ok(promise)
    }

    /// The result's text if it is there already: the core refuses at once. Then `done` is not
    /// called any more.
    #[napi]
    pub fn now(&self) -> Option<String> {
        let mut state = self.shared.lock();
        let text = state.text.as_mut()?;
        match text.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(text) => {
                state.text = None;
                Some(text)
            }
            Poll::Pending => None,
        }
    }

    /// The error of a caller whose time ran out.
    #[napi]
    pub fn overdue(&self, what: String, timeout_ms: f64) -> String {
        // Out of range at either end is as good as the nearest.
        let timeout = Duration::from_millis(timeout_ms as u64);
        self.overdue.error(&what, timeout).to_json().to_string()
    }

    /// Gives the wait up. The operation goes on.
    #[napi]
    pub fn cancel(&self) {
        let (text, deferred) = {
            let mut state = self.shared.lock();
            (state.text.take(), state.deferred.take())
        };
        drop(text);
        resolve(deferred, String::new());
    }
}

//! Functions for all producers of the process.

use std::time::Duration;

use napi::bindgen_prelude::{AsyncTask, Object};
use napi::{Env, Task};
use napi_derive::napi;
use serde_json::Value;

use crate::crossing::settled;
use crate::wait::promise;

/// The facade has an end of its own: once Node has ended, no callback can run.
#[napi_derive::module_init]
fn own_end() {
    durstream_core::set_exit_timeout(Duration::ZERO);
}

/// Writes accepted and not settled, over all producers.
#[napi]
pub fn pending_count() -> f64 {
    durstream_core::pending_count() as f64
}

/// Bounds the bytes that all producers together may buffer. The facade has checked that it is a
/// count.
#[napi]
pub fn set_buffer_budget(bytes: f64) {
    durstream_core::set_buffer_budget(bytes as u64);
}

/// Waits until everything accepted is settled, and then until `onError` was called for it.
#[napi]
pub fn flush_all(env: &Env, timeout_ms: u32) -> napi::Result<Object<'_>> {
    let timeout = Duration::from_millis(timeout_ms.into());
    promise(env, |done| {
        durstream_core::flush_all(timeout)
            .on_dispatcher(move |result| done(settled(result, |()| Value::Null)));
    })
}

/// The core's shutdown, which blocks, on one of Node's own worker threads.
pub struct Shutdown(Duration);

impl Task for Shutdown {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> napi::Result<String> {
        Ok(settled(durstream_core::shutdown(self.0), |()| Value::Null))
    }

    fn resolve(&mut self, _: Env, text: String) -> napi::Result<String> {
        Ok(text)
    }
}

/// Stops every producer, bounded.
#[napi]
pub fn shutdown(timeout_ms: u32) -> AsyncTask<Shutdown> {
    AsyncTask::new(Shutdown(Duration::from_millis(timeout_ms.into())))
}

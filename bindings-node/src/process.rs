//! Functions for all producers of the process.

use std::time::Duration;

use durstream_core::{MetricKind, Observation, Signal};
use napi::bindgen_prelude::AsyncTask;
use napi::{Env, Task};
use napi_derive::napi;
use serde_json::{Value, json};

use crate::crossing::{self, guarded, settled};
use crate::failure::{self, LeftFailure};
use crate::thread::Here;
use crate::wait::Wait;

/// The facade has an end of its own: once Node has ended, no callback can run.
#[napi_derive::module_init]
fn own_end() {
    durstream_core::set_exit_timeout(Duration::ZERO);
    // As Node's own TLS.
    if let Some(file) = std::env::var_os("NODE_EXTRA_CA_CERTS").filter(|file| !file.is_empty()) {
        durstream_core::trust_also(file.into());
    }
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

/// The text for Prometheus about all producers, or as OpenMetrics.
#[napi]
pub fn stats_prometheus(openmetrics: bool) -> napi::Result<String> {
    guarded(|| Ok(durstream_core::stats_prometheus(crossing::exposition(openmetrics))))
}

/// Every instrument for OpenTelemetry, as JSON text.
#[napi]
pub fn instruments() -> napi::Result<String> {
    guarded(|| {
        let of = |own: Signal| {
            let kind = if own.kind == MetricKind::Counter { "counter" } else { "gauge" };
            json!({ "name": own.name, "kind": kind, "unit": own.unit, "meaning": own.meaning })
        };
        let all = durstream_core::opentelemetry_signals().into_iter().map(of);
        Ok(Value::Array(all.collect()).to_string())
    })
}

/// What each instrument observes of the producers, by its name, as JSON text: lists of a value and its
/// attributes.
#[napi]
pub fn observations() -> napi::Result<String> {
    guarded(|| {
        let of = |one: Observation| json!([one.value, crossing::attributes(&one.attributes)]);
        let all = durstream_core::observations().into_iter();
        let all =
            all.map(|(signal, observed)| (signal.name, observed.into_iter().map(of).collect()));
        Ok(Value::Object(all.collect()).to_string())
    })
}

/// Waits until everything accepted is settled, and then until `onError` was called for it.
#[napi]
pub fn flush_all(timeout_ms: u32) -> napi::Result<Wait> {
    guarded(|| {
        let (here, timeout) = (Here::get(), Duration::from_millis(timeout_ms.into()));
        let flushed = durstream_core::flush_all(timeout);
        Ok(Wait::of(async move {
            let result = flushed.await;
            here.told().await;
            settled(result, |()| Value::Null)
        }))
    })
}

/// Waits until `onError` was called for every failure so far.
#[napi]
pub fn told() -> napi::Result<Wait> {
    guarded(|| {
        let told = Here::get().told();
        Ok(Wait::of(async move {
            told.await;
            settled(Ok(()), |()| Value::Null)
        }))
    })
}

/// Whether nothing is under way: no write, no end of a stream, no failure to this thread.
#[napi]
pub fn is_idle() -> bool {
    durstream_core::is_idle() && Here::get().is_idle()
}

/// Whether no failure is under way to this thread.
#[napi]
pub fn is_told() -> bool {
    durstream_core::is_told() && Here::get().is_idle()
}

/// Ends every producer of the process; what is pending is given up.
#[napi]
pub fn stop_all() -> napi::Result<()> {
    guarded(|| {
        durstream_core::stop_all();
        Ok(())
    })
}

/// Gives up everything at once, where the event loop has ended: blocks for moments. If there is
/// somebody to be told, the failures of this thread can be taken then. The log has how many there are.
#[napi]
pub fn end_now(is_told: bool) -> napi::Result<()> {
    guarded(|| {
        if is_told {
            failure::unbound();
            let _ = durstream_core::shutdown(Duration::ZERO);
        } else {
            let _ = durstream_core::flush_all(Duration::ZERO).wait();
        }
        Ok(())
    })
}

/// The failures of this thread that the event loop did not come to.
#[napi]
pub fn take_failures() -> napi::Result<Vec<LeftFailure>> {
    guarded(|| Ok(failure::take()))
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

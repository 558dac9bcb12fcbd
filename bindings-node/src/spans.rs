//! Settled batches on their way to a function of JavaScript that makes spans of them.

use std::time::{SystemTime, UNIX_EPOCH};

use durstream_core::{FinishedBatch, TraceContext};
use napi::Status;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use serde_json::{Value, json};

use crate::crossing;

/// Batches that wait for the event loop; those behind have no span.
const WINDOW: usize = 1024;
/// Weak: it does not keep Node alive.
type Channel = ThreadsafeFunction<String, (), String, Status, false, true, WINDOW>;

/// Has a function receive each settled batch of a producer with the option `trace`, as JSON text, on
/// this thread. The last function counts.
#[napi]
pub fn set_batch_observer(call: Function<'_, String, ()>) -> napi::Result<()> {
    let builder = call.build_threadsafe_function::<String>().callee_handled::<false>();
    let channel: Channel = builder.weak::<true>().max_queue_size::<WINDOW>().build()?;
    durstream_core::set_batch_observer(move |batch| {
        // Tracing breaks no write: a loop that has ended, or is far behind, has no span of it.
        channel.call(text_of(&batch), ThreadsafeFunctionCallMode::NonBlocking);
    });
    Ok(())
}

fn text_of(batch: &FinishedBatch) -> String {
    let context = |own: &TraceContext| json!([own.traceparent, own.tracestate]);
    json!({
        "name": batch.name,
        "started": hrtime(batch.started),
        "ended": hrtime(batch.ended),
        "attributes": crossing::attributes(&batch.attributes),
        "links": batch.links.iter().map(context).collect::<Vec<_>>(),
        "error": batch.error,
    })
    .to_string()
}

/// A time as OpenTelemetry has it: seconds since 1970, and nanoseconds.
fn hrtime(at: SystemTime) -> Value {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!([since.as_secs(), since.subsec_nanos()])
}

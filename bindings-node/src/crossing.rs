//! How values cross to JavaScript: receipts as numbers, everything else as JSON text.

use std::panic::{AssertUnwindSafe, catch_unwind};

use durstream_core::{
    AttributeValue, CloseResult, Error, ErrorKind, Exposition, FlushReport, Metadata, Outcome,
    Reason, Receipt, Snapshot, Stats,
};
use napi::bindgen_prelude::{Either, Uint8ArraySlice};
use serde_json::{Value, json};

/// Text or bytes, copied by the core before the call returns.
pub type Payload<'a> = Either<String, Uint8ArraySlice<'a>>;

/// The id of an accepted write, or JSON text: `{"refused":outcome}` or `{"error":error}`.
pub type Written = Either<f64, String>;

/// The bytes of a payload.
pub fn bytes<'a>(payload: &'a Payload<'_>) -> &'a [u8] {
    match payload {
        Either::A(text) => text.as_bytes(),
        Either::B(bytes) => bytes,
    }
}

fn caught<T>(work: impl FnOnce() -> durstream_core::Result<T>) -> durstream_core::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Internal, "a panic was caught at the boundary to Node"))
    })
}

/// Runs a call's body; an error or panic is thrown with the error's JSON text as its message.
pub fn guarded<T>(work: impl FnOnce() -> durstream_core::Result<T>) -> napi::Result<T> {
    caught(work).map_err(|error| napi::Error::from_reason(error.to_json().to_string()))
}

/// Runs a write's body. Nothing is thrown: most refusals are an answer, not an exception. Each has a
/// reason.
pub fn written(work: impl FnOnce() -> durstream_core::Result<Receipt>) -> Written {
    answer(caught(work))
}

/// Runs the body of a write that may have nothing to write, as [`written`] does.
pub fn written_if_any(
    work: impl FnOnce() -> durstream_core::Result<Option<Receipt>>,
) -> Option<Written> {
    caught(work).transpose().map(answer)
}

fn answer(accepted: durstream_core::Result<Receipt>) -> Written {
    match accepted {
        Ok(receipt) => match receipt.refusal() {
            Some(refusal) => Either::B(json!({ "refused": outcome(refusal) }).to_string()),
            // Ids count from 1 and stay far below 2^53.
            None => Either::A(receipt.id() as f64),
        },
        Err(error) => {
            let mut thrown = error.to_json();
            thrown["reason"] = json!(error.refusal().as_str());
            Either::B(json!({ "error": thrown }).to_string())
        }
    }
}

/// A failed result as text.
pub fn failed(error: &Error) -> String {
    json!({ "error": error.to_json() }).to_string()
}

/// A result as text: `{"value":...}` or `{"error":...}`.
pub fn settled<T>(result: durstream_core::Result<T>, value: impl FnOnce(&T) -> Value) -> String {
    match result {
        Ok(result) => json!({ "value": value(&result) }).to_string(),
        Err(error) => failed(&error),
    }
}

/// The outcome of a write.
pub fn outcome(outcome: &Outcome) -> Value {
    json!({
        "status": outcome.status.as_str(),
        "reason": outcome.reason.map(|reason| reason.as_str()),
        "duplicate": outcome.duplicate,
        "maybeDuplicate": outcome.maybe_duplicate,
        "attempts": outcome.attempts,
        "offset": outcome.offset.as_deref(),
        "error": outcome.error.as_ref().map(Error::to_json),
    })
}

/// The report of a flush.
pub fn report(report: &FlushReport) -> Value {
    json!({
        "delivered": report.delivered,
        "duplicates": report.duplicates,
        "uncertain": report.uncertain,
        "refused": report.refused,
    })
}

/// The result of ending a stream.
pub fn closed(result: &CloseResult) -> Value {
    json!({ "finalOffset": result.final_offset.as_deref() })
}

/// The metadata of a stream.
pub fn metadata(metadata: &Metadata) -> Value {
    json!({
        "contentType": metadata.content_type.as_deref(),
        "exists": metadata.exists,
        "offset": metadata.offset.as_deref(),
        "streamClosed": metadata.stream_closed,
        "ttlSeconds": metadata.ttl_seconds,
        "expiresAt": metadata.expires_at.as_deref(),
    })
}

/// The state of a producer.
pub fn snapshot(snapshot: &Snapshot) -> String {
    let snapshot = json!({
        "state": snapshot.state.as_str(),
        "attempt": snapshot.attempt,
        "bufferedWrites": snapshot.buffered_writes,
        "bufferedBytes": snapshot.buffered_bytes,
        "lastError": snapshot.last_error.as_ref().map(Error::to_json),
        "epoch": snapshot.epoch,
        "nextSeq": snapshot.next_seq,
        "inFlight": snapshot.in_flight,
        "lastOffset": snapshot.last_offset.as_deref(),
    });
    snapshot.to_string()
}

/// Counters and measures by their names in the core's spelling, as JSON text.
pub fn stats(stats: &Stats) -> String {
    counted(stats).to_string()
}

/// Counters and measures by their names in the core's spelling.
pub fn counted(stats: &Stats) -> Value {
    let numbers = stats.entries().into_iter().map(|(name, count)| (name.to_owned(), count.into()));
    let distributions = stats.distributions().into_iter().map(|(name, found)| {
        let entries = found.entries().into_iter().map(|(name, n)| (name.to_owned(), n.into()));
        (name.to_owned(), Value::Object(entries.collect()))
    });
    let undelivered = Reason::ALL.iter().map(|reason| (reason, stats.undelivered(*reason)));
    let undelivered = undelivered.filter(|(_, count)| *count > 0);
    let undelivered =
        undelivered.map(|(reason, count)| (reason.as_str().to_owned(), count.into())).collect();
    let undelivered = [("undelivered".to_owned(), Value::Object(undelivered))];
    Value::Object(numbers.chain(distributions).chain(undelivered).collect())
}

/// The format of a text for Prometheus.
pub fn exposition(openmetrics: bool) -> Exposition {
    if openmetrics { Exposition::OpenMetrics } else { Exposition::Prometheus }
}

/// Attributes as OpenTelemetry has them.
pub(crate) fn attributes(of: &[(&'static str, AttributeValue)]) -> Value {
    let value = |value: &AttributeValue| match value {
        AttributeValue::Text(text) => json!(text),
        AttributeValue::Whole(number) => json!(number),
        AttributeValue::Number(number) => json!(number),
        _ => Value::Null,
    };
    Value::Object(of.iter().map(|(name, own)| ((*name).to_owned(), value(own))).collect())
}

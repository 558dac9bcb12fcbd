//! Appending the messages of a source: the core's half.

use durstream_core::AppendSink as Core;
use napi_derive::napi;
use serde_json::Value;

use crate::crossing::{Payload, bytes, guarded, report};
use crate::stream::Stream;
use crate::wait::Wait;

/// The messages of one source on their way.
#[napi]
pub struct AppendSink {
    sink: Core,
}

#[napi]
impl AppendSink {
    /// A sink whose first message has a `Stream-Seq`, if given.
    #[napi(constructor)]
    pub fn new(stream: &Stream, seq: Option<String>) -> napi::Result<Self> {
        guarded(|| Ok(AppendSink { sink: Core::new(&stream.stream(), seq.as_deref())? }))
    }

    /// Whether it takes a message now.
    #[napi]
    pub fn state(&self) -> napi::Result<&'static str> {
        guarded(|| Ok(self.sink.state().as_str()))
    }

    /// Appends a message; false if there is no room for it yet.
    #[napi]
    pub fn start_send(&self, message: Payload<'_>) -> napi::Result<bool> {
        guarded(|| Ok(self.sink.start_send(bytes(&message))))
    }

    /// Counts a message that could not be serialised.
    #[napi]
    pub fn refuse(&self, why: String) -> napi::Result<()> {
        guarded(|| {
            self.sink.refuse(&why);
            Ok(())
        })
    }

    /// Waits until the state is not "full".
    #[napi]
    pub fn ready(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.sink.ready(), |()| Value::Null)))
    }

    /// Waits until a message was not delivered, or none is under way.
    #[napi]
    pub fn stopped(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.sink.stopped(), |()| Value::Null)))
    }

    /// Waits until nothing is under way, and reports the outcome of all messages.
    #[napi]
    pub fn close(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.sink.close(), report)))
    }
}

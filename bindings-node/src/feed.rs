//! Appending what a source yields: the half that is the core's.

use durstream_core::{Feed as Core, Next};
use napi_derive::napi;
use serde_json::Value;

use crate::crossing::{Payload, bytes, guarded, report};
use crate::stream::Stream;
use crate::wait::Wait;

/// The messages of one source on their way.
#[napi]
pub struct Feed {
    feed: Core,
}

#[napi]
impl Feed {
    /// A feed whose first message has a `Stream-Seq`, if given.
    #[napi(constructor)]
    pub fn new(stream: &Stream, seq: Option<String>) -> napi::Result<Self> {
        guarded(|| Ok(Feed { feed: Core::new(&stream.stream(), seq.as_deref())? }))
    }

    /// What to do with the source next.
    #[napi]
    pub fn next(&self) -> napi::Result<&'static str> {
        guarded(|| {
            Ok(match self.feed.next() {
                Next::More => "more",
                Next::Wait => "wait",
                Next::Stop => "stop",
            })
        })
    }

    /// Appends a message; false if there is no room for it yet.
    #[napi]
    pub fn offer(&self, message: Payload<'_>) -> napi::Result<bool> {
        guarded(|| Ok(self.feed.offer(bytes(&message))))
    }

    /// Counts a message that could not be serialised.
    #[napi]
    pub fn refuse(&self, why: String) -> napi::Result<()> {
        guarded(|| {
            self.feed.refuse(&why);
            Ok(())
        })
    }

    /// Waits until `next` is not "wait".
    #[napi]
    pub fn ready(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.feed.ready(), |()| Value::Null)))
    }

    /// Waits until a message was not delivered, or none is under way.
    #[napi]
    pub fn stopped(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.feed.stopped(), |()| Value::Null)))
    }

    /// Waits until nothing is under way, for what became of everything.
    #[napi]
    pub fn end(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.feed.end(), report)))
    }
}

//! The recorder: a server of streams within the process, for the tests of services.

use durstream_core::testing::Recorder as Core;
use napi::bindgen_prelude::Uint8Array;
use napi::{Env, JsString};
use napi_derive::napi;

use crate::crossing::guarded;

/// A recorder, which no call of its own ends.
#[napi]
pub struct Recorder {
    core: Core,
}

#[napi]
impl Recorder {
    /// A recorder without streams.
    #[napi(constructor)]
    #[allow(clippy::new_without_default, reason = "each one is another place")]
    pub fn new() -> Self {
        Recorder { core: Core::new() }
    }

    /// Its base URL.
    #[napi(getter)]
    pub fn url(&self) -> &str {
        self.core.url()
    }

    /// The messages of a JSON stream as the text of one array.
    #[napi]
    pub fn events<'env>(&self, env: &'env Env, path: String) -> napi::Result<JsString<'env>> {
        let chunk = guarded(|| self.core.chunk(&path))?;
        let text = guarded(|| chunk.json_array())?;
        env.create_string(text)
    }

    /// A copy of the bytes of a stream.
    #[napi]
    pub fn content(&self, path: String) -> napi::Result<Uint8Array> {
        guarded(|| Ok(Uint8Array::new(self.core.content(&path)?.to_vec())))
    }

    /// Forgets what was received so far.
    #[napi]
    pub fn clear(&self) -> napi::Result<()> {
        guarded(|| self.core.clear())
    }

    /// Appends wait for their answers.
    #[napi]
    pub fn hold(&self) -> napi::Result<()> {
        guarded(|| self.core.hold())
    }

    /// Answers what is held.
    #[napi]
    pub fn release(&self) -> napi::Result<()> {
        guarded(|| self.core.release())
    }

    /// Refuses appends that contain a text.
    #[napi]
    pub fn reject(&self, containing: String, reason: String) -> napi::Result<()> {
        guarded(|| self.core.reject_as(&containing, &reason))
    }

    /// Fences producers.
    #[napi]
    pub fn fence(&self) -> napi::Result<()> {
        guarded(|| self.core.fence())
    }

    /// The next requests find nobody; without a number all do. The facade has checked that it is a
    /// count.
    #[napi]
    pub fn fail(&self, times: Option<f64>) -> napi::Result<()> {
        guarded(|| self.core.fail(times.map(|times| times as u64)))
    }

    /// Everything is delivered again.
    #[napi]
    pub fn deliver(&self) -> napi::Result<()> {
        guarded(|| self.core.deliver())
    }
}

//! Reading a stream.

use std::sync::{Arc, Mutex, MutexGuard};

use durstream_core::StreamReader;
use napi::bindgen_prelude::{Object, ObjectFinalize, Uint8Array};
use napi::{Env, JsString};
use napi_derive::napi;
use serde_json::json;

use crate::crossing::{guarded, settled};
use crate::wait::Wait;

/// A reader of one stream.
#[napi]
pub struct Reader {
    reader: StreamReader,
}

impl Reader {
    /// A reader of the core's.
    pub fn new(reader: StreamReader) -> Self {
        Reader { reader }
    }
}

#[napi]
impl Reader {
    /// Asks for the next chunk.
    #[napi]
    pub fn next(&self) -> napi::Result<Step> {
        guarded(|| {
            let (pending, slot) = (self.reader.next_chunk(), Slot::default());
            let arrived = slot.clone();
            let wait = Wait::of(async move {
                let found = pending.await.map(|chunk| {
                    let found = chunk.is_some();
                    *arrived.lock() = chunk;
                    found
                });
                settled(found, |found| json!(found))
            });
            Ok(Step { wait, slot })
        })
    }

    /// The offset for a later read; none before the first answer of a read from the start.
    #[napi(getter)]
    pub fn offset(&self) -> Option<String> {
        self.reader.offset().map(|offset| offset.to_string())
    }

    /// Whether the last answer reached the stream's end at that moment.
    #[napi(getter)]
    pub fn up_to_date(&self) -> bool {
        self.reader.up_to_date()
    }

    /// Whether the stream has ended and all of it was read.
    #[napi(getter)]
    pub fn stream_closed(&self) -> bool {
        self.reader.stream_closed()
    }
}

#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Option<durstream_core::Chunk>>>);

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<durstream_core::Chunk>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A wait for one chunk: its text is whether there is one, to be taken then.
#[napi]
pub struct Step {
    wait: Wait,
    slot: Slot,
}

#[napi]
impl Step {
    /// The promise of the result's text; empty if it was given up. Called once.
    #[napi]
    pub fn done<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        self.wait.done(env)
    }

    /// Gives the wait up; the chunk stays for the next one.
    #[napi]
    pub fn cancel(&self) {
        self.wait.cancel();
    }

    /// The error of a caller whose time ran out.
    #[napi]
    pub fn overdue(&self, what: String, timeout_ms: f64) -> String {
        self.wait.overdue(what, timeout_ms)
    }

    /// The chunk that was found, once.
    #[napi]
    pub fn take(&self, env: Env) -> napi::Result<Option<Chunk>> {
        let Some(chunk) = self.slot.lock().take() else { return Ok(None) };
        // So that the collector knows how much a forgotten chunk holds.
        env.adjust_external_memory(size(&chunk))?;
        Ok(Some(Chunk { chunk }))
    }
}

fn size(chunk: &durstream_core::Chunk) -> i64 {
    chunk.data.len() as i64
}

/// A part of a stream.
#[napi(custom_finalize)]
pub struct Chunk {
    chunk: durstream_core::Chunk,
}

impl ObjectFinalize for Chunk {
    fn finalize(self, env: Env) -> napi::Result<()> {
        env.adjust_external_memory(-size(&self.chunk)).map(drop)
    }
}

#[napi]
impl Chunk {
    /// A copy of the bytes.
    #[napi]
    pub fn data(&self) -> Uint8Array {
        Uint8Array::new(self.chunk.data.to_vec())
    }

    /// The messages of a JSON stream as the text of one array.
    #[napi]
    pub fn json<'env>(&self, env: &'env Env) -> napi::Result<JsString<'env>> {
        let text = guarded(|| self.chunk.json_array())?;
        env.create_string(text)
    }

    /// The offset behind it.
    #[napi(getter)]
    pub fn offset(&self) -> String {
        self.chunk.offset.to_string()
    }

    /// Whether it reached the stream's end at that moment.
    #[napi(getter)]
    pub fn up_to_date(&self) -> bool {
        self.chunk.up_to_date
    }

    /// Whether the stream ends with it.
    #[napi(getter)]
    pub fn stream_closed(&self) -> bool {
        self.chunk.stream_closed
    }
}

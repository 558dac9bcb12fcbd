//! A stream by its URL.

use durstream_core::{DurableStream, Options};
use napi_derive::napi;
use serde_json::Value;

use crate::crossing::{Payload, bytes, closed, guarded, outcome};
use crate::options::options;
use crate::wait::Wait;

/// A handle on a stream, and the options it may be created with.
#[napi]
pub struct Stream {
    pub(crate) stream: DurableStream,
    options: Options,
}

#[napi]
impl Stream {
    /// A handle; sends nothing.
    #[napi(constructor)]
    pub fn new(settings: Vec<String>, headers: Vec<String>) -> napi::Result<Self> {
        guarded(|| {
            let options = options(&settings, &headers)?;
            Ok(Stream { stream: DurableStream::connect(options.clone())?, options })
        })
    }

    /// Creates the stream with its first content.
    #[napi]
    pub fn create(&self, body: Payload<'_>) -> napi::Result<Wait> {
        guarded(|| {
            let body = bytes(&body).to_vec();
            let created = DurableStream::create(self.options.clone(), body);
            Ok(Wait::new(created, |_| Value::Null))
        })
    }

    /// Appends one message and waits for its outcome.
    #[napi]
    pub fn append(&self, message: Payload<'_>) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.stream.append(bytes(&message)), outcome)))
    }

    /// Ends the stream.
    #[napi]
    pub fn close(&self, message: Option<Payload<'_>>) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.stream.close(message.as_ref().map(bytes)), closed)))
    }

    /// The URL without secrets.
    #[napi(getter)]
    pub fn url(&self) -> String {
        self.stream.url().to_owned()
    }

    /// The content type as given.
    #[napi(getter)]
    pub fn content_type(&self) -> String {
        self.stream.content_type().to_owned()
    }

    /// Whether messages are JSON values.
    #[napi(getter)]
    pub fn is_json(&self) -> bool {
        self.stream.is_json()
    }
}

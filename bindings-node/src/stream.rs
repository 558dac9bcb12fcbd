//! A stream by its URL.

use std::sync::{Arc, Mutex, PoisonError};

use durstream_core::{DurableStream, Options};
use napi_derive::napi;
use serde_json::Value;

use crate::crossing::{Payload, bytes, closed, guarded, metadata, outcome, settled};
use crate::options::Given;
use crate::reader::Reader;
use crate::wait::Wait;

/// A handle on a stream, and the options it may be created with.
#[napi]
pub struct Stream {
    /// Replaced after `create` of a fork, whose content type only the server knows.
    stream: Arc<Mutex<DurableStream>>,
    options: Options,
}

impl Stream {
    pub(crate) fn stream(&self) -> DurableStream {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[napi]
impl Stream {
    /// A handle; sends nothing.
    #[napi(constructor)]
    pub fn new(given: Given<'_>) -> napi::Result<Self> {
        let options = given.options()?;
        guarded(|| {
            let stream = Arc::new(Mutex::new(DurableStream::connect(options.clone())?));
            Ok(Stream { stream, options })
        })
    }

    /// Creates the stream with its first content.
    #[napi]
    pub fn create(&self, body: Payload<'_>) -> napi::Result<Wait> {
        guarded(|| {
            let body = bytes(&body).to_vec();
            let created = DurableStream::create(self.options.clone(), body);
            let own = self.stream.clone();
            Ok(Wait::of(async move {
                let created = created.await.map(|stream| {
                    *own.lock().unwrap_or_else(PoisonError::into_inner) = stream;
                });
                settled(created, |()| Value::Null)
            }))
        })
    }

    /// The metadata of the stream.
    #[napi]
    pub fn head(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.stream().head(), metadata)))
    }

    /// Appends one message, with a `Stream-Seq` if given, and waits for its outcome.
    #[napi]
    pub fn append(&self, message: Payload<'_>, seq: Option<String>) -> napi::Result<Wait> {
        guarded(|| {
            let (stream, message) = (self.stream(), bytes(&message));
            let pending = match seq {
                None => stream.append(message),
                Some(seq) => stream.append_with_seq(message, &seq),
            };
            Ok(Wait::new(pending, outcome))
        })
    }

    /// Ends the stream.
    #[napi]
    pub fn close(&self, message: Option<Payload<'_>>) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.stream().close(message.as_ref().map(bytes)), closed)))
    }

    /// Deletes the stream.
    #[napi]
    pub fn delete(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.stream().delete(), |()| Value::Null)))
    }

    /// A reader from an offset on, or from the start; sends nothing.
    #[napi]
    pub fn read(&self, offset: Option<String>, live: String) -> napi::Result<Reader> {
        guarded(|| Ok(Reader::new(self.stream().read_live(offset.as_deref(), &live)?)))
    }

    /// The error of a message that could not be serialised, as JSON text.
    #[napi]
    pub fn unserialisable(&self, why: String) -> String {
        self.stream().unserialisable(&why).to_json().to_string()
    }

    /// The URL without secrets.
    #[napi(getter)]
    pub fn url(&self) -> String {
        self.stream().url().to_owned()
    }

    /// The content type, once it is known.
    #[napi(getter)]
    pub fn content_type(&self) -> Option<String> {
        self.stream().content_type().map(str::to_owned)
    }

    /// Whether messages are known to be JSON values.
    #[napi(getter)]
    pub fn is_json(&self) -> bool {
        self.stream().is_json()
    }

    /// Whether values may be appended, as JSON.
    #[napi(getter)]
    pub fn takes_values(&self) -> bool {
        self.stream().takes_values()
    }
}

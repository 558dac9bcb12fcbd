//! Tests of a service without a server: a [`Recorder`] takes a server's place within the process.
//!
//! ```
//! use durstream_core::testing::Recorder;
//! use durstream_core::{Collection, Options, StreamSchema, Validator, create_durable_stream};
//! use serde_json::json;
//!
//! # fn main() -> Result<(), durstream_core::Error> {
//! let recorder = Recorder::new();
//! let producer = create_durable_stream(
//!     Options::new().endpoints(recorder.url()).stream_path("/shipments").producer_id("service"),
//!     StreamSchema::new().collection("shipments", Collection::new("shipment", "id", Validator::Any)),
//! )?;
//! producer.upsert("shipments", &json!({ "id": "ship_123" }))?;
//! producer.flush().wait()?;
//! assert_eq!(recorder.events("/shipments")?[0]["key"], "ship_123");
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result, shown};
use crate::protocol::json;
use crate::reason::Reason;
use crate::stream::read::Chunk;
use crate::stream::writer::Writers;
use crate::transport::recorder::Recording;
use crate::transport::recorder::script::{Failures, status_of};
use crate::transport::recorder::server::Content;

/// A server of streams within the process, without a socket, for the tests of a service.
///
/// Whatever is opened below its [`url`](Recorder::url) is the real thing: producers and streams
/// validate, batch, repeat, report and read as with any server. What arrived is read back with
/// [`events`](Recorder::events); what happens to requests is scripted. Streams are created as on a
/// server, never expire, and cannot be forked.
///
/// Recorders know nothing of each other: tests that run at the same time have one each. Once a
/// recorder is dropped nothing is opened at its URL any more; what is open goes on, with everything
/// delivered. In a forked child it answers with `Forked`.
#[derive(Debug)]
pub struct Recorder {
    recording: Arc<Recording>,
    url: String,
}

impl Recorder {
    /// A recorder without streams, which delivers everything. Starts nothing.
    #[allow(clippy::new_without_default, reason = "each one is another place")]
    pub fn new() -> Self {
        let recording = Recording::new();
        Recorder { url: recording.url(), recording }
    }

    /// Its base URL, for the option `endpoints` or the environment variable `DURABLE_STREAMS_URL`; a
    /// stream's full `url` is this and the stream's path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The messages that a JSON stream received since [`clear`](Recorder::clear), in their order; none
    /// where there is no stream. The events of a transaction stand together and have one `txid`.
    ///
    /// What was accepted is there once it is delivered: flush before.
    ///
    /// # Errors
    /// `InvalidArgument` (`path`): it is no path of a stream. `NotSupported`: the stream is not JSON;
    /// its [`content`](Recorder::content) has no message bounds. `Forked`.
    pub fn events(&self, path: &str) -> Result<Vec<Value>> {
        let chunk = self.chunk(path)?;
        let value = |text| {
            serde_json::from_slice(&json::readable(text)).map_err(|wrong| {
                let text = format!("a message cannot be read: {wrong}");
                Error::new(ErrorKind::NotSupported, text)
            })
        };
        chunk.items()?.map(value).collect()
    }

    /// The bytes that a stream received since [`clear`](Recorder::clear); of a JSON stream, its
    /// messages as the text of one array. Nothing where there is no stream.
    ///
    /// # Errors
    /// `InvalidArgument` (`path`): it is no path of a stream. `Forked`.
    pub fn content(&self, path: &str) -> Result<Bytes> {
        Ok(self.own()?.content(path)?.map_or_else(Bytes::new, |content| content.body))
    }

    /// What a stream received since `clear`, as a read would give it. For the bindings.
    #[doc(hidden)]
    pub fn chunk(&self, path: &str) -> Result<Chunk> {
        let nothing = || Content {
            content_type: "application/json".to_owned(),
            body: Bytes::from_static(b"[]"),
            offset: "-1".into(),
            closed: false,
        };
        Chunk::recorded(self.own()?.content(path)?.unwrap_or_else(nothing))
    }

    /// Forgets what was received so far, for `events` and `content` alone: the streams and the sessions
    /// of their producers stay as they are.
    ///
    /// # Errors
    /// `Forked`.
    pub fn clear(&self) -> Result<()> {
        self.own().map(Recording::clear)
    }

    /// From now on appends wait for their answers, as with a server that hangs: their writes stay
    /// pending. Requests that wait longer than `request_timeout_ms` are repeated, as ever.
    ///
    /// # Errors
    /// `Forked`.
    pub fn hold(&self) -> Result<()> {
        self.own().map(|recording| recording.script(|script| script.holds = true))
    }

    /// Answers the appends that are held, in their order, and holds no more.
    ///
    /// # Errors
    /// `InvalidArgument`: it does not hold. `Forked`.
    pub fn release(&self) -> Result<()> {
        match self.own()?.release() {
            true => Ok(()),
            false => {
                Err(Error::option("release", "the recorder holds nothing: `hold` comes first"))
            }
        }
    }

    /// From now on appends that contain a text are refused, and their writes are rejected for this
    /// reason: `Refused`, `TooLarge` or `Unauthorized`. The empty text is in every append. As with any
    /// server, a producer parts a refused batch until the writes that contain the text are alone.
    /// Credentials are the whole producer's: it fails if no write was acknowledged so far, else it waits
    /// until they are accepted.
    ///
    /// # Errors
    /// `InvalidArgument` (`reason`): no server refuses a write for it. `Forked`.
    pub fn reject(&self, containing: &str, reason: Reason) -> Result<()> {
        let status = status_of(reason).ok_or_else(|| wrong_reason(reason.as_str()))?;
        let refusal = (containing.as_bytes().to_vec(), status);
        self.own().map(|recording| recording.script(|script| script.refusals.push(refusal)))
    }

    /// [`reject`](Recorder::reject) by the name of a reason. For the bindings.
    #[doc(hidden)]
    pub fn reject_as(&self, containing: &str, reason: &str) -> Result<()> {
        let known = Reason::from_name(reason).ok_or_else(|| wrong_reason(reason))?;
        self.reject(containing, known)
    }

    /// From now on another producer holds every id: producers are fenced at their next append, and so
    /// is one that restarts.
    ///
    /// # Errors
    /// `Forked`.
    pub fn fence(&self) -> Result<()> {
        self.own().map(|recording| recording.script(|script| script.fences = true))
    }

    /// The next `times` requests of any kind find nobody, as when no server listens; they are repeated.
    /// With `None` all of them do.
    ///
    /// # Errors
    /// `InvalidArgument` (`times`): it is 0. `Forked`.
    pub fn fail(&self, times: impl Into<Option<u64>>) -> Result<()> {
        let failures = match times.into() {
            None => Failures::All,
            Some(0) => {
                return Err(Error::option("times", "`times` is 0: at least one request fails"));
            }
            Some(times) => Failures::Next(times),
        };
        self.own().map(|recording| recording.script(|script| script.failures = failures))
    }

    /// From now on everything is delivered again, as in the beginning: ends what `hold`, `reject`,
    /// `fence` and `fail` began, and answers what is held.
    ///
    /// # Errors
    /// `Forked`.
    pub fn deliver(&self) -> Result<()> {
        self.own().map(Recording::deliver)
    }

    /// Its recording, unless it is the parent's.
    fn own(&self) -> Result<&Recording> {
        match self.recording.is_foreign() {
            true => Err(Error::forked("this recorder")),
            false => Ok(&self.recording),
        }
    }
}

fn wrong_reason(name: &str) -> Error {
    let text =
        format!("`reason` takes one of refused, too-large, unauthorized, not `{}`", shown(name));
    Error::option("reason", text)
}

/// Nothing is left behind once its producers are gone, too.
impl Drop for Recorder {
    fn drop(&mut self) {
        if self.recording.is_foreign() {
            std::mem::forget(self.recording.clone()); // the parent's producers wait for its answers
        } else {
            self.recording.retire();
            Writers::of_process().forget_below(&self.url);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::time::Duration;

    use super::*;
    use crate::options::Options;
    use crate::producer::IdempotentProducer;
    use crate::state::producer::create_durable_stream;
    use crate::state::schema::{Collection, StreamSchema, Validator};
    use crate::stream::handle::DurableStream;

    /// What a test has opened is the only thing that keeps a recorder's streams.
    #[test]
    fn nothing_of_a_recorder_is_left_behind() {
        let recorder = Recorder::new();
        let options = || Options::new().endpoints(recorder.url());
        let stream = options().stream_path("/a").content_type("text/plain");
        let stream = DurableStream::create(stream, "").wait().unwrap();
        stream.append("plain").wait().unwrap();
        let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
        producer.append("message").unwrap();
        let schema =
            StreamSchema::new().collection("c", Collection::new("c", "id", Validator::Any));
        let state = options().stream_path("/b").producer_id("p");
        let state = create_durable_stream(state, schema).unwrap();
        state.upsert_json("c", br#"{"id":"1"}"#).unwrap();
        recorder.hold().unwrap();
        let left: Weak<Recording> = Arc::downgrade(&recorder.recording);
        drop(recorder);
        assert!(left.upgrade().is_some());
        drop((stream, producer, state));
        for _ in 0..10_000 {
            if left.upgrade().is_none() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("its producers are gone, and it is not");
    }
}

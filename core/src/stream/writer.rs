//! The writers of plain appends: one identity per process and stream, however many handles there
//! are and however short they live. Servers remember every identity they see. Where the option
//! `idempotent` is off they have none.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::HeaderMap;

use crate::delivery::closing::{CloseWith, close_by, is_closed};
use crate::delivery::engine::Engine;
use crate::delivery::engine::accept::check_seq;
use crate::error::Result;
use crate::options::Options;
use crate::outcome::{CloseResult, Outcome};
use crate::protocol::stream_type::StreamType;
use crate::runtime::chance::random;
use crate::runtime::fork::PerProcess;
use crate::runtime::lifecycle::{Work, register};
use crate::runtime::pending::Pending;
use crate::runtime::threads::lock;
use crate::stream::target::Target;

/// How many writers are kept for handles to come.
const KEPT: usize = 256;

static WRITERS: PerProcess<Arc<Writers>> = PerProcess::new(Arc::default);

/// A producer under an identity of the library's own; a caller waits for each of its writes.
/// Dropped, it delivers what it has accepted and ends.
pub(super) struct Writer {
    engine: Arc<Engine>,
    /// Handles with this key may use it; `None` if header functions belong to one handle alone.
    key: Option<WriterKey>,
}

/// The options that make a difference to appends.
struct WriterKey {
    url: String,
    headers: Arc<HeaderMap>,
    /// As the handle was given it, not as it learned it.
    given_type: Option<String>,
    content_type: StreamType,
    options: Options,
}

impl WriterKey {
    fn of(target: &Target) -> Option<Self> {
        let endpoint = target.endpoint();
        endpoint.functions.is_none().then(|| WriterKey {
            url: endpoint.url.to_string(),
            headers: endpoint.headers.clone(),
            given_type: target.options.content_type.clone(),
            content_type: target.content_type.clone(),
            options: target.options.clone().without_place(),
        })
    }

    /// Whether handles with these keys share a writer. Those that were given no type learn it from
    /// the server, each in its time, and that takes no writer from them.
    fn is_alike(&self, other: &WriterKey) -> bool {
        self.url == other.url
            && self.headers == other.headers
            && self.given_type == other.given_type
            && self.options == other.options
            && self.content_type.agrees_with(&other.content_type)
    }
}

impl Writer {
    /// Opens a writer whose appends come behind everything another has accepted.
    fn open(target: &Target, behind: Option<&Writer>, key: Option<WriterKey>) -> Result<Self> {
        let id = format!("durstream-{:016x}", random());
        let mut config = target.producer_config(&id, &Options::new())?;
        config.identified = target.options.idempotent.unwrap_or(true);
        (config.awaited, config.opened_at) = (true, target.take_tail());
        let before = behind.map(|other| other.engine.clone());
        let engine = Engine::start(target.endpoint().clone(), config, None, before)?;
        Ok(Writer { engine, key })
    }

    /// Appends a message, with a `Stream-Seq` if there is one.
    pub(super) fn append(&self, message: &[u8], seq: Option<&str>) -> Result<Pending<Outcome>> {
        check_seq(seq)?;
        let checked = self.engine.check_message(message)?;
        if let Some(end) = self.engine.closes().as_ref().and_then(|closes| closes.result.clone()) {
            return Err(is_closed(&self.engine, end));
        }
        self.engine.accept_awaited(message, checked, seq)
    }

    /// Ends the stream for a handle, by its number: without a message the request carries no
    /// identity.
    pub(super) fn close(&self, message: Option<&[u8]>, by: u64) -> Pending<CloseResult> {
        let checked = match message {
            Some(message) => self.engine.check_message(message).map(drop),
            None => self.engine.check_fork(),
        };
        if let Err(error) = checked {
            return Pending::ready(Err(error));
        }
        let last =
            message.map_or(CloseWith::Unidentified, |message| CloseWith::Message(message.to_vec()));
        close_by(by, &self.engine, last)
    }

    /// The type of its stream, as far as it is known.
    pub(super) fn content_type(&self) -> &StreamType {
        &self.engine.config.content_type
    }

    /// Waits until there is room for the write that last found none.
    pub(super) fn ready(&self) -> Pending<()> {
        self.engine.ready()
    }

    /// Whether it came through `fork`: its locks must not be touched.
    pub(super) fn is_foreign(&self) -> bool {
        self.engine.is_foreign()
    }

    /// Whether a handle, by its number, may write with it: unless another handle ends the stream
    /// through it.
    pub(super) fn is_open_to(&self, handle: u64) -> bool {
        let closes = self.engine.closes();
        closes.as_ref().is_none_or(|closes| {
            closes.by == handle
                || (closes.result.is_none() && !self.engine.book().lifecycle.is_closing())
        })
    }

    #[cfg(all(test, unix))]
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.engine.begin_stop();
    }
}

/// The writers of this process, the last used at the end.
#[derive(Default)]
pub(crate) struct Writers {
    kept: Mutex<VecDeque<Arc<Writer>>>,
    is_registered: AtomicBool,
}

/// At the end of the library they are let go: later handles start afresh.
impl Work for Writers {
    fn begin_stop(&self) {
        let kept = std::mem::take(&mut *lock(&self.kept));
        drop(kept); // not under the lock: dropping them ends them
    }
}

impl Writers {
    /// The writers of this process.
    pub(crate) fn of_process() -> &'static Self {
        let writers = WRITERS.get();
        if !writers.is_registered.swap(true, Ordering::Relaxed) {
            let work: std::sync::Weak<Self> = Arc::downgrade(writers);
            register(work);
        }
        writers
    }

    /// The writer for a handle, by its number: the one that handles with its key share, while it
    /// takes writes.
    pub(super) fn of(&self, target: &Target, handle: u64) -> Result<Arc<Writer>> {
        let mut kept = lock(&self.kept);
        let key = WriterKey::of(target);
        let is_known = |writer: &Arc<Writer>| {
            writer.key.as_ref().zip(key.as_ref()).is_some_and(|(one, other)| one.is_alike(other))
        };
        let known = kept.iter().position(is_known);
        let known = known.and_then(|n| kept.remove(n));
        let is_fit = |known: &Arc<Writer>| known.engine.takes_writes() && known.is_open_to(handle);
        let (writer, unfit) = match known {
            Some(known) if is_fit(&known) => {
                // The stream of the next writer then holds the messages of this one.
                drop(target.take_tail());
                (known, None)
            }
            // A handle that had the old writer appends in the order of its calls.
            known => (Arc::new(Writer::open(target, known.as_deref(), key)?), known),
        };
        if writer.key.is_some() {
            kept.push_back(writer.clone());
        }
        let oldest = if kept.len() > KEPT { kept.pop_front() } else { None };
        drop(kept);
        drop((oldest, unfit)); // not under the lock: dropping them ends them
        Ok(writer)
    }

    /// Forgets the writers of a stream that begins anew: its server knows none of them.
    pub(super) fn forget(&self, target: &Target) {
        self.forget_where(|url| url == &**target.url()); // with any credentials
    }

    /// Forgets the writers of the streams below a URL.
    pub(crate) fn forget_below(&self, base: &str) {
        self.forget_where(|url| url.starts_with(base));
    }

    fn forget_where(&self, is_its: impl Fn(&str) -> bool) {
        let is_its = |writer: &Arc<Writer>| is_its(writer.engine.url());
        let mut kept = lock(&self.kept);
        let (its, others) = std::mem::take(&mut *kept).into_iter().partition(is_its);
        *kept = others;
        drop(kept);
        drop::<VecDeque<_>>(its); // not under the lock: dropping them ends them
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::handle::DurableStream;

    fn handle(options: Options) -> DurableStream {
        DurableStream::connect(options.url("http://127.0.0.1:1/learns")).unwrap()
    }

    /// Many handles live for one append each, and the server remembers every identity.
    #[test]
    fn handles_without_a_type_share_a_writer_whatever_each_has_learned() {
        let first = handle(Options::new());
        let writer = first.writer().unwrap();
        let early = handle(Options::new());
        assert!(Arc::ptr_eq(&writer, &early.writer().unwrap()));
        first.target().content_type.learn("application/json");
        let late = handle(Options::new());
        assert!(Arc::ptr_eq(&writer, &late.writer().unwrap()));
        assert!(Arc::ptr_eq(&writer, &early.writer().unwrap()));
        assert!(late.is_json() && early.is_json(), "and learn from each other");
        for other in ["text/plain", "application/json"] {
            let given = handle(Options::new().content_type(other));
            assert!(!Arc::ptr_eq(&writer, &given.writer().unwrap()), "{other} was given");
        }
        let learned = handle(Options::new());
        learned.target().content_type.learn("text/plain");
        assert!(!Arc::ptr_eq(&writer, &learned.writer().unwrap()), "it knows another type");
    }
}

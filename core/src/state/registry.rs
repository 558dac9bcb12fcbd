//! One state producer per stream in a process (docs/adr/registry.md).

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::ThreadId;

use crate::delivery::config::{Config, Create};
use crate::delivery::engine::Engine;
use crate::delivery::open::writers_of;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{Options, Scope};
use crate::protocol::stream_type::StreamType;
use crate::runtime::alike::Recent;
use crate::runtime::fork::PerProcess;
use crate::runtime::pending::{Pending, pending};
use crate::runtime::threads::lock;
use crate::state::schema::{Compiled, StreamSchema};
use crate::state::tracked::Tracked;
use crate::transport::endpoint::Endpoint;

/// The content type of every stream of entity state (STATE-PROTOCOL.md 3).
pub(super) const CONTENT_TYPE: &str = "application/json";

/// At least the bytes of an event behind its collection's prefix that are neither value nor key: the
/// words `value`, `headers` and the operation, and the digits that a number as a key may get.
const AROUND: usize = 128;

static REGISTRY: PerProcess<Registry> = PerProcess::new(Registry::default);

/// An open state producer, shared by its holders.
pub(crate) struct Entry {
    /// The options, but for those that name the stream.
    options: Arc<Options>,
    schema: Arc<Schema>,
    pub(super) strict: bool,
    /// Each event gets a timestamp.
    pub(super) timestamps: bool,
    /// Events carry the context of their trace.
    pub(super) trace: bool,
    /// One that is none was logged.
    pub(super) warned_of_trace: AtomicBool,
    /// The keys that were written, with strict operations. Held while an event is accepted, before the
    /// book's lock.
    pub(super) tracked: Option<Box<Mutex<Tracked>>>,
    /// The threads on which a transaction is open.
    pub(super) transactions: Mutex<Vec<ThreadId>>,
    pub(super) engine: Arc<Engine>,
    /// How many calls start it over now: it is not replaced meanwhile.
    restarting: AtomicU32,
    /// A value that a binding keeps with the producer, for all holders.
    pub(super) kept: OnceLock<Box<dyn Any + Send + Sync>>,
    /// The number of holders now, and of all there were. Changed under the registry's lock alone.
    holders: Mutex<Holders>,
}

struct Holders {
    now: u32,
    ever: u32,
}

/// The result of an open: the producer, the number of its new holder, and the validators of that
/// holder.
pub(super) struct Opened {
    pub(super) entry: Arc<Entry>,
    pub(super) holder: u32,
    pub(super) schema: Arc<Schema>,
}

/// A schema's collections, ready to validate.
pub(crate) struct Schema {
    source: StreamSchema,
    /// There are few: a hash costs more than the comparisons.
    collections: BTreeMap<String, Compiled>,
    longest_prefix: usize,
}

impl Schema {
    fn compile(source: StreamSchema) -> Result<Self> {
        let collections = source.compile()?;
        let longest_prefix = collections.values().map(|own| own.prefix.len()).max().unwrap_or(0);
        Ok(Schema { source, collections, longest_prefix })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Compiled> {
        self.collections.get(name)
    }

    /// The most bytes that an event has beside its value and key.
    pub(super) fn around_an_event(&self) -> usize {
        AROUND + self.longest_prefix
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.source.names()
    }
}

/// The open producers by stream URL, and those still draining.
#[derive(Default)]
pub(crate) struct Registry {
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    options: Recent<Options>,
    schemas: Recent<Schema>,
    /// A hash map keeps its memory by a pointer into the middle of it, which leak checkers take for
    /// none: this one lives as long as the process.
    by_stream: BTreeMap<Arc<str>, Slot>,
    /// At how many the unused ones are removed: at each end of a producer it would cost the square.
    full: usize,
}

impl Slots {
    /// The least number at which the unused ones are removed.
    const LEAST: usize = 64;

    fn drop_unused(&mut self) {
        if self.by_stream.len() >= self.full.max(Self::LEAST) {
            self.by_stream.retain(|_, slot| slot.is_used());
            self.full = 2 * self.by_stream.len();
        }
    }
}

#[derive(Default)]
struct Slot {
    open: Option<Arc<Entry>>,
    /// The last producer that left: the next one's first request waits for its end, so that a
    /// process never fences itself. It is gone once it has ended, and the host's callbacks with it.
    before: Option<Weak<Engine>>,
}

impl Slot {
    fn is_used(&self) -> bool {
        self.open.is_some() || self.before.as_ref().is_some_and(|engine| engine.strong_count() > 0)
    }
}

impl Registry {
    /// The registry of this process.
    pub(super) fn of_process() -> &'static Self {
        REGISTRY.get()
    }

    /// The producer of a stream, the open one or a new one, with a new holder.
    pub(super) fn open(&self, options: Options, schema: StreamSchema) -> Result<Opened> {
        let producer_id = check_scope(&options)?;
        let endpoint = Endpoint::resolve(&options)?;
        // They outlive the lock: dropping the last reference drops the host's callbacks.
        let (live, last);
        let (mut seen, mut seen_schemas) = (Vec::new(), Vec::new());
        let mut slots = lock(&self.slots);
        slots.drop_unused();
        let Slots { options: alike, schemas, by_stream, .. } = &mut *slots;
        let slot = by_stream.entry(endpoint.stream.clone()).or_default();
        if let Some(entry) = slot.open.clone().filter(|entry| entry.is_open()) {
            entry.check_same(&endpoint, options, &schema)?;
            let schema = entry.schema_of(&schema)?;
            let holder = {
                let mut holders = lock(&entry.holders);
                holders.now += 1;
                holders.ever += 1;
                holders.ever
            };
            return Ok(Opened { entry, holder, schema });
        }
        if let Some(retired) = slot.open.take() {
            slot.before = Some(Arc::downgrade(&retired.engine));
        }
        let content_type = StreamType::given(CONTENT_TYPE);
        let mut config = Config::new(Scope::State, &options, &producer_id, content_type)?;
        config.create = Some(Create::of(&options, CONTENT_TYPE, true)?);
        let options = without_address(options);
        let options = match alike.find(&mut seen, |known| *known == options) {
            Some(known) => known,
            None => alike.keep(options),
        };
        let is_same = |known: &Schema| known.source == schema;
        let schema = match schemas.find(&mut seen_schemas, is_same) {
            Some(known) => known,
            None if schema.has_functions() => Arc::new(Schema::compile(schema)?),
            None => schemas.keep(Schema::compile(schema)?),
        };
        live = writers_of(&endpoint.stream, &config.producer_id);
        last = slot.before.as_ref().and_then(Weak::upgrade);
        // A producer of another id comes first, too: for the order.
        let before = Engine::ending(&live, &endpoint)
            .or_else(|| last.clone().filter(|last| last.comes_before(&endpoint)));
        let engine = Engine::start(endpoint, config, None, before)?;
        let entry = Arc::new(Entry {
            strict: options.strict.unwrap_or(false),
            timestamps: options.timestamps.unwrap_or(false),
            trace: options.trace.unwrap_or(false),
            warned_of_trace: AtomicBool::new(false),
            tracked: tracked(&options),
            transactions: Mutex::default(),
            options,
            schema: schema.clone(),
            engine,
            restarting: AtomicU32::new(0),
            kept: OnceLock::new(),
            holders: Mutex::new(Holders { now: 1, ever: 1 }),
        });
        slot.open = Some(entry.clone());
        Ok(Opened { entry, holder: 1, schema })
    }

    /// Lets one holder go; the last one lets the producer go, which then drains.
    pub(super) fn let_go(&self, entry: &Arc<Entry>, holder: u32) {
        // Not under the lock: the host's callbacks may open or let go another holder.
        if self.leave(entry) {
            entry.engine.begin_stop();
        } else {
            entry.engine.listeners.remove(holder);
        }
    }

    /// Lets a holder go whose callbacks still report everything accepted until now. The result is
    /// there when all of that is settled.
    pub(super) fn release(&self, entry: &Arc<Entry>, holder: u32) -> Pending<()> {
        if self.leave(entry) {
            let settled = entry.engine.when_all_settled();
            entry.engine.begin_stop();
            settled
        } else {
            entry.engine.release_listener(holder)
        }
    }

    /// Removes one holder; whether it was the last, and the producer is taken out.
    fn leave(&self, entry: &Arc<Entry>) -> bool {
        let mut slots = lock(&self.slots);
        let last = {
            let mut holders = lock(&entry.holders);
            holders.now -= 1;
            holders.now == 0
        };
        if last {
            Self::take_out(&mut slots, entry);
        }
        last
    }

    /// Starts a producer over, which another one took the id from, unless one was opened in its place:
    /// two of this process would fence each other.
    pub(super) fn restart(&self, entry: &Arc<Entry>) -> Pending<()> {
        {
            let slots = lock(&self.slots);
            let open = slots.by_stream.get(entry.key()).and_then(|slot| slot.open.as_ref());
            if !open.is_some_and(|open| Arc::ptr_eq(open, entry)) {
                let text = "the producer has ended, or another one of its stream was opened since";
                let error = Error::new(ErrorKind::ProducerClosed, text);
                return Pending::ready(Err(error.with_url(&entry.engine.endpoint.shown)));
            }
            entry.restarting.fetch_add(1, Ordering::Relaxed);
        }
        let (completer, restarted) = pending();
        let own = entry.clone();
        entry.engine.restart().on_complete(move |result| {
            own.restarting.fetch_sub(1, Ordering::Relaxed);
            completer.complete(result);
        });
        entry.engine.hindering(restarted)
    }

    /// Takes a producer out: it drains, and the next open gets a new one.
    pub(super) fn retire(&self, entry: &Arc<Entry>) {
        Self::take_out(&mut lock(&self.slots), entry);
    }

    /// Under the same lock, so that a later open of the stream finds that the producer ends.
    fn take_out(slots: &mut Slots, entry: &Arc<Entry>) {
        entry.engine.mark_stopping();
        if let Some(slot) = slots.by_stream.get_mut(entry.key())
            && slot.open.as_ref().is_some_and(|open| Arc::ptr_eq(open, entry))
        {
            slot.before = slot.open.take().map(|entry| Arc::downgrade(&entry.engine));
        }
    }
}

/// The options but for those that name the stream.
fn without_address(mut options: Options) -> Options {
    (options.url, options.stream_path) = (None, None);
    options
}

/// The keys to remember, with strict operations.
fn tracked(options: &Options) -> Option<Box<Mutex<Tracked>>> {
    let most = options.number("max_tracked_keys", options.max_tracked_keys) as usize;
    let is_strict = options.operations.as_deref() == Some("strict");
    is_strict.then(|| Box::new(Mutex::new(Tracked::new(most))))
}

impl Entry {
    /// A holder's schema. What the core compiled is shared; functions are the holder's own.
    fn schema_of(&self, own: &StreamSchema) -> Result<Arc<Schema>> {
        match own.has_functions() {
            true => Schema::compile(own.clone()).map(Arc::new),
            false => Ok(self.schema.clone()),
        }
    }

    /// Whether it has a holder.
    pub(super) fn is_held(&self) -> bool {
        lock(&self.holders).now > 0
    }

    /// Whether it still takes writes: a producer that failed or was stopped makes room for another.
    fn is_open(&self) -> bool {
        self.engine.takes_writes() || self.restarting.load(Ordering::Relaxed) > 0
    }

    /// The stream, as the registry knows it.
    fn key(&self) -> &Arc<str> {
        &self.engine.endpoint.stream
    }

    fn check_same(
        &self,
        endpoint: &Endpoint,
        options: Options,
        schema: &StreamSchema,
    ) -> Result<()> {
        if *self.options != without_address(options) || !self.engine.endpoint.is_at(endpoint) {
            return Err(Error::option(
                "options",
                format!(
                    "the producer of {} is open with other options",
                    self.engine.endpoint.shown
                ),
            ));
        }
        if self.schema.source != *schema {
            return Err(Error::option(
                "schema",
                format!(
                    "the producer of {} is open with another schema",
                    self.engine.endpoint.shown
                ),
            ));
        }
        Ok(())
    }
}

pub(super) fn check_scope(options: &Options) -> Result<String> {
    options.check(Scope::State)?;
    options.producer_id.clone().ok_or_else(|| {
        Error::option("producer_id", "`producer_id` is missing: a stable identity for this service")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
    use std::time::Duration;

    use super::*;
    use crate::delivery::callbacks::{Callbacks, ErrorCallback};
    use crate::delivery::handle::Producer;
    use crate::state::producer::StateProducer;
    use crate::state::schema::{Collection, Validator};

    fn open(path: &str, callbacks: Callbacks) -> StateProducer {
        let options = Options::new().url(format!("http://127.0.0.1:1/{path}")).producer_id("p");
        let schema =
            StreamSchema::new().collection("c", Collection::new("c", "id", Validator::Any));
        crate::state::producer::create_durable_stream_with(options, schema, callbacks).unwrap()
    }

    /// Where requests go decides.
    #[test]
    fn a_url_may_be_spelled_in_two_ways() {
        let [one, other] =
            ["spelled", "./a/../spelled"].map(|path| open(path, Callbacks::default()));
        assert!(one.is_same(&other));
        let user = Options::new().url("http://u:p@127.0.0.1:1/spelled").producer_id("p");
        let schema =
            StreamSchema::new().collection("c", Collection::new("c", "id", Validator::Any));
        assert!(crate::state::producer::create_durable_stream(user, schema).is_err());
    }

    /// Whether it comes to its end.
    fn ends(body: impl FnOnce() + Send + 'static) -> bool {
        let (done, ended) = channel();
        let run = move || {
            body();
            let _ = done.send(());
        };
        std::thread::Builder::new().spawn(run).unwrap();
        ended.recv_timeout(Duration::from_secs(20)).is_ok()
    }

    /// A callback that is told that a producer ends may open the next one.
    #[test]
    fn the_end_of_a_producer_is_told_under_no_lock() {
        let producer = open("told", Callbacks::default());
        let (opened, next) = channel();
        let tell = move |_| opened.send(open("told", Callbacks::default())).unwrap();
        producer.ready().on_complete(tell);
        assert!(ends(move || drop(producer)), "it hangs");
        drop(next.recv().unwrap());
    }

    /// An open in between waits for the producer that left, and does not fence it.
    #[test]
    fn the_last_holders_producer_is_known_to_end_as_soon_as_it_is_out() {
        let producer = open("leaving", Callbacks::default());
        let engine = producer.entry.engine.clone();
        let live = || writers_of(&engine.endpoint.stream, "p");
        let ending = || Engine::ending(&live(), &engine.endpoint);
        assert!(ending().is_none());
        // Nobody takes this, so that the producer cannot be at its end already.
        producer.upsert_json("c", br#"{"id":"a"}"#).unwrap();
        assert!(Registry::of_process().leave(&producer.entry));
        let found = ending();
        lock(&producer.entry.holders).now = 1; // it goes once more as it is dropped
        producer.stop();
        assert!(found.is_some_and(|found| Arc::ptr_eq(&found, &engine)));
    }

    /// A holder's callbacks may hold another holder.
    #[test]
    fn callbacks_are_dropped_under_no_lock() {
        let (held, _other) =
            (open("held", Callbacks::default()), open("held", Callbacks::default()));
        let on_error: ErrorCallback = std::sync::Arc::new(move |_| held.begin_shutdown());
        let holder = open("held", Callbacks { on_error: Some(on_error), ..Callbacks::default() });
        assert!(ends(move || drop(holder)), "it hangs");
    }

    /// The ids that the `on_error` of two holders received.
    fn heard() -> (Callbacks, Receiver<u64>) {
        let (tell, told) = channel();
        let on_error: ErrorCallback = Arc::new(move |failure| {
            let _ = tell.send(failure.id);
        });
        (Callbacks { on_error: Some(on_error), ..Callbacks::default() }, told)
    }

    fn upsert(producer: &StateProducer) -> crate::Receipt {
        producer.upsert_json("c", br#"{"id":"a"}"#).unwrap()
    }

    /// The next so many ids, and then the end: the callback is forgotten.
    fn all_of(told: &Receiver<u64>, count: usize) -> Vec<u64> {
        let ids = (0..count).map(|_| told.recv_timeout(Duration::from_secs(20)).unwrap());
        let ids = ids.collect();
        let more = told.recv_timeout(Duration::from_secs(20));
        assert_eq!(more, Err(RecvTimeoutError::Disconnected));
        ids
    }

    #[test]
    fn a_released_holder_is_told_of_what_was_accepted_before() {
        let ((callbacks, one), (others, two)) = (heard(), heard());
        let (first, second) = (open("released", callbacks), open("released", others));
        upsert(&first);
        upsert(&second);
        let released = first.release();
        upsert(&second);
        second.stop();
        released.wait().unwrap();
        assert_eq!(all_of(&one, 2), [1, 2]);
        drop(second);
        assert!(first.wait(1).wait().unwrap().error.is_some(), "its receipts wait all the same");
        drop(first);
        assert_eq!(all_of(&two, 3), [1, 2, 3]);
    }

    /// Neither the receipts' waits nor the result of one keep a holder.
    #[test]
    fn receipts_hold_no_producer_open() {
        let producer = open("receipts", Callbacks::default());
        let (receipts, waiting) = (producer.receipts(), producer.wait(upsert(&producer).id()));
        let engine = producer.entry.engine.clone();
        drop(producer);
        assert!(!engine.takes_writes());
        engine.stop_now();
        let outcome = waiting.wait().unwrap();
        assert_eq!(outcome.reason, Some(crate::reason::Reason::ProducerStopped));
        assert_eq!(receipts.wait(1).wait().unwrap().status, outcome.status);
        assert!(receipts.wait(2).wait().is_err(), "it gave out no such id");
    }

    #[test]
    fn a_dropped_holder_is_told_no_more() {
        let ((callbacks, one), (others, two)) = (heard(), heard());
        let (first, second) = (open("dropped", callbacks), open("dropped", others));
        upsert(&first);
        drop(first);
        assert!(all_of(&one, 0).is_empty());
        second.stop();
        drop(second);
        assert_eq!(all_of(&two, 1), [1]);
    }

    #[test]
    fn a_released_handle_writes_nothing_and_ends_nothing_of_others() {
        let first = open("let-go", Callbacks::default());
        let second = open("let-go", Callbacks::default());
        drop((first.release(), first.release()));
        let receipt = upsert(&first);
        assert_eq!(
            receipt.refusal().unwrap().reason,
            Some(crate::reason::Reason::ProducerStopping)
        );
        assert_eq!(first.delete("c", "a").unwrap().refusal(), receipt.refusal());
        assert_eq!(second.stats().refused, 2);
        second.flush().wait().unwrap(); // it fails of none of the other's
        first.close().wait().unwrap();
        let error = first.close_stream().wait().unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::ProducerClosed);
        first.begin_shutdown();
        first.stop();
        drop(first);
        assert!(upsert(&second).is_accepted());
        // Nobody else holds it any more: then a handle may end what it let go.
        drop(second.release());
        second.stop();
        assert!(second.wait(1).wait().unwrap().error.is_some());
    }

    /// The number of holders is right whatever is let go in which way: the last one's producer ends.
    #[test]
    fn the_last_holder_lets_the_producer_go_in_any_way() {
        for release in [[true, true], [true, false], [false, true], [false, false]] {
            let handles = [0; 2].map(|_| open("last", Callbacks::default()));
            let (engine, ready) = (handles[0].entry.engine.clone(), handles[0].ready());
            for (handle, release) in handles.into_iter().zip(release) {
                assert!(engine.takes_writes());
                if release {
                    drop(handle.release());
                }
            }
            assert!(!engine.takes_writes());
            assert!(ready.wait().is_err());
        }
    }

    #[test]
    fn functions_that_validate_are_each_holders_own() {
        let open = |refused: &'static str| {
            let validate: crate::ValidateFn = Arc::new(move |value| match value["id"] == refused {
                true => Err(vec![crate::Issue { path: "/id".into(), message: "no".into() }]),
                false => Ok(()),
            });
            let options = Options::new().url("http://127.0.0.1:1/own").producer_id("p");
            let schema = StreamSchema::new()
                .collection("any", Collection::new("any", "id", Validator::Any))
                .collection("own", Collection::new("own", "id", Validator::Function(validate)));
            crate::state::producer::create_durable_stream(options, schema).unwrap()
        };
        let (first, second) = (open("a"), open("b"));
        assert!(first.is_same(&second));
        let takes = |producer: &StateProducer, id: &str| {
            let value = serde_json::json!({ "id": id });
            producer.upsert("own", &value).unwrap().is_accepted()
        };
        assert_eq!([takes(&first, "a"), takes(&first, "b")], [false, true]);
        assert_eq!([takes(&second, "a"), takes(&second, "b")], [true, false]);
        first.stop();
    }
}

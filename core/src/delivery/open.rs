//! Opening: a producer is started, waits for its predecessor, and may start over.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::delivery::buffer::lifecycle::{End, Stop};
use crate::delivery::buffer::store::Store;
use crate::delivery::callbacks::Callbacks;
use crate::delivery::config::{Config, OutboxConfig};
use crate::delivery::engine::Engine;
use crate::delivery::task::{Task, another};
use crate::error::{Error, ErrorKind, Result, amount};
use crate::outbox::about::ABOUT;
use crate::outbox::orphans::{if_free, of_workers};
use crate::outbox::{Disk, Found, Lost, Outbox, Place, RealDisk, Sizes};
use crate::runtime::alike::Alike;
use crate::runtime::fork::PerProcess;
use crate::runtime::io::Runtime;
use crate::runtime::lifecycle::{self, Waiting, Work};
use crate::runtime::log;
use crate::runtime::log_line::{About, Target};
use crate::runtime::pending::{Pending, pending};
use crate::runtime::threads::{lock, on_own_thread};
use crate::transport::endpoint::Endpoint;

/// How far apart the looks are at whether a server is out of reach, at the end of the process.
const LOOKS_AT_END: Duration = Duration::from_millis(20);

/// How long a producer that opens waits for one before it to let their outbox go.
const LET_GO: Duration = Duration::from_secs(5);

/// An outbox that was opened, and what it holds.
pub(super) type Kept = (Outbox, Found);

fn system_disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

/// Opens the outbox that the settings name.
pub(super) fn open_outbox(
    disk: &Arc<dyn Disk>,
    sizes: Sizes,
    endpoint: &Endpoint,
    config: &Config,
    after: Option<&Arc<Engine>>,
) -> Result<Option<Kept>> {
    let Some(outbox) = &config.outbox else { return Ok(None) };
    // One of this process that has nothing left to do lets it go in a moment.
    if let Some(before) = after.filter(|before| before.pending() == 0 && !on_own_thread()) {
        let before = before.clone();
        let mut ended = before.runtime().clone().run(async move {
            before.ended().await;
            Ok(())
        });
        let _ = ended.wait_for(LET_GO);
    }
    let place = Place {
        dir: outbox.dir.clone(),
        stream: endpoint.shown.clone(),
        producer_id: config.producer_id.clone(),
        shared: config.shared_id().map(str::to_owned),
    };
    open_at(disk, sizes, &place, outbox, endpoint).map(Some)
}

fn open_at(
    disk: &Arc<dyn Disk>,
    sizes: Sizes,
    place: &Place,
    outbox: &OutboxConfig,
    endpoint: &Endpoint,
) -> Result<Kept> {
    let (outbox, found) =
        Outbox::open_with(disk.clone(), place, outbox.sync, outbox.recovery, sizes)
            .map_err(|error| error.with_url(&endpoint.shown))?;
    if let Some(Lost { file, offset, writes, bytes, why }) = &found.lost {
        let text = || {
            format!(
                "producer {}: of a damaged outbox {} in {bytes} bytes could not be read: \
                 {} at byte {offset}: {why} ({})",
                place.producer_id,
                amount(*writes, "write"),
                file.display(),
                endpoint.shown
            )
        };
        let word = ErrorKind::OutboxDamaged.code();
        log::warn_with(word, Target::Process, About::default, text);
    }
    Ok((outbox, found))
}

/// The outboxes that workers of a shared id left when they died, with their ids: those that hold
/// something first, and one that holds nothing if there is one.
pub(super) fn orphans(
    disk: &Arc<dyn Disk>,
    sizes: Sizes,
    endpoint: &Endpoint,
    config: &Config,
) -> Result<Vec<(String, Kept)>> {
    let (Some(outbox), Some(shared)) = (&config.outbox, config.shared_id()) else {
        return Ok(Vec::new());
    };
    let (places, unknown) = of_workers(disk.as_ref(), &outbox.dir, &endpoint.shown, shared)?;
    for name in unknown {
        let text = || {
            let (own, folder) = (&config.producer_id, outbox.dir.join(name));
            format!(
                "producer {own}: nobody can say whose outbox {} is: its {ABOUT} cannot be read",
                folder.display()
            )
        };
        let word = ErrorKind::OutboxDamaged.code();
        log::warn_with(word, Target::Process, About::default, text);
    }
    let (mut full, mut empty) = (Vec::new(), None);
    for place in places {
        let opened = open_at(disk, sizes, &place, outbox, endpoint);
        let Some(kept) = if_free(opened)? else { continue };
        match kept.1.writes {
            // One more is let go of again, for the next worker.
            0 => empty = empty.or(Some((place.producer_id, kept))),
            _ => full.push((place.producer_id, kept)),
        }
    }
    full.extend(empty);
    Ok(full)
}

static CONFIGS: Alike<Config> = Alike::new();
static ENGINES: PerProcess<Mutex<Engines>> = PerProcess::new(Mutex::default);

/// The engines of a process by stream and producer id: opening a producer checks only those that it
/// could meet.
#[derive(Default)]
struct Engines {
    /// By the hash of that, and in the order in which they were opened. There may be thousands, and
    /// each of them has its names itself.
    by_identity: BTreeMap<(u64, u64), Weak<Engine>>,
    /// How many there ever were.
    opened: u64,
    /// At how many the ended engines are removed.
    full: usize,
}

impl Engines {
    /// The least number at which the ended engines are removed.
    const LEAST: usize = 64;

    fn add(&mut self, engine: &Arc<Engine>) {
        if self.by_identity.len() >= self.full.max(Self::LEAST) {
            self.by_identity.retain(|_, engine| engine.strong_count() > 0);
            self.full = 2 * self.by_identity.len();
        }
        let hash = hash_of(&engine.endpoint.stream, &engine.config.producer_id);
        self.by_identity.insert((hash, self.opened), Arc::downgrade(engine));
        self.opened += 1;
    }
}

fn hash_of(stream: &str, id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (stream, id).hash(&mut hasher);
    hasher.finish()
}

/// The engines that write to a stream under an id, in the order in which they were opened.
pub(crate) fn writers_of(stream: &str, id: &str) -> Vec<Arc<Engine>> {
    let hash = hash_of(stream, id);
    let mut found: Vec<_> = {
        let engines = lock(ENGINES.get());
        let alike = engines.by_identity.range((hash, 0)..=(hash, u64::MAX));
        alike.filter_map(|(_, engine)| engine.upgrade()).collect()
    };
    found.retain(|own| *own.endpoint.stream == *stream && own.config.producer_id == id);
    found
}

/// The engines of this process, those of one stream and id in the order in which they were opened.
pub(crate) fn all() -> Vec<Arc<Engine>> {
    let engines = lock(ENGINES.get());
    engines.by_identity.values().filter_map(Weak::upgrade).collect()
}

impl Engine {
    /// Starts a producer. Its first request waits for the end of `after`.
    pub(crate) fn start(
        endpoint: Endpoint,
        config: Config,
        callbacks: Option<Callbacks>,
        after: Option<Arc<Engine>>,
    ) -> Result<Arc<Self>> {
        let runtime = lifecycle::runtime()?;
        let (disk, sizes) = (system_disk(), Sizes::USUAL);
        let (mut config, mut after) = (config, after);
        let mut orphans = orphans(&disk, sizes, &endpoint, &config)?.into_iter();
        let kept = match orphans.next() {
            Some((id, kept)) => {
                config.producer_id = id;
                Some(kept)
            }
            None => open_outbox(&disk, sizes, &endpoint, &config, after.as_ref())?,
        };
        let adopted = orphans.filter(|(_, (_, found))| found.writes > 0).map(|(id, kept)| {
            let config = Arc::new(Config { producer_id: id, ..config.clone() });
            let callbacks = callbacks.as_ref().map(Callbacks::of_another);
            let own = (runtime.clone(), endpoint.clone(), after.take());
            let engine = Self::begin(own.0, own.1, config, callbacks, own.2, Some(kept));
            engine.begin_stop(); // it ends when all is delivered
            after = Some(engine.clone());
            engine
        });
        let adopted = adopted.collect();
        let config = CONFIGS.one(config);
        let engine = Self::begin(runtime, endpoint, config, callbacks, after, kept);
        engine.adopt(adopted);
        Ok(engine)
    }

    fn begin(
        runtime: Arc<Runtime>,
        endpoint: Endpoint,
        config: Arc<Config>,
        callbacks: Option<Callbacks>,
        after: Option<Arc<Engine>>,
        kept: Option<Kept>,
    ) -> Arc<Self> {
        let (engine, task) = Self::with_task(runtime, endpoint, config, callbacks, after, kept);
        engine.runtime().spawn(task.run());
        engine.register();
        engine
    }

    /// Makes it known to the process, and to later producers of the same identity.
    pub(super) fn register(self: &Arc<Self>) {
        lock(ENGINES.get()).add(self);
        let work: Weak<Self> = Arc::downgrade(self);
        lifecycle::register(work);
    }

    /// The last of these engines, which write to one stream under one id, that is about to end: the
    /// next producer waits for it, so that a process never fences itself.
    pub(crate) fn ending(live: &[Arc<Self>], endpoint: &Endpoint) -> Option<Arc<Self>> {
        let is_one = |engine: &&Arc<Engine>| {
            !engine.has_ended()
                && engine.book().lifecycle.stop() != Stop::No
                && engine.comes_before(endpoint)
        };
        live.iter().rfind(is_one).cloned()
    }

    /// Whether the next producer waits for this one: not if the server refuses its credentials and
    /// the next one has others.
    pub(crate) fn comes_before(&self, endpoint: &Endpoint) -> bool {
        let same = self.endpoint.headers == endpoint.headers && self.endpoint.url == endpoint.url;
        same || !self.book().is_refused()
    }

    #[cfg(test)]
    /// Starts a producer on a given runtime, which the process need not know.
    pub(crate) fn start_on(
        runtime: Arc<Runtime>,
        endpoint: Endpoint,
        config: impl Into<Arc<Config>>,
        callbacks: Option<Callbacks>,
        after: Option<Arc<Engine>>,
    ) -> Arc<Self> {
        let (engine, task) =
            Self::with_task(runtime.clone(), endpoint, config, callbacks, after, None);
        runtime.spawn(task.run());
        engine
    }

    /// An engine and its owner task, not running yet.
    pub(super) fn with_task(
        runtime: Arc<Runtime>,
        endpoint: Endpoint,
        config: impl Into<Arc<Config>>,
        callbacks: Option<Callbacks>,
        after: Option<Arc<Engine>>,
        kept: Option<Kept>,
    ) -> (Arc<Self>, Task) {
        let (own, config) = (runtime.clone(), config.into());
        let engine =
            Arc::new_cyclic(|engine| Engine::new(endpoint, config, callbacks, own, engine.clone()));
        if let Some((outbox, found)) = kept {
            let memory = engine.config.max_buffer_bytes;
            engine.book().keep_in(Store::new(outbox, memory), found);
        }
        let task = Task::new(engine.clone(), after);
        (engine, task)
    }

    /// Begins a fresh session, which may claim, once everything accepted so far is settled; also
    /// after another producer took over.
    pub(crate) fn restart(self: &Arc<Self>) -> Pending<()> {
        if let Err(error) = self.check_fork() {
            return Pending::ready(Err(error));
        }
        let engine = self.clone();
        let restarting = self.runtime().run(async move {
            engine.settled().await;
            if engine.book().lifecycle.end() == Some(End::Fenced) {
                engine.ended().await;
                return engine.revive();
            }
            let (completer, begun) = pending();
            {
                let mut book = engine.book();
                book.lifecycle.check_open().map_err(|(error, _)| error)?;
                book.wait_for_restart(completer);
            }
            engine.wake.notify_one();
            begun.await
        });
        self.hindering(restarting)
    }

    /// Starts a fenced producer over; one of several callers does it for all.
    fn revive(self: &Arc<Self>) -> Result<()> {
        let session = self.step(|book| {
            if book.lifecycle.is_ending() {
                return Err(Error::closed());
            }
            if book.lifecycle.end() != Some(End::Fenced) {
                return Ok(None);
            }
            let acked = book.has_delivered();
            let session = another(self, book.gauges.epoch, acked, book.gauges.echoed)?;
            book.lifecycle.restart();
            book.take_up_again();
            self.set_running();
            Ok(Some(session))
        })?;
        let Some(session) = session else { return Ok(()) };
        let task = Task::resumed(self.clone(), session);
        self.runtime().spawn(task.run());
        Ok(())
    }
}

impl Work for Engine {
    fn pending(&self) -> u64 {
        if self.is_foreign() { 0 } else { self.book().pending() }
    }

    fn is_settled(&self) -> bool {
        self.is_foreign() || {
            let book = self.book();
            book.pending() == 0 && !book.lifecycle.is_closing()
        }
    }

    fn when_settled(self: Arc<Self>) -> Waiting {
        Box::pin(async move {
            self.settled().await;
            self.closed().await;
        })
    }

    fn is_kept(&self) -> bool {
        !self.is_foreign() && self.book().is_kept()
    }

    fn when_leavable(self: Arc<Self>) -> Waiting {
        if !Work::is_kept(&*self) {
            return self.when_settled();
        }
        Box::pin(async move {
            let out_of_reach = async {
                while self.failing().is_none() {
                    tokio::time::sleep(LOOKS_AT_END).await;
                }
            };
            tokio::select! {
                () = self.clone().when_settled() => {}
                () = out_of_reach => {}
            }
        })
    }

    fn when_ended(self: Arc<Self>) -> Waiting {
        Box::pin(async move { self.ended().await })
    }

    fn place(&self) -> (String, Option<Error>) {
        (self.endpoint.shown.to_string(), self.failing())
    }

    fn runs_on(&self, runtime: &Arc<Runtime>) -> bool {
        Arc::ptr_eq(self.runtime(), runtime)
    }

    fn begin_stop(&self) {
        Engine::begin_stop(self);
    }

    fn stop_now(&self) {
        self.is_said_for_all();
        Engine::stop_now(self);
    }

    fn room_freed(&self) {
        self.announce_own();
    }
}

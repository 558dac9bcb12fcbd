//! Opening: a producer is started, waits for its predecessor, and may start over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use crate::delivery::buffer::lifecycle::{End, Stop};
use crate::delivery::callbacks::Callbacks;
use crate::delivery::config::Config;
use crate::delivery::engine::Engine;
use crate::delivery::task::{Task, another};
use crate::error::{Error, Result};
use crate::runtime::fork::PerProcess;
use crate::runtime::io::Runtime;
use crate::runtime::lifecycle::{self, Waiting, Work};
use crate::runtime::pending::{Pending, pending};
use crate::runtime::threads::lock;
use crate::transport::endpoint::Endpoint;

static ENGINES: PerProcess<Mutex<Engines>> = PerProcess::new(Mutex::default);

/// The engines of a process by stream and producer id: opening a producer checks only those that it
/// could meet.
#[derive(Default)]
struct Engines {
    by_identity: BTreeMap<(Arc<str>, String), Vec<Weak<Engine>>>,
    /// How many there are, ended ones included.
    count: usize,
    /// At how many the ended engines are removed.
    full: usize,
}

impl Engines {
    /// The least number at which the ended engines are removed.
    const LEAST: usize = 64;

    fn add(&mut self, engine: &Arc<Engine>) {
        if self.count >= self.full.max(Self::LEAST) {
            self.by_identity.retain(|_, engines| {
                engines.retain(|engine| engine.strong_count() > 0);
                !engines.is_empty()
            });
            self.count = self.by_identity.values().map(Vec::len).sum();
            self.full = 2 * self.count;
        }
        let identity = (engine.endpoint.stream.clone(), engine.config.producer_id.clone());
        self.by_identity.entry(identity).or_default().push(Arc::downgrade(engine));
        self.count += 1;
    }
}

/// The engines that write to a stream under an id, in the order in which they were opened.
pub(crate) fn writers_of(stream: &Arc<str>, id: &str) -> Vec<Arc<Engine>> {
    let identity = (stream.clone(), id.to_owned());
    let engines = lock(ENGINES.get());
    let known = engines.by_identity.get(&identity);
    known.into_iter().flatten().filter_map(Weak::upgrade).collect()
}

impl Engine {
    /// Starts a producer. Its first request waits for the end of `after`.
    pub(crate) fn start(
        endpoint: Endpoint,
        config: Config,
        callbacks: Option<Callbacks>,
        after: Option<Arc<Engine>>,
    ) -> Result<Arc<Self>> {
        let engine = Self::start_on(lifecycle::runtime()?, endpoint, config, callbacks, after);
        engine.register();
        Ok(engine)
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

    /// Starts a producer on a given runtime, which the process need not know.
    pub(crate) fn start_on(
        runtime: Arc<Runtime>,
        endpoint: Endpoint,
        config: Config,
        callbacks: Option<Callbacks>,
        after: Option<Arc<Engine>>,
    ) -> Arc<Self> {
        let (engine, task) = Self::with_task(runtime.clone(), endpoint, config, callbacks, after);
        runtime.spawn(task.run());
        engine
    }

    /// An engine and its owner task, not running yet.
    pub(super) fn with_task(
        runtime: Arc<Runtime>,
        endpoint: Endpoint,
        config: Config,
        callbacks: Option<Callbacks>,
        after: Option<Arc<Engine>>,
    ) -> (Arc<Self>, Task) {
        let engine = Arc::new(Engine::new(endpoint, config, callbacks, runtime.clone()));
        let task = Task::new(engine.clone(), engine.transport(), after);
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
        let session;
        {
            let mut book = self.book();
            if book.lifecycle.is_ending() {
                return Err(Error::closed());
            }
            if book.lifecycle.end() != Some(End::Fenced) {
                return Ok(());
            }
            let acked = book.has_delivered();
            session = another(self, book.gauges.epoch, acked, book.gauges.echoed)?;
            book.lifecycle.restart();
            self.set_running();
        }
        let task = Task::resumed(self.clone(), self.transport(), session);
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

    fn when_ended(self: Arc<Self>) -> Waiting {
        Box::pin(async move { self.ended().await })
    }

    fn runs_on(&self, runtime: &Arc<Runtime>) -> bool {
        Arc::ptr_eq(self.runtime(), runtime)
    }

    fn begin_stop(&self) {
        Engine::begin_stop(self);
    }

    fn stop_now(&self) {
        Engine::stop_now(self);
    }

    fn room_freed(&self) {
        self.announce_own();
    }
}

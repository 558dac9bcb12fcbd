//! A TCP proxy that breaks what goes through it, on purpose and to the byte.
//!
//! It stands between a client under test and a server, forwards HTTP/1.1 and does to requests what
//! [`Rule`]s say. Clients see real resets (RST), real refusals and real waits.
//!
//! A rule as JSON is one object. All of these are optional but `fault`:
//!
//! | field | meaning |
//! |---|---|
//! | `fault` | what happens, see below |
//! | `method` | only requests with this method |
//! | `path` | only requests whose path with query contains this |
//! | `header`, `header_value` | only requests with this header, with exactly this value |
//! | `min_bytes` | only requests that announce a body of at least so many bytes |
//! | `with_body` | only requests whose body contains this; while there is such a rule, requests are read whole first |
//! | `times` | how often; 0 is always; 1 unless given, for `latency` 0 |
//! | `skip` | how many matching requests are left alone first |
//! | `probability` | how likely each match is hit, from 0 to 1, by the proxy's seed |
//!
//! | `fault` | its fields | what happens |
//! |---|---|---|
//! | `refuse` | | connections: accepted, then reset before a byte is read |
//! | `closed` | `for_ms` | connections: nobody listens, for a time or until the rule is removed |
//! | `reset-before` | | the head is read, nothing forwarded, the connection reset |
//! | `reset-within` | `bytes` (0) | the head and so many bytes of the body are forwarded, then both connections are reset; a shorter body arrives whole |
//! | `reset-after` | | the server gets the request and answers in full; the client is reset in place of the answer |
//! | `cut-answer` | `bytes` (0) or `head_bytes`, `close` (false) | so much of the answer's body or head gets through, then a reset, or an end in order |
//! | `stall` | `forward` (true) | no answer for as long as the client waits |
//! | `delay` | `ms`, `before`: `forward` or `answer` | the request waits, whole: it goes on even when its sender gave up |
//! | `hold` | `name`, `before` | the same, until the name is released |
//! | `answer` | `status`, `headers`, `body`, `forward` (false) | this answer; with `forward` the server does its work, and this takes the place of its answer |
//! | `latency` | `ms` | added to each round trip, half on each way; goes with any other fault |
//!
//! The first rule that fires takes a request; later rules do not see it. A rule for connections
//! also ends those there are, each after the request it is busy with: the next one needs a new one.

mod connection;
mod connections;
pub mod control;
mod door;
mod journal;
mod link;
mod rule;
mod shared;
mod waits;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

pub use journal::{Answer, Entry};
pub use rule::{Cut, Fault, Moment, Rule, RuleId};

use crate::failure::{Context, Result};
use connections::Connections;
use door::Door;
use journal::Journal;
use rule::Rules;
use shared::Shared;

/// Limits and the seed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What `probability` draws from.
    pub seed: u64,
    /// How much of each body the log keeps.
    pub max_body_bytes: usize,
    /// How many entries the log keeps.
    pub max_entries: usize,
    /// How many bytes the log keeps.
    pub max_log_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, max_body_bytes: 1 << 20, max_entries: 10_000, max_log_bytes: 64 << 20 }
    }
}

/// A proxy in front of one server. Dropping it closes all connections and waits for its threads.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    door: Arc<Door>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and forwards to a server.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        Self::start_with(upstream, Settings::default())
    }

    /// Starts a proxy whose `probability` draws from a seed.
    pub fn start_seeded(upstream: SocketAddr, seed: u64) -> Result<Self> {
        Self::start_with(upstream, Settings { seed, ..Settings::default() })
    }

    /// Starts a proxy with all settings.
    pub fn start_with(upstream: SocketAddr, settings: Settings) -> Result<Self> {
        let (door, listener) = Door::open()?;
        let rules = Rules::new(settings.seed);
        let journal = Journal::new(settings.max_entries, settings.max_log_bytes);
        let shared = Arc::new(Shared::new(settings.max_body_bytes, upstream, rules, journal));
        let connections = Arc::new(Connections::new(shared.clone()));
        let door = Arc::new(door);
        let (own_door, admitting) = (door.clone(), connections.clone());
        let acceptor = std::thread::Builder::new()
            .name("proxy-accept".to_owned())
            .spawn(move || own_door.run(listener, |socket| admitting.admit(socket)))
            .context("starting the proxy")?;
        Ok(Self { shared, connections, door, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.door.address
    }

    /// The address as a base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Adds a rule, after those there are.
    pub fn add(&self, rule: Rule) -> Result<RuleId> {
        rule.check()?;
        let fault = rule.fault.clone();
        let id = self.shared.rules().add(rule);
        if let Fault::Closed { for_ms } = fault {
            self.door.close(for_ms.map(Duration::from_millis));
        }
        if fault.is_for_connections() {
            self.connections.end();
        }
        Ok(id)
    }

    /// Adds a rule in its JSON form.
    pub fn add_json(&self, rule: &Value) -> Result<RuleId> {
        self.add(Rule::from_json(rule)?)
    }

    /// Removes a rule; `false` if there is none of this number.
    pub fn remove(&self, id: RuleId) -> bool {
        let removed = self.shared.rules().remove(id);
        if matches!(&removed, Some(Rule { fault: Fault::Closed { .. }, .. })) {
            self.door.reopen();
        }
        removed.is_some()
    }

    /// Removes all rules and releases all holds.
    pub fn clear(&self) {
        self.shared.rules().clear();
        self.shared.waits.release_all();
        self.door.reopen();
    }

    /// Lets the requests go that are held under a name, and says how many.
    pub fn release(&self, name: &str) -> usize {
        self.shared.waits.release(name)
    }

    /// How many requests are held under a name.
    pub fn held(&self, name: &str) -> usize {
        self.shared.waits.held(name)
    }

    /// Waits until so many requests are held under a name; `false` if they were not in time.
    pub fn wait_held(&self, name: &str, count: usize, limit: Duration) -> bool {
        self.shared.waits.wait_held(name, count, limit)
    }

    /// How often a rule fired so far, whatever the log forgot. `closed` never does: nobody is there.
    pub fn fired(&self) -> u64 {
        self.shared.rules().fired()
    }

    /// What went through so far, the oldest first.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.journal().entries()
    }

    /// The log as JSON.
    pub fn log_json(&self) -> Value {
        self.log().iter().map(Entry::to_json).collect()
    }

    /// Forgets what went through; numbers go on.
    pub fn clear_log(&self) {
        self.shared.journal().clear();
    }

    /// Sends the requests to come to another server.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        self.shared.set_upstream(upstream);
    }

    /// Closes everything and waits for its threads, as dropping does.
    pub fn stop(self) {}
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.waits.stop();
        self.door.stop();
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.connections.stop();
    }
}

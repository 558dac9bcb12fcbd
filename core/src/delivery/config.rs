//! A producer's settings, checked once at construction.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::delivery::buffer::book::Bounds;
use crate::error::{Error, Result};
use crate::options::{Options, Scope};
use crate::outbox::{Recovery, SyncMode};
use crate::protocol::stream_type::StreamType;
use crate::requests::operations::create_headers;
use crate::requests::retry::{Retries, request_timeout, retries};
use crate::runtime::chance::random;

/// The longest producer id every server accepts.
const MAX_ID: usize = 256;
/// Random characters `shared` adds to an id, with a dash before them.
const SHARED_SUFFIX: usize = 12;
/// How long a producer with an epoch of the caller's gathers without `linger_ms`: a replay may cut
/// a batch elsewhere that was cut by time.
const REPLAY_LINGER: Duration = Duration::from_secs(5);

/// The checked settings of a producer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) producer_id: String,
    pub(crate) content_type: StreamType,
    /// What was known of it at the start. While nothing is, writes are framed as JSON.
    pub(crate) json: Option<bool>,
    pub(crate) epoch: Option<u64>,
    pub(crate) auto_claim: bool,
    pub(crate) linger: Duration,
    /// The identity is the caller's: batches are cut where a replay cuts them too.
    pub(crate) is_replay: bool,
    pub(crate) max_batch_bytes: usize,
    pub(crate) max_batch_items: u64,
    pub(crate) max_in_flight: usize,
    pub(crate) max_write_bytes: usize,
    pub(crate) max_buffer_bytes: u64,
    /// The bound of everything accepted and not settled: that of the outbox, where there is one.
    pub(crate) buffer_bytes: u64,
    pub(crate) max_buffer_items: u64,
    pub(crate) max_block: Duration,
    pub(crate) delivery_timeout: Option<Duration>,
    pub(crate) request_timeout: Duration,
    pub(crate) retries: Retries,
    pub(crate) resend_uncertain: bool,
    /// Whether other producers write to the stream under this id, probably much the same messages.
    pub(crate) shared: bool,
    /// The caller waits for every write's outcome: nothing is logged.
    pub(crate) awaited: bool,
    /// Requests carry an identity, as long as the server takes it.
    pub(crate) identified: bool,
    /// Where the stream ended when it was opened, if that is known.
    pub(crate) opened_at: Option<Arc<str>>,
    /// How the stream is created; `None` where it is not.
    pub(crate) create: Option<Create>,
    /// Where accepted writes are kept; `None` where only memory holds them.
    pub(crate) outbox: Option<Arc<OutboxConfig>>,
    /// A request carries the context of the first event that has one.
    pub(crate) trace: bool,
}

/// The settings of an outbox.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutboxConfig {
    pub(crate) dir: PathBuf,
    pub(crate) max_bytes: u64,
    pub(crate) sync: SyncMode,
    pub(crate) recovery: Recovery,
}

impl OutboxConfig {
    fn of(options: &Options) -> Result<Option<Arc<Self>>> {
        let Some(dir) = &options.outbox_dir else { return Self::none_given(options) };
        if dir.is_empty() {
            return Err(Error::option("outbox_dir", "`outbox_dir` takes the path of a folder"));
        }
        if options.epoch.is_some() {
            let text = "`epoch` and `outbox_dir` exclude each other: a replay makes its writes again, \
                        an outbox keeps them";
            return Err(Error::option("outbox_dir", text));
        }
        let sync = match options.outbox_sync.as_deref() {
            Some("batch") => SyncMode::Batch,
            Some("write") => SyncMode::Write,
            _ => SyncMode::Process,
        };
        let recovery = match options.outbox_recovery.as_deref() {
            Some("salvage") => Recovery::Salvage,
            _ => Recovery::Refuse,
        };
        let max_bytes = options.number("outbox_max_bytes", options.outbox_max_bytes);
        Ok(Some(Arc::new(OutboxConfig { dir: dir.into(), max_bytes, sync, recovery })))
    }

    fn none_given(options: &Options) -> Result<Option<Arc<Self>>> {
        let others = [
            ("outbox_max_bytes", options.outbox_max_bytes.is_some()),
            ("outbox_sync", options.outbox_sync.is_some()),
            ("outbox_recovery", options.outbox_recovery.is_some()),
        ];
        match others.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => {
                Err(Error::option(*name, format!("`{name}` says nothing without `outbox_dir`")))
            }
            None => Ok(None),
        }
    }
}

/// How a producer creates its stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Create {
    /// The headers of the PUT.
    pub(crate) headers: HeaderMap,
    /// Before the first batch; else only once its lifetime has run out.
    pub(crate) at_open: bool,
    /// How long the stream outlives its last use.
    pub(crate) ttl: Option<Duration>,
}

impl Create {
    pub(crate) fn of(options: &Options, content_type: &str, at_open: bool) -> Result<Self> {
        let headers = create_headers(options, content_type)?;
        let ttl = options.ttl_seconds.map(Duration::from_secs);
        Ok(Create { headers, at_open, ttl })
    }
}

/// What comes before the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Nothing,
    /// The stream is created, or found.
    Create,
    /// The server is asked for the stream's type.
    AskType,
}

impl Config {
    pub(crate) fn new(
        scope: Scope,
        options: &Options,
        producer_id: &str,
        content_type: StreamType,
    ) -> Result<Self> {
        options.check(scope)?;
        let ms = |name, value| Duration::from_millis(options.number(name, value));
        let bytes = |name, value| options.number(name, value) as usize;
        let outbox = OutboxConfig::of(options)?;
        let max_buffer_bytes = options.number("max_buffer_bytes", options.max_buffer_bytes);
        let delivery_timeout = match (&outbox, options.delivery_timeout_ms) {
            (Some(_), None) => Duration::ZERO,
            (_, given) => ms("delivery_timeout_ms", given),
        };
        let linger = ms("linger_ms", options.linger_ms);
        if linger >= delivery_timeout && !linger.is_zero() && !delivery_timeout.is_zero() {
            let text = "`linger_ms` has to be below `delivery_timeout_ms`: writes would expire \
                        before they are sent";
            return Err(Error::option("linger_ms", text));
        }
        let resend = match options.on_uncertain.as_deref() {
            Some(choice) => choice == "resend",
            None => scope == Scope::State || outbox.is_some(),
        };
        let auto_claim = options.auto_claim.unwrap_or(options.epoch.is_none());
        let is_replay = options.epoch.is_some() && !auto_claim;
        let gathering = match delivery_timeout {
            Duration::ZERO => REPLAY_LINGER,
            limit => REPLAY_LINGER.min(limit / 2),
        };
        Ok(Config {
            producer_id: wire_id(producer_id, options.shared.unwrap_or(false))?,
            json: content_type.is_json(),
            content_type,
            epoch: options.epoch,
            auto_claim,
            linger: if is_replay && linger.is_zero() { gathering } else { linger },
            is_replay,
            max_batch_bytes: bytes("max_batch_bytes", options.max_batch_bytes),
            max_batch_items: options.number("max_batch_items", options.max_batch_items),
            max_in_flight: bytes("max_in_flight", options.max_in_flight),
            max_write_bytes: bytes("max_write_bytes", options.max_write_bytes),
            max_buffer_bytes,
            buffer_bytes: outbox.as_ref().map_or(max_buffer_bytes, |own| own.max_bytes),
            max_buffer_items: options.number("max_buffer_items", options.max_buffer_items),
            max_block: ms("max_block_ms", options.max_block_ms),
            delivery_timeout: (!delivery_timeout.is_zero()).then_some(delivery_timeout),
            request_timeout: request_timeout(options),
            retries: retries(options),
            resend_uncertain: resend,
            shared: options.shared.unwrap_or(false),
            awaited: false,
            identified: true,
            opened_at: None,
            create: None,
            outbox,
            trace: options.trace.unwrap_or(false),
        })
    }
}

impl Config {
    /// What comes before the first batch.
    pub(crate) fn opening(&self) -> Opening {
        match (&self.create, self.json) {
            (Some(create), _) if create.at_open => Opening::Create,
            (_, None) => Opening::AskType,
            _ => Opening::Nothing,
        }
    }

    /// The id that several workers share: without this one's suffix.
    pub(crate) fn shared_id(&self) -> Option<&str> {
        let own = self.producer_id.len().checked_sub(SHARED_SUFFIX + 1)?;
        self.shared.then(|| &self.producer_id[..own])
    }

    /// The bounds of batches and buffer.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            json: self.json.unwrap_or(true),
            batch_bytes: self.max_batch_bytes,
            batch_items: self.max_batch_items,
            buffer_bytes: self.buffer_bytes,
            buffer_items: self.max_buffer_items,
            is_replay: self.is_replay,
        }
    }
}

/// The id as it goes on the wire: what every server accepts, with its suffix if shared.
fn wire_id(id: &str, shared: bool) -> Result<String> {
    let longest = if shared { MAX_ID - SHARED_SUFFIX - 1 } else { MAX_ID };
    if id.is_empty() || id.len() > longest || !id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::option(
            "producer_id",
            format!("`producer_id` takes 1 to {longest} visible ASCII characters"),
        ));
    }
    if !shared {
        return Ok(id.to_owned());
    }
    Ok(format!("{id}-{:012x}", random() & 0xffff_ffff_ffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(id: &str, options: Options) -> Result<Config> {
        Config::new(Scope::Producer, &options, id, StreamType::given("text/plain"))
    }

    #[test]
    fn ids_every_server_accepts() {
        for good in ["a", "shipping-service", &"x".repeat(256)] {
            assert_eq!(config(good, Options::new()).unwrap().producer_id, good);
        }
        for bad in ["", "a b", "ü", "a\n", &"x".repeat(257)] {
            let error = config(bad, Options::new()).unwrap_err();
            assert_eq!(error.option_name(), Some("producer_id"), "{bad:?}");
        }
    }

    #[test]
    fn shared_ids_differ_and_stay_within_the_limit() {
        let id = || config(&"x".repeat(243), Options::new().shared(true)).unwrap().producer_id;
        assert!(id() != id() && id().len() == 256);
        assert!(config(&"x".repeat(244), Options::new().shared(true)).is_err());
        let config = |shared| config("a-b", Options::new().shared(shared)).unwrap();
        assert_eq!(config(true).shared_id(), Some("a-b"));
        assert_eq!(config(false).shared_id(), None);
    }

    #[test]
    fn one_pause_that_is_given_moves_the_default_of_the_other() {
        let pauses = |options: Options| {
            let backoff = retries(&options).backoff;
            (backoff.initial.as_millis(), backoff.max.as_millis())
        };
        assert_eq!(pauses(Options::new()), (100, 5_000));
        assert_eq!(pauses(Options::new().retry_initial_delay_ms(9_000u64)), (9_000, 9_000));
        assert_eq!(pauses(Options::new().retry_max_delay_ms(50u64)), (50, 50));
    }

    #[test]
    fn a_given_epoch_turns_claiming_off_unless_asked_for() {
        let claims = |o: Options| config("a", o).unwrap().auto_claim;
        assert!(claims(Options::new()));
        assert!(!claims(Options::new().epoch(3u64)));
        assert!(claims(Options::new().epoch(3u64).auto_claim(true)));
    }
}

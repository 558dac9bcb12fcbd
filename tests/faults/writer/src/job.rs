//! What a writer is to do, as it is told.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use durstream_tests::numbered::Kind;
use serde_json::Value;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What to write, and where.
pub(crate) struct Job {
    pub(crate) writer: String,
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) stream_path: String,
    pub(crate) producer_id: String,
    pub(crate) writes: usize,
    /// 0 is as fast as the calls return.
    pub(crate) per_second: usize,
    /// Beyond so many without an outcome it waits.
    pub(crate) max_pending: usize,
    pub(crate) options: BTreeMap<String, String>,
    /// Holds the token for every request; somebody else renews it.
    pub(crate) token_file: Option<PathBuf>,
    /// Once it is there, nothing more is written.
    pub(crate) stop_file: Option<PathBuf>,
    /// The option of that name.
    pub(crate) path_prefix: Option<String>,
}

impl Job {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let word = |name: &str| {
            value[name].as_str().map(str::to_owned).ok_or_else(|| format!("`{name}` is no text"))
        };
        let number = |name: &str| {
            let number = value[name].as_u64().and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(|| format!("`{name}` is no number"))
        };
        Ok(Self {
            writer: word("writer")?,
            kind: Kind::from_name(&word("kind")?).map_err(|failure| failure.to_string())?,
            url: word("url")?,
            stream_path: word("stream_path")?,
            producer_id: word("producer_id")?,
            writes: number("writes")?,
            per_second: number("per_second")?,
            max_pending: number("max_pending")?,
            options: serde_json::from_value(value["options"].clone())?,
            token_file: value["token_file"].as_str().map(PathBuf::from),
            stop_file: value["stop_file"].as_str().map(PathBuf::from),
            path_prefix: value["path_prefix"].as_str().map(str::to_owned),
        })
    }

    /// Whether it is to end before everything is written.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop_file.as_ref().is_some_and(|file| file.exists())
    }

    /// How many writes should have been called by then, of which so many have an outcome.
    pub(crate) fn due(&self, elapsed: Duration, settled: usize) -> usize {
        let due = elapsed.as_secs_f64() * self.per_second as f64;
        let due = if self.per_second == 0 { self.writes } else { due as usize };
        self.writes.min(due).min(settled.saturating_add(self.max_pending))
    }
}

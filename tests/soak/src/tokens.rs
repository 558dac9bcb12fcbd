//! Tokens that expire: a file has the newest, if there is one, and the proxies refuse the one before.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use durstream_tests::failure::{Context, Result};
use durstream_tests::random::Random;
use serde_json::{Value, json};

/// How long a token is good.
const LIFE_MS: std::ops::Range<u64> = 8_000..30_000;
/// How long there is none between two, as where whoever issues them is away.
const GAP_MS: std::ops::Range<u64> = 0..1_500;

pub(crate) struct Tokens {
    pub(crate) file: PathBuf,
    number: u32,
    /// There is none.
    is_gap: bool,
    next: Instant,
    pub(crate) expired: u64,
}

impl Tokens {
    pub(crate) fn issue_in(folder: &Path, random: &mut Random) -> Result<Self> {
        let next = Instant::now() + Duration::from_millis(random.within(LIFE_MS));
        let file = folder.join("token");
        let tokens = Self { file, number: 0, is_gap: false, next, expired: 0 };
        tokens.issue()?;
        Ok(tokens)
    }

    /// A reader sees the token before or the new one, whole.
    fn issue(&self) -> Result {
        let draft = self.file.with_extension("draft");
        std::fs::write(&draft, text(self.number)).context(draft.display())?;
        std::fs::rename(&draft, &self.file).context(self.file.display())
    }

    /// Takes the token away, or issues the next, when it is time; the rule that refuses one that
    /// has just expired.
    pub(crate) fn advance(&mut self, random: &mut Random) -> Result<Option<Value>> {
        if Instant::now() < self.next {
            return Ok(None);
        }
        let wait = random.within(if self.is_gap { LIFE_MS } else { GAP_MS });
        self.next = Instant::now() + Duration::from_millis(wait);
        if self.is_gap {
            self.settle()?;
            self.expired += 1;
            return Ok(Some(refusal(self.number - 1)));
        }
        self.is_gap = true;
        std::fs::remove_file(&self.file).context(self.file.display())?;
        Ok(None)
    }

    /// Issues the next token, if there is none.
    pub(crate) fn settle(&mut self) -> Result {
        if self.is_gap {
            (self.is_gap, self.number) = (false, self.number + 1);
            self.issue()?;
        }
        Ok(())
    }

    /// The rules that refuse the last token that has expired.
    pub(crate) fn refusals(&self) -> Vec<Value> {
        self.number.checked_sub(1).into_iter().map(refusal).collect()
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        // What is left below target/ must not look like a secret that got out.
        let _ = std::fs::remove_file(&self.file);
    }
}

fn text(number: u32) -> String {
    format!("s3cret-{number}")
}

fn refusal(number: u32) -> Value {
    json!({
        "fault": "answer", "status": 401, "times": 0,
        "header": "Authorization", "header_value": format!("Bearer {}", text(number)),
    })
}

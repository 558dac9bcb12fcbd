//! The messages all contestants write, and the check that a stream holds exactly those.

use std::path::PathBuf;

use durstream_tests::failure::{Context, Result};

use durstream_tests::tree::Tree;

/// A prime: a batch that is missing, doubled or out of place does not go unnoticed, as no usual
/// number of messages is a multiple of it.
const DISTINCT: usize = 997;
const MESSAGE_BYTES: usize = 100;
/// A message that is shorter has room for its number alone.
const LEAST_TEXT_BYTES: usize = 40;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// JSON as text, 100 bytes each.
    Json,
    /// 100 bytes each.
    Bytes,
    /// Objects (dicts) of ten fields, which somebody has to make JSON of.
    Objects,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Json, Self::Bytes, Self::Objects];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Json => "json",
            Kind::Bytes => "bytes",
            Kind::Objects => "objects",
        }
    }
}

/// The distinct messages of one kind, written in turn over and over.
pub(crate) struct Messages {
    kind: Kind,
    distinct: Vec<String>,
    pub(crate) file: PathBuf,
}

impl Messages {
    /// Makes them, and writes them to a file, one a line.
    pub(crate) fn make(tree: &Tree, kind: Kind) -> Result<Self> {
        Self::write(tree, kind, kind.name(), |number| message(kind, number))
    }

    /// Makes messages of so many bytes each, at least 20; objects are made of that JSON.
    pub(crate) fn sized(tree: &Tree, kind: Kind, bytes: usize) -> Result<Self> {
        Self::write(tree, kind, &format!("{}-{bytes}", kind.name()), |number| {
            sized(kind, bytes, number)
        })
    }

    fn write(
        tree: &Tree,
        kind: Kind,
        name: &str,
        message: impl Fn(usize) -> String,
    ) -> Result<Self> {
        let file = tree.directory("bench")?.join(format!("{name}.messages"));
        let distinct: Vec<String> = (0..DISTINCT).map(message).collect();
        std::fs::write(&file, distinct.join("\n") + "\n").context(file.display())?;
        Ok(Self { kind, distinct, file })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn average_bytes(&self) -> usize {
        self.distinct.iter().map(String::len).sum::<usize>() / DISTINCT
    }

    /// Fails unless `content` is exactly the first `count` messages. JSON is kept byte for byte by
    /// the server; each page of it is an array. Who makes JSON of an object may space it, and the
    /// objects themselves hold no space.
    pub(crate) fn check(&self, content: &[u8], count: usize) -> Result {
        let found = match self.kind {
            Kind::Objects => {
                let dense: Vec<u8> = content.iter().copied().filter(|byte| *byte != b' ').collect();
                self.count_in(&dense)
            }
            Kind::Json | Kind::Bytes => self.count_in(content),
        };
        match found {
            Ok(found) if found == count => Ok(()),
            Ok(found) => Err(format!("the stream holds {found} messages, not {count}").into()),
            Err(found) => {
                Err(format!("after {found} messages the stream holds something else").into())
            }
        }
    }

    /// How many messages, in order, the content is; or how many it begins with.
    fn count_in(&self, mut content: &[u8]) -> std::result::Result<usize, usize> {
        let json = self.kind != Kind::Bytes;
        let mut found = 0;
        if json && content.is_empty() {
            return Err(0);
        }
        while !content.is_empty() {
            if json {
                // What stands before a message: a comma, or the border of two pages.
                let before: &[&[u8]] = if found == 0 { &[b"["] } else { &[b",", b"][", b"]"] };
                let rest = before.iter().find_map(|text| content.strip_prefix(*text));
                content = rest.ok_or(found)?;
                if found > 0 && content.is_empty() {
                    return Ok(found);
                }
            }
            let expected = self.distinct[found % DISTINCT].as_bytes();
            content = content.strip_prefix(expected).ok_or(found)?;
            found += 1;
        }
        // A JSON array that does not end is cut short.
        if json { Err(found) } else { Ok(found) }
    }
}

fn message(kind: Kind, number: usize) -> String {
    match kind {
        Kind::Json | Kind::Bytes => sized(kind, MESSAGE_BYTES, number),
        Kind::Objects => format!(
            "{{\"id\":\"order-{number:06}\",\"status\":\"in_transit\",\"amount\":{amount},\
             \"currency\":\"EUR\",\"weight\":{number}.5,\"express\":{express},\
             \"note\":null,\"customer\":\"customer-{number}\",\"carrier\":\"post\",\
             \"updated\":\"2026-01-01T00:00:00.000Z\"}}",
            amount = number * 7,
            express = number.is_multiple_of(2)
        ),
    }
}

fn sized(kind: Kind, bytes: usize, number: usize) -> String {
    let padded = |before: &str, after: &str| {
        let padding = "x".repeat(bytes.saturating_sub(before.len() + after.len()));
        format!("{before}{padding}{after}")
    };
    match kind {
        Kind::Bytes => padded(&format!("event {number:06} "), "."),
        _ if bytes < LEAST_TEXT_BYTES => padded(&format!("{{\"id\":\"event-{number:05}"), "\"}"),
        _ => padded(&format!("{{\"id\":\"event-{number:06}\",\"text\":\""), "\"}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(kind: Kind) -> Messages {
        let distinct = (0..DISTINCT).map(|number| message(kind, number)).collect();
        Messages { kind, distinct, file: PathBuf::new() }
    }

    fn content(kind: Kind, numbers: impl IntoIterator<Item = usize>) -> Vec<u8> {
        let texts: Vec<String> =
            numbers.into_iter().map(|number| message(kind, number % DISTINCT)).collect();
        match kind {
            Kind::Bytes => texts.concat().into_bytes(),
            _ => format!("[{}]", texts.join(",")).into_bytes(),
        }
    }

    #[test]
    fn messages_are_as_long_as_said_and_json() {
        assert_eq!(message(Kind::Json, 996).len(), MESSAGE_BYTES);
        assert_eq!(message(Kind::Bytes, 996).len(), MESSAGE_BYTES);
        let object: serde_json::Value =
            serde_json::from_str(&message(Kind::Objects, 996)).expect("JSON");
        assert_eq!(object.as_object().map(serde_json::Map::len), Some(10));
        for (kind, bytes) in [20, 100, 1000].into_iter().flat_map(|n| Kind::ALL.map(|k| (k, n))) {
            let text = sized(kind, bytes, 996);
            assert_eq!(text.len(), bytes, "{text}");
            let is_json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            assert_eq!(is_json, kind != Kind::Bytes, "{text}");
        }
    }

    #[test]
    fn exactly_what_was_written_is_right() {
        for kind in Kind::ALL {
            let messages = messages(kind);
            messages.check(&content(kind, 0..2500), 2500).unwrap();
        }
        let two_pages = [content(Kind::Json, 0..10), content(Kind::Json, 10..30)].concat();
        messages(Kind::Json).check(&two_pages, 30).unwrap();
        let spaced = content(Kind::Objects, 0..30);
        let spaced = String::from_utf8(spaced).unwrap().replace("\":", "\": ");
        messages(Kind::Objects).check(spaced.as_bytes(), 30).unwrap();
        assert!((0..DISTINCT).all(|number| !message(Kind::Objects, number).contains(' ')));
    }

    #[test]
    fn anything_else_is_wrong() {
        for kind in Kind::ALL {
            let messages = messages(kind);
            let wrong = |numbers: Vec<usize>| messages.check(&content(kind, numbers), 2500);
            assert!(wrong((0..2499).collect()).is_err(), "one is missing at the end");
            assert!(wrong((1..2501).collect()).is_err(), "one is missing at the start");
            assert!(wrong((0..2501).collect()).is_err(), "one too many");
            assert!(wrong((0..1000).chain(0..1500).collect()).is_err(), "doubled");
            assert!(wrong((0..1000).chain(1001..2501).collect()).is_err(), "a hole");
            let swapped = (0..1000).chain(1100..1200).chain(1000..1100).chain(1200..2500);
            assert!(wrong(swapped.collect()).is_err(), "out of order");
            let whole = content(kind, 0..2500);
            assert!(messages.check(&whole[..whole.len() - 1], 2500).is_err(), "cut short");
            assert!(messages.check(b"", 2500).is_err(), "empty");
        }
    }
}

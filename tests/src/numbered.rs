//! Numbered writes: what a writer writes as its nth, and which one it is when found in a stream.

use serde_json::{Value, json};

use crate::failure::{Context, Result};

/// The collection state is written to, and the type of its events.
pub const COLLECTION: &str = "parcels";
/// The type of the events.
pub const EVENT_TYPE: &str = "parcel";
/// Every such write of a state producer deletes, the others upsert.
const DELETES: usize = 5;

/// What kind of records a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// JSON values, of an `IdempotentProducer`.
    Json,
    /// Lines of text, of an `IdempotentProducer`.
    Lines,
    /// Change events, of a state producer.
    State,
}

/// What was found in a stream: whose write, and which; `None` is nobody's.
pub type Found = Option<(String, usize)>;

impl Kind {
    const ALL: [Kind; 3] = [Kind::Json, Kind::Lines, Kind::State];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Json => "json",
            Kind::Lines => "lines",
            Kind::State => "state",
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|kind| kind.name() == name);
        named.ok_or_else(|| format!("no kind {name:?}").into())
    }

    /// The content type of its streams.
    pub fn content_type(self) -> &'static str {
        match self {
            Kind::Lines => "text/plain",
            Kind::Json | Kind::State => "application/json",
        }
    }

    /// The record a write leaves in the stream.
    pub fn record(self, writer: &str, number: usize) -> String {
        match self {
            Kind::Json => value(writer, number).to_string(),
            Kind::Lines => format!("{writer} {number} {}\n", filling(number)),
            Kind::State => event(writer, number).to_string(),
        }
    }

    /// Every record of a stream, in order.
    pub fn read(self, stream: &[Vec<u8>]) -> Result<Vec<Found>> {
        if self == Kind::Lines {
            let text = stream.concat();
            return Ok(text.split_inclusive(|byte| *byte == b'\n').map(line).collect());
        }
        let mut found = Vec::new();
        for page in stream {
            let values = serde_json::from_slice::<Vec<Value>>(page).context("a page")?;
            found.extend(values.iter().map(|value| self.find(value)));
        }
        Ok(found)
    }

    fn find(self, found: &Value) -> Found {
        let name = if self == Kind::State { "key" } else { "id" };
        let (writer, number) = found[name].as_str()?.split_once('-')?;
        let number = number.parse().ok()?;
        let is_whole = match self {
            Kind::State => event(writer, number) == without_offset(found.clone()),
            _ => value(writer, number) == *found,
        };
        is_whole.then(|| (writer.to_owned(), number))
    }
}

/// The reference server adds each change event's offset to its headers.
fn without_offset(mut event: Value) -> Value {
    if let Some(headers) = event["headers"].as_object_mut() {
        headers.remove("offset");
    }
    event
}

fn line(found: &[u8]) -> Found {
    let text = std::str::from_utf8(found).ok()?;
    let mut words = text.split(' ');
    let (writer, number) = (words.next()?, words.next()?.parse().ok()?);
    (Kind::Lines.record(writer, number) == text).then(|| (writer.to_owned(), number))
}

/// The key of a write's entity.
pub fn key(writer: &str, number: usize) -> String {
    format!("{writer}-{number}")
}

/// The value a write carries.
pub fn value(writer: &str, number: usize) -> Value {
    json!({ "id": key(writer, number), "text": filling(number) })
}

/// Whether a state producer's write deletes.
pub fn deletes(number: usize) -> bool {
    number % DELETES == DELETES - 1
}

fn event(writer: &str, number: usize) -> Value {
    let operation = if deletes(number) { "delete" } else { "upsert" };
    let mut event = json!({
        "type": EVENT_TYPE,
        "key": key(writer, number),
        "headers": { "operation": operation },
    });
    if !deletes(number) {
        event["value"] = value(writer, number);
    }
    event
}

/// Text of many lengths, and not only ASCII.
fn filling(number: usize) -> String {
    "→é\"x".chars().cycle().skip(number % 4).take(number % 97).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found() {
        for kind in Kind::ALL {
            let records: Vec<String> = (0..200).map(|n| kind.record("a", n)).collect();
            let stream = match kind {
                Kind::Lines => records.concat(),
                _ => format!("[{}]", records.join(",")),
            };
            let found = kind.read(&[stream.into_bytes()]).unwrap();
            let expected: Vec<Found> = (0..200).map(|n| Some(("a".to_owned(), n))).collect();
            assert_eq!(found, expected, "{kind:?}");
            assert_eq!(Kind::from_name(kind.name()).unwrap(), kind);
        }
    }

    #[test]
    fn what_was_damaged_is_nobodys() {
        let other = Kind::Json.record("a", 40).replace("a-40", "a-41");
        let found = Kind::Json.read(&[format!("[{other},1]").into_bytes()]).unwrap();
        assert_eq!(found, [None, None]);
        let cut = Kind::Lines.record("a", 40);
        let end = cut.len() - 1;
        assert_eq!(Kind::Lines.read(&[cut.as_bytes()[..end].to_vec()]).unwrap(), [None]);
        assert_eq!(Kind::State.read(&[b"[{}]".to_vec()]).unwrap(), [None]);
        assert!(Kind::Json.read(&[b"[".to_vec()]).is_err());
    }
}

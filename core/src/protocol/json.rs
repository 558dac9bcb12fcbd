//! JSON on its way through: checked to be one valid value, never re-serialised
//! (integers beyond 2^53, duplicate keys and white space stay as they came).

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// Whether a stream of this content type holds JSON (PROTOCOL.md, JSON mode).
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Checks that `text` is exactly one JSON value in UTF-8.
pub(crate) fn check(text: &[u8]) -> Result<(), String> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    serde::Deserialize::deserialize(&mut parser)
        .and_then(|IgnoredAny| parser.end())
        .map_err(|e| e.to_string())?;
    // The parser skips string contents that it does not keep.
    std::str::from_utf8(text).map(drop).map_err(|e| e.to_string())
}

/// A primary key read from an entity.
#[derive(Debug, PartialEq)]
pub(crate) enum Key {
    /// The key as text: strings as they are, numbers and booleans as JSON writes them.
    Text(String),
    /// The field is missing, null, empty, or not a scalar.
    Missing,
    /// The entity is not an object.
    NotAnObject,
}

/// Checks that `text` is one JSON value and reads the scalar field `field` of it.
pub(crate) fn key_of(text: &[u8], field: &str) -> Result<Key, String> {
    std::str::from_utf8(text).map_err(|e| e.to_string())?;
    if text.trim_ascii_start().first() != Some(&b'{') {
        return check(text).map(|()| Key::NotAnObject);
    }
    let mut parser = serde_json::Deserializer::from_slice(text);
    let key = parser
        .deserialize_map(KeyVisitor(field))
        .and_then(|key| parser.end().map(|()| key))
        .map_err(|e| e.to_string())?;
    Ok(key.filter(|k| !k.is_empty()).map_or(Key::Missing, Key::Text))
}

struct KeyVisitor<'a>(&'a str);

impl<'de> Visitor<'de> for KeyVisitor<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if name == self.0 {
                // The last one counts, as in every JSON parser a reader may use.
                let raw: &serde_json::value::RawValue = map.next_value()?;
                found = scalar(raw.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

fn scalar(raw: &str) -> Option<String> {
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str(raw).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(raw.to_owned()),
    }
}

/// Text as a JSON string, quotes included.
pub(crate) fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_and_nothing_else() {
        for good in ["1", " {\"a\": [1,2]} ", "\"x\"", "12345678901234567890", "{\"a\":1,\"a\":2}"]
        {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in ["", " ", "1 2", "{", "[1,]", "NaN", "'x'", "{\"a\":1},", "\u{feff}1"] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(check(b"\"\xff\"").is_err());
        let deep = "[".repeat(100_000);
        assert!(check(deep.as_bytes()).is_err());
    }

    #[test]
    fn keys_are_read_without_touching_the_rest() {
        let key = |text: &str| key_of(text.as_bytes(), "id").unwrap();
        assert_eq!(key(r#"{"id":"a","x":{"id":"b"}}"#), Key::Text("a".into()));
        assert_eq!(key(r#"{"id":12345678901234567890}"#), Key::Text("12345678901234567890".into()));
        assert_eq!(key(r#"{"id":"A\n"}"#), Key::Text("A\n".into()));
        assert_eq!(key(r#"{"id":1,"id":2}"#), Key::Text("2".into()));
        for missing in [r#"{"x":1}"#, r#"{"id":null}"#, r#"{"id":""}"#, r#"{"id":{}}"#] {
            assert_eq!(key(missing), Key::Missing, "{missing}");
        }
        assert_eq!(key("[1]"), Key::NotAnObject);
        assert!(key_of(b"{\"id\":1} x", "id").is_err());
        assert!(key_of(b"{\"id\":", "id").is_err());
    }

    #[test]
    fn json_streams_are_known_by_their_type() {
        assert!(is_json("application/json") && is_json("Application/JSON; charset=utf-8"));
        assert!(!is_json("application/jsonl") && !is_json("text/plain") && !is_json(""));
    }
}

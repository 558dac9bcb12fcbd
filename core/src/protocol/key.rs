//! The primary key of an entity: the one rule of what makes one, for every language
//! (`tests/vectors/keys.json`). Pure.

use crate::protocol::json::said;
use crate::protocol::json_text::{self, Field};

/// What the field of an entity that holds its primary key comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Key {
    /// The key as it is in an event.
    Text(String),
    /// The field is missing, or holds none.
    None(NoKey),
    /// The entity is not an object.
    NotAnObject,
}

/// Why a value is no key. The words go on from "the key".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKey {
    /// There is no value.
    Missing,
    /// It is null.
    Null,
    /// It is an empty text.
    Empty,
    /// It is written with a fraction or an exponent, or cannot be written as a number. Languages write such
    /// numbers in different ways, so the key would not be the same in each.
    NotAnInteger,
    /// It is an object, an array, or something that JSON cannot say.
    NotAScalar,
    /// It is a text that no UTF-8 says.
    HalfAPair,
}

impl NoKey {
    /// The same words in every language.
    pub fn as_str(self) -> &'static str {
        match self {
            NoKey::Missing => "is missing",
            NoKey::Null => "is null",
            NoKey::Empty => "is empty",
            NoKey::NotAnInteger => "is a number that is no integer",
            NoKey::NotAScalar => "is neither text, an integer, true nor false",
            NoKey::HalfAPair => "holds half of a surrogate pair",
        }
    }
}

/// Checks that a text is one JSON value and has the key in its field. `readable` is what
/// [`readable`](crate::protocol::json::readable) makes of the text. The error goes on from "the value".
pub(crate) fn key_of(text: &[u8], readable: &[u8], field: &str) -> Result<Key, String> {
    let place = match json_text::find(readable, field).map_err(|wrong| said(wrong, readable))? {
        Field::NotAnObject => return Ok(Key::NotAnObject),
        Field::Missing => return Ok(Key::None(NoKey::Missing)),
        // What is readable has the same places.
        Field::At(place) => place,
    };
    let raw = std::str::from_utf8(&text[place]).unwrap_or_default();
    Ok(key_of_json(raw).map_or_else(Key::None, Key::Text))
}

/// The key that a JSON value makes: text as it is, an integer as it is written, true or false.
///
/// # Errors
/// Why it makes none; an empty `json` is a missing value.
pub fn key_of_json(json: &str) -> Result<String, NoKey> {
    match json.as_bytes() {
        [] => Err(NoKey::Missing),
        [b'"', ..] => match text_of(json) {
            None => Err(NoKey::HalfAPair),
            Some(key) if key.is_empty() => Err(NoKey::Empty),
            Some(key) => Ok(key),
        },
        b"null" => Err(NoKey::Null),
        b"true" | b"false" => Ok(json.to_owned()),
        [b'{' | b'[', ..] => Err(NoKey::NotAScalar),
        // Parsers take it for the same integer.
        b"-0" => Ok("0".to_owned()),
        _ if is_integer(json) => Ok(json.to_owned()),
        _ => Err(NoKey::NotAnInteger),
    }
}

/// The text that a JSON string stands for. Most have no escapes, and are it.
fn text_of(json: &str) -> Option<String> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    match inner.contains('\\') {
        false => Some(inner.to_owned()),
        true => serde_json::from_str(json).ok(),
    }
}

/// Whether JSON writes an integer so.
fn is_integer(json: &str) -> bool {
    let digits = json.strip_prefix('-').unwrap_or(json);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::readable;

    fn key(entity: &str) -> Key {
        let text = entity.as_bytes();
        key_of(text, &readable(text), "id").unwrap()
    }

    #[test]
    fn keys_are_read_without_touching_the_rest() {
        assert_eq!(key(r#"{"id":"a","x":{"id":"b"}}"#), Key::Text("a".into()));
        assert_eq!(key(r#"{"id":"A\n"}"#), Key::Text("A\n".into()));
        assert_eq!(key(r#"{"id":1,"\u0069d" : 2 }"#), Key::Text("2".into()));
        assert_eq!(key(r#"{"x":1}"#), Key::None(NoKey::Missing));
        assert_eq!(key("[1]"), Key::NotAnObject);
        for no_json in ["{\"id\":1} x", "{\"id\":", "{\"id\":NaN}", "{\"id\":01}"] {
            let text = no_json.as_bytes();
            assert!(key_of(text, text, "id").is_err(), "{no_json}");
        }
    }

    #[test]
    fn half_of_a_pair_is_looked_for_in_the_key_alone() {
        assert_eq!(key(r#"{"x":"\ud800","id":"\ufffd"}"#), Key::Text("\u{fffd}".into()));
        assert_eq!(key(r#"{"x":"\ud800","id":"\udc00"}"#), Key::None(NoKey::HalfAPair));
    }

    /// What bindings hand over may be nothing that JSON knows.
    #[test]
    fn what_is_no_json_is_no_key() {
        for number in ["NaN", "Infinity", "-Infinity", "-", "1n", "-0.0", "1e+21", "0x1"] {
            assert_eq!(key_of_json(number), Err(NoKey::NotAnInteger), "{number}");
        }
        assert_eq!(key_of_json(""), Err(NoKey::Missing));
        assert_eq!(key_of_json("\""), Err(NoKey::HalfAPair));
    }
}

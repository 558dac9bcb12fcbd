//! JSON on its way through: checked to be one valid value, never re-serialised
//! (integers beyond 2^53, duplicate keys and white space stay as they came).

use std::borrow::Cow;

use memchr::memchr;
use serde::de::IgnoredAny;

use crate::protocol::json_text::{self, Field, Wrong};

/// Whether a stream of this content type holds JSON (PROTOCOL.md, JSON mode).
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// The text as every parser reads it. JSON may hold half of a surrogate pair as an escape, as
/// JavaScript writes it, and most parsers refuse that: here it is U+FFFD, of the same length. For
/// looking only; the text itself goes on as it is.
pub(crate) fn readable(text: &[u8]) -> Cow<'_, [u8]> {
    let mut text = Cow::Borrowed(text);
    let mut at = 0;
    while let Some(next) = memchr(b'\\', &text[at..]) {
        at += next;
        match (escaped_unit(&text[at..]), escaped_unit(text.get(at + 6..).unwrap_or_default())) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => at += 12,
            (Some(0xd800..0xe000), _) => {
                text.to_mut()[at..at + 6].copy_from_slice(br"\ufffd");
                at += 6;
            }
            (Some(_), _) => at += 6,
            (None, _) => at += 2,
        }
        if at >= text.len() {
            break;
        }
    }
    text
}

/// The UTF-16 unit of an escape that the text begins with.
fn escaped_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(br"\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Checks that `text` is exactly one JSON value in UTF-8. The error goes on from "the message".
pub(crate) fn check(text: &[u8]) -> Result<(), String> {
    json_text::check(text).map_err(|wrong| said(wrong, text))
}

/// What is wrong with a text, in the words of a parser that knows the place.
#[cold]
fn said(_: Wrong, text: &[u8]) -> String {
    match check_syntax(text) {
        Err(place) => format!("is not one JSON value: {place}"),
        Ok(()) => "is not one JSON value".to_owned(),
    }
}

/// Checks the same with a parser, which is slower and says where it is wrong: for what others wrote.
pub(crate) fn check_syntax(text: &[u8]) -> Result<(), String> {
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
    /// The key as text: strings as they are, numbers and booleans as JavaScript writes them.
    Text(String),
    /// The field is missing, null, empty, or not a scalar.
    Missing,
    /// The entity is not an object.
    NotAnObject,
}

/// Checks that a [`readable`] text is one JSON value and reads the scalar field `field` of it. The
/// error goes on from "the value".
pub(crate) fn key_of(text: &[u8], field: &str) -> Result<Key, String> {
    let raw = match json_text::find(text, field).map_err(|wrong| said(wrong, text))? {
        Field::NotAnObject => return Ok(Key::NotAnObject),
        Field::Missing => None,
        Field::At(place) => std::str::from_utf8(&text[place]).ok(),
    };
    Ok(raw.and_then(scalar).filter(|key| !key.is_empty()).map_or(Key::Missing, Key::Text))
}

/// The key that a JSON value makes; none for what makes none.
///
/// A key is text, and the readers of a stream are mostly JavaScript: `1.0`, `1e0` and `1` are one
/// number there, written `1`. An integer keeps all its digits.
pub fn scalar(raw: &str) -> Option<String> {
    match raw.as_bytes().first()? {
        b'"' => match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            // Most keys: nothing is escaped, and the text is what it stands for.
            Some(text) if !needs_escapes(text) => Some(text.to_owned()),
            _ => serde_json::from_str(raw).ok(),
        },
        b'{' | b'[' | b'n' => None,
        b't' | b'f' => Some(raw.to_owned()),
        _ if raw == "-0" || raw.contains(['.', 'e', 'E']) => {
            let number = raw.parse::<f64>().ok().filter(|number| number.is_finite())?;
            Some(ryu_js::Buffer::new().format_finite(number).to_owned())
        }
        _ => Some(raw.to_owned()),
    }
}

/// Text as a JSON string, quotes included.
pub(crate) fn quote(text: &str) -> String {
    if needs_escapes(text) {
        return serde_json::to_string(text).expect("a string is always JSON");
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    quoted += text;
    quoted.push('"');
    quoted
}

/// Whether a JSON string says the text otherwise than as it is.
fn needs_escapes(text: &str) -> bool {
    text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\')
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
    fn half_a_surrogate_pair_is_read_as_a_replacement() {
        let read = |text: &str| String::from_utf8(readable(text.as_bytes()).into_owned()).unwrap();
        for whole in
            ["1", r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u00e4\n""#, r#""\u12"#, "\\", "\\u"]
        {
            assert!(matches!(readable(whole.as_bytes()), Cow::Borrowed(_)), "{whole}");
        }
        assert_eq!(read(r#""\ud83d""#), r#""\ufffd""#);
        assert_eq!(read(r#""\uD83D\uD83D\ude00\uDE00x""#), r#""\ufffd\uD83D\ude00\ufffdx""#);
        assert_eq!(read(r#"{"\udc00":"\\\ud800"}"#), r#"{"\ufffd":"\\\ufffd"}"#);
        assert_eq!(check(br#"["\ud83d"]"#), Ok(()), "it is JSON, and goes on as it is");
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
        for [written, text] in [
            ["1.0", "1"],
            ["-0", "0"],
            ["-0.0", "0"],
            ["1E2", "100"],
            ["1.50", "1.5"],
            ["1e-7", "1e-7"],
            ["0.00001", "0.00001"],
            ["1e20", "100000000000000000000"],
            ["1e21", "1e+21"],
            ["-1", "-1"],
            ["1180591620717411303424", "1180591620717411303424"],
            ["true", "true"],
            ["false", "false"],
        ] {
            assert_eq!(key(&format!("{{\"id\":{written}}}")), Key::Text(text.into()), "{written}");
        }
        assert_eq!(key(r#"{"id":1e999}"#), Key::Missing);
        assert!(key_of(b"{\"id\":1} x", "id").is_err());
        assert!(key_of(b"{\"id\":", "id").is_err());
    }

    #[test]
    fn text_is_quoted_and_read_as_a_parser_does() {
        for text in ["", "plain", "ä\u{7f}", "\"", "\\", "\n", "\0", "a\u{1f}", "\u{2028}"] {
            let quoted = serde_json::to_string(text).unwrap();
            assert_eq!(quote(text), quoted);
            assert_eq!(scalar(&quoted).as_deref(), Some(text));
        }
        for no_string in ["\"", "\"a", "\"a\"b\"", "\"a\n\""] {
            assert_eq!(scalar(no_string), None, "{no_string}");
        }
    }

    #[test]
    fn json_streams_are_known_by_their_type() {
        assert!(is_json("application/json") && is_json("Application/JSON; charset=utf-8"));
        assert!(!is_json("application/jsonl") && !is_json("text/plain") && !is_json(""));
    }
}

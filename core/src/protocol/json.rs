//! JSON on its way through: checked to be one valid value, never re-serialised
//! (integers beyond 2^53, duplicate keys and white space stay as they came).

use std::borrow::Cow;

use memchr::memchr;
use serde::de::IgnoredAny;

use crate::protocol::json_text::{self, Wrong};

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
pub(super) fn said(_: Wrong, text: &[u8]) -> String {
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

/// Text as a JSON string, quotes included.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quote_to(&mut quoted, text);
    quoted
}

/// Writes text as a JSON string, quotes included.
pub(crate) fn quote_to(out: &mut String, text: &str) {
    if needs_escapes(text) {
        *out += &serde_json::to_string(text).expect("a string is always JSON");
        return;
    }
    out.push('"');
    *out += text;
    out.push('"');
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
    fn text_is_quoted_as_a_parser_does() {
        for text in ["", "plain", "ä\u{7f}", "\"", "\\", "\n", "\0", "a\u{1f}", "\u{2028}"] {
            let quoted = serde_json::to_string(text).unwrap();
            assert_eq!(quote(text), quoted);
        }
    }

    #[test]
    fn json_streams_are_known_by_their_type() {
        assert!(is_json("application/json") && is_json("Application/JSON; charset=utf-8"));
        assert!(!is_json("application/jsonl") && !is_json("text/plain") && !is_json(""));
    }
}

//! How an answer to a read divides its body into messages (PROTOCOL.md 7.1; some servers answer
//! with a value a line).

use std::ops::Range;

use serde_json::value::RawValue;

use super::json::{self, is_json};

/// How an answer divides its body into messages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Framing {
    /// Not at all.
    None,
    /// One JSON array.
    Array,
    /// A JSON value a line.
    Lines,
}

impl Framing {
    pub(crate) fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if is_json(content_type) {
            Framing::Array
        } else if essence.eq_ignore_ascii_case("application/x-ndjson") {
            Framing::Lines
        } else {
            Framing::None
        }
    }

    /// Where each message is.
    ///
    /// # Errors
    /// Why the body is no JSON.
    pub(crate) fn items(self, data: &[u8]) -> Result<Vec<Range<usize>>, String> {
        let place = |item: &[u8]| {
            let start = item.as_ptr() as usize - data.as_ptr() as usize;
            start..start + item.len()
        };
        match self {
            Framing::None => Ok(Vec::new()),
            Framing::Array if data.trim_ascii().is_empty() => Ok(Vec::new()),
            Framing::Array => {
                let items: Vec<&RawValue> =
                    serde_json::from_slice(data).map_err(|e| e.to_string())?;
                Ok(items.iter().map(|item| place(item.get().as_bytes())).collect())
            }
            Framing::Lines => {
                let lines = data.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
                let lines = lines.filter(|line| !line.is_empty());
                lines.map(|line| json::check(line).map(|()| place(line))).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(framing: Framing, data: &str) -> Result<Vec<String>, String> {
        let items = framing.items(data.as_bytes())?;
        Ok(items.into_iter().map(|item| data[item].to_owned()).collect())
    }

    #[test]
    fn messages_keep_their_text() {
        let expected = ["1", "[2, 3]", r#"{"a": 12345678901234567890,"a":2}"#];
        let array = r#" [1, [2, 3] ,{"a": 12345678901234567890,"a":2}] "#;
        assert_eq!(texts(Framing::Array, array).unwrap(), expected);
        let lines = "1\r\n[2, 3]\n\n{\"a\": 12345678901234567890,\"a\":2}";
        assert_eq!(texts(Framing::Lines, lines).unwrap(), expected);
        for nothing in ["", " ", "[]"] {
            assert!(texts(Framing::Array, nothing).unwrap().is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn half_an_answer_is_none() {
        for broken in ["[1,", "[1] 2", "{\"a\":1}", "[1,2", "[\"a]"] {
            assert!(texts(Framing::Array, broken).is_err(), "{broken}");
        }
        assert!(texts(Framing::Lines, "1\n{\"a\":").is_err());
        assert!(Framing::Array.items(b"[\"\xff\"]").is_err());
    }

    #[test]
    fn the_content_type_says_how_messages_are_divided() {
        assert!(matches!(Framing::of("application/json; charset=utf-8"), Framing::Array));
        assert!(matches!(Framing::of("application/x-ndjson"), Framing::Lines));
        assert!(matches!(Framing::of("text/plain"), Framing::None));
    }
}

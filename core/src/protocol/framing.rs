//! How an answer to a read divides its body into messages (PROTOCOL.md 7.1; some servers answer
//! with a value a line).

use std::ops::Range;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
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
        self.items_up_to(usize::MAX, data)
    }

    /// The same for a body that has no use if it holds more messages than that.
    ///
    /// # Errors
    /// As `items`, or that there are more.
    pub(crate) fn items_up_to(
        self,
        limit: usize,
        data: &[u8],
    ) -> Result<Vec<Range<usize>>, String> {
        match self {
            Framing::None => Ok(Vec::new()),
            Framing::Array if data.trim_ascii().is_empty() => Ok(Vec::new()),
            Framing::Array => {
                let mut json = serde_json::Deserializer::from_slice(data);
                let items = json.deserialize_seq(Items { data, limit });
                let items = items.and_then(|items| json.end().map(|()| items));
                items.map_err(|e| e.to_string())
            }
            Framing::Lines => {
                let mut items = Vec::new();
                for line in data.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
                    if line.is_empty() {
                        continue;
                    }
                    if items.len() == limit {
                        return Err(too_many(limit));
                    }
                    json::check(line)?;
                    items.push(place(data, line));
                }
                Ok(items)
            }
        }
    }
}

fn place(data: &[u8], item: &[u8]) -> Range<usize> {
    let start = item.as_ptr() as usize - data.as_ptr() as usize;
    start..start + item.len()
}

fn too_many(limit: usize) -> String {
    format!("there are more than {limit} messages")
}

/// Finds the elements of an array without keeping more than where they are.
struct Items<'a> {
    data: &'a [u8],
    limit: usize,
}

impl<'de> Visitor<'de> for Items<'de> {
    type Value = Vec<Range<usize>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element::<&'de RawValue>()? {
            if items.len() == self.limit {
                return Err(A::Error::custom(too_many(self.limit)));
            }
            items.push(place(self.data, item.get().as_bytes()));
        }
        Ok(items)
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
    fn no_more_than_asked_for() {
        for (framing, data) in [(Framing::Array, "[1,2,3]"), (Framing::Lines, "1\n2\n3\n")] {
            assert_eq!(framing.items_up_to(3, data.as_bytes()).unwrap().len(), 3);
            assert!(framing.items_up_to(2, data.as_bytes()).is_err());
        }
    }

    #[test]
    fn the_content_type_says_how_messages_are_divided() {
        assert!(matches!(Framing::of("application/json; charset=utf-8"), Framing::Array));
        assert!(matches!(Framing::of("application/x-ndjson"), Framing::Lines));
        assert!(matches!(Framing::of("text/plain"), Framing::None));
    }
}

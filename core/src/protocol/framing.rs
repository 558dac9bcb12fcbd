//! How an answer to a read divides its body into messages (PROTOCOL.md 7.1; some servers answer
//! with a value a line).

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::protocol::items::{Division, Index};
use crate::protocol::json::{self, is_json};

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

    /// Indexes the messages of a body; `None` if its framing divides it into none.
    ///
    /// # Errors
    /// Why the body is no JSON.
    pub(crate) fn index(self, data: &[u8]) -> Result<Option<Index>, String> {
        self.index_up_to(usize::MAX, data)
    }

    /// Indexes the messages of a body that must not hold more than `limit` of them.
    ///
    /// # Errors
    /// Why the body is no JSON, or that it holds more messages.
    pub(crate) fn index_up_to(self, limit: usize, data: &[u8]) -> Result<Option<Index>, String> {
        let index = match self {
            Framing::None => return Ok(None),
            Framing::Array if data.trim_ascii().is_empty() => Index::new(Division::Elements),
            Framing::Array => {
                let mut json = serde_json::Deserializer::from_slice(data);
                let index = json.deserialize_seq(Elements { data, limit });
                let index = index.and_then(|index| json.end().map(|()| index));
                index.map_err(|e| e.to_string())?
            }
            Framing::Lines => lines(data, limit)?,
        };
        Ok(Some(index.complete()))
    }
}

fn lines(data: &[u8], limit: usize) -> Result<Index, String> {
    let mut index = Index::new(Division::Lines);
    for line in data.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        if line.is_empty() {
            continue;
        }
        if index.count() == limit {
            return Err(too_many(limit));
        }
        json::check_syntax(line)?;
        index.push(place(data, line));
    }
    Ok(index)
}

fn place(data: &[u8], item: &[u8]) -> usize {
    item.as_ptr() as usize - data.as_ptr() as usize
}

fn too_many(limit: usize) -> String {
    format!("there are more than {limit} messages")
}

/// Checks an array and notes where its elements are.
struct Elements<'a> {
    data: &'a [u8],
    limit: usize,
}

impl<'de> Visitor<'de> for Elements<'de> {
    type Value = Index;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut index = Index::new(Division::Elements);
        while let Some(item) = array.next_element::<&'de RawValue>()? {
            if index.count() == self.limit {
                return Err(A::Error::custom(too_many(self.limit)));
            }
            index.push(place(self.data, item.get().as_bytes()));
        }
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;
    use proptest::sample::{Index as Place, select};

    use super::*;

    fn texts(framing: Framing, data: &str) -> Result<Vec<String>, String> {
        let index = framing.index(data.as_bytes())?.expect("it is divided");
        let text = |item: &[u8]| String::from_utf8(item.to_vec()).unwrap();
        Ok(index.items(data.as_bytes()).map(text).collect())
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
        assert!(Framing::Array.index(b"[\"\xff\"]").is_err());
    }

    #[test]
    fn no_more_than_asked_for() {
        for (framing, data) in [(Framing::Array, "[1,2,3]"), (Framing::Lines, "1\n2\n3\n")] {
            assert_eq!(framing.index_up_to(3, data.as_bytes()).unwrap().unwrap().count(), 3);
            assert!(framing.index_up_to(2, data.as_bytes()).is_err());
        }
    }

    #[test]
    fn the_content_type_says_how_messages_are_divided() {
        assert!(matches!(Framing::of("application/json; charset=utf-8"), Framing::Array));
        assert!(matches!(Framing::of("application/x-ndjson"), Framing::Lines));
        assert!(matches!(Framing::of("text/plain"), Framing::None));
    }

    /// What an index has to agree with: the place of every message.
    fn list(framing: Framing, data: &[u8]) -> Result<Vec<Range<usize>>, String> {
        let range = |item: &[u8]| place(data, item)..place(data, item) + item.len();
        match framing {
            Framing::Array if data.trim_ascii().is_empty() => Ok(Vec::new()),
            Framing::Array => {
                let items: Vec<&RawValue> =
                    serde_json::from_slice(data).map_err(|e| e.to_string())?;
                Ok(items.into_iter().map(|item| range(item.get().as_bytes())).collect())
            }
            _ => {
                let lines = data.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
                let lines = lines.filter(|line| !line.is_empty());
                lines.map(|line| json::check_syntax(line).map(|()| range(line))).collect()
            }
        }
    }

    /// Whether what an index finds is what the list says, in any order.
    fn agrees(framing: Framing, data: &[u8], order: &[Place]) {
        let index = framing.index(data).map(|index| index.expect("it is divided"));
        let expected = list(framing, data);
        assert_eq!(index.is_ok(), expected.is_ok(), "{:?}", String::from_utf8_lossy(data));
        let (Ok(index), Ok(expected)) = (index, expected) else { return };
        let found = |item: &[u8]| place(data, item)..place(data, item) + item.len();
        let get = |number| index.get(data, number).map(found);
        assert_eq!((index.count(), index.items(data).len()), (expected.len(), expected.len()));
        assert_eq!(index.items(data).map(found).collect::<Vec<_>>(), expected);
        assert_eq!((0..expected.len()).filter_map(get).collect::<Vec<_>>(), expected);
        for number in order.iter().filter(|_| !expected.is_empty()) {
            let number = number.index(expected.len());
            for number in [number, number + 1, number] {
                assert_eq!(get(number), expected.get(number).cloned(), "{number}");
            }
        }
        assert_eq!((get(expected.len()), get(usize::MAX)), (None, None));
    }

    /// One JSON value, with white space of this kind in it.
    fn value(space: &'static str) -> impl Strategy<Value = String> {
        let text = any::<String>().prop_map(|text| json::quote(&text));
        let given = vec![
            "null",
            "true",
            "0",
            "-1.5e+3",
            "12345678901234567890",
            r#""""#,
            r#""\\""#,
            r#""\"]}, \u00e9\\\"""#,
            r#""é, 🦀""#,
            "[]",
            "{}",
        ];
        let leaf = prop_oneof![4 => select(given).prop_map(str::to_owned), 1 => text];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            let of = |inner: BoxedStrategy<String>| proptest::collection::vec(inner, 0..5);
            let field = inner.clone().prop_map(move |value| format!(r#""]{{"{space}:{value}"#));
            let comma = format!("{space},{space}");
            let array = of(inner.boxed()).prop_map({
                let comma = comma.clone();
                move |items| format!("[{space}{}]", items.join(&comma))
            });
            let object =
                of(field.boxed()).prop_map(move |all| format!("{{{}{space}}}", all.join(&comma)));
            prop_oneof![array, object]
        })
    }

    /// A body of up to 100 messages, and how it is divided.
    fn body() -> impl Strategy<Value = (Framing, String)> {
        let values = |space| proptest::collection::vec(value(space), 0..100);
        let spaces = select(&["", " ", "\r\n", "\t \n"][..]);
        let array = (spaces, values(" \n")).prop_map(|(space, items)| {
            let items = items.join(&format!("{space},{space}"));
            (Framing::Array, format!("{space}[{space}{items}{space}]{space}"))
        });
        let ends = select(&["\n", "\r\n", "\n\n", " \n\x0c\n\t"][..]);
        let lines = (ends, any::<bool>(), values(" \r\t")).prop_map(|(end, ended, items)| {
            (Framing::Lines, items.join(end) + if ended { end } else { "" })
        });
        prop_oneof![array, lines]
    }

    #[test]
    fn an_index_agrees_with_a_list() {
        for data in ["", " ", "[]", " [ ] ", "[1]", "[[]]", "[[],[[\"]\"]]]", "[\"\\\"\",\"\\\\\"]"]
        {
            agrees(Framing::Array, data.as_bytes(), &[]);
        }
        for data in ["", "\n", "\r\n \n", "1", "1\n2", "\n\n1\r\n\r\n[2, 3] \n", "\"\\\"\"\n"] {
            agrees(Framing::Lines, data.as_bytes(), &[]);
        }
        let many = "[1".to_owned() + &",1".repeat(1000) + ",\"" + &"x".repeat(1000) + "\",2]";
        agrees(Framing::Array, many.as_bytes(), &[]);
    }

    proptest! {
        #[test]
        fn an_index_agrees_with_a_list_of_whatever_there_is(
            (framing, data) in body(),
            order in proptest::collection::vec(any::<Place>(), 20),
        ) {
            prop_assert!(framing.index(data.as_bytes()).is_ok(), "{data}");
            agrees(framing, data.as_bytes(), &order);
        }

        #[test]
        fn damage_is_judged_alike(
            (framing, data) in body(),
            damage in proptest::collection::vec((any::<Place>(), any::<u8>()), 1..3),
            order in proptest::collection::vec(any::<Place>(), 5),
        ) {
            let mut data = data.into_bytes();
            for (place, byte) in damage {
                let at = place.index(data.len() + 1);
                let given = b"\"\\,[]{}\n 1";
                match byte % 3 {
                    0 => data.truncate(at),
                    1 => data.insert(at, *given.get(usize::from(byte / 3)).unwrap_or(&byte)),
                    _ => drop(data.splice(at..data.len().min(at + 1), [])),
                }
            }
            agrees(framing, &data, &order);
        }
    }
}

//! Bodies, their messages and keys, and what a look finds of them in a stream.

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::delivery::buffer::batch::{Batch, Builder};
use crate::delivery::decide::compare::{Acked, Verdict, verdict};
use crate::fuzzing::{check_text, parts, split};
use crate::protocol::framing::Framing;
use crate::protocol::json;
use crate::protocol::key::{self, Key, NoKey};
use crate::requests::tail::{Found, Page};

/// The texts of a body's messages.
fn messages(framing: Framing, data: &[u8]) -> Result<Vec<&[u8]>, String> {
    let index = framing.index(data)?;
    Ok(index.iter().flat_map(|index| index.items(data)).collect())
}

/// A body: what is accepted as an array or as lines of JSON is what `serde_json` accepts as such.
pub fn framing(data: &[u8]) {
    let text = |value: &RawValue| value.get().as_bytes().to_vec();
    let array = match data.trim_ascii() {
        b"" => Ok(Vec::new()),
        _ => serde_json::from_slice::<Vec<&RawValue>>(data)
            .map(|values| values.into_iter().map(text).collect()),
    };
    check_framing(Framing::Array, data, array.ok());
    let lines = data.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| !line.is_empty());
    let lines = lines.map(|line| serde_json::from_slice::<&RawValue>(line).map(text));
    check_framing(Framing::Lines, data, lines.collect::<Result<_, _>>().ok());
    assert!(messages(Framing::None, data).is_ok_and(|messages| messages.is_empty()));
}

fn check_framing(framing: Framing, data: &[u8], expected: Option<Vec<Vec<u8>>>) {
    match (messages(framing, data), expected) {
        (Ok(found), Some(expected)) => {
            assert_eq!(found, expected, "{framing:?}");
            let count = found.len();
            let index = framing.index_up_to(count, data).expect("there are no more");
            let index = index.expect("these have messages");
            assert_eq!(index.count(), count);
            for number in (0..count).rev() {
                assert_eq!(index.get(data, number), Some(found[number]));
            }
            assert_eq!(index.get(data, count), None);
            assert!(count == 0 || framing.index_up_to(count - 1, data).is_err());
        }
        (Err(error), None) => check_text(&error),
        (found, expected) => panic!("{framing:?}: {found:?} where {expected:?} was expected"),
    }
}

/// The name of a field, a line break, and an entity.
pub fn json_keys(data: &[u8]) {
    let (field, text) = split(data, b"\n");
    let field = String::from_utf8_lossy(field);
    let (checked, key) = (json::check(text), key::key_of(text, text, &field));
    let by_parser = json::check_syntax(text);
    assert_eq!(checked.is_ok(), by_parser.is_ok(), "{checked:?}, not {by_parser:?}");
    checked.as_ref().err().iter().for_each(|error| check_text(error));
    key.as_ref().err().iter().for_each(|error| check_text(error));
    assert!(key.is_err() || checked.is_ok(), "a key of what is no JSON");
    match serde_json::from_slice::<Value>(text) {
        Ok(value) => {
            assert_eq!(checked, Ok(()), "refused what is JSON");
            check_key(key.expect("it is JSON"), &value, &field);
        }
        Err(error) => assert!(checked.is_err() || is_beyond_a_value(&error), "{error}"),
    }
    let quoted = json::quote(&field);
    assert_eq!(json::check(quoted.as_bytes()), Ok(()));
    assert_eq!(serde_json::from_str::<String>(&quoted).expect("it was quoted"), field);
}

/// Whether the text is JSON that a `Value` cannot hold: it may be for those who read the stream.
fn is_beyond_a_value(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    ["number out of range", "recursion limit", "surrogate", "hex escape"]
        .iter()
        .any(|reason| text.contains(reason))
}

fn check_key(key: Key, value: &Value, field: &str) {
    let Value::Object(entity) = value else { return assert_eq!(key, Key::NotAnObject) };
    let expected = match entity.get(field) {
        None => Key::None(NoKey::Missing),
        Some(Value::Null) => Key::None(NoKey::Null),
        Some(Value::String(text)) if text.is_empty() => Key::None(NoKey::Empty),
        Some(Value::String(text)) => Key::Text(text.clone()),
        Some(Value::Bool(flag)) => Key::Text(flag.to_string()),
        Some(Value::Number(number)) => return check_number_key(&key, number),
        Some(_) => Key::None(NoKey::NotAScalar),
    };
    assert_eq!(key, expected);
}

/// An integer as it stands in the text: a `Value` rounds those that are long.
fn check_number_key(key: &Key, number: &serde_json::Number) {
    match key {
        Key::Text(text) => {
            let read: serde_json::Number = serde_json::from_str(text).expect("a number");
            let same =
                if number.is_f64() { read.as_f64() == number.as_f64() } else { read == *number };
            assert!(same && !text.contains(['.', 'e', 'E']), "{text} for {number}");
        }
        other => assert!(*other == Key::None(NoKey::NotAnInteger) && number.is_f64(), "{number}"),
    }
}

/// An array of messages, their division into batches as bytes, and what was found in the stream.
pub fn looking(data: &[u8]) {
    let parts = parts(data);
    let [own, sizes, found] = [0, 1, 2].map(|n| parts.get(n).copied().unwrap_or_default());
    let Ok(own) = messages(Framing::Array, own) else { return };
    let batches = batches(&own[..own.len().min(24)], sizes);
    for framing in [Framing::Array, Framing::Lines, Framing::None] {
        if let Verdict::Stored(count) = judge(framing, found, &batches) {
            let stored = batches[..count].iter().map(|batch| batch.writes as usize).sum::<usize>();
            let messages = match framing {
                Framing::None => usize::from(!found.is_empty()),
                framing => messages(framing, found).expect("it was compared").len(),
            };
            assert!(stored == messages || matches!(framing, Framing::None));
        }
    }
    let mut stored = Vec::new();
    for (count, batch) in batches.iter().enumerate() {
        stored.extend(batch.payloads().map(|(_, payload)| payload.to_vec()));
        let text = [b"[".as_slice(), &stored.join(&b','), b"]"].concat();
        assert_eq!(judge(Framing::Array, &text, &batches), Verdict::Stored(count + 1));
        // A server may keep values and not their texts.
        if let Ok(Value::Array(mut values)) = serde_json::from_slice::<Value>(&text) {
            let again = serde_json::to_vec(&values).expect("it was read from JSON");
            assert_eq!(judge(Framing::Array, &again, &batches), Verdict::Stored(count + 1));
            values.push("another's".into());
            let longer = serde_json::to_vec(&values).expect("it was read from JSON");
            let more = judge(Framing::Array, &longer, &batches);
            let is_own = own.get(stored.len()).is_some_and(|own| own.starts_with(b"\"another"));
            assert!(is_own || more == Verdict::Undecided, "{more:?}");
        }
    }
}

fn batches(own: &[&[u8]], sizes: &[u8]) -> Vec<Batch> {
    let mut sizes = sizes.iter().map(|byte| usize::from(byte % 4) + 1).chain(std::iter::repeat(1));
    let (mut rest, mut batches) = (own, Vec::new());
    while !rest.is_empty() {
        let (batch, behind) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
        let mut builder = Builder::new(true);
        batch.iter().zip(1..).for_each(|(message, id)| builder.push(id, &[message]));
        batches.extend(builder.seal());
        rest = behind;
    }
    batches
}

fn judge(framing: Framing, body: &[u8], batches: &[Batch]) -> Verdict {
    let page = Page { framing, body: Bytes::copy_from_slice(body) };
    verdict(&Found::Content(vec![page]), true, Acked::default(), batches.iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::tests::fails;

    /// The checks check: each of these is what they are there to find.
    #[test]
    fn what_breaks_a_promise_is_found() {
        assert!(fails(&|| check_framing(Framing::Array, b"[1]", None)));
        assert!(fails(&|| check_framing(Framing::Array, b"[1]", Some(vec![b"2".to_vec()]))));
        let without = serde_json::json!({"id": "a"});
        assert!(fails(&|| check_key(Key::None(NoKey::Missing), &without, "id")));
    }
}

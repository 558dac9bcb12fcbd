//! Comparing: what the stream itself says about batches in doubt. Pure.
//!
//! A server that lost its memory of a producer cannot recognise a repeat. The stream can still
//! show whether a batch is there, as long as nobody else wrote to it meanwhile.

use serde_json::Value;

use crate::delivery::buffer::batch::Batch;
use crate::protocol::framing::Framing;
use crate::requests::tail::{Found, Page};

/// The result for the batches in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This many of them are stored, from the first on; the others are not.
    Stored(usize),
    /// The content does not decide.
    Undecided,
}

/// What was acknowledged behind the offset from which the stream is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Acked {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Acked {
    pub(crate) fn add(&mut self, batch: &Batch) {
        self.messages += batch.writes;
        self.bytes += batch.body.len() as u64;
    }

    pub(crate) fn is_nothing(self) -> bool {
        self == Acked::default()
    }
}

/// Compares the content found with what was acknowledged, of which only its size is known, and the
/// frozen batches behind it, in their order.
pub(crate) fn verdict<'a>(
    found: &Found,
    json: bool,
    behind: Acked,
    batches: impl Iterator<Item = &'a Batch> + Clone,
) -> Verdict {
    let content = match found {
        Found::Nothing if behind.is_nothing() => return Verdict::Stored(0),
        // What was acknowledged is gone.
        Found::Nothing | Found::Unclear => return Verdict::Undecided,
        Found::Content(content) => content,
    };
    let exact = match json {
        true => messages(content, behind.messages, batches),
        false => bytes(content, behind.bytes, batches),
    };
    exact.map_or(Verdict::Undecided, Verdict::Stored)
}

/// How many whole batches the bytes are; `None` if they are anything else.
fn bytes<'a>(
    content: &[Page],
    behind: u64,
    batches: impl Iterator<Item = &'a Batch>,
) -> Option<usize> {
    let content: Vec<u8> = content.iter().flat_map(|page| &page.body[..]).copied().collect();
    let mut rest = content.get(usize::try_from(behind).ok()?..)?;
    let mut stored = 0;
    for batch in batches {
        if rest.is_empty() {
            break;
        }
        rest = rest.strip_prefix(&batch.body[..])?;
        stored += 1;
    }
    rest.is_empty().then_some(stored)
}

fn messages<'a>(
    content: &[Page],
    behind: u64,
    batches: impl Iterator<Item = &'a Batch> + Clone,
) -> Option<usize> {
    let behind = usize::try_from(behind).ok()?;
    // More messages than these are not this producer's alone, however many there are.
    let own = behind + batches.clone().map(|batch| batch.writes as usize).sum::<usize>();
    let mut found = Vec::new();
    for Page { framing, body } in content {
        match framing {
            // Without a server's framing each write is one message.
            Framing::None => found.push(&body[..]),
            framing => {
                let left = own.checked_sub(found.len())?;
                let index = framing.index_up_to(left, body).ok()??;
                found.extend(index.items(body));
            }
        }
    }
    let mut rest = found.get(behind..)?;
    let mut stored = 0;
    for batch in batches {
        if rest.is_empty() {
            break;
        }
        let (found, behind) = rest.split_at_checked(batch.writes as usize)?;
        if !batch.payloads().zip(found).all(|((_, own), found)| same(&own, found)) {
            return None;
        }
        rest = behind;
        stored += 1;
    }
    rest.is_empty().then_some(stored)
}

/// Whether two texts are the same JSON value: servers may re-serialise, and one adds an `offset` to
/// the headers of change events.
fn same(own: &[u8], found: &[u8]) -> bool {
    own == found
        || match (serde_json::from_slice(own), serde_json::from_slice(found)) {
            (Ok(own), Ok(mut found)) => same_value(&own, strip(&own, &mut found)),
            _ => false,
        }
}

fn strip<'a>(own: &Value, found: &'a mut Value) -> &'a Value {
    let wrote_none = own.get("headers").is_some_and(|headers| headers.get("offset").is_none());
    let headers = found.get_mut("headers").and_then(Value::as_object_mut);
    if let Some(headers) = headers.filter(|_| wrote_none) {
        headers.remove("offset");
    }
    found
}

fn same_value(own: &Value, found: &Value) -> bool {
    match (own, found) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.as_f64() == b.as_f64() && fits(a)),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_value(a, b)))
        }
        _ => own == found,
    }
}

/// Whether a double holds the number exactly, as far as integers go.
fn fits(number: &serde_json::Number) -> bool {
    number.as_i64().is_none_or(|n| n.unsigned_abs() <= crate::protocol::MAX_SAFE_INTEGER)
        && number.as_u64().is_none_or(|n| n <= crate::protocol::MAX_SAFE_INTEGER)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::delivery::buffer::batch::Builder;

    fn batches(json: bool, batches: &[&[&str]]) -> Vec<Batch> {
        let mut builder = Builder::new(json);
        let seal = |writes: &&[&str]| {
            for write in *writes {
                builder.push(1, &[write.as_bytes()]);
            }
            builder.seal().unwrap()
        };
        batches.iter().map(seal).collect()
    }

    fn judge(content_type: &str, body: &str, own: &[&[&str]]) -> Verdict {
        let json = content_type == "application/json";
        let body = Bytes::copy_from_slice(body.as_bytes());
        let found = Found::Content(vec![Page { framing: Framing::of(content_type), body }]);
        verdict(&found, json, Acked::default(), batches(json, own).iter())
    }

    #[test]
    fn whole_batches_from_the_first_on_are_stored() {
        let own: &[&[&str]] = &[&["1", "[2]"], &["{\"a\":3}"], &["4"]];
        for (body, expected) in [
            ("[]", Verdict::Stored(0)),
            ("[1,[2]]", Verdict::Stored(1)),
            ("[1.0, [2], {\"a\" : 3}]", Verdict::Stored(2)),
            ("[1,[2],{\"a\":3},4]", Verdict::Stored(3)),
            ("[1]", Verdict::Undecided),
            ("[{\"a\":3}]", Verdict::Undecided),
            ("[1,[2],{\"a\":3},4,5]", Verdict::Undecided),
            ("[0,1,[2]]", Verdict::Undecided),
            ("[1,", Verdict::Undecided),
            ("[1,[2],{\"a\":3},4,", Verdict::Undecided),
        ] {
            assert_eq!(judge("application/json", body, own), expected, "{body}");
        }
        let own: &[&[&str]] = &[&["ab", "c"], &["d"]];
        for (body, expected) in [
            ("", Verdict::Stored(0)),
            ("abc", Verdict::Stored(1)),
            ("abcd", Verdict::Stored(2)),
            ("ab", Verdict::Undecided),
            ("abcx", Verdict::Undecided),
            ("abcde", Verdict::Undecided),
        ] {
            assert_eq!(judge("text/plain", body, own), expected, "{body}");
        }
    }

    #[test]
    fn a_change_event_is_itself_with_the_offset_a_server_adds() {
        let own = r#"{"type":"a","key":"1","headers":{"operation":"upsert"}}"#;
        let found = r#"[{"type":"a","key":"1","headers":{"operation":"upsert","offset":"7"}}]"#;
        assert_eq!(judge("application/json", found, &[&[own]]), Verdict::Stored(1));
        let other = r#"[{"type":"a","key":"1","headers":{"operation":"upsert","txid":"7"}}]"#;
        assert_eq!(judge("application/json", other, &[&[own]]), Verdict::Undecided);
        let given = r#"{"headers":{"offset":"6"}}"#;
        let moved = r#"[{"headers":{"offset":"7"}}]"#;
        assert_eq!(judge("application/json", moved, &[&[given]]), Verdict::Undecided);
    }

    #[test]
    fn a_damaged_number_is_not_the_same() {
        let own: &[&[&str]] = &[&["12345678901234567890"]];
        assert_eq!(judge("application/json", "[12345678901234567000]", own), Verdict::Undecided);
        assert_eq!(judge("application/json", "[12345678901234567890]", own), Verdict::Stored(1));
    }

    #[test]
    fn what_cannot_be_compared_decides_nothing() {
        let none = std::iter::empty;
        assert_eq!(verdict(&Found::Unclear, true, Acked::default(), none()), Verdict::Undecided);
        assert_eq!(verdict(&Found::Nothing, true, Acked::default(), none()), Verdict::Stored(0));
    }
}

//! What an adapter answered against what a case expects: pure.
//!
//! A command without an expected error must succeed, one with an expected error must fail with it.

use durstream_tests::failure::Result;
use serde_json::{Map, Value};

use super::case::Expect;
use super::command::DATA;

const NOT_SUPPORTED: &str = "NOT_SUPPORTED";

pub(crate) fn judge(command: &str, expect: &Expect, answer: &Value) -> Result {
    shape(command, answer)?;
    let code = answer["errorCode"].as_str();
    match (&expect.error, code) {
        // Counted as done by nobody: a case that waits for a capability says so itself.
        (_, Some(NOT_SUPPORTED)) => return fail("an answer", "NOT_SUPPORTED", answer),
        (None, Some(code)) => return fail("success", code, answer),
        (Some(error), None) => return fail(error, "success", answer),
        (Some(error), Some(code)) if error != code => return fail(error, code, answer),
        _ => {}
    }
    for (name, expected) in &expect.fields {
        let seen = field(answer, name);
        if seen.as_ref() != Some(expected) {
            let seen = seen.map_or_else(|| "nothing".to_owned(), |seen| seen.to_string());
            return fail(&format!("{name} {expected}"), &seen, answer);
        }
    }
    let message = answer["message"].as_str().unwrap_or_default();
    if let Some(text) = missing(&expect.says, |text| message.contains(text)) {
        return fail(&format!("a message with {text}"), &format!("{message:?}"), answer);
    }
    let whole = answer.to_string();
    match missing(&expect.never_says, |text| !whole.contains(text)) {
        Some(text) => fail(&format!("nothing with {text}"), "it", answer),
        None => Ok(()),
    }
}

/// The first of these texts for which something does not hold.
fn missing(texts: &[Value], holds: impl Fn(&str) -> bool) -> Option<&Value> {
    texts.iter().find(|text| !text.as_str().is_some_and(&holds))
}

fn fail<T>(expected: &str, seen: &str, answer: &Value) -> Result<T> {
    Err(format!("expected {expected}, seen {seen}\n    answer: {answer}").into())
}

/// The protocol's own rules for a line.
fn shape(command: &str, answer: &Value) -> Result {
    let has_text = |name: &str| answer[name].as_str().is_some_and(|text| !text.is_empty());
    let (kind, success) = (answer["type"].as_str(), answer["success"].as_bool());
    let is_right = match (kind, success) {
        (Some("error"), Some(false)) => {
            answer["commandType"] == command && has_text("errorCode") && has_text("message")
        }
        (Some(kind), Some(true)) => kind == command,
        _ => false,
    };
    if is_right {
        Ok(())
    } else {
        fail(&format!("a result of {command}"), "something else", answer)
    }
}

/// A field of an answer; `data` is what the chunks of a read hold together.
pub(crate) fn field(answer: &Value, name: &str) -> Option<Value> {
    match answer.get("chunks") {
        Some(Value::Array(chunks)) if name == DATA => {
            let texts = chunks.iter().map(|chunk| chunk["data"].as_str());
            texts.collect::<Option<String>>().map(Value::from)
        }
        _ => answer.get(name).cloned(),
    }
}

/// What a case keeps of an answer, by variable.
pub(crate) fn saved<'a>(
    save: impl IntoIterator<Item = (&'a String, &'a String)>,
    answer: &Value,
) -> Result<Map<String, Value>> {
    let kept = save.into_iter().map(|(variable, name)| match field(answer, name) {
        Some(value) => Ok((variable.clone(), value)),
        None => fail(&format!("a {name} to keep"), "none", answer),
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judged(expect: &Expect, answer: Value) -> bool {
        judge("append", expect, &answer).is_ok()
    }

    fn success() -> Value {
        json!({"type": "append", "success": true, "status": 200, "offset": "7"})
    }

    fn error(code: &str) -> Value {
        json!({"type": "error", "success": false, "commandType": "append", "status": 409,
            "errorCode": code, "message": "/x is taken"})
    }

    fn expecting(error: &str) -> Expect {
        Expect { error: Some(error.to_owned()), ..Expect::default() }
    }

    #[test]
    fn an_unexpected_failure_fails() {
        assert!(judged(&Expect::default(), success()));
        assert!(!judged(&Expect::default(), error("CONFLICT")));
    }

    #[test]
    fn an_expected_failure_that_succeeds_fails() {
        assert!(judged(&expecting("CONFLICT"), error("CONFLICT")));
        assert!(!judged(&expecting("CONFLICT"), success()));
        assert!(!judged(&expecting("CONFLICT"), error("TIMEOUT")));
    }

    #[test]
    fn what_is_not_supported_passes_nowhere() {
        assert!(!judged(&Expect::default(), error("NOT_SUPPORTED")));
        assert!(!judged(&expecting("NOT_SUPPORTED"), error("NOT_SUPPORTED")));
    }

    #[test]
    fn fields_and_texts_are_compared() {
        let fields = |fields: Value| Expect {
            fields: fields.as_object().unwrap().clone(),
            ..Expect::default()
        };
        assert!(judged(&fields(json!({"offset": "7"})), success()));
        for wrong in [json!({"offset": "8"}), json!({"offset": 7}), json!({"duplicate": false})] {
            assert!(!judged(&fields(wrong), success()));
        }
        let says = |text: &str| Expect { says: vec![json!(text)], ..expecting("CONFLICT") };
        assert!(judged(&says("/x"), error("CONFLICT")) && !judged(&says("/y"), error("CONFLICT")));
        let never = Expect { never_says: vec![json!("taken")], ..expecting("CONFLICT") };
        assert!(!judged(&never, error("CONFLICT")));
    }

    #[test]
    fn chunks_are_read_together() {
        let answer = json!({"chunks": [{"data": "a"}, {"data": "b"}]});
        assert_eq!(field(&answer, "data"), Some(json!("ab")));
        assert_eq!(field(&json!({"chunks": []}), "data"), Some(json!("")));
    }

    #[test]
    fn a_line_that_breaks_the_protocol_fails() {
        for wrong in [
            json!({"type": "head", "success": true}),
            json!({"type": "append", "success": false}),
            json!({"type": "error", "success": false, "commandType": "head", "errorCode": "X",
                "message": "m"}),
            json!({"type": "error", "success": false, "commandType": "append", "errorCode": "X"}),
            json!({"success": true}),
        ] {
            assert!(!judged(&Expect::default(), wrong.clone()) && !judged(&expecting("X"), wrong));
        }
    }
}

//! `${name}` in the texts of a case. A name nobody set is an error, never an empty text.

use std::collections::BTreeMap;

use durstream_tests::failure::Result;
use serde_json::{Map, Value};

/// What the runner sets: the case's stream, the server as the adapter sees it, and another origin.
pub(crate) const GIVEN: [&str; 3] = ["path", "server", "elsewhere"];

#[derive(Default)]
pub(crate) struct Variables(BTreeMap<String, Value>);

impl Variables {
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// A text that is one variable becomes its value; within other text it must be text.
    pub(crate) fn fill(&self, value: &Value) -> Result<Value> {
        Ok(match value {
            Value::String(text) => self.fill_text(text)?,
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.fill(item)).collect::<Result<_>>()?)
            }
            Value::Object(fields) => Value::Object(self.fill_all(fields)?),
            other => other.clone(),
        })
    }

    pub(crate) fn fill_all(&self, fields: &Map<String, Value>) -> Result<Map<String, Value>> {
        fields.iter().map(|(name, value)| Ok((name.clone(), self.fill(value)?))).collect()
    }

    fn fill_text(&self, text: &str) -> Result<Value> {
        let mut filled = String::new();
        for piece in pieces(text)? {
            match piece {
                Piece::Text(text) => filled += text,
                Piece::Name(name) => match self.0.get(name) {
                    None => return Err(format!("nothing set ${{{name}}}").into()),
                    Some(value) if text.len() == name.len() + 3 => return Ok(value.clone()),
                    Some(Value::String(value)) => filled += value,
                    Some(other) => filled += &other.to_string(),
                },
            }
        }
        Ok(Value::String(filled))
    }
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, further) = after.split_once('}').ok_or_else(|| format!("no }} in {text:?}"))?;
        found.extend([Piece::Text(before), Piece::Name(name)]);
        rest = further;
    }
    found.push(Piece::Text(rest));
    Ok(found)
}

/// The names a value uses.
pub(crate) fn used(value: &Value) -> Result<Vec<String>> {
    let mut names = Vec::new();
    match value {
        Value::String(text) => {
            for piece in pieces(text)? {
                if let Piece::Name(name) = piece {
                    names.push(name.to_owned());
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                names.extend(used(item)?);
            }
        }
        Value::Object(fields) => {
            for field in fields.values() {
                names.extend(used(field)?);
            }
        }
        _ => {}
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn variables_are_filled_in_everywhere() {
        let mut variables = Variables::default();
        variables.set("path", json!("/x"));
        variables.set("n", json!(7));
        let value = json!({"a": ["${path}-b", "${n}"], "c": "n=${n}", "d": 1});
        let filled = json!({"a": ["/x-b", 7], "c": "n=7", "d": 1});
        assert_eq!(variables.fill(&value).unwrap(), filled);
        assert_eq!(used(&value).unwrap(), ["path", "n", "n"]);
    }

    #[test]
    fn an_undefined_one_is_an_error() {
        assert!(Variables::default().fill(&json!("${path}")).is_err());
        assert!(used(&json!("${path")).is_err());
    }
}

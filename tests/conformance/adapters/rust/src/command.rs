//! A command's fields.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::failure::{Failure, Result};

/// One line of input.
pub(crate) struct Command(Map<String, Value>);

impl Command {
    /// What is no object has no fields, and so no `type`.
    pub(crate) fn parse(line: &str) -> Self {
        match serde_json::from_str(line) {
            Ok(Value::Object(fields)) => Self(fields),
            _ => Self(Map::new()),
        }
    }

    pub(crate) fn kind(&self) -> &str {
        self.field("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// A field; null is none.
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A field in text form: how options take values.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.field(name).map(as_text)
    }

    pub(crate) fn needed(&self, name: &str) -> Result<String> {
        self.text(name).ok_or_else(|| missing(name))
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.field(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.field(name).and_then(Value::as_u64)
    }

    /// An object's entries in text form.
    pub(crate) fn pairs(&self, name: &str) -> Vec<(&str, String)> {
        let entries = self.field(name).and_then(Value::as_object).into_iter().flatten();
        entries.map(|(key, value)| (key.as_str(), as_text(value))).collect()
    }

    /// A list's entries in text form.
    pub(crate) fn items(&self, name: &str) -> Result<Vec<String>> {
        let list = self.field(name).and_then(Value::as_array).ok_or_else(|| missing(name))?;
        Ok(list.iter().map(as_text).collect())
    }

    /// `data`, which is text, or base64 where `binary` says so.
    pub(crate) fn data(&self) -> Result<Option<Vec<u8>>> {
        let Some(text) = self.text("data") else { return Ok(None) };
        if !self.flag("binary") {
            return Ok(Some(text.into_bytes()));
        }
        let wrong = |error| Failure::invalid_argument(format!("`data` is no base64: {error}"));
        STANDARD.decode(text).map(Some).map_err(wrong)
    }

    /// A field that is an object, as a command of its own.
    pub(crate) fn inner(&self, name: &str) -> Self {
        Self(self.field(name).and_then(Value::as_object).cloned().unwrap_or_default())
    }
}

/// How a result carries bytes: as text if they are, else as base64.
pub(crate) fn carried(data: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    match std::str::from_utf8(data) {
        Ok(text) => {
            fields.insert("data".to_owned(), text.into());
        }
        Err(_) => {
            fields.insert("data".to_owned(), STANDARD.encode(data).into());
            fields.insert("binary".to_owned(), true.into());
        }
    }
    fields
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn missing(name: &str) -> Failure {
    Failure::invalid_argument(format!("`{name}` is missing"))
}

//! The collections of a stream.

use durstream_core::{Collection, Error, ErrorKind, StreamSchema, Validator};
use napi_derive::napi;

use crate::crossing::guarded;

/// The key that a value makes, or why it makes none.
#[napi(object)]
pub struct KeyText {
    /// The key.
    pub key: Option<String>,
    /// In its place, why there is none.
    pub why: Option<String>,
}

/// The key that a value makes, given as JSON.
#[napi]
pub fn key_of_json(json: String) -> KeyText {
    match durstream_core::key_of_json(&json) {
        Ok(key) => KeyText { key: Some(key), why: None },
        Err(why) => KeyText { key: None, why: Some(why.as_str().to_owned()) },
    }
}

/// A schema under construction.
#[napi]
#[derive(Default)]
pub struct Schema {
    pub(crate) schema: StreamSchema,
}

#[napi]
impl Schema {
    /// A schema without collections.
    #[napi(constructor)]
    pub fn new() -> Self {
        Schema::default()
    }

    /// Adds a collection. Without a JSON Schema its values are validated by the facade.
    #[napi]
    pub fn add(
        &mut self,
        name: String,
        entity_type: String,
        primary_key: String,
        json_schema: Option<String>,
    ) -> napi::Result<()> {
        guarded(|| {
            let validator = match json_schema {
                None => Validator::External,
                Some(text) => Validator::JsonSchema(serde_json::from_str(&text).map_err(|e| {
                    Error::new(ErrorKind::InvalidArgument, format!("the JSON Schema is none: {e}"))
                })?),
            };
            self.schema.add(&name, Collection::new(entity_type, primary_key, validator))
        })
    }
}

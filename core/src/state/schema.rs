//! The schema of a stream of entity state: its collections, and how their values are validated.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::error::{self, Error, Issue, Result};
use crate::protocol::json;
use crate::reason::Reason;
use crate::runtime::fork::uncut;

/// How deep a value may be that is validated, in levels: the parser's bound.
const MAX_DEPTH: u32 = 127;
/// How many findings of a validator are reported.
const MAX_ISSUES: usize = 32;

/// Checks a value, given as JSON text.
pub type ValidateFn = Arc<dyn Fn(&Value) -> std::result::Result<(), Vec<Issue>> + Send + Sync>;

/// How the values of a collection are validated.
#[derive(Clone)]
#[non_exhaustive]
pub enum Validator {
    /// Any JSON object with its primary key.
    Any,
    /// A JSON Schema (drafts 4 to 2020-12, the last one unless `$schema` says another). References
    /// leave neither the schema nor the process. `format` is asserted in drafts 4 to 7 and only a
    /// note from 2019-09 on, as those drafts say. A value nested deeper than 127 levels is refused.
    JsonSchema(Value),
    /// A function.
    Function(ValidateFn),
    /// Nothing: the caller has validated already. For the validators of bindings.
    External,
}

impl PartialEq for Validator {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Validator::Any, Validator::Any) | (Validator::External, Validator::External) => true,
            (Validator::JsonSchema(a), Validator::JsonSchema(b)) => a == b,
            // Functions cannot be compared; the collections' names, types and keys are.
            (Validator::Function(_), Validator::Function(_)) => true,
            _ => false,
        }
    }
}

/// A collection of entities.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Collection {
    /// The `type` of its events.
    pub entity_type: String,
    /// The field that holds the primary key: text that is not empty, an integer or a boolean. In the
    /// stream a key is text, and so is what a StreamDB puts back into the entity.
    pub primary_key: String,
    /// How its values are validated.
    pub validator: Validator,
}

impl Collection {
    /// A collection of entities of a type, with their primary key's field.
    pub fn new(
        entity_type: impl Into<String>,
        primary_key: impl Into<String>,
        validator: Validator,
    ) -> Self {
        let (entity_type, primary_key) = (entity_type.into(), primary_key.into());
        Collection { entity_type, primary_key, validator }
    }
}

/// The collections of a stream, by name.
#[derive(Clone, Default, PartialEq)]
pub struct StreamSchema {
    collections: Vec<(String, Collection)>,
}

impl StreamSchema {
    /// A schema without collections.
    pub fn new() -> Self {
        StreamSchema::default()
    }

    /// Adds a collection. Checked when the producer is opened.
    pub fn collection(mut self, name: impl Into<String>, collection: Collection) -> Self {
        self.collections.push((name.into(), collection));
        self
    }

    /// Adds a collection, checked at once. For the bindings.
    ///
    /// # Errors
    /// `InvalidArgument` (`schema`): name, type or primary key is empty or taken, or the JSON
    /// Schema is not valid.
    pub fn add(&mut self, name: &str, collection: Collection) -> Result<()> {
        let extended = self.clone().collection(name, collection);
        extended.check()?;
        extended.collections.last().map_or(Ok(()), |(name, last)| compile(name, last).map(drop))?;
        *self = extended;
        Ok(())
    }

    /// Refuses an empty schema, and collections that could not be told apart.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |text: String| Err(Error::option("schema", text));
        if self.collections.is_empty() {
            return wrong("the schema has no collections".to_owned());
        }
        for (n, (name, collection)) in self.collections.iter().enumerate() {
            let shown = || error::shown(name);
            if name.is_empty() {
                return wrong("a collection's name is empty".to_owned());
            }
            if collection.entity_type.is_empty() {
                return wrong(format!("collection `{}` has no `type`", shown()));
            }
            if collection.primary_key.is_empty() {
                return wrong(format!("collection `{}` has no primary key", shown()));
            }
            for (other, before) in &self.collections[..n] {
                if other == name {
                    return wrong(format!("there are two collections `{}`", shown()));
                }
                if before.entity_type == collection.entity_type {
                    return wrong(format!(
                        "collections `{}` and `{}` have the same type `{}`",
                        error::shown(other),
                        shown(),
                        error::shown(&collection.entity_type)
                    ));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.collections.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Collection)> {
        self.collections.iter().map(|(name, collection)| (name.as_str(), collection))
    }

    /// Whether a collection's validator is a function of the holder.
    pub(super) fn has_functions(&self) -> bool {
        let is_function =
            |collection: &Collection| matches!(collection.validator, Validator::Function(_));
        self.collections.iter().any(|(_, collection)| is_function(collection))
    }

    pub(super) fn compile(&self) -> Result<BTreeMap<String, Compiled>> {
        self.collections.iter().map(|(name, c)| Ok((name.clone(), compile(name, c)?))).collect()
    }
}

/// A collection ready to write.
pub(crate) struct Compiled {
    /// The event up to its key: `{"type":"shipment","key":`.
    pub(super) prefix: String,
    pub(super) primary_key: String,
    check: Check,
}

enum Check {
    Nothing,
    JsonSchema(Box<jsonschema::Validator>),
    Function(ValidateFn),
}

/// What the events of a type begin with, up to the key.
pub(super) fn prefix_of(entity_type: &str) -> String {
    format!("{{\"type\":{},\"key\":", json::quote(entity_type))
}

fn compile(name: &str, collection: &Collection) -> Result<Compiled> {
    let check = match &collection.validator {
        Validator::Any | Validator::External => Check::Nothing,
        Validator::Function(function) => Check::Function(function.clone()),
        Validator::JsonSchema(schema) => {
            // The library has lazy values that a forked child must not meet half made.
            let compiled = uncut(|| jsonschema::validator_for(schema)).map_err(|error| {
                let name = error::shown(name);
                Error::option(
                    "schema",
                    format!("collection `{name}` has no valid JSON Schema: {error}"),
                )
            })?;
            Check::JsonSchema(Box::new(compiled))
        }
    };
    Ok(Compiled {
        prefix: prefix_of(&collection.entity_type),
        primary_key: collection.primary_key.clone(),
        check,
    })
}

impl Compiled {
    /// Checks an entity, given as readable JSON text.
    pub(super) fn validate(&self, collection: &str, key: &str, text: &[u8]) -> Result<()> {
        let parse = || serde_json::from_slice::<Value>(text);
        let parsed = match &self.check {
            Check::Nothing => return Ok(()),
            Check::JsonSchema(_) | Check::Function(_) => parse(),
        };
        let issues = match (&self.check, parsed) {
            // JSON that goes through, and that nothing can be said about.
            (_, Err(error)) => {
                let text = match error.to_string() {
                    deep if deep.starts_with("recursion limit") => format!(
                        "the value is nested deeper than {MAX_DEPTH} levels, and so deep it cannot \
                         be validated"
                    ),
                    other => format!("the value cannot be read to validate it: {other}"),
                };
                let issue = Issue { path: String::new(), message: text.clone() };
                let (reason, issues) = (Reason::InvalidValue, vec![issue]);
                return Err(Error::validation(reason, collection, Some(key), issues, text));
            }
            // Some of the library's lazy values are made by the first value that needs them.
            (Check::JsonSchema(schema), Ok(value)) => uncut(|| {
                let issue = |e: jsonschema::ValidationError<'_>| Issue {
                    path: e.instance_path().to_string(),
                    message: e.to_string(),
                };
                schema.iter_errors(&value).take(MAX_ISSUES).map(issue).collect()
            }),
            (Check::Function(function), Ok(value)) => match function(&value) {
                Ok(()) => return Ok(()),
                Err(issues) => issues,
            },
            (Check::Nothing, _) => return Ok(()),
        };
        let Some(first) = issues.first() else { return Ok(()) };
        let text = format!("the schema refused the value: {}", shown(first));
        Err(Error::validation(Reason::InvalidValue, collection, Some(key), issues, text))
    }
}

pub(super) fn shown(issue: &Issue) -> String {
    match issue.path.as_str() {
        "" => issue.message.clone(),
        path => format!("{path}: {}", issue.message),
    }
}

/// The error of an entity that is refused for one thing.
pub(super) fn invalid(collection: &str, reason: Reason, text: String) -> Error {
    let issue = Issue { path: String::new(), message: text.clone() };
    Error::validation(reason, collection, None, vec![issue], text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shipments(validator: Validator) -> StreamSchema {
        StreamSchema::new().collection("shipments", Collection::new("shipment", "id", validator))
    }

    #[test]
    fn schemas_that_cannot_work_are_refused() {
        let other = |t: &str, k: &str| Collection::new(t, k, Validator::Any);
        for (schema, text) in [
            (StreamSchema::new(), "no collections"),
            (shipments(Validator::Any).collection("", other("a", "id")), "name is empty"),
            (shipments(Validator::Any).collection("a", other("", "id")), "no `type`"),
            (shipments(Validator::Any).collection("a", other("a", "")), "no primary key"),
            (
                shipments(Validator::Any).collection("shipments", other("a", "id")),
                "two collections",
            ),
            (shipments(Validator::Any).collection("a", other("shipment", "id")), "same type"),
        ] {
            let error = schema.check().unwrap_err();
            assert_eq!(error.option_name(), Some("schema"));
            assert!(error.message().contains(text), "{error}");
        }
        let broken = Validator::JsonSchema(json!({ "type": "nonsense" }));
        let error = StreamSchema::new().add("a", Collection::new("a", "id", broken)).unwrap_err();
        assert!(error.message().contains("JSON Schema"), "{error}");
    }

    #[test]
    fn references_do_not_leave_the_schema() {
        for target in ["http://127.0.0.1:9/schema.json", "file:///etc/hostname"] {
            let schema = Validator::JsonSchema(json!({ "$ref": target }));
            let collection = Collection::new("a", "id", schema);
            assert!(StreamSchema::new().add("a", collection).is_err(), "{target}");
        }
    }

    #[test]
    fn findings_name_the_place() {
        let schema = json!({ "properties": { "id": {}, "size": { "type": "integer" } } });
        let compiled = shipments(Validator::JsonSchema(schema)).compile().unwrap();
        let shipments = &compiled["shipments"];
        assert!(shipments.validate("shipments", "a", br#"{"id":"a","size":1}"#).is_ok());
        let error = shipments.validate("shipments", "a", br#"{"id":"a","size":"x"}"#).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::InvalidValue));
        let Some(crate::error::Detail::Validation { issues, key, .. }) = error.detail() else {
            panic!("{error:?}")
        };
        assert_eq!((issues[0].path.as_str(), key.as_deref()), ("/size", Some("a")));
    }

    /// What JSON allows and a parser may refuse is no fault that a schema found.
    #[test]
    fn text_that_is_hard_to_read_is_taken_or_refused_for_what_it_is() {
        use crate::options::Options;
        use crate::state::producer::create_durable_stream;
        let options = Options::new().url("http://127.0.0.1:9/hard").producer_id("p");
        let schema = json!({ "properties": { "text": { "type": "string" } } });
        let schema = shipments(Validator::JsonSchema(schema));
        let producer = create_durable_stream(options, schema).unwrap();
        let upsert = |text: &str| producer.upsert_json("shipments", text.as_bytes()).unwrap();
        let refusal = |text: &str| upsert(text).refusal().unwrap().clone().error.unwrap();
        assert!(upsert(r#"{"id":"1","text":"half \ud83d"}"#).is_accepted());
        let key = refusal(r#"{"id":"\ud83d","text":""}"#);
        assert_eq!(key.reason(), Some(Reason::InvalidKey), "{key}");
        let nested =
            |levels| format!(r#"{{"id":"1","x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(upsert(&nested(MAX_DEPTH as usize - 1)).is_accepted());
        let deep = refusal(&nested(MAX_DEPTH as usize));
        assert!(deep.message().starts_with("the value is nested deeper than 127"), "{deep}");
        let text = refusal(r#"{"id":"1","x":1e999}"#).message().to_owned();
        assert!(text.starts_with("the value cannot be read to validate it: number out of range"));
        producer.stop();
    }
}

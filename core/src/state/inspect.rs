//! What a state producer would write, and where: told before anything is opened.

use serde_json::{Map, Value, json};

use crate::delivery::config::{Config, Create};
use crate::error::Result;
use crate::options::{OPTIONS, OptionKind, OptionSpec, Options, Scope};
use crate::protocol::stream_type::StreamType;
use crate::state::registry::{CONTENT_TYPE, check_scope};
use crate::state::schema::{Collection, StreamSchema, Validator};
use crate::transport::connect::shown_secret;
use crate::transport::endpoint::{Endpoint, base_variable, secret_variable, shown_bases};

/// What [`create_durable_stream`](crate::create_durable_stream) would open with these options: where
/// it would write, as whom, with which options and collections, and what may be a mistake. Opens
/// nothing and sends nothing.
///
/// The same JSON in every language:
///
/// - `url`: the stream; `urls`: the stream at each endpoint, in the order in which they are tried; both
///   without user info and query;
/// - `content_type`; `producer_id`, and as `producer_id_suffix` whether each producer adds a random
///   suffix to it (`shared`);
/// - `headers` and `params`: the names of what goes with each request, and where each header's value is
///   `from`: `given`, `function` or `environment` (then with its `variable`). No value is shown;
/// - `options`: each option's `value` as it will be used, and where it is `from`: `given`,
///   `environment` (then with its `variable`) or `default`. `null` is none;
/// - `collections`: the `type`, `primary_key` and `validator` of each: `json-schema`, `function`,
///   `external` (the caller's own, which the core does not see) or `none`;
/// - `warnings`: a `code` and a `message` each: `numeric-primary-key`, `credentials-in-clear`.
///
/// Later versions may add members, codes and words.
///
/// # Errors
/// Those of opening: `InvalidArgument`, naming the option. Whether the stream is open already, with
/// other options, is not looked at.
pub fn inspect(options: Options, schema: StreamSchema) -> Result<Value> {
    let producer_id = check_scope(&options)?;
    let endpoint = Endpoint::resolve(&options)?;
    let config =
        Config::new(Scope::State, &options, &producer_id, StreamType::given(CONTENT_TYPE))?;
    Create::of(&options, CONTENT_TYPE, true)?;
    schema.check()?;
    schema.compile()?;
    let urls: Vec<String> = endpoint.shown_urls().collect();
    let collections = schema.iter().map(|(name, own)| (name.to_owned(), shown(own)));
    Ok(json!({
        "url": *endpoint.shown,
        "urls": urls,
        "content_type": CONTENT_TYPE,
        "producer_id": producer_id,
        "producer_id_suffix": config.shared,
        "headers": headers(&options, &endpoint)?,
        "params": options.params.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "options": effective(&options, &config, &endpoint),
        "collections": collections.collect::<Map<_, _>>(),
        "warnings": warnings(&schema, &endpoint),
    }))
}

fn shown(collection: &Collection) -> Value {
    let validator = match &collection.validator {
        Validator::Any => "none",
        Validator::JsonSchema(_) => "json-schema",
        Validator::Function(_) => "function",
        Validator::External => "external",
    };
    let Collection { entity_type, primary_key, .. } = collection;
    json!({ "type": entity_type, "primary_key": primary_key, "validator": validator })
}

fn given(value: Value) -> Value {
    json!({ "value": value, "from": "given" })
}

/// The names of the headers, and where their values come from.
fn headers(options: &Options, endpoint: &Endpoint) -> Result<Map<String, Value>> {
    let own = options.header_map()?;
    let mut found = Map::new();
    for name in endpoint.headers.keys() {
        let from = match (own.contains_key(name), secret_variable(options)) {
            (false, Some(variable)) => json!({ "from": "environment", "variable": variable }),
            _ => json!({ "from": "given" }),
        };
        found.insert(name.to_string(), from);
    }
    for (name, _) in options.header_functions()? {
        found.insert(name.to_string(), json!({ "from": "function" }));
    }
    Ok(found)
}

/// Each option as it will be used, and where it comes from.
fn effective(options: &Options, config: &Config, endpoint: &Endpoint) -> Map<String, Value> {
    let set = options.given();
    let of_state = OPTIONS.iter().filter(|spec| spec.scopes.contains(&Scope::State));
    let entry = |spec: &OptionSpec| match (spec.name, set.get(spec.name)) {
        ("url", Some(_)) => given((*endpoint.shown).into()),
        ("endpoints", Some(list)) => given(shown_bases(list.as_str().unwrap_or_default()).into()),
        (name, Some(value)) => match value.as_str().and_then(|text| shown_secret(name, text)) {
            Some(shown) => given(shown.into()),
            None => given(value.clone()),
        },
        ("endpoints", None) if options.url.is_none() => {
            let (variable, value) = base_variable(options).unwrap_or_default();
            json!({ "value": value, "from": "environment", "variable": variable })
        }
        (_, None) => json!({ "value": default(spec, config), "from": "default" }),
    };
    of_state.map(|spec| (spec.name.to_owned(), entry(spec))).collect()
}

/// The value of an option that is not given. Some depend on others.
fn default(spec: &OptionSpec, config: &Config) -> Value {
    let backoff = &config.retries.backoff;
    let ms = |time: std::time::Duration| json!(time.as_millis() as u64);
    match (spec.name, spec.kind) {
        ("auto_claim", _) => config.auto_claim.into(),
        ("linger_ms", _) => ms(config.linger),
        ("on_uncertain", _) => if config.resend_uncertain { "resend" } else { "report" }.into(),
        ("retry_initial_delay_ms", _) => ms(backoff.initial),
        ("retry_max_delay_ms", _) => ms(backoff.max),
        _ if spec.default.is_empty() => Value::Null,
        // Numbers and flags are written as JSON has them.
        (_, OptionKind::Text | OptionKind::Choice(_)) => spec.default.into(),
        _ => serde_json::from_str(spec.default).unwrap_or(Value::Null),
    }
}

fn warnings(schema: &StreamSchema, endpoint: &Endpoint) -> Vec<Value> {
    let mut found = Vec::new();
    let mut warn = |code: &str, message: String| {
        found.push(json!({ "code": code, "message": message }));
    };
    for (name, collection) in schema.iter().filter(|(_, own)| has_numeric_key(own)) {
        let key = &collection.primary_key;
        warn(
            "numeric-primary-key",
            format!(
                "the primary key `{key}` of `{name}` is numeric: keys are text on the wire, and \
                 readers such as StreamDB put that text into `{key}`"
            ),
        );
    }
    if endpoint.shows_credentials() {
        let host = endpoint.url.host_str().unwrap_or_default();
        warn(
            "credentials-in-clear",
            format!(
                "credentials go to {host} over plain http, where anybody between can read them"
            ),
        );
    }
    found
}

fn has_numeric_key(collection: &Collection) -> bool {
    let Validator::JsonSchema(schema) = &collection.validator else { return false };
    let is_numeric = |value: &Value| value == "integer" || value == "number";
    match &schema["properties"][&collection.primary_key]["type"] {
        Value::Array(types) => types.iter().any(is_numeric),
        one => is_numeric(one),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn schema(validator: Validator) -> StreamSchema {
        StreamSchema::new().collection("orders", Collection::new("order", "id", validator))
    }

    fn options() -> Options {
        Options::new().url("http://127.0.0.1:1/orders").producer_id("service")
    }

    fn codes(told: &Value) -> Vec<&str> {
        told["warnings"].as_array().unwrap().iter().filter_map(|one| one["code"].as_str()).collect()
    }

    #[test]
    fn no_secret_is_shown() {
        let secrets = options()
            .url("https://user:s3cret-1@h:1/a?key=s3cret-2")
            .endpoints("https://user:s3cret-3@i:2/own?key=s3cret-4, http://j")
            .header("authorization", "s3cret-5")
            .header_fn("x-token", Arc::new(|answer| answer.give("s3cret-6")))
            .param("tenant", "s3cret-7")
            .proxy("http://user:s3cret-8@proxy:3128");
        let told = inspect(secrets, schema(Validator::Any)).unwrap();
        assert!(!told.to_string().contains("s3cret"), "{told}");
        assert_eq!(told["url"], "https://h:1/a");
        let endpoints = json!({ "value": "https://i:2/own, http://j/", "from": "given" });
        assert_eq!(told["options"]["endpoints"], endpoints);
        let proxy = json!({ "value": "http://proxy:3128", "from": "given" });
        assert_eq!(told["options"]["proxy"], proxy);
        let headers =
            json!({ "authorization": { "from": "given" }, "x-token": { "from": "function" } });
        assert_eq!((&told["headers"], &told["params"]), (&headers, &json!(["tenant"])));
        assert!(codes(&told).is_empty());
    }

    #[test]
    fn options_are_told_as_they_will_be_used() {
        let with = options().epoch(3u64).retry_initial_delay_ms(9_000u64).shared(true);
        let told = inspect(with, schema(Validator::Any)).unwrap();
        let option = |name: &str| {
            let own = &told["options"][name];
            (own["value"].clone(), own["from"].as_str().unwrap())
        };
        assert_eq!(option("epoch"), (json!(3), "given"));
        assert_eq!(option("shared"), (json!(true), "given"));
        assert_eq!(option("auto_claim"), (json!(false), "default"));
        assert_eq!(option("linger_ms"), (json!(5_000), "default"));
        assert_eq!(option("retry_max_delay_ms"), (json!(9_000), "default"));
        assert_eq!(option("retry_multiplier"), (json!(2), "default"));
        assert_eq!(option("on_uncertain"), (json!("resend"), "default"));
        assert_eq!(option("operations"), (json!("upsert"), "default"));
        assert_eq!(option("ttl_seconds"), (Value::Null, "default"));
        assert_eq!(told["options"].get("content_type"), None, "an option of streams");
        assert_eq!(
            (&told["producer_id"], &told["producer_id_suffix"]),
            (&json!("service"), &json!(true))
        );
    }

    #[test]
    fn a_numeric_key_is_warned_of() {
        for (key, warned) in [
            (json!({ "type": "integer" }), true),
            (json!({ "type": ["number", "string"] }), true),
            (json!({ "type": "string" }), false),
            (json!({}), false),
        ] {
            let validator = Validator::JsonSchema(json!({ "properties": { "id": key } }));
            let told = inspect(options(), schema(validator)).unwrap();
            assert_eq!(codes(&told).contains(&"numeric-primary-key"), warned, "{told}");
            let expected = json!({ "orders": { "type": "order", "primary_key": "id", "validator": "json-schema" } });
            assert_eq!(told["collections"], expected);
        }
    }

    #[test]
    fn credentials_over_plain_http_are_warned_of() {
        for (url, warned) in [
            ("http://streams.example/a", true),
            ("https://streams.example/a", false),
            ("http://localhost/a", false),
            ("http://[::1]/a", false),
        ] {
            let with = options().url(url).header("authorization", "Bearer x");
            let told = inspect(with, schema(Validator::Any)).unwrap();
            assert_eq!(codes(&told), if warned { vec!["credentials-in-clear"] } else { vec![] });
            let without = inspect(options().url(url), schema(Validator::Any)).unwrap();
            assert!(codes(&without).is_empty(), "{url}");
        }
        let user = options().url("http://user:pw@streams.example/a");
        let told = inspect(user, schema(Validator::Any)).unwrap();
        assert_eq!(codes(&told), ["credentials-in-clear"]);
    }

    #[test]
    fn what_cannot_be_opened_is_refused_as_by_opening() {
        use crate::state::producer::create_durable_stream;
        let any = || schema(Validator::Any);
        for (wrong, schema) in [
            (Options::new().url("http://h/a"), any()),
            (options().producer_id("a b"), any()),
            (options().stream_path("/a"), any()),
            (options().max_in_flight(0u64), any()),
            (options().content_type("text/plain"), any()),
            (options().ttl_seconds(1u64).expires_at("2030-01-01T00:00:00Z"), any()),
            (options().header("host", "h"), any()),
            (options(), StreamSchema::new()),
            (options(), schema(Validator::JsonSchema(json!({ "type": "nonsense" })))),
        ] {
            let told = inspect(wrong.clone(), schema.clone()).unwrap_err();
            let opened = create_durable_stream(wrong, schema).err().unwrap();
            assert_eq!(told.to_string(), opened.to_string());
            assert_eq!(told.option_name(), opened.option_name());
        }
    }
}

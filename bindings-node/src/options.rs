//! Options by their names in the core's spelling; the facade translates both ways.

use durstream_core::{ErrorKind, OPTIONS, OptionKind, Options, Reason, Result};
use napi_derive::napi;
use serde_json::{Value, json};

/// Options from flat lists of names and values: of options, of headers, and of query parameters.
pub fn options(settings: &[String], headers: &[String], params: &[String]) -> Result<Options> {
    let mut options = Options::new();
    for pair in settings.chunks_exact(2) {
        options.set(&pair[0], &pair[1])?;
    }
    for pair in headers.chunks_exact(2) {
        options.set_header(&pair[0], &pair[1])?;
    }
    for pair in params.chunks_exact(2) {
        options.set_param(&pair[0], &pair[1])?;
    }
    Ok(options)
}

/// The core's words as JSON text: its options (name, kind, who takes it), the reasons of
/// refusals, and the classes of errors.
#[napi]
pub fn vocabulary() -> String {
    let options: Vec<Value> = OPTIONS
        .iter()
        .map(|spec| {
            let kind = match spec.kind {
                OptionKind::Number { .. } | OptionKind::Factor => "number",
                OptionKind::Flag => "boolean",
                _ => "string",
            };
            let scopes = spec.scopes.iter().map(|scope| format!("{scope:?}").to_lowercase());
            let scopes: Vec<String> = scopes.collect();
            json!({ "name": spec.name, "kind": kind, "scopes": scopes })
        })
        .collect();
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let errors: Vec<&str> = ErrorKind::ALL.iter().map(|kind| kind.class_name()).collect();
    json!({ "options": options, "reasons": reasons, "errors": errors }).to_string()
}

//! Options by their names in the core's spelling; the facade translates both ways.

use durstream_core::{
    ErrorKind, HeaderFn, OPTIONS, OptionKind, Options, Reason, Result, VARIABLES,
};
use napi_derive::napi;
use serde_json::{Value, json};

use crate::crossing::guarded;
use crate::header::{Asked, header_fn};

/// The facade's form of an options object: flat lists of names and values, and the names of
/// the headers whose values are functions beside those.
#[napi(object, object_to_js = false)]
pub struct Given<'env> {
    /// Options.
    pub settings: Vec<String>,
    /// Headers.
    pub headers: Vec<String>,
    /// Query parameters.
    pub params: Vec<String>,
    /// The variables of the host's environment that the core looks at: a realm or a worker has its own.
    pub variables: Vec<String>,
    /// The names of the headers whose values are functions.
    pub asked_headers: Vec<String>,
    /// The function of each of them.
    pub asked: Vec<Asked<'env>>,
}

impl Given<'_> {
    /// The core's options.
    pub fn options(&self) -> napi::Result<Options> {
        let functions: Vec<HeaderFn> =
            self.asked.iter().map(header_fn).collect::<napi::Result<_>>()?;
        guarded(|| self.with(functions))
    }

    fn with(&self, functions: Vec<HeaderFn>) -> Result<Options> {
        let mut options = Options::new();
        for pair in self.settings.chunks_exact(2) {
            options.set(&pair[0], &pair[1])?;
        }
        for pair in self.headers.chunks_exact(2) {
            options.set_header(&pair[0], &pair[1])?;
        }
        let variables = self.variables.chunks_exact(2);
        options.set_variables(variables.map(|pair| (pair[0].clone(), pair[1].clone())).collect());
        for (name, function) in self.asked_headers.iter().zip(functions) {
            options.set_header_fn(name, function)?;
        }
        for pair in self.params.chunks_exact(2) {
            options.set_param(&pair[0], &pair[1])?;
        }
        Ok(options)
    }
}

/// The addon's version, which has to be that of the package that loads it.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The name that somebody may have meant who gave one that is not known.
#[napi]
pub fn nearest(name: String, known: Vec<String>) -> Option<String> {
    durstream_core::nearest(&name, known.iter().map(String::as_str)).map(str::to_owned)
}

/// The core's vocabulary as JSON text: its options (name, kind, constructors), the reasons of
/// refusals, the classes of errors, and the variables it looks at.
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
    json!({ "options": options, "reasons": reasons, "errors": errors, "variables": VARIABLES })
        .to_string()
}

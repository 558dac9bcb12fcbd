//! Options, headers and query parameters on their way in, and the table they are checked against on its way out.

use durstream_core::{OPTIONS, OptionKind, Options};
use pyo3::prelude::*;

use crate::callable::Callables;
use crate::errors::raised;
use crate::headers::{Header, Headers, asking};

/// Names and values as text, as `durstream._options` writes them.
pub(crate) type Pairs = Vec<(String, String)>;

/// Reads options, headers and query parameters, checking each against the core's table. The
/// handle keeps the functions among the headers.
pub(crate) fn read(
    py: Python<'_>,
    options: &Pairs,
    headers: Headers,
    params: &Pairs,
) -> PyResult<(Options, Callables)> {
    let (mut read, mut functions) = (Options::new(), Callables::default());
    for (name, value) in options {
        read.set(name, value).map_err(|error| raised(py, &error))?;
    }
    for (name, value) in headers {
        let set = match value {
            Header::Value(value) => read.set_header(&name, &value),
            Header::Function(function) => {
                let called = functions.add(py, function)?;
                read.set_header_fn(&name, asking(called))
            }
        };
        set.map_err(|error| raised(py, &error))?;
    }
    for (name, value) in params {
        read.set_param(name, value).map_err(|error| raised(py, &error))?;
    }
    Ok((read, functions))
}

/// Whether these say that writes are kept in an outbox.
pub(crate) fn is_kept(options: &Pairs) -> bool {
    options.iter().any(|(name, _)| name == "outbox_dir")
}

/// Every option as (name, kind, default, constructors that take it, meaning).
#[pyfunction]
pub(crate) fn options_table() -> Vec<(&'static str, &'static str, &'static str, Vec<String>, String)>
{
    let row = |spec: &durstream_core::OptionSpec| {
        let kind = match spec.kind {
            OptionKind::Number { .. } => "number",
            OptionKind::Factor => "factor",
            OptionKind::Flag => "flag",
            OptionKind::Choice(_) => "choice",
            _ => "text",
        };
        let scopes = spec.scopes.iter().map(|s| format!("{s:?}").to_lowercase()).collect();
        (spec.name, kind, spec.default, scopes, spec.meaning.to_owned())
    };
    OPTIONS.iter().map(row).collect()
}

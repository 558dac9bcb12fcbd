//! Options, headers and query parameters on their way in, and the table they are checked against on its way out.

use durstream_core::{OPTIONS, OptionKind, Options};
use pyo3::prelude::*;

use crate::errors::raised;

/// Names and values as text, as `durstream._options` writes them.
pub(crate) type Pairs = Vec<(String, String)>;

/// Reads options, headers and query parameters, checking each against the core's table.
pub(crate) fn read(
    py: Python<'_>,
    options: &Pairs,
    headers: &Pairs,
    params: &Pairs,
) -> PyResult<Options> {
    let mut read = Options::new();
    for (name, value) in options {
        read.set(name, value).map_err(|error| raised(py, &error))?;
    }
    for (name, value) in headers {
        read.set_header(name, value).map_err(|error| raised(py, &error))?;
    }
    for (name, value) in params {
        read.set_param(name, value).map_err(|error| raised(py, &error))?;
    }
    Ok(read)
}

/// A number among options that were read, or its default.
pub(crate) fn number(options: &Pairs, name: &str) -> u64 {
    let given = options.iter().rev().find(|(given, _)| given == name).map(|(_, value)| &**value);
    let default = || OPTIONS.iter().find(|spec| spec.name == name).map(|spec| spec.default);
    given.or_else(default).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Every option as (name, kind, default, who takes it, meaning).
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

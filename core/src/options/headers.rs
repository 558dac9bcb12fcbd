//! Headers of the host: headers with fixed values, and headers whose values are functions.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::error::{Error, ErrorKind, Result, shown};
use crate::runtime::pending::Completer;

/// Gives the value of a header for one request, at once or later, from any thread.
///
/// The library calls it on a thread for header functions alone, one call at a time. It must not
/// wait for anything of the library.
pub type HeaderFn = Arc<dyn Fn(HeaderAnswer) + Send + Sync>;

/// Receives the value from a [`HeaderFn`]. Dropped without a value, it fails.
pub struct HeaderAnswer(Completer<String>);

impl HeaderAnswer {
    pub(crate) fn new(completer: Completer<String>) -> Self {
        HeaderAnswer(completer)
    }

    /// The value of the header for this request.
    pub fn give(self, value: impl Into<String>) {
        self.0.complete(Ok(value.into()));
    }

    /// Says that there is no value now; the request is tried again later.
    pub fn fail(self, why: impl Into<String>) {
        self.0.complete(Err(Error::new(ErrorKind::Transport, why)));
    }
}

/// Headers that carry the protocol: only the library sets them.
fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("producer-")
        || name.starts_with("stream-")
        || matches!(name, "content-type" | "host" | "content-length" | "transfer-encoding")
}

/// A header whose value is a function.
#[derive(Clone)]
pub(super) struct HeaderFunction {
    pub(super) name: String,
    pub(super) function: HeaderFn,
}

/// Functions belong to their holder; only the names of the headers are compared.
impl PartialEq for HeaderFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

pub(super) fn header_name(name: &str) -> Result<HeaderName> {
    let wrong = |text: String| Error::option("headers", text);
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| wrong(format!("`{}` is not a header name", shown(name))))?;
    if is_reserved(&parsed) {
        return Err(wrong(format!("header `{}` is set by the library itself", shown(name))));
    }
    Ok(parsed)
}

pub(crate) fn header_value(name: &HeaderName, value: &str) -> Result<HeaderValue> {
    let wrong = |text: String| Error::option("headers", text);
    if value.chars().any(|c| c.is_control()) {
        return Err(wrong(format!("the value of header `{name}` has control characters")));
    }
    let mut value = HeaderValue::from_str(value)
        .or_else(|_| HeaderValue::from_bytes(value.as_bytes()))
        .map_err(|_| wrong(format!("the value of header `{name}` cannot be sent")))?;
    value.set_sensitive(name == http::header::AUTHORIZATION);
    Ok(value)
}

pub(super) fn parse_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let name = header_name(name)?;
    let value = header_value(&name, value)?;
    Ok((name, value))
}

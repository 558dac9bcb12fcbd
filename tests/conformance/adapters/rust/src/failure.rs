//! Errors as the suite names them.

use durstream_core::{Detail, Error, ErrorKind};
use serde_json::{Value, json};

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) status: Option<u16>,
    pub(crate) definite: Option<bool>,
    pub(crate) message: String,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn invalid_argument(message: String) -> Self {
        Self { code: "INVALID_ARGUMENT", status: None, definite: None, message }
    }

    pub(crate) fn not_found(url: &str) -> Self {
        let message = format!("there is no stream at this URL ({url})");
        Self { code: "NOT_FOUND", status: Some(404), definite: None, message }
    }

    pub(crate) fn not_supported(message: String) -> Self {
        Self { code: "NOT_SUPPORTED", status: None, definite: None, message }
    }

    pub(crate) fn to_json(&self, command: &str) -> Value {
        let mut out = json!({
            "type": "error",
            "success": false,
            "commandType": command,
            "errorCode": self.code,
            "message": self.message,
        });
        if let Some(status) = self.status {
            out["status"] = status.into();
        }
        if let Some(definite) = self.definite {
            out["definite"] = definite.into();
        }
        out
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let error = cause(&error);
        let definite = Some(error.definite());
        Self { code: code(error), status: error.status(), definite, message }
    }
}

/// A delivery that failed is told as what it failed for.
fn cause(error: &Error) -> &Error {
    match error.detail() {
        Some(Detail::Delivery { cause: inner, .. }) => cause(inner),
        _ => error,
    }
}

/// The suite's word for an error, or the library's own where it has none.
pub(crate) fn code(error: &Error) -> &'static str {
    let refused = error.status().is_some_and(|status| status >= 400);
    match error.kind() {
        ErrorKind::StreamNotFound => "NOT_FOUND",
        ErrorKind::StreamExists | ErrorKind::Conflict => "CONFLICT",
        ErrorKind::Transport if error.status().is_some() => "UNEXPECTED_STATUS",
        ErrorKind::Transport => "NETWORK_ERROR",
        ErrorKind::InvalidArgument if error.option_name() == Some("offset") && refused => {
            "INVALID_OFFSET"
        }
        ErrorKind::InvalidArgument | ErrorKind::Validation => "INVALID_ARGUMENT",
        ErrorKind::Protocol if refused => "UNEXPECTED_STATUS",
        ErrorKind::Protocol => "PARSE_ERROR",
        ErrorKind::Internal => "INTERNAL_ERROR",
        other => other.code(),
    }
}

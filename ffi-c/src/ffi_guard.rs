//! The one way in from C: every export's whole body is [`call`] or [`get`], so no panic gets out.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::problem::{Problem, durstream_code, durstream_error};

/// Runs a fallible call: its code, and where asked for its error.
///
/// # Safety
/// `error` is NULL or may be written to.
pub(crate) unsafe fn call(
    error: *mut *mut durstream_error,
    body: impl FnOnce() -> Result<(), Problem>,
) -> durstream_code {
    let problem = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return durstream_code::DURSTREAM_OK,
        Ok(Err(problem)) => problem,
        Err(panic) => Problem::Panic(text_of(&*panic)),
    };
    let code = problem.code();
    if !error.is_null() {
        let made = catch_unwind(AssertUnwindSafe(|| durstream_error::boxed(problem)));
        // SAFETY: not NULL, and then the caller's to be written to.
        unsafe { error.write(made.unwrap_or(std::ptr::null_mut())) };
    }
    code
}

/// Runs a call that cannot fail; `otherwise` is for NULL handles and panics.
pub(crate) fn get<T>(otherwise: T, body: impl FnOnce() -> Option<T>) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Some(value)) => value,
        Ok(None) | Err(_) => otherwise,
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a text".to_owned())
}

//! Headers whose values are functions, which are called on the event loop.

use std::sync::Arc;

use durstream_core::HeaderFn;
use napi::Status;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

/// Weak: the wait for the answer keeps Node alive, or nothing does.
type Channel = ThreadsafeFunction<HeaderAnswer, (), HeaderAnswer, Status, false, true>;
/// The function that the facade registers.
pub type Asked<'a> = Function<'a, HeaderAnswer, ()>;

/// Takes one value, once. Collected without one, it fails.
#[napi]
pub struct HeaderAnswer {
    answer: Option<durstream_core::HeaderAnswer>,
}

#[napi]
impl HeaderAnswer {
    /// The value of the header for this request.
    #[napi]
    pub fn give(&mut self, value: String) {
        if let Some(answer) = self.answer.take() {
            answer.give(value);
        }
    }

    /// Says that there is no value now.
    #[napi]
    pub fn fail(&mut self, why: String) {
        if let Some(answer) = self.answer.take() {
            answer.fail(why);
        }
    }
}

/// The core's function for a JavaScript function.
pub fn header_fn(function: &Asked<'_>) -> napi::Result<HeaderFn> {
    let builder = function.build_threadsafe_function::<HeaderAnswer>();
    let channel: Channel = builder.callee_handled::<false>().weak::<true>().build()?;
    Ok(Arc::new(move |answer| {
        // Dropped with the queue when the environment ends, and so answered.
        let answer = HeaderAnswer { answer: Some(answer) };
        channel.call(answer, ThreadsafeFunctionCallMode::NonBlocking);
    }))
}

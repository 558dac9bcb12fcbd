//! Headers whose values are functions of the host's, and their answers.

use std::ffi::{c_char, c_void};
use std::mem;
use std::sync::Arc;

use durstream_core::{HeaderAnswer, HeaderFn};

use crate::args::{handle, text};
use crate::ffi_guard::{call, get};
use crate::given::{give, take};
use crate::options::{UserData, durstream_destroy_callback, durstream_options};
use crate::problem::{Problem, durstream_code, durstream_error};

/// Takes the value of a header for one request. It is to be answered exactly once, by
/// `durstream_header_answer_give` or `durstream_header_answer_fail`, which consume it: at once or
/// after the function has returned, from any thread.
pub struct durstream_header_answer {
    answer: HeaderAnswer,
}

/// Gives a header's value: the library calls it on its own thread for header functions, one call at
/// a time and beside the other callbacks. A function that takes long should answer later, from
/// another thread: it has to answer `answer` in any case. No exception may leave it.
pub type durstream_header_callback =
    Option<unsafe extern "C" fn(answer: *mut durstream_header_answer, user_data: *mut c_void)>;

/// A host's header function.
struct Asked {
    callback: unsafe extern "C" fn(*mut durstream_header_answer, *mut c_void),
    user_data: UserData,
}

impl Asked {
    fn ask(&self, answer: HeaderAnswer) {
        let answer = give(durstream_header_answer { answer });
        // SAFETY: the host's function with its own data; the answer is its to consume.
        unsafe { (self.callback)(answer, self.user_data.pointer) };
    }
}

/// Adds a header whose value `callback` gives, such as a token that expires. It is called once per
/// request, its value is kept for the repeats of the request, and it is called again after 401 or
/// 403. While there is no value, writes wait as in an outage. `name` is copied. `user_data` is
/// handed to the callback and stays the caller's until `destroy` (may be NULL), which runs once:
/// when neither these options nor an object made with them needs it any more. Any thread; does not
/// block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT`: no callback, not a header's name, or a header that the
/// library sets itself; `destroy` is not called then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_options_set_header_fn(
    options: *mut durstream_options,
    name: *const c_char,
    callback: durstream_header_callback,
    user_data: *mut c_void,
    destroy: durstream_destroy_callback,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let (options, name) = (handle(options, "options")?, text(name, "name")?);
            let callback = callback.ok_or_else(|| Problem::null("callback"))?;
            let asked = Arc::new(Asked { callback, user_data: UserData::new(user_data, destroy) });
            let function: HeaderFn = {
                let asked = asked.clone();
                Arc::new(move |answer| asked.ask(answer))
            };
            let set = options.set_header_fn(name, function);
            if set.is_err() {
                mem::forget(Arc::into_inner(asked)); // not taken: it stays the caller's
            }
            set
        })
    }
}

/// Answers with the header's value, which is copied; a value that cannot be sent fails, as by
/// `durstream_header_answer_fail`. The answer is used up. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_header_answer_give(
    answer: *mut durstream_header_answer,
    value: *const c_char,
) {
    // SAFETY: the caller hands over what its callback received; the text is as the header asks.
    unsafe {
        get((), || {
            let answer = take(answer)?.answer;
            match text(value, "value") {
                Ok(value) => answer.give(value),
                Err(problem) => answer.fail(problem.text()),
            }
            Some(())
        })
    }
}

/// Answers that there is no value now; `why` is copied, for people. The request is tried again
/// later. The answer is used up. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_header_answer_fail(
    answer: *mut durstream_header_answer,
    why: *const c_char,
) {
    // SAFETY: the caller hands over what its callback received; the text is as the header asks.
    unsafe {
        get((), || {
            let answer = take(answer)?.answer;
            answer.fail(text(why, "why").unwrap_or("without a reason"));
            Some(())
        })
    }
}

//! Changes of a producer's state, as the state callback receives them.

use std::ptr;

use durstream_core::StateChange;

use crate::ffi_guard::get;
use crate::problem::{Problem, durstream_error};
use crate::stats::{durstream_lifecycle, lifecycle_of};

/// A producer went from one state to another. Owned by the library until the callback returns.
pub struct durstream_transition {
    change: StateChange,
    error: Option<durstream_error>,
}

impl durstream_transition {
    pub(crate) fn new(change: StateChange) -> Self {
        let error = change.error.clone().map(|error| durstream_error::new(Problem::Core(error)));
        durstream_transition { change, error }
    }
}

/// The state before; `DURSTREAM_LIFECYCLE_NONE` only for NULL. The callback's thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_transition_from(
    transition: *const durstream_transition,
) -> durstream_lifecycle {
    // SAFETY: NULL or the transition the callback is about.
    unsafe {
        get(durstream_lifecycle::DURSTREAM_LIFECYCLE_NONE, || {
            Some(lifecycle_of(transition.as_ref()?.change.from))
        })
    }
}

/// The state from here on; `DURSTREAM_LIFECYCLE_NONE` only for NULL. The callback's thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_transition_to(
    transition: *const durstream_transition,
) -> durstream_lifecycle {
    // SAFETY: NULL or the transition the callback is about.
    unsafe {
        get(durstream_lifecycle::DURSTREAM_LIFECYCLE_NONE, || {
            Some(lifecycle_of(transition.as_ref()?.change.to))
        })
    }
}

/// The failure that is the reason; NULL where none is. Owned by the transition, not to be freed. The
/// callback's thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_transition_error(
    transition: *const durstream_transition,
) -> *const durstream_error {
    // SAFETY: NULL or the transition the callback is about.
    unsafe { get(ptr::null(), || Some(&raw const *transition.as_ref()?.error.as_ref()?)) }
}

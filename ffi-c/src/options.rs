//! Options, by the names every language shares, and the callbacks of a producer.

use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durstream_core::{Callbacks, Delivery, DeliveryCallback, Error, ErrorCallback, Failure};
use durstream_core::{HeaderFn, Options, StateCallback, StateChange};

use crate::args::{handle, text};
use crate::delivery::durstream_delivery;
use crate::ffi_guard::{call, get};
use crate::given::{give, take};
use crate::outcome::durstream_failure;
use crate::problem::{Problem, durstream_code, durstream_error};
use crate::transition::durstream_transition;

/// Options for a stream, a producer or a state producer. An open copies them: they may be changed,
/// used again and freed afterwards.
pub struct durstream_options {
    set: Mutex<Set>,
}

#[derive(Default, Clone)]
struct Set {
    options: Options,
    on_error: Option<Arc<Listener<durstream_failure>>>,
    on_delivery: Option<Arc<Listener<durstream_delivery>>>,
    on_state: Option<Arc<Listener<durstream_transition>>>,
}

/// Receives a write that was not delivered. `failure`, and everything it leads to, is owned by the
/// library and ends with the call. Runs on the library's own thread for callbacks, one call at a
/// time; it may run before the call that made the write has returned. It may append and read; a
/// call that would wait answers `DURSTREAM_NOT_SUPPORTED` (`would-deadlock`). No exception may
/// leave it.
pub type durstream_error_callback =
    Option<unsafe extern "C" fn(failure: *const durstream_failure, user_data: *mut c_void)>;

/// Receives writes that were delivered, a batch at a time, in the order of the calls. `delivery`,
/// and everything it leads to, is owned by the library and ends with the call. Its thread and its
/// limits are those of `durstream_error_callback`.
pub type durstream_delivery_callback =
    Option<unsafe extern "C" fn(delivery: *const durstream_delivery, user_data: *mut c_void)>;

/// Receives each change of a producer's state, in their order. `transition`, and everything it leads
/// to, is owned by the library and ends with the call. Its thread and its limits are those of
/// `durstream_error_callback`. A producer begins as `DURSTREAM_LIFECYCLE_CONNECTING`, which is no
/// change; of changes that a slow callback does not keep up with, the last ones become one.
pub type durstream_transition_callback =
    Option<unsafe extern "C" fn(transition: *const durstream_transition, user_data: *mut c_void)>;

/// Runs once, on any thread, when `user_data` is used no more. It must not block.
pub type durstream_destroy_callback = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// The `user_data` of a host's callback; its end tells the host.
pub(crate) struct UserData {
    pub(crate) pointer: *mut c_void,
    destroy: durstream_destroy_callback,
}

// SAFETY: the header says that callbacks and `user_data` are used on the library's threads.
unsafe impl Send for UserData {}
// SAFETY: as above; calls of one callback never overlap, its thread is always the same.
unsafe impl Sync for UserData {}

impl UserData {
    pub(crate) fn new(pointer: *mut c_void, destroy: durstream_destroy_callback) -> Self {
        UserData { pointer, destroy }
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy {
            // SAFETY: the host's function with its own data, for the last time.
            unsafe { destroy(self.pointer) };
        }
    }
}

/// A host's callback for reports of one kind.
struct Listener<Report> {
    callback: unsafe extern "C" fn(*const Report, *mut c_void),
    user_data: UserData,
}

impl<Report> Listener<Report> {
    fn of(
        callback: Option<unsafe extern "C" fn(*const Report, *mut c_void)>,
        user_data: *mut c_void,
        destroy: durstream_destroy_callback,
    ) -> Option<Arc<Self>> {
        // Without a callback the data stays the host's: nothing destroys it.
        callback.map(|callback| {
            Arc::new(Listener { callback, user_data: UserData::new(user_data, destroy) })
        })
    }

    fn call(&self, report: &Report) {
        // SAFETY: the host's function with its own data, for a report that lives until it ends.
        unsafe { (self.callback)(report, self.user_data.pointer) };
    }
}

impl durstream_options {
    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a stream, which has no callbacks of its own.
    pub(crate) fn for_stream(&self) -> Result<Options, Problem> {
        let set = self.lock();
        let callbacks = [
            ("on_error", set.on_error.is_some()),
            ("on_delivery", set.on_delivery.is_some()),
            ("on_state", set.on_state.is_some()),
        ];
        if let Some((name, _)) = callbacks.iter().find(|(_, given)| *given) {
            let text = format!(
                "`{name}` is for producers: a stream's own calls return what becomes of a write"
            );
            return Err(Problem::argument(name, text));
        }
        Ok(set.options.clone())
    }

    /// Adds a header whose value is a function.
    pub(crate) fn set_header_fn(&self, name: &str, function: HeaderFn) -> Result<(), Problem> {
        Ok(self.lock().options.set_header_fn(name, function)?)
    }

    /// For a producer.
    pub(crate) fn for_producer(&self) -> (Options, Callbacks) {
        let Set { options, on_error, on_delivery, on_state } = self.lock().clone();
        let on_error = on_error.map(|listener| -> ErrorCallback {
            Arc::new(move |failure: Failure| listener.call(&durstream_failure::new(failure)))
        });
        let on_delivery = on_delivery.map(|listener| -> DeliveryCallback {
            Arc::new(move |delivery: Delivery| listener.call(&durstream_delivery::new(delivery)))
        });
        let on_state = on_state.map(|listener| -> StateCallback {
            Arc::new(move |change: StateChange| listener.call(&durstream_transition::new(change)))
        });
        (options, Callbacks { on_error, on_delivery, on_state })
    }
}

/// Makes options with every default. The caller's, for `durstream_options_free`. Any thread;
/// does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_options_new() -> *mut durstream_options {
    get(std::ptr::null_mut(), || Some(give(durstream_options { set: Mutex::default() })))
}

/// Frees options. NULL is fine. Objects made with them go on. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_options_free(options: *mut durstream_options) {
    // SAFETY: the caller gives back what `durstream_options_new` gave out.
    unsafe { get((), || take(options).map(drop)) }
}

/// Sets an option by its name (`"linger_ms"`, `"5"`); the names are in core/docs/options.md. Both
/// texts are copied. Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` naming the option: it is unknown, or does not take this
/// value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_options_set(
    options: *mut durstream_options,
    name: *const c_char,
    value: *const c_char,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || set(options, name, value, Options::set)) }
}

/// Adds a header to every request. Both texts are copied. Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT`: not a header, one the library sets itself, or control
/// characters in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_options_set_header(
    options: *mut durstream_options,
    name: *const c_char,
    value: *const c_char,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || set(options, name, value, Options::set_header)) }
}

/// Adds a parameter to the query of every request's URL, percent-encoded. Both texts are copied.
/// Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT`: no name, or `offset`, `live` or `cursor`, which the
/// library sets itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_options_set_param(
    options: *mut durstream_options,
    name: *const c_char,
    value: *const c_char,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || set(options, name, value, Options::set_param)) }
}

/// Sets a name's value.
///
/// # Safety
/// The pointers are those of `durstream_options_set`.
unsafe fn set(
    options: *const durstream_options,
    name: *const c_char,
    value: *const c_char,
    set: impl FnOnce(&mut Options, &str, &str) -> Result<(), Error>,
) -> Result<(), Problem> {
    // SAFETY: the caller's promise.
    unsafe {
        let options = handle(options, "options")?;
        let (name, value) = (text(name, "name")?, text(value, "value")?);
        Ok(set(&mut options.lock().options, name, value)?)
    }
}

/// Sets the callback for each accepted write that is not delivered; NULL takes it away. Without
/// one, the first of each reason is logged. `user_data` is handed to it and stays the caller's
/// until `destroy` (may be NULL), which runs once: when neither these options nor a producer opened
/// with them needs it any more. Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` for NULL options; `destroy` is not called then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_options_on_error(
    options: *mut durstream_options,
    callback: durstream_error_callback,
    user_data: *mut c_void,
    destroy: durstream_destroy_callback,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let options = handle(options, "options")?;
            let fresh = Listener::of(callback, user_data, destroy);
            // The callback before is dropped when the lock is gone: `destroy` is the host's code.
            let before = std::mem::replace(&mut options.lock().on_error, fresh);
            drop(before);
            Ok(())
        })
    }
}

/// Sets the callback for the writes that are delivered; NULL takes it away. Each accepted write is
/// reported once, to this callback or to that of `durstream_options_on_error`. Reports that wait
/// count against `max_buffer_bytes`: a callback that is slower than the server makes writers wait.
/// A flush or a wait may return before the callback has run for its writes; `durstream_shutdown`
/// lets it run. `user_data` and `destroy` are those of `durstream_options_on_error`. Any thread;
/// does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` for NULL options; `destroy` is not called then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_options_on_delivery(
    options: *mut durstream_options,
    callback: durstream_delivery_callback,
    user_data: *mut c_void,
    destroy: durstream_destroy_callback,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let options = handle(options, "options")?;
            let fresh = Listener::of(callback, user_data, destroy);
            let before = std::mem::replace(&mut options.lock().on_delivery, fresh);
            drop(before);
            Ok(())
        })
    }
}

/// Sets the callback for the changes of the producer's state; NULL takes it away. `user_data` and
/// `destroy` are those of `durstream_options_on_error`. Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` for NULL options; `destroy` is not called then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_options_on_state(
    options: *mut durstream_options,
    callback: durstream_transition_callback,
    user_data: *mut c_void,
    destroy: durstream_destroy_callback,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let options = handle(options, "options")?;
            let fresh = Listener::of(callback, user_data, destroy);
            let before = std::mem::replace(&mut options.lock().on_state, fresh);
            drop(before);
            Ok(())
        })
    }
}

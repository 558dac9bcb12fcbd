//! The functions that writes cross with. A method of a class costs more than the write itself:
//! these carry their producer in the function, and need no memory of their own for a small message.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::slice;

use durstream_core::{Error, ErrorKind, Receipt, Result};
use napi::bindgen_prelude::ToNapiValue;
use napi::sys::{self, Status};

use crate::crossing::{Written, written};

/// A message up to this size needs no memory of its own.
const SMALL: usize = 8192;
/// The most bytes of a character: a text that leaves so many free was not cut off.
const CHARACTER: usize = 4;

/// The write of a message that has crossed.
pub type Write = Box<dyn Fn(&[u8]) -> Result<Receipt>>;

/// A function of one message, text or bytes, that gives a [`Written`].
pub struct Writer(Write);

impl Writer {
    /// The function that writes each message.
    pub fn new(write: impl Fn(&[u8]) -> Result<Receipt> + 'static) -> Self {
        Writer(Box::new(write))
    }
}

impl ToNapiValue for Writer {
    unsafe fn to_napi_value(env: sys::napi_env, writer: Self) -> napi::Result<sys::napi_value> {
        let data: *mut c_void = Box::into_raw(Box::new(writer)).cast();
        let mut function = null_mut();
        // SAFETY: the caller gives the environment of this thread; the name is empty, and `data`
        // stays until the finalizer, which runs when no call can come any more.
        let status = unsafe {
            match sys::napi_create_function(env, c"".as_ptr(), 0, Some(call), data, &mut function) {
                Status::napi_ok => {
                    let (finalizer, none) = (Some(finalize as _), null_mut());
                    sys::napi_add_finalizer(env, function, data, finalizer, none, null_mut())
                }
                failed => failed,
            }
        };
        if status != Status::napi_ok {
            // SAFETY: it was made above, and nobody else has it: a function without a finalizer
            // is not handed out.
            drop(unsafe { Box::from_raw(data.cast::<Writer>()) });
            return Err(napi::Error::new(status.into(), "a function could not be made"));
        }
        Ok(function)
    }
}

unsafe extern "C" fn finalize(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: Node calls it once for each function, with what that was made with.
    let writer = unsafe { Box::from_raw(data.cast::<Writer>()) };
    let _ = catch_unwind(AssertUnwindSafe(|| drop(writer)));
}

unsafe extern "C" fn call(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let (mut count, mut message, mut data) = (1, null_mut(), null_mut());
    // SAFETY: Node calls it with the environment and the call's own information; there is room
    // for the one argument asked for, which is `undefined` where none was given.
    let status = unsafe {
        sys::napi_get_cb_info(env, info, &mut count, &mut message, null_mut(), &mut data)
    };
    if status != Status::napi_ok {
        return null_mut();
    }
    // SAFETY: what the function was made with; the function is being called, so it was not
    // collected.
    let Writer(write) = unsafe { &*data.cast::<Writer>() };
    // SAFETY: the argument of this call, in the environment of this thread.
    let answer = written(|| unsafe { reading(env, message, write) });
    // SAFETY: the environment of this thread.
    unsafe { Written::to_napi_value(env, answer) }.unwrap_or(null_mut())
}

/// Copies a message and has it written.
///
/// # Safety
/// `env` is this thread's environment, `message` a value of the call under way.
unsafe fn reading(env: sys::napi_env, message: sys::napi_value, write: &Write) -> Result<Receipt> {
    let mut room = [MaybeUninit::<u8>::uninit(); SMALL];
    let (start, mut length) = (room.as_mut_ptr().cast::<u8>(), 0);
    // SAFETY: there is room for `SMALL` bytes, the closing zero included.
    let status =
        unsafe { sys::napi_get_value_string_utf8(env, message, start.cast(), SMALL, &mut length) };
    match status {
        Status::napi_ok if length + CHARACTER < SMALL => {
            // SAFETY: so many were written.
            write(unsafe { slice::from_raw_parts(start, length) })
        }
        // SAFETY: the caller's promise.
        Status::napi_ok => write(&unsafe { long_text(env, message) }?),
        // SAFETY: the caller's promise.
        Status::napi_string_expected => unsafe { reading_bytes(env, message, &mut room, write) },
        _ => Err(unreadable()),
    }
}

/// # Safety
/// The promises of [`reading`]; and `message` is text.
unsafe fn long_text(env: sys::napi_env, message: sys::napi_value) -> Result<Vec<u8>> {
    let mut length = 0;
    // SAFETY: without room for it, only the length is told.
    let status =
        unsafe { sys::napi_get_value_string_utf8(env, message, null_mut(), 0, &mut length) };
    if status != Status::napi_ok {
        return Err(unreadable());
    }
    let mut text = with_room(length + 1)?;
    let room = text.capacity();
    // SAFETY: there is room for so many, the closing zero included.
    let status = unsafe {
        sys::napi_get_value_string_utf8(env, message, text.as_mut_ptr().cast(), room, &mut length)
    };
    if status != Status::napi_ok {
        return Err(unreadable());
    }
    // SAFETY: so many were written.
    unsafe { text.set_len(length) };
    Ok(text)
}

/// Bytes that other threads may write to meanwhile are read once, here.
///
/// # Safety
/// The promises of [`reading`].
unsafe fn reading_bytes(
    env: sys::napi_env,
    message: sys::napi_value,
    room: &mut [MaybeUninit<u8>; SMALL],
    write: &Write,
) -> Result<Receipt> {
    let (mut is_buffer, mut data, mut length) = (false, null_mut(), 0);
    // SAFETY: the caller's promise. Node ends the process where the second function is given what
    // the first does not know.
    let status = unsafe {
        match sys::napi_is_buffer(env, message, &mut is_buffer) {
            Status::napi_ok if is_buffer => {
                sys::napi_get_buffer_info(env, message, &mut data, &mut length)
            }
            _ => Status::napi_invalid_arg,
        }
    };
    if status != Status::napi_ok {
        return Err(unreadable());
    }
    if length == 0 {
        return write(&[]); // empty or detached: there may be no address
    }
    if length <= SMALL {
        let start = room.as_mut_ptr().cast::<u8>();
        // SAFETY: Node says that so many bytes are there, and there is room for them.
        return write(unsafe {
            data.cast::<u8>().copy_to_nonoverlapping(start, length);
            slice::from_raw_parts(start, length)
        });
    }
    // SAFETY: the caller's promise.
    if unsafe { is_own(env, message) }? {
        // SAFETY: Node says that so many bytes are there; they stay, unchanged, as no JavaScript
        // of this thread runs before the call returns, and no other thread sees them.
        return write(unsafe { slice::from_raw_parts(data.cast::<u8>(), length) });
    }
    let mut bytes = with_room(length)?;
    // SAFETY: Node says that so many bytes are there, and there is room for them.
    unsafe {
        data.cast::<u8>().copy_to_nonoverlapping(bytes.as_mut_ptr(), length);
        bytes.set_len(length);
    }
    write(&bytes)
}

/// Whether the memory of a typed array is this thread's alone: Node does not take a
/// `SharedArrayBuffer` for an `ArrayBuffer`.
///
/// # Safety
/// The promises of [`reading`].
unsafe fn is_own(env: sys::napi_env, message: sys::napi_value) -> Result<bool> {
    let (mut memory, mut is_own) = (null_mut(), false);
    let (kind, length, data, offset) = (null_mut(), null_mut(), null_mut(), null_mut());
    // SAFETY: the caller's promise; Node leaves out what has no place to go.
    let status = unsafe {
        match sys::napi_get_typedarray_info(env, message, kind, length, data, &mut memory, offset) {
            Status::napi_ok => sys::napi_is_arraybuffer(env, memory, &mut is_own),
            failed => failed,
        }
    };
    if status == Status::napi_ok { Ok(is_own) } else { Err(unreadable()) }
}

fn with_room(length: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| {
        let text = format!("there is no memory for a write of {length} bytes");
        Error::new(ErrorKind::TooLarge, text)
    })?;
    Ok(bytes)
}

fn unreadable() -> Error {
    Error::new(ErrorKind::InvalidArgument, "a message is text or a Uint8Array")
}

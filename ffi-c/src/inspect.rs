//! What a state producer would write, and where.

use std::ffi::c_char;

use durstream_core::inspect;

use crate::args::{handle, out};
use crate::ffi_guard::call;
use crate::given::given;
use crate::options::durstream_options;
use crate::problem::{durstream_code, durstream_error};
use crate::schema::durstream_schema;

/// Tells what `durstream_state_open` would open with these options, as the text of a JSON object, and
/// opens nothing: `url` and `urls` (the stream, and the stream at each endpoint), `content_type`,
/// `producer_id`, `producer_id_suffix`, `headers` and `params` (names alone), `options` (each with the
/// `value` it will have, and where that is `from`: `given`, `environment` or `default`), `collections`
/// (`type`, `primary_key`, `validator`) and `warnings` (`code`, `message`). No secret is in it. Later
/// versions may add members. The text is the caller's, for `durstream_string_free`. Any thread; does not
/// block.
///
/// Errors: those of `durstream_state_open`, but that the stream may be open with other options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_inspect(
    options: *const durstream_options,
    schema: *const durstream_schema,
    json: *mut *mut c_char,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let (options, schema) = (handle(options, "options")?, handle(schema, "schema")?);
            let json = out(json, "json")?;
            let (options, _) = options.for_producer();
            let told = inspect(options, schema.get())?.to_string();
            json.set(|| given(Some(&told)));
            Ok(())
        })
    }
}

//! The schema of a stream of entity state.

use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};

use durstream_core::{Collection, StreamSchema, Validator};

use crate::args::{self, handle, optional_text};
use crate::ffi_guard::{call, get};
use crate::given::{give, take};
use crate::problem::{Problem, durstream_code, durstream_error};

/// The collections of a stream of entity state, by name. An open copies them.
pub struct durstream_schema {
    schema: Mutex<StreamSchema>,
}

impl durstream_schema {
    pub(crate) fn get(&self) -> StreamSchema {
        self.schema.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes a schema without collections, for `durstream_schema_free`. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_schema_new() -> *mut durstream_schema {
    get(std::ptr::null_mut(), || Some(give(durstream_schema { schema: Mutex::default() })))
}

/// Frees a schema. NULL is fine. Producers opened with it go on. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_schema_free(schema: *mut durstream_schema) {
    // SAFETY: the caller gives back what `durstream_schema_new` gave out.
    unsafe { get((), || take(schema).map(drop)) }
}

/// Adds a collection: its name in calls, the `type` of its events, the field that holds the primary
/// key, and the JSON Schema (drafts 4 to 2020-12) of its values; with NULL it takes any object that
/// has its key: text, an integer or a boolean, not empty. In the stream a key is text. All texts are
/// copied. Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT`: a text is empty, name or type is taken, or the JSON Schema
/// is not valid. The schema is then unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_schema_add(
    schema: *mut durstream_schema,
    name: *const c_char,
    entity_type: *const c_char,
    primary_key: *const c_char,
    json_schema: *const c_char,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let (schema, name) = (handle(schema, "schema")?, args::name(name, "name")?);
            let entity_type = args::name(entity_type, "entity_type")?;
            let primary_key = args::name(primary_key, "primary_key")?;
            let validator = validator(optional_text(json_schema, "json_schema")?)?;
            let collection = Collection::new(entity_type, primary_key, validator);
            let mut schema = schema.schema.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(schema.add(name, collection)?)
        })
    }
}

fn validator(json_schema: Option<&str>) -> Result<Validator, Problem> {
    let Some(text) = json_schema else { return Ok(Validator::Any) };
    let parsed = serde_json::from_str(text);
    parsed.map(Validator::JsonSchema).map_err(|error| {
        Problem::argument("json_schema", format!("`json_schema` is not JSON: {error}"))
    })
}

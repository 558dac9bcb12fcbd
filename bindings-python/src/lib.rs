//! `durstream._durstream`: the private half of the Python package `durstream`. It translates and
//! nothing else; names, types and JSON are the Python half's, everything else is the core's.
//!
//! Locks and the GIL: the core's locks are short and never held while Python runs, so they are
//! taken with the GIL held. A call that waits lets go of the GIL first.

mod callable;
mod callback;
mod dispatcher;
mod errors;
mod event;
mod gil;
mod handle;
mod headers;
mod imported;
mod json;
mod limit;
mod log;
mod options;
mod outbox;
mod payload;
mod pending;
mod process;
mod producer;
mod quick;
mod reader;
mod receipt;
mod recorder;
mod room;
mod sink;
mod spans;
mod state;
mod stats;
mod stream;
mod transaction;
mod utf8;

use pyo3::prelude::*;

#[pymodule]
fn _durstream(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<pending::Pending>()?;
    module.add_class::<receipt::Receipt>()?;
    module.add_class::<headers::Answer>()?;
    module.add_class::<stream::Stream>()?;
    module.add_class::<sink::AppendSink>()?;
    module.add_class::<reader::Reader>()?;
    module.add_class::<reader::Chunk>()?;
    module.add_class::<recorder::Recorder>()?;
    module.add_class::<producer::Producer>()?;
    producer::install(module.py())?;
    module.add_class::<state::Schema>()?;
    module.add_class::<state::State>()?;
    module.add_class::<transaction::Transaction>()?;
    module.add_function(wrap_pyfunction!(options::options_table, module)?)?;
    module.add_function(wrap_pyfunction!(process::error_classes, module)?)?;
    module.add_function(wrap_pyfunction!(imported::prepare, module)?)?;
    module.add_function(wrap_pyfunction!(state::key_of_json, module)?)?;
    module.add_function(wrap_pyfunction!(state::inspect, module)?)?;
    module.add_function(wrap_pyfunction!(process::start, module)?)?;
    module.add_function(wrap_pyfunction!(log::set_log_level, module)?)?;
    module.add_function(wrap_pyfunction!(process::shutdown, module)?)?;
    module.add_function(wrap_pyfunction!(process::end, module)?)?;
    module.add_function(wrap_pyfunction!(process::flush_all, module)?)?;
    module.add_function(wrap_pyfunction!(process::pending_count, module)?)?;
    module.add_function(wrap_pyfunction!(process::set_buffer_budget, module)?)?;
    module.add_function(wrap_pyfunction!(stats::stats_prometheus, module)?)?;
    module.add_function(wrap_pyfunction!(stats::observations, module)?)?;
    module.add_function(wrap_pyfunction!(spans::set_batch_observer, module)?)?;
    module.add_function(wrap_pyfunction!(stats::instruments, module)?)?;
    module.add_function(wrap_pyfunction!(process::in_forked_child, module)?)?;
    module.add_function(wrap_pyfunction!(outbox::outbox_tool, module)?)?;
    Ok(())
}

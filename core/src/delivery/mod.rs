//! The exactly-once machine: accepted writes go out in order, each once, and every write gets its
//! outcome.

// The map, as in `lib.rs`. A write goes in at the engine, into the buffer, out with the task, and is
// settled by the engine again.
//
//   handle                     what every producer offers
//   measured                   what all producers show to those who watch
//   open                       how one starts, restarts, who comes first
//   task closing               its owner, one loop over session and wire; the end of the stream
//   permit                     room for a write, reserved before it
//   engine                     the half that handles and task share: accept, settle
//   callbacks decide config    reports to the host; what an answer means, pure; settings
//   buffer                     what is accepted and what became of it

pub(crate) mod buffer;
pub(crate) mod callbacks;
pub(crate) mod closing;
pub(crate) mod config;
pub(crate) mod decide;
pub(crate) mod engine;
pub(crate) mod handle;
pub(crate) mod measured;
pub(crate) mod open;
pub(crate) mod permit;
pub(crate) mod task;
#[cfg(test)]
mod tests;

//! The tool that looks into outboxes.

use std::io::BufWriter;

use napi_derive::napi;

use crate::crossing::guarded;

/// Does what `durstream-outbox` does with these arguments; what went wrong is returned. It writes to
/// standard output past Node's own stream: a program calls it that does nothing else.
#[napi]
pub fn outbox_tool(arguments: Vec<String>) -> napi::Result<Option<String>> {
    guarded(|| {
        let mut out = BufWriter::new(std::io::stdout().lock());
        Ok(durstream_core::outbox_tool(&arguments, &mut out).err())
    })
}

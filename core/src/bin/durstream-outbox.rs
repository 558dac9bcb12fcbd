//! Looks into outboxes: `durstream-outbox list | show | export DIR`. Reads only, also while a
//! producer is at work.
#![deny(unsafe_code)]

use std::io::{BufWriter, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = BufWriter::new(std::io::stdout().lock());
    match durstream_core::outbox_tool(&arguments, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
            ExitCode::FAILURE
        }
    }
}

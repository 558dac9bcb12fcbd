//! Programs that stand beside a test in any language: they say in a line of JSON where they are, and end
//! when their standard input does.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use serde_json::Value;

use crate::failure::{Context, Result};

/// The whole of such a program: what `start` gives is kept until the end, beside the line to print.
pub fn main<T>(name: &str, start: impl FnOnce() -> Result<(Value, T)>) -> ExitCode {
    match run(start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{name}: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run<T>(start: impl FnOnce() -> Result<(Value, T)>) -> Result {
    let (line, _kept) = start()?;
    let mut output = std::io::stdout();
    writeln!(output, "{line}").and_then(|()| output.flush()).context("standard output")?;
    // Whoever started this holds the other end, and lets go of it however it ends.
    let mut input = std::io::stdin();
    while input.read(&mut [0; 1024]).is_ok_and(|bytes| bytes > 0) {}
    Ok(())
}

/// A server's address, given as that or as its URL.
///
/// # Errors
/// It is none.
pub fn address(value: &str) -> Result<SocketAddr> {
    let address = value.trim_start_matches("http://").trim_end_matches('/');
    address.parse().context(value)
}

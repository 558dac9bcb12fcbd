//! What a person sees: lines that stay, and on a terminal one status line that comes and goes.
#![allow(clippy::print_stdout, reason = "its output is what a person runs a command for")]

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// No terminal is narrower in practice, and a wrapped status line cannot be wiped.
const STATUS_WIDTH: usize = 79;

static ON_STDERR: AtomicBool = AtomicBool::new(false);

/// From now on everything goes to standard error: standard output belongs to somebody else.
pub fn leave_stdout() {
    ON_STDERR.store(true, Ordering::Relaxed);
}

/// Whether a person looks on.
pub fn is_terminal() -> bool {
    if ON_STDERR.load(Ordering::Relaxed) {
        std::io::stderr().is_terminal()
    } else {
        std::io::stdout().is_terminal()
    }
}

/// Replaces the status line; nothing when the output is not a terminal.
pub fn status(text: &str) {
    if is_terminal() {
        let shown: String = text.chars().take(STATUS_WIDTH).collect();
        write(&format!("\r\x1b[2K{shown}"));
    }
}

/// Prints a line that stays.
pub fn line(text: &str) {
    let wipe = if is_terminal() { "\r\x1b[2K" } else { "" };
    write(&format!("{wipe}{text}\n"));
}

/// Hands on what somebody else said, byte by byte.
pub fn copy(bytes: &[u8]) {
    // A closed pipe is the reader's choice.
    let _ = if ON_STDERR.load(Ordering::Relaxed) {
        std::io::stderr().write_all(bytes)
    } else {
        let mut output = std::io::stdout().lock();
        output.write_all(bytes).and_then(|()| output.flush())
    };
}

fn write(text: &str) {
    if ON_STDERR.load(Ordering::Relaxed) {
        eprint!("{text}");
        return;
    }
    print!("{text}");
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().flush();
}

//! What a person sees: lines that stay, and on a terminal one status line that comes and goes.

use std::io::{IsTerminal, Write};

/// No terminal is narrower in practice, and a wrapped status line cannot be wiped.
const STATUS_WIDTH: usize = 79;

pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Replaces the status line; nothing when the output is not a terminal.
pub(crate) fn status(text: &str) {
    if is_terminal() {
        let shown: String = text.chars().take(STATUS_WIDTH).collect();
        print!("\r\x1b[2K{shown}");
        flush();
    }
}

/// Prints a line that stays.
pub(crate) fn line(text: &str) {
    if is_terminal() {
        print!("\r\x1b[2K");
    }
    println!("{text}");
    flush();
}

fn flush() {
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().flush();
}

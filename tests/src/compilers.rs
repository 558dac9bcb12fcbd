//! The compilers of this machine, as its environment names them.

use std::process::Command;

/// The C compiler, which `CC` names.
pub fn c_compiler() -> Command {
    program("CC", "cc")
}

/// The C++ compiler, which `CXX` names.
pub fn cpp_compiler() -> Command {
    program("CXX", "c++")
}

/// The program an environment variable names, or the default. `CC="ccache cc"` is two words.
pub fn program(variable: &str, default: &str) -> Command {
    let chosen = std::env::var(variable).ok().filter(|text| !text.trim().is_empty());
    let text = chosen.unwrap_or_else(|| default.to_owned());
    let mut words = text.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or(default));
    command.args(words);
    command
}

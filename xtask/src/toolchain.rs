//! Which toolchains are here, told all at once and before anything is built.

use std::fmt;
use std::path::Path;
use std::process::Command;

use durstream_tests::compilers::{c_compiler, cpp_compiler, program};
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
pub(crate) use durstream_tests::process::cargo;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32);

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

/// The languages a command builds for. Rust is always among them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Languages {
    pub(crate) c: bool,
    pub(crate) python: bool,
    pub(crate) node: bool,
}

struct Tool {
    name: &'static str,
    command: Command,
    oldest: Option<Version>,
    hint: &'static str,
}

/// Importing `ensurepip` fails where a system's Python comes without `venv`.
const PYTHON_PROBE: &str =
    "import sys, venv, ensurepip; print('Python', '.'.join(map(str, sys.version_info[:3])))";

/// Fails with everything that is missing or too old.
pub(crate) fn check(languages: Languages) -> Result {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for mut tool in tools(languages) {
        match probe(&mut tool) {
            Ok(text) => found.push(text),
            Err(problem) => problems.push(format!("  {:<13} {problem}", tool.name)),
        }
    }
    if problems.is_empty() {
        console::line(&format!("  {}", found.join(", ")));
        return Ok(());
    }
    Err(format!("missing or too old:\n{}", problems.join("\n")).into())
}

fn tools(languages: Languages) -> Vec<Tool> {
    let tool = |name, mut command: Command, oldest: Option<(u32, u32)>, hint| {
        command.arg("--version");
        Tool { name, command, oldest: oldest.map(|(major, minor)| Version(major, minor)), hint }
    };
    let rust = "install it from https://rustup.rs";
    let mut tools = vec![
        tool("cargo", cargo(Path::new("."), &[]), None, rust),
        tool("rustc", program("RUSTC", "rustc"), Some((1, 88)), rust),
        // Rust links with it too.
        tool("C compiler", c_compiler(), None, "install gcc or clang, or name one in CC"),
    ];
    if languages.c {
        tools.push(tool(
            "C++ compiler",
            cpp_compiler(),
            None,
            "install g++ or clang++, or set CXX",
        ));
    }
    if languages.python {
        let mut command = python();
        command.args(["-c", PYTHON_PROBE]);
        let hint = "install Python with its venv module, or name one in PYTHON";
        tools.push(Tool { name: "python", command, oldest: Some(Version(3, 9)), hint });
    }
    if languages.node {
        let hint = "install it from https://nodejs.org";
        tools.push(tool("node", Command::new("node"), Some((20, 19)), hint));
        tools.push(tool("npm", npm(), None, "it comes with Node"));
    }
    tools
}

/// The tool with its version, or what is wrong with it.
fn probe(tool: &mut Tool) -> std::result::Result<String, String> {
    let hint = tool.hint;
    let output = tool.command.output().map_err(|_| format!("not found: {hint}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let reason = text.lines().last().unwrap_or_default().trim().to_owned();
        return Err(format!("does not work ({reason}): {hint}"));
    }
    let version = version_in(&String::from_utf8_lossy(&output.stdout));
    match (version, tool.oldest) {
        (Some(version), Some(oldest)) if version < oldest => {
            Err(format!("{version} is too old, {oldest} or newer is needed: {hint}"))
        }
        (None, Some(oldest)) => Err(format!("of unknown version, {oldest} is needed: {hint}")),
        (Some(version), _) => Ok(format!("{} {version}", tool.name)),
        (None, None) => Ok(tool.name.to_owned()),
    }
}

/// The first word that looks like a version.
fn version_in(text: &str) -> Option<Version> {
    text.split_whitespace().find_map(|word| {
        let mut numbers = word.trim_start_matches('v').split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?;
        let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
        Some(Version(major, minor[..digits].parse().ok()?))
    })
}

/// The triple of what is built here when nothing else is said.
pub(crate) fn host() -> Result<String> {
    let output = program("RUSTC", "rustc").arg("-vV").output().context("running rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let triple = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(triple.ok_or("rustc does not say what machine this is")?.to_owned())
}

pub(crate) fn python() -> Command {
    program("PYTHON", if cfg!(windows) { "python" } else { "python3" })
}

pub(crate) fn npm() -> Command {
    Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_print() {
        for (text, expected) in [
            ("rustc 1.88.0 (6b00bc388 2025-06-23)", Some(Version(1, 88))),
            ("cargo 1.92.0-nightly", Some(Version(1, 92))),
            ("v20.19.4\n", Some(Version(20, 19))),
            ("11.4.2", Some(Version(11, 4))),
            ("Python 3.9.0rc1", Some(Version(3, 9))),
            ("cc (Debian 12.2.0-14+deb12u1) 12.2.0", Some(Version(12, 2))),
            ("a tool without one", None),
            ("", None),
        ] {
            assert_eq!(version_in(text), expected, "{text}");
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(Version(3, 9) < Version(3, 10));
        assert!(Version(20, 19) < Version(22, 0));
    }

    #[test]
    fn what_is_missing_or_too_old_is_named() {
        let tool = |program: &str, oldest| Tool {
            name: "tool",
            command: {
                let mut command = Command::new(program);
                command.arg("--version");
                command
            },
            oldest,
            hint: "get it",
        };
        let missing = probe(&mut tool("no-such-program-anywhere", None)).unwrap_err();
        assert_eq!(missing, "not found: get it");
        let old = probe(&mut tool("rustc", Some(Version(999, 0)))).unwrap_err();
        assert!(old.ends_with("is too old, 999.0 or newer is needed: get it"), "{old}");
    }
}

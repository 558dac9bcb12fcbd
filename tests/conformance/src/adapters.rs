//! The adapters: what each needs, and the command that starts it.

use std::path::Path;
use std::process::Command;

use durstream_tests::failure::{Context, Result};
use durstream_tests::needs::{CProgram, Need};
use durstream_tests::process;
use durstream_tests::tree::Tree;

pub(crate) const NAMES: [&str; 4] = ["rust", "c", "python", "node"];

/// The package of the adapter in Rust, and its program.
const RUST: &str = "durstream-conformance-adapter";

/// One of [`NAMES`].
pub(crate) fn known(name: &str) -> Result<&'static str> {
    let known = NAMES.into_iter().find(|known| *known == name);
    known.ok_or_else(|| format!("no adapter {name:?}: there are {}", NAMES.join(", ")).into())
}

/// What must be built for one of [`NAMES`].
pub(crate) fn need(name: &str) -> Need {
    match name {
        "c" => Need::CProgram(c_program()),
        "python" => Need::PythonPackage,
        "node" => Need::NodePackage,
        _ => Need::RustPrograms(RUST.into()),
    }
}

/// The command of one of [`NAMES`], which is built.
pub(crate) fn command(tree: &Tree, name: &str) -> Command {
    let folder = tree.root.join("tests/conformance/adapters");
    let script = |interpreter: &Path, file: &str| {
        let mut command = Command::new(interpreter);
        command.arg(folder.join(file));
        command
    };
    match name {
        "c" => Command::new(tree.target.join(c_program().path())),
        "python" => script(&tree.venv_python(), "python/adapter.py"),
        "node" => script(Path::new("node"), "node/adapter.mjs"),
        _ => Command::new(tree.release(&format!("{RUST}{}", std::env::consts::EXE_SUFFIX))),
    }
}

fn c_program() -> CProgram {
    CProgram {
        title: "C adapter".into(),
        source: "tests/conformance/adapters/c".into(),
        program: "conformance/c-adapter".into(),
    }
}

/// Becomes the adapter, with nothing but its own words on standard output.
#[cfg(unix)]
pub(crate) fn replace(mut command: Command) -> Result<u8> {
    use std::os::unix::process::CommandExt;

    let failure = command.exec();
    Err(failure).context(process::describe(&command))
}

/// Is the adapter to who looks from outside: nothing but its own words on standard output.
#[cfg(not(unix))]
pub(crate) fn replace(mut command: Command) -> Result<u8> {
    let status = process::Guarded::spawn(&mut command)?.wait(None, || ())?;
    Ok(process::exit_code(status))
}

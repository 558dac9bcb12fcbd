//! The adapters: how each is built, and the command that starts it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artefacts;
use crate::console;
use crate::process;
use crate::stage::{self, Linkage};
use crate::stamp::Stamp;
use crate::step::step;
use crate::toolchain::Languages;
use crate::tree::Tree;
use durstream_tests::failure::{Context, Result};

pub(crate) const NAMES: [&str; 4] = ["rust", "c", "python", "node"];

/// The command of one of [`NAMES`], with everything built that it needs.
pub(crate) fn build(tree: &Tree, name: &str) -> Result<Command> {
    let folder = tree.root.join("tests/conformance/adapters");
    match name {
        "rust" => rust(tree),
        "c" => {
            artefacts::c_library(tree)?;
            c(tree, Linkage::Shared)
        }
        "python" => {
            artefacts::python_wheel(tree)?;
            script(&tree.venv_python(), folder.join("python/adapter.py"))
        }
        "node" => {
            artefacts::node_package(tree)?;
            script(Path::new("node"), folder.join("node/adapter.mjs"))
        }
        other => Err(unknown(other).into()),
    }
}

pub(crate) fn languages(names: &[&str]) -> Languages {
    let has = |name| names.contains(&name);
    Languages { c: has("c"), python: has("python"), node: has("node") }
}

pub(crate) fn unknown(name: &str) -> String {
    format!("no adapter {name:?}: there are {}", NAMES.join(", "))
}

fn rust(tree: &Tree) -> Result<Command> {
    let package = "durstream-conformance-adapter";
    step(tree, "Rust adapter", |step| artefacts::cargo_build(tree, step))?;
    Ok(Command::new(tree.release(&format!("{package}{}", std::env::consts::EXE_SUFFIX))))
}

/// Compiled with every source of its folder against the staged library.
pub(crate) fn c(tree: &Tree, linkage: Linkage) -> Result<Command> {
    let folder = &tree.root.join("tests/conformance/adapters/c");
    let entries = std::fs::read_dir(folder).context(folder.display())?.flatten();
    let mut sources: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
    sources.sort();
    let file = format!("c-adapter{}", std::env::consts::EXE_SUFFIX);
    let program = tree.directory("conformance")?.join(file);
    let inputs = [folder.to_path_buf(), tree.stage().join("include"), stage::shared_library(tree)];
    let stamp = Stamp::new(tree.directory("stamps")?.join("c-adapter"), &inputs, "")?;
    step(tree, "C adapter", |step| {
        step.unless_done(&stamp, &program, || {
            let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
            stage::compile(tree, step, &sources, &program, linkage)
        })
    })?;
    Ok(Command::new(program))
}

fn script(interpreter: &Path, file: PathBuf) -> Result<Command> {
    if !file.exists() {
        return Err(format!("{} does not exist", file.display()).into());
    }
    let mut command = Command::new(interpreter);
    command.arg(file);
    Ok(command)
}

/// `adapter NAME`: becomes the adapter, with nothing but its own words on standard output.
pub(crate) fn become_adapter(tree: &Tree, arguments: &[String]) -> Result<u8> {
    console::leave_stdout();
    let [name] = arguments else {
        return Err(format!("adapter needs one name: {}", NAMES.join(", ")).into());
    };
    replace(build(tree, name)?)
}

#[cfg(unix)]
fn replace(mut command: Command) -> Result<u8> {
    use std::os::unix::process::CommandExt;

    let failure = command.exec();
    Err(failure).context(process::describe(&command))
}

#[cfg(not(unix))]
fn replace(mut command: Command) -> Result<u8> {
    let status = process::Guarded::spawn(&mut command)?.wait(None, || ())?;
    Ok(process::exit_code(status))
}

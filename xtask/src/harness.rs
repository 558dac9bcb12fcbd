//! The harnesses that stand beside their cases below `tests/`: each is built, asked what it needs,
//! given that, and run.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artefacts;
use crate::toolchain::{self, Languages};
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::harness::NEEDS;
use durstream_tests::needs::{self, Need};
use durstream_tests::process::{self, Guarded};
use durstream_tests::signals;
use durstream_tests::step::step;
use durstream_tests::tree::Tree;

/// Runs a harness with everything there that it needs for its arguments; its exit status.
pub(crate) fn run(tree: &Tree, name: &str, arguments: &[String]) -> Result<u8> {
    let program = built(tree, name)?;
    let needs = ask(&program, name, arguments)?;
    if !needs.is_empty() {
        console::line("Toolchains");
        toolchain::check(languages(&needs))?;
        console::line("Building");
    }
    artefacts::provide(tree, &needs)?;
    started(Command::new(program).args(arguments))
}

/// Runs a harness as a step of a suite, whose toolchains are checked.
pub(crate) fn passes(tree: &Tree, name: &str, arguments: &[&str]) -> Result {
    let arguments = owned(arguments);
    let program = built(tree, name)?;
    artefacts::provide(tree, &ask(&program, name, &arguments)?)?;
    succeeds(Command::new(program).args(arguments))
}

/// Runs a harness of which everything is built, in the surroundings that `set` makes.
pub(crate) fn passes_with(
    tree: &Tree,
    name: &str,
    arguments: &[&str],
    set: impl FnOnce(&mut Command),
) -> Result {
    let mut command = Command::new(built(tree, name)?);
    set(command.args(arguments));
    succeeds(&mut command)
}

/// `adapter NAME`: becomes the adapter, with nothing but its own words on standard output.
pub(crate) fn become_adapter(tree: &Tree, arguments: &[String]) -> Result<u8> {
    console::leave_stdout();
    let arguments = [&["--become".to_owned()], arguments].concat();
    let program = built(tree, "conformance")?;
    let needs = ask(&program, "conformance", &arguments)?;
    artefacts::provide(tree, &needs)?;
    started(Command::new(program).args(arguments))
}

/// What a harness needs for some arguments.
pub(crate) fn needs(tree: &Tree, name: &str, arguments: &[&str]) -> Result<Vec<Need>> {
    ask(&built(tree, name)?, name, &owned(arguments))
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|word| (*word).to_owned()).collect()
}

fn built(tree: &Tree, name: &str) -> Result<PathBuf> {
    let package = format!("durstream-{name}");
    step(tree, &format!("{name}, harness"), |step| {
        step.run(&mut toolchain::cargo(&tree.root, &["build", "-p", &package]))
    })?;
    Ok(tree.debug(&format!("{package}{}", std::env::consts::EXE_SUFFIX)))
}

fn ask(program: &Path, name: &str, arguments: &[String]) -> Result<Vec<Need>> {
    let output = Command::new(program).arg(NEEDS).args(arguments).output();
    let output = output.context(program.display())?;
    if output.status.success() {
        return needs::read(&String::from_utf8_lossy(&output.stdout));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.trim_start_matches(&format!("{name}: ")).trim_end().into())
}

fn started(command: &mut Command) -> Result<u8> {
    let mut harness = Guarded::spawn(signals::die_with_us(command))?;
    Ok(process::exit_code(harness.wait(None, || ())?))
}

fn succeeds(command: &mut Command) -> Result {
    process::shown(signals::die_with_us(command), None)
}

fn languages(needs: &[Need]) -> Languages {
    let any = |is: fn(&Need) -> bool| needs.iter().any(is);
    Languages {
        c: any(|need| matches!(need, Need::CProgram(_))),
        python: any(|need| matches!(need, Need::PythonPackage | Need::PythonEnvironment { .. })),
        node: any(|need| matches!(need, Need::NodePackage | Need::NpmPackages { .. })),
    }
}

//! The C and C++ suite: each program is a test that exits with 0.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::c_packages;
use crate::artefacts;
use crate::stage::{self, Linkage};
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::needs::CProgram;
use durstream_tests::runner::Suite;
use durstream_tests::step::step;
use durstream_tests::tree::Tree;
use durstream_tests::writing;

pub(super) const PROGRAM_LIMIT: Duration = Duration::from_secs(120);
/// Programs run some twenty times slower under valgrind.
const VALGRIND_LIMIT: Duration = Duration::from_secs(600);
const VALGRIND_ARGUMENTS: [&str; 2] = ["--error-exitcode=99", "--leak-check=full"];
/// What a program may not leave behind: memory that nothing leads to, nor to the middle of it.
const LOST: &str = "definite,possible";
/// A forked child has none of its parent's other threads, and nothing leads to what they held.
const LOST_WITH_FORKS: &str = "definite";

pub(crate) fn suite(suite: &mut Suite<'_>) {
    let Some(folder) = suite.folder("ffi-c/tests") else { return };
    if !suite.step("library", artefacts::c_library) {
        return suite.blocked("examples and programs");
    }
    c_packages::steps(suite, &folder);
    let valgrind = valgrind_is_here();
    example(suite, "C", "orders.c", valgrind);
    example(suite, "C", "shipments.c", valgrind);
    example(suite, "C++", "shipments.cpp", valgrind);
    writing_example(suite, "C", "writing.c", valgrind);
    writing_example(suite, "C++", "writing.cpp", valgrind);
    if !valgrind {
        console::line(
            "valgrind is not here: the programs run without it, leaks are not looked for",
        );
    }
    match programs(&folder) {
        Ok(sources) => sources.iter().for_each(|source| test(suite, source, valgrind)),
        Err(failure) => drop(suite.step("programs", |_| Err(failure))),
    }
}

/// An example program; the demo runs those about shipments at length, this on a few.
fn example(suite: &mut Suite<'_>, title: &str, source: &str, valgrind: bool) {
    let mut program = None;
    suite.step(source, |tree| {
        let ledger = tree.directory("c-tests")?.join(format!("{source}.ledger"));
        program = Some((
            artefacts::c_program(tree, &CProgram::example(title, source), Linkage::Shared)?,
            ledger,
        ));
        Ok(())
    });
    let Some((program, ledger)) = program else { return };
    let at = example_source(suite.tree, source);
    let (mut plain, mut checked) =
        (Command::new(&program), under_valgrind(suite.tree, &at, &program));
    few_shipments(&mut plain, source, &ledger);
    few_shipments(&mut checked, source, &ledger);
    suite.run_within(&format!("{source} run"), plain, Some(PROGRAM_LIMIT));
    if valgrind {
        suite.run_within(&format!("{source} valgrind"), checked, Some(VALGRIND_LIMIT));
    }
}

fn example_source(tree: &Tree, source: &str) -> PathBuf {
    tree.root.join("ffi-c/examples").join(source)
}

/// What an example about shipments or orders is told in its environment.
pub(super) fn few_shipments(command: &mut Command, source: &str, ledger: &Path) {
    command.env("SHIPMENT_STREAM_PATH", format!("/test/{source}"));
    command.env("SHIPMENT_PRODUCER_ID", "shipping").env("SHIPMENT_LEDGER", ledger);
    command.env("SHIPMENT_COUNT", "50").env("SHIPMENT_RUN", "1");
    command.env("ORDER_STREAM_PATH", format!("/test/{source}"));
}

/// An example whose output is compared with its streams.
fn writing_example(suite: &mut Suite<'_>, title: &str, source: &str, valgrind: bool) {
    let mut program = None;
    suite.step(source, |tree| {
        program =
            Some(artefacts::c_program(tree, &CProgram::example(title, source), Linkage::Shared)?);
        Ok(())
    });
    let Some(program) = program else { return };
    writing::run(suite, &format!("{source} run"), Command::new(&program), PROGRAM_LIMIT);
    if valgrind {
        let at = example_source(suite.tree, source);
        let checked = under_valgrind(suite.tree, &at, &program);
        writing::run(suite, &format!("{source} valgrind"), checked, VALGRIND_LIMIT);
    }
}

fn under_valgrind(tree: &Tree, source: &Path, program: &Path) -> Command {
    let forks = std::fs::read_to_string(source).is_ok_and(|text| text.contains("fork()"));
    let lost = if forks { LOST_WITH_FORKS } else { LOST };
    let mut command = Command::new("valgrind");
    command.args(VALGRIND_ARGUMENTS).arg(format!("--errors-for-leak-kinds={lost}"));
    command.arg(format!("--show-leak-kinds={lost}"));
    command.arg(format!("--suppressions={}", stage::suppressions(tree).display())).arg(program);
    command
}

fn valgrind_is_here() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The sources of the folder in the order of their names; none is an error.
pub(super) fn programs(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).context(folder.display())?.flatten();
    let is_source = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "c" || extension == "cpp")
    };
    let mut sources: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_source).collect();
    sources.sort();
    if sources.is_empty() {
        return Err(format!("{} holds no program", folder.display()).into());
    }
    Ok(sources)
}

/// Runs one program linked both ways, and under valgrind where that is.
fn test(suite: &mut Suite<'_>, source: &Path, valgrind: bool) {
    let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(shared) = compiled(suite, source, &name, Linkage::Shared) else { return };
    suite.run_within(&name, Command::new(&shared), Some(PROGRAM_LIMIT));
    if let Some(linked) = compiled(suite, source, &name, Linkage::Static) {
        suite.run_within(&format!("{name} static"), Command::new(linked), Some(PROGRAM_LIMIT));
    }
    if valgrind {
        let command = under_valgrind(suite.tree, source, &shared);
        suite.run_within(&format!("{name} valgrind"), command, Some(VALGRIND_LIMIT));
    }
}

/// The program, or a recorded failure.
fn compiled(suite: &mut Suite<'_>, source: &Path, name: &str, linkage: Linkage) -> Option<PathBuf> {
    let kind = if linkage == Linkage::Shared { "shared" } else { "static" };
    let title = format!("compile {name} {kind}");
    let work = |tree: &Tree| {
        let file = format!("{}-{kind}{}", name.replace('.', "-"), std::env::consts::EXE_SUFFIX);
        let program = tree.directory("c-tests")?.join(file);
        step(tree, &title, |step| stage::compile(tree, step, &[source], &program, linkage))?;
        Ok(program)
    };
    match work(suite.tree) {
        Ok(program) => Some(program),
        Err(failure) => {
            suite.step(&title, |_| Err(failure));
            None
        }
    }
}

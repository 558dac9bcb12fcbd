//! The C and C++ programs once more, the library under AddressSanitizer and they under that and
//! UndefinedBehaviorSanitizer: what valgrind cannot see is on the stack and within a block.
//!
//! Rust's instrumentation calls the same functions as that of the C compilers, so the program
//! brings the runtime of its own compiler and the library brings none. The standard library comes
//! compiled and is not instrumented; what it allocates and copies is watched all the same.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::c::{self, PROGRAM_LIMIT};
use crate::artefacts;
use crate::harness;
use crate::stage::{self, Linkage};
use crate::toolchain;
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::needs::Need;
use durstream_tests::process::Guarded;
use durstream_tests::runner::Suite;
use durstream_tests::step::step;
use durstream_tests::tree::Tree;
use durstream_tests::writing;

/// Frame pointers make stacks readable.
const RUST_FLAGS: &str = "-Zsanitizer=address -Cforce-frame-pointers=yes";
const OPTIONS: &str =
    "detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1";
const EXAMPLES: [&str; 3] = ["orders.c", "shipments.c", "shipments.cpp"];
const WRITING_EXAMPLES: [&str; 2] = ["writing.c", "writing.cpp"];

const PLANTED_LIMIT: Duration = Duration::from_secs(60);
/// A defect made on purpose by `planted.c`, and what the report must say.
const PLANTED: [(&str, &str); 3] = [
    ("freed", "heap-use-after-free"),
    ("beyond", "heap-buffer-overflow"),
    ("overflow", "signed integer overflow"),
];
const LEAKED: (&str, &str) = ("leaked", "detected memory leaks");

pub(crate) fn suite(suite: &mut Suite<'_>) {
    let Some(folder) = suite.folder("ffi-c/tests") else { return };
    let mut built = None;
    suite.step("library", |tree| {
        built = Some(library(tree)?);
        Ok(())
    });
    let Some(tree) = built else { return suite.blocked("programs") };
    let Some(options) = planted(suite, &tree) else { return suite.blocked("programs") };
    match c::programs(&folder) {
        Ok(sources) => sources.iter().for_each(|source| {
            let Some((name, program)) = compiled(suite, &tree, source) else { return };
            suite.run_within(&name, watched(&program, &options), Some(PROGRAM_LIMIT));
        }),
        Err(failure) => drop(suite.step("programs", |_| Err(failure))),
    }
    examples(suite, &tree, &options);
    suite.step("adapter c", |_| conformance(&tree, &options));
}

/// The library with its instrumentation, staged below a target of its own.
fn library(tree: &Tree) -> Result<Tree> {
    if !cfg!(target_os = "linux") {
        return Err("the sanitizers of Rust and of the C compiler go together on Linux".into());
    }
    let triple = toolchain::host()?;
    let target = tree.directory("sanitizers")?;
    // Where cargo puts what it builds for a triple that it was told. One that it was not told
    // would have the build scripts and the macros instrumented, which the compiler cannot load.
    let own = Tree { root: tree.root.clone(), target: target.join(&triple) };
    step(&own, "C library, instrumented", |step| {
        let arguments = ["build", "--release", "-p", "durstream", "--target", &triple];
        let mut build = toolchain::cargo(&tree.root, &arguments);
        build.arg("--target-dir").arg(&target);
        // A stable compiler has the sanitizer, and takes its flag only like this.
        build.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", RUST_FLAGS);
        build.env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
        step.run(&mut build)?;
        stage::fill(&own)
    })?;
    Ok(own)
}

/// Whether defects made on purpose are found; with which options, if so.
fn planted(suite: &mut Suite<'_>, tree: &Tree) -> Option<String> {
    let source = suite.folder("tests/sanitizers/planted.c")?;
    let (_, program) = compiled(suite, tree, &source)?;
    for (defect, report) in PLANTED {
        let without_leaks = format!("{OPTIONS}:detect_leaks=0");
        let found = suite.step(&format!("planted: {defect}"), |_| {
            expect(&report_on(&program, defect, &without_leaks)?, report)
        });
        if !found {
            return None;
        }
    }
    let (defect, report) = LEAKED;
    let leaks = format!("{OPTIONS}:detect_leaks=1");
    let mut works = true;
    let found = suite.step(&format!("planted: {defect}"), |_| {
        let text = report_on(&program, defect, &leaks)?;
        works = !text.contains("LeakSanitizer has encountered a fatal error");
        if works { expect(&text, report) } else { Ok(()) }
    });
    if works {
        return found.then_some(leaks);
    }
    // It needs to trace its own process, which containers may forbid.
    console::line("LeakSanitizer does not work here: leaks are not looked for");
    Some(format!("{OPTIONS}:detect_leaks=0"))
}

/// What is said about the program, which must fail. Without a sanitizer it may as well hang.
fn report_on(program: &Path, defect: &str, options: &str) -> Result<String> {
    let log = program.with_extension(defect);
    let errors = std::fs::File::create(&log).context(log.display())?;
    let mut planted = Guarded::spawn(watched(program, options).arg(defect).stderr(errors))?;
    if planted.wait(Some(PLANTED_LIMIT), || ())?.success() {
        return Err(format!("nobody noticed what is `{defect}`").into());
    }
    std::fs::read_to_string(&log).context(log.display())
}

fn expect(text: &str, report: &str) -> Result {
    if text.contains(report) { Ok(()) } else { Err(format!("no {report} in {text:?}").into()) }
}

/// The conformance cases with the C adapter, instrumented like the library.
fn conformance(tree: &Tree, options: &str) -> Result {
    let arguments = ["--adapter", "c", "--brief"];
    let needs = harness::needs(tree, "conformance", &arguments)?;
    let adapter = needs.iter().find_map(|need| match need {
        Need::CProgram(program) => Some(program),
        _ => None,
    });
    let adapter = adapter.ok_or("the C adapter is no C program")?;
    let program = artefacts::c_program(tree, adapter, Linkage::Sanitized)?;
    let program = program.display().to_string();
    let with_program = [&arguments[..], &["--program", &program]].concat();
    harness::passes_with(tree, "conformance", &with_program, |command| watch(command, options))
}

fn watched(program: &Path, options: &str) -> Command {
    let mut command = Command::new(program);
    watch(&mut command, options);
    command
}

fn watch(command: &mut Command, options: &str) {
    command.env("ASAN_OPTIONS", options).env("UBSAN_OPTIONS", "print_stacktrace=1");
}

/// A program and its name, or a recorded failure.
fn compiled(suite: &mut Suite<'_>, tree: &Tree, source: &Path) -> Option<(String, PathBuf)> {
    let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let work = || {
        let program = tree.directory("c-tests")?.join(name.replace('.', "-"));
        step(tree, &format!("compile {name}"), |step| {
            stage::compile(tree, step, &[source], &program, Linkage::Sanitized)
        })?;
        Ok(program)
    };
    match work() {
        Ok(program) => Some((name, program)),
        Err(failure) => {
            suite.step(&format!("compile {name}"), |_| Err(failure));
            None
        }
    }
}

fn examples(suite: &mut Suite<'_>, tree: &Tree, options: &str) {
    let Some(folder) = suite.folder("ffi-c/examples") else { return };
    for name in EXAMPLES {
        let Some((_, program)) = compiled(suite, tree, &folder.join(name)) else { continue };
        let mut command = watched(&program, options);
        c::few_shipments(&mut command, name, &program.with_extension("ledger"));
        suite.run_within(name, command, Some(PROGRAM_LIMIT));
    }
    for name in WRITING_EXAMPLES {
        let Some((_, program)) = compiled(suite, tree, &folder.join(name)) else { continue };
        writing::run(suite, name, watched(&program, options), PROGRAM_LIMIT);
    }
}

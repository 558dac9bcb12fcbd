//! The quick starts of the READMEs and the programs of `docs/`, run as a reader would run them. Those in
//! Rust are doctests of `durstream-tests`, those of the packages' READMEs are tests of theirs.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use durstream_tests::failure::{Context, Result};
use durstream_tests::quickstart::{Language, QUICK_STARTS, left, programs};

use crate::artefacts;
use crate::stage::{self, Linkage};
use durstream_tests::runner::Suite;
use durstream_tests::step::step;
use durstream_tests::tree::Tree;

type Build = fn(&Tree) -> Result;

/// For a program that takes a second.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn suite(suite: &mut Suite<'_>) {
    let builds: [(&str, Build); 3] = [
        ("C library", artefacts::c_library),
        ("wheel", artefacts::python_wheel),
        ("package", artefacts::node_package),
    ];
    for (name, build) in builds {
        if !suite.step(name, build) {
            return suite.blocked("quick starts");
        }
    }
    for quick_start in &QUICK_STARTS {
        let title = quick_start.title();
        if run(suite, &title, quick_start.language, |tree| quick_start.block(tree)) {
            let address = suite.address();
            suite.step(&format!("{title}, read back"), |_| quick_start.arrived(address?));
        }
    }
    let mut found = Vec::new();
    let address = suite.address();
    suite.step("programs of docs/", |tree| {
        programs(tree, address?).map(|programs| found = programs)
    });
    for program in found {
        run(suite, &program.title, program.language, |_| Ok(program.text));
    }
    let address = suite.address();
    suite.step("programs of docs/, read back", |_| left(address?));
}

/// Makes a program of a text and runs it; whether all of it passed.
fn run(
    suite: &mut Suite<'_>,
    title: &str,
    language: Language,
    text: impl FnOnce(&Tree) -> Result<String>,
) -> bool {
    let mut command = None;
    let prepared = suite.step(&format!("{title}, prepared"), |tree| {
        command = Some(program(tree, language, &text(tree)?)?);
        Ok(())
    });
    let Some(command) = command.filter(|_| prepared) else {
        suite.blocked(title);
        return false;
    };
    suite.run_within(title, command, Some(LIMIT))
}

/// Makes a program of a block.
fn program(tree: &Tree, language: Language, text: &str) -> Result<Command> {
    match language {
        Language::C => compiled(tree, "quickstart.c", text),
        Language::Cpp => compiled(tree, "quickstart.cpp", text),
        Language::Python => python(tree, text),
        Language::Js => node(tree, text),
    }
}

fn written(tree: &Tree, name: &str, text: &str) -> Result<PathBuf> {
    let file = tree.directory("readme")?.join(name);
    std::fs::write(&file, text).context(file.display())?;
    Ok(file)
}

fn compiled(tree: &Tree, name: &str, text: &str) -> Result<Command> {
    let source = written(tree, name, text)?;
    let program = source.with_extension(format!("{}.program", name.len()));
    step(tree, name, |step| stage::compile(tree, step, &[&source], &program, Linkage::Shared))?;
    Ok(Command::new(program))
}

fn python(tree: &Tree, text: &str) -> Result<Command> {
    let mut command = Command::new(tree.venv_python());
    command.arg(written(tree, "quickstart.py", text)?);
    Ok(command)
}

/// Node finds the package by its name in a `node_modules` beside the program.
fn node(tree: &Tree, text: &str) -> Result<Command> {
    let modules = tree.directory("readme/node_modules/durstream")?;
    let manifest = r#"{ "name": "durstream", "version": "0.0.0",
        "exports": { ".": "./index.mjs", "./*": "./*.mjs" } }"#;
    std::fs::write(modules.join("package.json"), manifest).context("package.json")?;
    for name in ["index.mjs", "testing.mjs", "opentelemetry.mjs"] {
        let entry = tree.root.join("bindings-node/dist").join(name);
        let forward = format!("export * from {:?};\n", format!("file://{}", entry.display()));
        std::fs::write(modules.join(name), forward).context(name)?;
    }
    let sdk = tree.directory("readme/node_modules/@opentelemetry/sdk-metrics")?;
    let own =
        tree.root.join("bindings-node/node_modules/@opentelemetry/sdk-metrics/build/src/index.js");
    let forward = format!("export * from {:?};\n", format!("file://{}", own.display()));
    std::fs::write(sdk.join("index.mjs"), forward).context("sdk-metrics")?;
    let manifest = r#"{ "name": "@opentelemetry/sdk-metrics", "exports": "./index.mjs" }"#;
    std::fs::write(sdk.join("package.json"), manifest).context("package.json")?;
    let mut command = Command::new("node");
    command.arg(written(tree, "quickstart.mjs", text)?);
    Ok(command)
}

//! Builds what the project ships, and the shipment programs, each step doing only what is not done.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;
use crate::stage::{self, Linkage};
use crate::stamp::Stamp;
use crate::step::{Step, step};
use crate::toolchain;
use crate::tree::Tree;
use durstream_tests::failure::{Context, Result};

/// Used when `bindings-python/requirements-dev.txt` does not name it.
const MATURIN: &str = "maturin==1.16.0";

pub(crate) fn c_library(tree: &Tree) -> Result {
    step(tree, "C library", |step| {
        cargo_build(tree, step)?;
        stage::fill(tree)
    })
}

pub(crate) fn rust_example(tree: &Tree) -> Result<PathBuf> {
    let arguments = ["build", "--release", "-p", "durstream-core", "--example", "shipments"];
    step(tree, "Rust shipments", |step| step.run(&mut process::cargo(&tree.root, &arguments)))?;
    Ok(tree.release(&format!("examples/shipments{}", std::env::consts::EXE_SUFFIX)))
}

/// A shipment program in C or C++; the library must be staged.
pub(crate) fn c_example(tree: &Tree, title: &str, source_name: &str) -> Result<PathBuf> {
    let source = tree.root.join("ffi-c/examples").join(source_name);
    let name = source_name.replace('.', "-");
    let program =
        tree.directory("examples")?.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let inputs = [source.clone(), tree.stage().join("include"), stage::shared_library(tree)];
    let stamp = Stamp::new(tree.directory("stamps")?.join(name), &inputs, "")?;
    let noun = source_name.split('.').next().unwrap_or(source_name);
    step(tree, &format!("{title} {noun}"), |step| {
        step.unless_done(&stamp, &program, || {
            stage::compile(tree, step, &[&source], &program, Linkage::Shared)
        })
    })?;
    Ok(program)
}

/// The fault proxy as a process, for tests in other languages.
pub(crate) fn fault_proxy(tree: &Tree) -> Result {
    step(tree, "Fault proxy", |step| cargo_build(tree, step))
}

/// A virtual environment with the wheel and what the tests need.
pub(crate) fn python_wheel(tree: &Tree) -> Result {
    let python = tree.venv_python();
    let requirements = tree.root.join("bindings-python/requirements-dev.txt");
    step(tree, "Python environment", |step| {
        let version = toolchain::python().args(["-c", "import sys; print(sys.version)"]).output();
        let version = version.context("running python")?.stdout;
        let extra = format!("{MATURIN} {}", String::from_utf8_lossy(&version));
        let stamp = Stamp::new(
            tree.directory("stamps")?.join("python"),
            std::slice::from_ref(&requirements),
            &extra,
        )?;
        step.unless_done(&stamp, &python, || make_environment(tree, step, &requirements))
    })?;
    step(tree, "Python wheel", |step| {
        let inputs = ["core", "bindings-python", "Cargo.toml", "Cargo.lock"];
        let inputs = inputs.map(|name| tree.root.join(name));
        // Inside the environment: gone when that is made anew.
        let stamp = Stamp::new(tree.target.join("venv/wheel-installed"), &inputs, "")?;
        step.unless_done(&stamp, &python, || build_wheel(tree, step))
    })
}

fn make_environment(tree: &Tree, step: &Step, requirements: &Path) -> Result {
    step.run(toolchain::python().args(["-m", "venv", "--clear"]).arg(tree.target.join("venv")))?;
    let mut pip = pip_install(tree);
    let listed = std::fs::read_to_string(requirements).unwrap_or_default();
    if !listed.lines().any(|line| line.starts_with("maturin")) {
        pip.arg(MATURIN);
    }
    if requirements.exists() {
        pip.arg("-r").arg(requirements);
    }
    step.run(&mut pip)
}

fn build_wheel(tree: &Tree, step: &Step) -> Result {
    let wheels = tree.fresh_directory("wheels")?;
    let python = tree.venv_python();
    let mut maturin = Command::new(&python);
    maturin.args(["-m", "maturin", "build", "--release", "--out"]).arg(&wheels);
    maturin.arg("--interpreter").arg(&python).current_dir(tree.root.join("bindings-python"));
    step.run(&mut maturin)?;
    let made = std::fs::read_dir(&wheels).context(wheels.display())?.flatten();
    let wheel = made
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or("maturin made no wheel")?;
    step.run(pip_install(tree).args(["--force-reinstall", "--no-deps"]).arg(wheel))
}

fn pip_install(tree: &Tree) -> Command {
    let mut pip = Command::new(tree.venv_python());
    pip.args(["-m", "pip", "install", "--disable-pip-version-check"]);
    pip
}

/// The addon, the packages its facade is compiled with, and the facade.
pub(crate) fn node_package(tree: &Tree) -> Result {
    let folder = tree.root.join("bindings-node");
    step(tree, "Node addon", |step| {
        cargo_build(tree, step)?;
        let native = folder.join("native");
        std::fs::create_dir_all(&native).context(native.display())?;
        let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let built = tree.release(&format!("{prefix}durstream_node{suffix}"));
        stage::install(&built, &native.join("durstream.node"))
    })?;
    if !folder.join("package.json").exists() {
        return Ok(());
    }
    npm_packages(tree, "Node packages", &folder)?;
    step(tree, "Node facade", |step| {
        let stamp = Stamp::new(
            tree.directory("stamps")?.join("node-facade"),
            std::slice::from_ref(&folder),
            "",
        )?;
        step.unless_done(&stamp, &folder.join("dist"), || {
            step.run(toolchain::npm().args(["run", "build"]).current_dir(&folder))
        })
    })
}

/// `npm ci` where the lock file asks for something else than what is there.
pub(crate) fn npm_packages(tree: &Tree, title: &str, folder: &Path) -> Result {
    step(tree, title, |step| {
        let inputs = ["package.json", "package-lock.json"].map(|name| folder.join(name));
        let modules = folder.join("node_modules");
        // Inside the folder: gone when somebody removes it.
        let stamp = Stamp::new(modules.join(".installed"), &inputs, "")?;
        step.unless_done(&stamp, &modules, || {
            let mut npm = toolchain::npm();
            npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(folder);
            step.run(&mut npm)?;
            // npm makes no folder when nothing is asked for.
            std::fs::create_dir_all(&modules).context(modules.display())
        })
    })
}

/// Everything the workspace ships and tests with, whichever part was asked for: packages built one
/// by one would each choose other features of what they share, and compile it again.
pub(crate) fn cargo_build(tree: &Tree, step: &Step) -> Result {
    let arguments = ["build", "--release", "--workspace", "--exclude", "xtask"];
    step.run(&mut process::cargo(&tree.root, &arguments))
}

/// The tests in Rust; for the same reason of one choice of packages.
pub(crate) fn cargo_test(tree: &Tree, arguments: &[&str]) -> Command {
    let packages = ["-p", "durstream-core", "-p", "durstream-tests", "-p", "xtask"];
    let mut command = process::cargo(&tree.root, &["test"]);
    command.args(packages).args(arguments);
    command
}

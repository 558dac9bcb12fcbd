//! Builds what the project ships and what its tests need, each step doing only what is not done.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stage::{self, Linkage};
use crate::toolchain;
use durstream_tests::failure::{Context, Result};
use durstream_tests::needs::{CProgram, Need};
use durstream_tests::server::{OFFICIAL, URSULA};
use durstream_tests::stamp::Stamp;
use durstream_tests::step::{Step, step};
use durstream_tests::tree::Tree;

/// Used when `bindings-python/requirements-dev.txt` does not name it.
const MATURIN: &str = "maturin==1.16.0";

pub(crate) fn c_library(tree: &Tree) -> Result {
    step(tree, "C library", |step| {
        // With the core comes the tool that looks into outboxes.
        cargo_build(tree, step, &["durstream", "durstream-core"])?;
        stage::fill(tree)
    })
}

/// Everything a harness asked for.
pub(crate) fn provide(tree: &Tree, needs: &[Need]) -> Result {
    if needs.iter().any(|need| matches!(need, Need::CProgram(_))) {
        c_library(tree)?;
    }
    needs.iter().try_for_each(|need| provide_one(tree, need))
}

/// One of them; the library is there where it is needed.
fn provide_one(tree: &Tree, need: &Need) -> Result {
    match need {
        Need::Server => OFFICIAL.install(tree, "server").map(drop),
        Need::Cluster => URSULA.install(tree, "cluster").map(drop),
        Need::RustPrograms(package) => rust_programs(tree, package),
        Need::CProgram(program) => c_program(tree, program, Linkage::Shared).map(drop),
        Need::PythonPackage => python_wheel(tree),
        Need::NodePackage => node_package(tree),
        Need::NpmPackages { title, folder } => npm_packages(tree, title, &tree.root.join(folder)),
        Need::PythonEnvironment { title, folder, requirements } => {
            environment(tree, title, folder, &tree.root.join(requirements))
        }
    }
}

/// A package of programs in Rust.
fn rust_programs(tree: &Tree, package: &str) -> Result {
    let title = package.trim_start_matches("durstream-");
    step(tree, title, |step| cargo_build(tree, step, &[package]))
}

/// The fault proxy as a process, for tests in other languages.
pub(crate) fn fault_proxy(tree: &Tree) -> Result {
    step(tree, "Fault proxy", |step| cargo_build(tree, step, &["durstream-tests"]))
}

/// A program in C or C++; the library must be staged.
pub(crate) fn c_program(tree: &Tree, named: &CProgram, linkage: Linkage) -> Result<PathBuf> {
    let source = tree.root.join(&named.source);
    let program = tree.target.join(named.path());
    let folder = program.parent().unwrap_or(&tree.target);
    std::fs::create_dir_all(folder).context(folder.display())?;
    let inputs = [source.clone(), tree.stage().join("include"), stage::shared_library(tree)];
    let name = named.program.replace('/', "-");
    let stamp = Stamp::new(tree.directory("stamps")?.join(name), &inputs, "")?;
    let sources = if source.is_dir() { c_sources(&source)? } else { vec![source] };
    step(tree, &named.title, |step| {
        step.unless_done(&stamp, &program, || {
            let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
            stage::compile(tree, step, &sources, &program, linkage)
        })
    })?;
    Ok(program)
}

/// The C sources of a folder, in the order of their names.
fn c_sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).context(folder.display())?.flatten();
    let mut sources: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
    sources.sort();
    Ok(sources)
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
    let mut pip = pip_install(&tree.venv_python());
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
    maturin.args(["-m", "maturin", "build", "--release", "--features", "one-build", "--out"]);
    maturin.arg(&wheels);
    maturin.arg("--interpreter").arg(&python).current_dir(tree.root.join("bindings-python"));
    step.run(&mut maturin)?;
    let made = std::fs::read_dir(&wheels).context(wheels.display())?.flatten();
    let wheel = made
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or("maturin made no wheel")?;
    step.run(pip_install(&python).args(["--force-reinstall", "--no-deps"]).arg(wheel))
}

pub(crate) fn pip_install(python: &Path) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--disable-pip-version-check"]);
    pip
}

/// A virtual environment, apart from the one with our wheel.
fn environment(tree: &Tree, title: &str, folder: &str, requirements: &Path) -> Result {
    let environment = tree.target.join(folder);
    let python = Tree::python_of(&environment);
    let inputs = [requirements.to_path_buf()];
    // Inside the environment: gone when that is.
    let stamp = Stamp::new(environment.join("installed"), &inputs, "")?;
    step(tree, title, |step| {
        step.unless_done(&stamp, &python, || {
            step.run(toolchain::python().args(["-m", "venv", "--clear"]).arg(&environment))?;
            step.run(pip_install(&python).arg("-r").arg(requirements))
        })
    })
}

/// The addon, the packages its facade is compiled with, and the facade.
pub(crate) fn node_package(tree: &Tree) -> Result {
    let folder = tree.root.join("bindings-node");
    step(tree, "Node addon", |step| {
        cargo_build(tree, step, &["durstream-node"])?;
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

/// Named beside whatever is built: without it packages that are built one by one would each choose
/// other features of what they share, and compile that again.
const ONE_BUILD: &str = "durstream-one-build";

/// Builds packages of the workspace as they ship.
fn cargo_build(tree: &Tree, step: &Step, packages: &[&str]) -> Result {
    let mut cargo = toolchain::cargo(&tree.root, &["build", "--release"]);
    for package in packages.iter().chain(&[ONE_BUILD]) {
        cargo.args(["-p", package]);
    }
    step.run(&mut cargo)
}

/// What is built to build and to test, quickly and not optimised.
const OUR_TOOLS: [&str; 8] = [
    "xtask",
    "durstream-demo",
    "durstream-conformance",
    "durstream-faults",
    "durstream-soak",
    "durstream-interop",
    "durstream-bench",
    "durstream-package",
];

/// The tests in Rust, all at once: there too each choice of packages has features of its own.
pub(crate) fn cargo_test(tree: &Tree, arguments: &[&str]) -> Command {
    let mut command = toolchain::cargo(&tree.root, &["test"]);
    for package in ["durstream-core", "durstream-tests"].into_iter().chain(OUR_TOOLS) {
        command.args(["-p", package]);
    }
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The features of all that a package is built of.
    fn features(root: &Path, arguments: &[&str]) -> BTreeMap<String, String> {
        let tree = ["tree", "--offline", "-e", "normal,build", "--prefix", "none", "--no-dedupe"];
        let mut cargo = toolchain::cargo(root, &tree);
        let output = cargo.args(["-f", "{p}\t{f}"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        lines.map(|(name, features)| (name.to_owned(), features.to_owned())).collect()
    }

    #[test]
    fn what_products_share_is_compiled_once() {
        let root = Tree::find().unwrap().root;
        let mut shared = features(&root, &["-p", "durstream-python", "--features", "one-build"]);
        for package in [
            "durstream",
            "durstream-node",
            "durstream-tests",
            "durstream-demo-service",
            "durstream-conformance-adapter",
            "durstream-faults-writer",
            "durstream-soak-service",
            "durstream-interop-writer",
            "durstream-bench-programs",
            "durstream-bench-plots",
        ] {
            for (name, own) in features(&root, &["-p", package, "-p", ONE_BUILD]) {
                let of_others = shared.entry(name.clone()).or_insert_with(|| own.clone());
                let hint = "xtask/one-build/Cargo.toml has to ask for more";
                assert_eq!(*of_others, own, "{name} in {package}: {hint}");
            }
        }
    }
}

//! The installed library as users find it: by pkg-config and by CMake, in each layout of a prefix,
//! and after the prefix was moved.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stage;
use durstream_tests::compilers;
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::runner::Suite;
use durstream_tests::step::step;
use durstream_tests::tree::Tree;

/// Fedora's and openSUSE's `lib64`, and Debian's folder for each architecture.
const LAYOUTS: [&str; 2] = [stage::LIB, "lib64"];

pub(super) fn steps(suite: &mut Suite<'_>, folder: &Path) {
    let user = folder.join("package");
    for (tool, work) in [("pkg-config", by_pkg_config as Way), ("cmake", by_cmake)] {
        if !is_here(tool) {
            console::line(&format!("{tool} is not here: what it finds is not looked at"));
            continue;
        }
        let mut layouts: Vec<String> = LAYOUTS.map(str::to_owned).to_vec();
        layouts.extend(multiarch());
        for libdir in layouts {
            suite.step(&format!("{tool} {libdir}"), |tree| {
                let title = format!("{tool} {libdir}");
                let prefix = moved(tree, &libdir)?;
                let build = tree.fresh_directory("c-tests/package")?;
                step(tree, &title, |step| {
                    work(&prefix, &libdir, &user, &build, &mut |command| step.run(command))
                })
            });
        }
    }
}

/// Builds a user's program with the library in a prefix, and runs it.
type Way = fn(&Path, &str, &Path, &Path, &mut dyn FnMut(&mut Command) -> Result) -> Result;

fn is_here(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The folder of this machine's architecture, where its compiler has one.
fn multiarch() -> Option<String> {
    let output = compilers::c_compiler().arg("-print-multiarch").output().ok()?;
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !name.is_empty()).then(|| format!("lib/{name}"))
}

/// A prefix that was filled, then moved: nothing in it may know where it was.
fn moved(tree: &Tree, libdir: &str) -> Result<PathBuf> {
    let parent = tree.fresh_directory("c-tests/installed")?;
    let (first, second) = (parent.join("first"), parent.join("second"));
    stage::fill_at(tree, &first, libdir)?;
    std::fs::rename(&first, &second).context(second.display())?;
    Ok(second)
}

fn by_pkg_config(
    prefix: &Path,
    libdir: &str,
    user: &Path,
    build: &Path,
    run: &mut dyn FnMut(&mut Command) -> Result,
) -> Result {
    let lib = prefix.join(libdir);
    for linkage in [None, Some("--static")] {
        let mut asked = Command::new("pkg-config");
        asked.env("PKG_CONFIG_PATH", lib.join("pkgconfig")).args(linkage);
        let output = asked.args(["--cflags", "--libs", "durstream"]).output();
        let output = output.context("running pkg-config")?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let flags = String::from_utf8_lossy(&output.stdout).into_owned();
        let program = build.join("user");
        let mut compiler = compilers::cpp_compiler();
        compiler.args(["-std=c++17", "-o"]).arg(&program).arg(user.join("user.cpp"));
        compiler.arg(format!("-Wl,-rpath,{}", lib.display()));
        run(compiler.args(flags.split_whitespace()))?;
        run(&mut Command::new(&program))?;
    }
    Ok(())
}

fn by_cmake(
    prefix: &Path,
    _: &str,
    user: &Path,
    build: &Path,
    run: &mut dyn FnMut(&mut Command) -> Result,
) -> Result {
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(user).arg("-B").arg(build);
    // Only the prefix: not what else is installed here.
    configure.args(["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF"]);
    run(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())))?;
    run(Command::new("cmake").arg("--build").arg(build))?;
    for program in ["user_shared", "user_static"] {
        run(&mut Command::new(build.join(program)))?;
    }
    Ok(())
}

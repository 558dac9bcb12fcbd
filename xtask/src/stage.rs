//! The C library staged below `target/` as it would be installed, and programs compiled against it.

use std::path::{Path, PathBuf};

use durstream_package::prefix::{self, Names};
pub(crate) use durstream_package::prefix::{LIB, install};
use durstream_tests::compilers;
use durstream_tests::failure::Result;
use durstream_tests::step::Step;
use durstream_tests::tree::Tree;

/// Fills the stage from what cargo built.
pub(crate) fn fill(tree: &Tree) -> Result {
    fill_at(tree, &tree.stage(), LIB)
}

/// Fills a prefix from what cargo built.
pub(crate) fn fill_at(tree: &Tree, prefix: &Path, libdir: &str) -> Result {
    prefix::fill(&tree.root, &tree.release(""), prefix, libdir)
}

/// Adds the tool that looks into outboxes to a prefix.
pub(crate) fn add_tool(tree: &Tree, prefix: &Path) -> Result {
    prefix::add_tool(&tree.release(""), prefix)
}

/// What valgrind's leak check is told.
pub(crate) fn suppressions(tree: &Tree) -> PathBuf {
    prefix::suppressions(&tree.stage())
}

pub(crate) fn shared_library(tree: &Tree) -> PathBuf {
    tree.stage().join("lib").join(Names::here().shared)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linkage {
    Shared,
    Static,
    /// To the shared library of an instrumented tree, the program instrumented like it.
    Sanitized,
}

/// What they find ends the program. Warnings are off: what the instrumentation adds makes gcc
/// suspect code that it is content with otherwise, and the plain suite compiles with all of them.
const SANITIZED: [&str; 4] = [
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
    "-fno-omit-frame-pointer",
    "-w",
];

/// Compiles a C or C++ program against the prefix, as a user of the library would.
pub(crate) fn compile(
    tree: &Tree,
    step: &Step,
    sources: &[&Path],
    program: &Path,
    linkage: Linkage,
) -> Result {
    let is_c = |source: &&Path| source.extension().is_some_and(|extension| extension == "c");
    let is_c = sources.iter().all(is_c);
    let mut compiler = if is_c { compilers::c_compiler() } else { compilers::cpp_compiler() };
    let lib = tree.stage().join("lib");
    compiler.arg(if is_c { "-std=c11" } else { "-std=c++17" });
    compiler.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2", "-g", "-pthread", "-I"]);
    compiler.arg(tree.stage().join("include")).args(sources).arg("-o").arg(program);
    if linkage == Linkage::Sanitized {
        compiler.args(SANITIZED);
    }
    match linkage {
        Linkage::Shared | Linkage::Sanitized => {
            compiler.arg("-L").arg(&lib).arg("-ldurstream");
            compiler.arg(format!("-Wl,-rpath,{}", lib.display()));
        }
        Linkage::Static => {
            let names = Names::here();
            compiler.arg(lib.join(names.archive)).args(names.system_libs.split_whitespace());
        }
    }
    step.run(&mut compiler)
}

//! The headers in a program that turns every warning on: none of them may be theirs.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::runner::Suite;
use crate::step::{Step, step};
use crate::toolchain;
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::tree::Tree;

/// What gcc and clang both know, for C and C++.
const COMMON: [&str; 19] = [
    "-Werror",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wdouble-promotion",
    "-Wfloat-equal",
    "-Wcast-qual",
    "-Wcast-align",
    "-Wformat=2",
    "-Wswitch-enum",
    "-Wswitch-default",
    "-Wundef",
    "-Wredundant-decls",
    "-Wnull-dereference",
    "-Wunused",
    "-I",
];
const CPP: [&str; 8] = [
    "-Wold-style-cast",
    "-Wnon-virtual-dtor",
    "-Woverloaded-virtual",
    "-Weffc++",
    "-Wextra-semi",
    "-Wctor-dtor-privacy",
    "-Wmissing-declarations",
    "-fvisibility=hidden",
];
const GCC_CPP: [&str; 5] = [
    "-Wuseless-cast",
    "-Wduplicated-cond",
    "-Wduplicated-branches",
    "-Wlogical-op",
    "-Wsuggest-override",
];
const C: [&str; 4] =
    ["-Wstrict-prototypes", "-Wmissing-prototypes", "-Wold-style-definition", "-Wc++-compat"];
/// All that clang has, but what no header in C++17 can do: be C++98, and have no padding. Of the
/// test's own programs: macros that they define and do not use.
const CLANG: [&str; 6] = [
    "-Weverything",
    "-Wno-c++98-compat",
    "-Wno-c++98-compat-pedantic",
    "-Wno-padded",
    "-Wno-unused-macros",
    "-Wno-switch-default",
];
/// Exceptions are the face's way to tell errors; RTTI it does not need.
const NO_EXCEPTIONS: &str = "exceptions are off here: use durstream.h";
const TOO_OLD: &str = "durstream.hpp needs C++17";

pub(super) fn steps(suite: &mut Suite<'_>, folder: &Path) {
    let strict = folder.join("strict");
    suite.step("headers without a warning", |tree| {
        step(tree, "Strict headers", |step| {
            compilers(toolchain::c_compiler, "clang", |compiler, is_clang| {
                in_c(tree, step, &strict, compiler, is_clang)
            })?;
            compilers(toolchain::cpp_compiler, "clang++", |compiler, is_clang| {
                in_cpp(tree, step, &strict, compiler, is_clang)
            })
        })
    });
    suite.step("headers explain themselves", |tree| explained(tree, &strict));
    suite.step("headers in two translation units", |tree| linked(tree, &strict));
}

/// Hands on the compiler that is chosen here, and clang where that is another one.
fn compilers(
    chosen: fn() -> Command,
    clang: &str,
    mut work: impl FnMut(&dyn Fn() -> Command, bool) -> Result,
) -> Result {
    let chosen_is_clang = is_clang(chosen());
    work(&chosen, chosen_is_clang)?;
    let other = || Command::new(clang);
    match !chosen_is_clang && is_clang(other()) {
        true => work(&other, true),
        false => Ok(()),
    }
}

/// Whether a compiler is here and is clang.
fn is_clang(mut compiler: Command) -> bool {
    compiler.args(["-dM", "-E", "-x", "c", "-"]).stdin(Stdio::null());
    let macros = compiler.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&macros).contains("__clang__")
}

/// Whether a compiler knows a standard.
fn knows(mut compiler: Command, language: &str, standard: &str) -> bool {
    compiler.args([&format!("-std={standard}"), "-fsyntax-only", "-x", language, "-"]);
    compiler.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
}

fn in_c(
    tree: &Tree,
    step: &Step,
    strict: &Path,
    compiler: &dyn Fn() -> Command,
    clang: bool,
) -> Result {
    let source = strict.join("face.c");
    for standard in ["c99", "c11", "c17", "c2x"] {
        if knows(compiler(), "c", standard) {
            let mut command = compiler();
            command.args(C).args(if clang { &CLANG[..] } else { &[] });
            judge(tree, step, command, "c", standard, &source)?;
        }
    }
    Ok(())
}

/// The C++ face, and that of C as C++ sees it.
fn in_cpp(
    tree: &Tree,
    step: &Step,
    strict: &Path,
    compiler: &dyn Fn() -> Command,
    clang: bool,
) -> Result {
    let (face, second, c) =
        (strict.join("face.cpp"), strict.join("second.cpp"), strict.join("face.c"));
    for standard in ["c++11", "c++14", "c++17", "c++20", "c++23", "c++2c"] {
        if !knows(compiler(), "c++", standard) {
            continue;
        }
        let is_old = matches!(standard, "c++11" | "c++14");
        let sources = [Some(&c), (!is_old).then_some(&face), (!is_old).then_some(&second)];
        for source in sources.into_iter().flatten() {
            for rtti in [None, Some("-fno-rtti")] {
                let mut command = compiler();
                command.args(CPP).args(rtti);
                command.args(if clang { &CLANG[..] } else { &GCC_CPP[..] });
                judge(tree, step, command, "c++", standard, source)?;
            }
        }
    }
    Ok(())
}

fn judge(
    tree: &Tree,
    step: &Step,
    mut command: Command,
    language: &str,
    standard: &str,
    source: &Path,
) -> Result {
    let object = tree.directory("c-tests")?.join("strict.o");
    command.args(COMMON).arg(tree.root.join("include"));
    // Some warnings come from what the optimiser sees.
    command.args(["-O2", &format!("-std={standard}"), "-x", language, "-c"]);
    step.run(command.arg(source).arg("-o").arg(object))
}

/// Where the C++ face cannot be used it says so, once, and what to use.
fn explained(tree: &Tree, strict: &Path) -> Result {
    for (flag, text) in [("-fno-exceptions", NO_EXCEPTIONS), ("-std=c++14", TOO_OLD)] {
        let mut compiler = toolchain::cpp_compiler();
        compiler.args(["-std=c++17", flag, "-fsyntax-only", "-I"]).arg(tree.root.join("include"));
        compiler.args(["-include", "durstream.hpp", "-x", "c++"]).arg(strict.join("empty.cpp"));
        let output = compiler.output().context("running the C++ compiler")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() || !said.contains(text) || said.matches("error:").count() != 1 {
            return Err(format!("{flag} is not explained by one error:\n{said}").into());
        }
    }
    Ok(())
}

/// Two units with the headers make one program, which runs.
fn linked(tree: &Tree, strict: &Path) -> Result {
    let program = tree
        .directory("c-tests")?
        .join(format!("strict-two-units{}", std::env::consts::EXE_SUFFIX));
    let lib = tree.stage().join("lib");
    let mut compiler = toolchain::cpp_compiler();
    compiler.args(["-std=c++17", "-fvisibility=hidden", "-pthread", "-I"]);
    compiler.arg(tree.stage().join("include"));
    compiler.args([strict.join("face.cpp"), strict.join("second.cpp")]).arg("-L").arg(&lib);
    compiler.arg("-ldurstream").arg(format!("-Wl,-rpath,{}", lib.display()));
    step(tree, "Two units", |step| step.run(compiler.arg("-o").arg(&program)))?;
    let output = Command::new(&program).output().context(program.display())?;
    if !output.status.success() {
        console::line(&String::from_utf8_lossy(&output.stderr));
        return Err(format!("{} ended with {}", program.display(), output.status).into());
    }
    Ok(())
}

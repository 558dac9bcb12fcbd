//! The headers in a program that turns every warning on: none of them may be theirs.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use durstream_tests::compilers::{c_compiler, cpp_compiler};
use durstream_tests::process::describe;
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

fn strict() -> PathBuf {
    Tree::find().unwrap().root.join("ffi-c/tests/strict")
}

/// A folder for what a test makes.
fn made() -> PathBuf {
    Tree::find().unwrap().directory("c-tests").unwrap()
}

/// Runs a compiler.
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", describe(command));
}

#[test]
fn the_headers_give_no_warning_in_c() {
    compilers(c_compiler, "clang", in_c);
}

#[test]
fn the_headers_give_no_warning_in_cpp() {
    compilers(cpp_compiler, "clang++", in_cpp);
}

/// Hands on the compiler that is chosen here, and clang where that is another one.
fn compilers(chosen: fn() -> Command, clang: &str, work: fn(&dyn Fn() -> Command, bool)) {
    let chosen_is_clang = is_clang(chosen());
    work(&chosen, chosen_is_clang);
    let other = || Command::new(clang);
    if !chosen_is_clang && is_clang(other()) {
        work(&other, true);
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

fn in_c(compiler: &dyn Fn() -> Command, clang: bool) {
    for standard in ["c99", "c11", "c17", "c2x"] {
        if knows(compiler(), "c", standard) {
            let mut command = compiler();
            command.args(C).args(if clang { &CLANG[..] } else { &[] });
            judge(command, "c", standard, &strict().join("face.c"));
        }
    }
}

/// The C++ face, and that of C as C++ sees it.
fn in_cpp(compiler: &dyn Fn() -> Command, clang: bool) {
    for standard in ["c++11", "c++14", "c++17", "c++20", "c++23", "c++2c"] {
        if !knows(compiler(), "c++", standard) {
            continue;
        }
        let is_old = matches!(standard, "c++11" | "c++14");
        let of_cpp: &[&str] = if is_old { &[] } else { &["face.cpp", "second.cpp"] };
        for source in ["face.c"].iter().chain(of_cpp) {
            for rtti in [None, Some("-fno-rtti")] {
                let mut command = compiler();
                command.args(CPP).args(rtti);
                command.args(if clang { &CLANG[..] } else { &GCC_CPP[..] });
                judge(command, "c++", standard, &strict().join(source));
            }
        }
    }
}

fn judge(mut command: Command, language: &str, standard: &str, source: &Path) {
    let object = made().join(format!("strict-{language}.o"));
    command.args(COMMON).arg(Tree::find().unwrap().root.join("include"));
    // Some warnings come from what the optimiser sees.
    command.args(["-O2", &format!("-std={standard}"), "-x", language, "-c"]);
    run(command.arg(source).arg("-o").arg(object));
}

/// Where the C++ face cannot be used it says so, once, and what to use.
#[test]
fn the_headers_explain_themselves() {
    for (flag, text) in [("-fno-exceptions", NO_EXCEPTIONS), ("-std=c++14", TOO_OLD)] {
        let mut compiler = cpp_compiler();
        let include = Tree::find().unwrap().root.join("include");
        compiler.args(["-std=c++17", flag, "-fsyntax-only", "-I"]).arg(include);
        compiler
            .args(["-include", "durstream_test.hpp", "-x", "c++"])
            .arg(strict().join("empty.cpp"));
        let output = compiler.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let explains = said.contains(text) && said.matches("error:").count() == 1;
        assert!(
            !output.status.success() && explains,
            "{flag} is not explained by one error:\n{said}"
        );
    }
}

/// What the compiler says of each mistake in `mistakes.cpp`.
const MISTAKES: [&str; 11] = [
    "declared",
    "declared",
    "no matching",
    "no matching",
    "no matching",
    "no matching",
    "no matching",
    "no matching",
    "no matching",
    "no matching",
    "`to_json` makes the JSON text of an entity",
];

/// A write to a collection that is not of its type does not compile, and without it the program does.
#[test]
fn mistakes_with_collections_do_not_compile() {
    compilers(cpp_compiler, "clang++", |compiler, _| {
        let compiled = |mistake: usize| {
            let mut compiler = compiler();
            compiler.args(["-std=c++17", "-fsyntax-only", &format!("-DMISTAKE={mistake}"), "-I"]);
            compiler.arg(Tree::find().unwrap().root.join("include"));
            compiler.arg(strict().join("mistakes.cpp")).output().unwrap()
        };
        let said = |mistake| String::from_utf8_lossy(&compiled(mistake).stderr).into_owned();
        assert!(compiled(0).status.success(), "{}", said(0));
        for (n, text) in MISTAKES.iter().enumerate() {
            let said = said(n + 1);
            assert!(said.contains("error: ") && said.contains(text), "mistake {}:\n{said}", n + 1);
        }
    });
}

/// Two units with the headers make one program, which runs.
#[test]
fn the_headers_may_be_in_two_translation_units() {
    let Some(stage) = std::env::var_os("DURSTREAM_STAGE").map(PathBuf::from) else { return };
    let program = made().join(format!("strict-two-units{}", std::env::consts::EXE_SUFFIX));
    let lib = stage.join("lib");
    let mut compiler = cpp_compiler();
    compiler.args(["-std=c++17", "-fvisibility=hidden", "-pthread", "-I"]);
    compiler.arg(stage.join("include"));
    compiler.args(["face.cpp", "second.cpp"].map(|name| strict().join(name))).arg("-L").arg(&lib);
    compiler.arg("-ldurstream").arg(format!("-Wl,-rpath,{}", lib.display()));
    run(compiler.arg("-o").arg(&program));
    run(&mut Command::new(&program));
}

/// The reference of both headers has every function, and Doxygen has nothing to say of it. Without
/// Doxygen nothing is looked at.
#[test]
fn the_reference_is_built_without_a_warning() {
    if Command::new("doxygen").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("doxygen is not here: the reference of the headers is not built");
        return;
    }
    let tree = Tree::find().unwrap();
    let output = tree.fresh_directory("docs/c").unwrap();
    // A file cannot name a target directory that is elsewhere: the later line counts.
    let given = std::fs::read_to_string(tree.root.join("ffi-c/Doxyfile")).unwrap();
    let file = output.join("Doxyfile");
    std::fs::write(&file, format!("{given}\nOUTPUT_DIRECTORY = {}\n", output.display())).unwrap();
    let done = Command::new("doxygen").arg(&file).current_dir(&tree.root).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let page = std::fs::read_to_string(output.join("html/durstream_8h.html")).unwrap();
    for name in ["durstream_producer_append", "durstream_state_upsert", "durstream_shutdown"] {
        assert!(page.contains(name), "{name}");
    }
}

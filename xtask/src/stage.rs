//! The C library as it would be installed: a prefix with headers, libraries, pkg-config and CMake files.

use std::path::{Path, PathBuf};

use durstream_tests::compilers;
use durstream_tests::failure::{Context, Result};
use durstream_tests::step::Step;
use durstream_tests::tree::Tree;

const HEADERS: [&str; 2] = ["durstream.h", "durstream.hpp"];

/// What the library's files are called here, and what a program adds to link it statically.
struct Names {
    /// As cargo calls it.
    built: &'static str,
    /// As programs look it up when they start.
    shared: &'static str,
    /// As the linker looks it up.
    import: &'static str,
    archive: &'static str,
    system_libs: &'static str,
}

const NAMES: Names = if cfg!(target_os = "macos") {
    Names {
        built: "libdurstream.dylib",
        shared: "libdurstream.0.dylib",
        import: "libdurstream.dylib",
        archive: "libdurstream.a",
        system_libs: "-framework Security -framework SystemConfiguration \
                      -framework CoreFoundation -liconv -lm",
    }
} else if cfg!(windows) {
    Names {
        built: "durstream.dll",
        shared: "durstream.dll",
        import: "durstream.dll.lib",
        archive: "durstream.lib",
        system_libs: "-lkernel32 -lntdll -luserenv -lws2_32 -ldbghelp -lbcrypt -lcrypt32",
    }
} else {
    Names {
        built: "libdurstream.so",
        shared: "libdurstream.so.0",
        import: "libdurstream.so",
        archive: "libdurstream.a",
        system_libs: "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc",
    }
};

/// Where libraries are below a prefix unless told.
pub(crate) const LIB: &str = "lib";

/// Fills the stage from what cargo built.
pub(crate) fn fill(tree: &Tree) -> Result {
    fill_at(tree, &tree.stage(), LIB)
}

/// Fills a prefix from what cargo built. `libdir` is relative to it and leads nowhere else: `lib`,
/// `lib64`, `lib/x86_64-linux-gnu`.
pub(crate) fn fill_at(tree: &Tree, prefix: &Path, libdir: &str) -> Result {
    let directory = |name: &str| {
        let path = prefix.join(name);
        std::fs::create_dir_all(&path).context(path.display()).map(|()| path)
    };
    let include = directory("include")?;
    for header in HEADERS {
        install(&tree.root.join("include").join(header), &include.join(header))?;
    }
    let lib = directory(libdir)?;
    install(&tree.release(NAMES.built), &lib.join(NAMES.shared))?;
    install(&tree.release(NAMES.archive), &lib.join(NAMES.archive))?;
    if cfg!(windows) {
        install(&tree.release(NAMES.import), &lib.join(NAMES.import))?;
    } else {
        link(NAMES.shared, &lib.join(NAMES.import))?;
    }
    let shared = directory("share/durstream")?.join("valgrind.supp");
    std::fs::write(&shared, SUPPRESSIONS).context(shared.display())?;
    for (folder, name, template) in TEMPLATES {
        let path = directory(&format!("{libdir}/{folder}"))?.join(name);
        std::fs::write(&path, filled(template, libdir)).context(path.display())?;
    }
    Ok(())
}

/// What valgrind's leak check may be told.
const SUPPRESSIONS: &str = include_str!("../templates/valgrind.supp");

/// Where users of valgrind find it, and the suite itself.
pub(crate) fn suppressions(tree: &Tree) -> PathBuf {
    tree.stage().join("share/durstream/valgrind.supp")
}

/// Where each of them goes below the libraries.
const TEMPLATES: [(&str, &str, &str); 3] = [
    ("pkgconfig", "durstream.pc", include_str!("../templates/durstream.pc.in")),
    (
        "cmake/durstream",
        "durstreamConfig.cmake",
        include_str!("../templates/durstreamConfig.cmake.in"),
    ),
    (
        "cmake/durstream",
        "durstreamConfigVersion.cmake",
        include_str!("../templates/durstreamConfigVersion.cmake.in"),
    ),
];

pub(crate) fn shared_library(tree: &Tree) -> PathBuf {
    tree.stage().join("lib").join(NAMES.shared)
}

fn filled(template: &str, libdir: &str) -> String {
    // The workspace has one version: this crate's is the library's.
    let soname = if cfg!(target_os = "macos") {
        format!("@rpath/{}", NAMES.shared)
    } else {
        NAMES.shared.to_owned()
    };
    // From the libraries up to the prefix.
    let up = vec![".."; Path::new(libdir).components().count()].join("/");
    template
        .replace("@UP@", &up)
        .replace("@POINTER_SIZE@", &size_of::<usize>().to_string())
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@MAJOR@", env!("CARGO_PKG_VERSION_MAJOR"))
        .replace("@MINOR@", env!("CARGO_PKG_VERSION_MINOR"))
        .replace("@SHARED@", NAMES.shared)
        .replace("@SONAME@", &soname)
        .replace("@IMPORT@", NAMES.import)
        .replace("@STATIC@", NAMES.archive)
        .replace("@SYSTEM_LIBS@", NAMES.system_libs)
}

/// Copies a file under its new name in one move: a program may be running from the old one.
pub(crate) fn install(from: &Path, to: &Path) -> Result {
    let bytes = std::fs::read(from).context(from.display())?;
    if std::fs::read(to).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let partial = to.with_extension("partial");
    std::fs::copy(from, &partial).context(partial.display())?;
    std::fs::rename(&partial, to).context(to.display())
}

#[cfg(unix)]
fn link(name: &str, at: &Path) -> Result {
    if std::fs::read_link(at).is_ok_and(|present| present == Path::new(name)) {
        return Ok(());
    }
    if at.symlink_metadata().is_ok() {
        std::fs::remove_file(at).context(at.display())?;
    }
    std::os::unix::fs::symlink(name, at).context(at.display())
}

#[cfg(not(unix))]
fn link(_name: &str, _at: &Path) -> Result {
    Ok(())
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
            compiler.arg(lib.join(NAMES.archive)).args(NAMES.system_libs.split_whitespace());
        }
    }
    step.run(&mut compiler)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_open_in_the_templates() {
        for (_, name, template) in TEMPLATES {
            let text = filled(template, LIB);
            assert!(!text.replace("@rpath", "").contains('@'), "{name}: {text}");
        }
    }
}

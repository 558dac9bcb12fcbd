//! The C library as it is installed: a prefix with headers, libraries, manual pages, pkg-config and CMake files.

use std::path::{Path, PathBuf};

use durstream_tests::failure::{Context, Result};

use crate::manual;

const HEADERS: [&str; 4] =
    ["durstream.h", "durstream.hpp", "durstream_test.h", "durstream_test.hpp"];

/// What the library's files are called here, and what a program adds to link it statically.
pub struct Names {
    /// As cargo calls it.
    pub built: &'static str,
    /// As programs look it up when they start.
    pub shared: String,
    /// As the linker looks it up.
    pub import: &'static str,
    /// The static library.
    pub archive: &'static str,
    /// What the static library needs of the system.
    pub system_libs: &'static str,
}

/// Which versions programs may run with: any with the same text. Before 1.0 a minor version may
/// break them, from 1.0 on a major one.
pub fn abi() -> String {
    // The workspace has one version: this crate's is the library's.
    match (env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR")) {
        ("0", minor) => format!("0.{minor}"),
        (major, _) => major.to_owned(),
    }
}

impl Names {
    /// For the system this was compiled for, which differs from that of the library in the
    /// processor or the C library alone.
    pub fn here() -> Self {
        if cfg!(target_os = "macos") {
            Self {
                built: "libdurstream.dylib",
                shared: format!("libdurstream.{}.dylib", abi()),
                import: "libdurstream.dylib",
                archive: "libdurstream.a",
                system_libs: "-framework Security -framework SystemConfiguration \
                              -framework CoreFoundation -liconv -lm",
            }
        } else if cfg!(windows) {
            Self {
                built: "durstream.dll",
                shared: "durstream.dll".to_owned(),
                import: "durstream.dll.lib",
                archive: "durstream.lib",
                system_libs: "-lkernel32 -lntdll -luserenv -lws2_32 -ldbghelp -lbcrypt -lcrypt32",
            }
        } else {
            Self {
                built: "libdurstream.so",
                shared: format!("libdurstream.so.{}", abi()),
                import: "libdurstream.so",
                archive: "libdurstream.a",
                system_libs: "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc",
            }
        }
    }
}

/// Where libraries are below a prefix unless told.
pub const LIB: &str = "lib";

/// Fills a prefix. `root` is the checkout, `built` the folder that cargo built the library in.
/// `libdir` is relative to the prefix and leads nowhere else: `lib`, `lib64`,
/// `lib/x86_64-linux-gnu`.
///
/// # Errors
/// If a file is missing or cannot be written.
pub fn fill(root: &Path, built: &Path, prefix: &Path, libdir: &str) -> Result {
    let names = Names::here();
    let directory = |name: &str| {
        let path = prefix.join(name);
        std::fs::create_dir_all(&path).context(path.display()).map(|()| path)
    };
    let include = directory("include")?;
    for header in HEADERS {
        install(&root.join("include").join(header), &include.join(header))?;
    }
    manual::fill(prefix, &include)?;
    let lib = directory(libdir)?;
    install(&built.join(names.built), &lib.join(&names.shared))?;
    install(&built.join(names.archive), &lib.join(names.archive))?;
    if cfg!(windows) {
        install(&built.join(names.import), &lib.join(names.import))?;
    } else {
        link(&names.shared, &lib.join(names.import))?;
    }
    directory("share/durstream")?;
    let suppressions = suppressions(prefix);
    std::fs::write(&suppressions, SUPPRESSIONS).context(suppressions.display())?;
    for (folder, name, template) in TEMPLATES {
        let path = directory(&format!("{libdir}/{folder}"))?.join(name);
        std::fs::write(&path, filled(template, &names, libdir)).context(path.display())?;
    }
    Ok(())
}

/// The tool that looks into outboxes, as cargo calls it.
pub fn tool() -> String {
    format!("durstream-outbox{}", std::env::consts::EXE_SUFFIX)
}

/// Adds the tool to a prefix; `built` is the folder that cargo built it in.
///
/// # Errors
/// If it is missing, or the prefix cannot be written.
pub fn add_tool(built: &Path, prefix: &Path) -> Result {
    let bin = prefix.join("bin");
    std::fs::create_dir_all(&bin).context(bin.display())?;
    install(&built.join(tool()), &bin.join(tool()))
}

/// What valgrind's leak check may be told.
const SUPPRESSIONS: &str = include_str!("../templates/valgrind.supp");

/// Where users of valgrind find it below a prefix.
pub fn suppressions(prefix: &Path) -> PathBuf {
    prefix.join("share/durstream/valgrind.supp")
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

fn filled(template: &str, names: &Names, libdir: &str) -> String {
    let soname = if cfg!(target_os = "macos") {
        format!("@rpath/{}", names.shared)
    } else {
        names.shared.clone()
    };
    // From the libraries up to the prefix.
    let up = vec![".."; Path::new(libdir).components().count()].join("/");
    template
        .replace("@UP@", &up)
        .replace("@POINTER_SIZE@", &size_of::<usize>().to_string())
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@MAJOR@", env!("CARGO_PKG_VERSION_MAJOR"))
        .replace("@MINOR@", env!("CARGO_PKG_VERSION_MINOR"))
        .replace("@SHARED@", &names.shared)
        .replace("@SONAME@", &soname)
        .replace("@IMPORT@", names.import)
        .replace("@STATIC@", names.archive)
        .replace("@SYSTEM_LIBS@", names.system_libs)
}

/// Copies a file under its new name in one move: a program may be running from the old one.
///
/// # Errors
/// If it is missing, or the place cannot be written.
pub fn install(from: &Path, to: &Path) -> Result {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_open_in_the_templates() {
        for (_, name, template) in TEMPLATES {
            let text = filled(template, &Names::here(), LIB);
            assert!(!text.replace("@rpath", "").contains('@'), "{name}: {text}");
        }
    }
}

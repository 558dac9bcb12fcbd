//! The C library: an archive that may be unpacked anywhere, its symbols, and a Debian package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use durstream_package::prefix;
use durstream_tests::compilers::c_compiler;
use durstream_tests::failure::{Context, Result};
use durstream_tests::step::{Step, step};
use durstream_tests::tree::Tree;

use crate::artefact::{Artefact, SAME_TIME, size_of};
use crate::build::{Libraries, tells_nothing};
use crate::platforms::{Here, Platform};
use crate::texts::{self, PARTS};
use crate::tools;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How xz packs what many download, and what few do or what is only unpacked again.
const SMALL: &str = "-6 -T0";
const FAST: &str = "-0 -T0";

/// The archive; its one folder is a prefix. `made` is where packages of this kind go.
pub(crate) fn archive(
    tree: &Tree,
    made: &str,
    platform: &'static Platform,
    here: &Here,
    libraries: &Libraries,
    parts: Option<&Path>,
) -> Result<Artefact> {
    let name = format!("durstream-{VERSION}-{}", here.multiarch);
    let parent = tree.directory(made)?;
    let folder = tree.fresh_directory(&format!("{made}/{name}"))?;
    step(tree, &format!("C archive {}", platform.name), |step| {
        fill(tree, libraries, parts, &folder, prefix::LIB, "share/doc/durstream")?;
        let mut effort = FAST;
        if libraries.symbols.is_some() {
            tells_nothing(tree, &folder)?;
            effort = SMALL;
        }
        tar(step, &parent, &name, effort)
    })?;
    let unpacked = size_of(&folder)?;
    let mut artefact =
        Artefact::new(parent.join(format!("{name}.tar.xz")), platform.name, unpacked);
    artefact.glibc = libraries.glibc;
    Ok(artefact)
}

fn fill(
    tree: &Tree,
    libraries: &Libraries,
    parts: Option<&Path>,
    prefix: &Path,
    libdir: &str,
    documents: &str,
) -> Result {
    prefix::fill(&tree.root, &libraries.folder, prefix, libdir)?;
    prefix::add_tool(&libraries.folder, prefix)?;
    let documents = prefix.join(documents);
    texts::copy(tree, &documents)?;
    texts::readme(tree, "ffi-c/README.md", &documents)?;
    match parts {
        Some(parts) => texts::copy_file(&parts.join("ffi-c.json"), &documents.join(PARTS)),
        None => Ok(()),
    }
}

/// The same bytes whenever and by whomever it is packed.
fn tar(step: &Step, parent: &Path, name: &str, effort: &str) -> Result {
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.arg(format!("--mtime=@{SAME_TIME}"));
    tar.arg("-cJf").arg(format!("{name}.tar.xz")).arg(name).current_dir(parent);
    step.run(tar.env("XZ_OPT", effort))
}

/// The symbols of all libraries of a platform, for debuggers.
pub(crate) fn symbols(
    tree: &Tree,
    platform: &'static Platform,
    libraries: &Libraries,
) -> Result<Option<Artefact>> {
    let Some(symbols) = &libraries.symbols else { return Ok(None) };
    let name = format!("durstream-{VERSION}-{}-symbols", platform.name);
    let parent = tree.directory("packages/symbols")?;
    let folder = tree.fresh_directory(&format!("packages/symbols/{name}"))?;
    for entry in fs::read_dir(symbols).context(symbols.display())?.flatten() {
        texts::copy_file(&entry.path(), &folder.join(entry.file_name()))?;
    }
    step(tree, &format!("Symbols {}", platform.name), |step| tar(step, &parent, &name, FAST))?;
    let file = parent.join(format!("{name}.tar.xz"));
    let mut artefact = Artefact::new(file, platform.name, size_of(&folder)?);
    artefact.untried = "only debuggers read it";
    Ok(Some(artefact))
}

/// For Debian and its kin: everything in one package.
pub(crate) fn deb(
    tree: &Tree,
    platform: &'static Platform,
    here: &Here,
    libraries: &Libraries,
    parts: Option<&Path>,
) -> Result<Option<Artefact>> {
    let (Some(architecture), Some((major, minor))) = (here.debian, libraries.glibc) else {
        return Ok(None);
    };
    // Libraries of several versions are installed beside each other, by the name that programs look up.
    let name = format!("libdurstream{}", prefix::abi());
    let folder = tree.fresh_directory(&format!("packages/c/{name}_{architecture}"))?;
    let usr = folder.join("usr");
    fill(
        tree,
        libraries,
        parts,
        &usr,
        &format!("lib/{}", here.multiarch),
        &format!("share/doc/{name}"),
    )?;
    let control = format!(
        "Package: {name}\nVersion: {VERSION}\nArchitecture: {architecture}\nSection: libs\n\
         Priority: optional\nMaintainer: The durstream project <noreply@durstream.invalid>\n\
         Depends: libc6 (>= {major}.{minor}), libgcc-s1\nProvides: libdurstream-dev\n\
         Conflicts: libdurstream-dev\nInstalled-Size: {}\n\
         Description: publishes data to durable streams, exactly once\n \
         The C library with its headers for C and C++, manual pages, pkg-config and\n \
         CMake files, and a tool that looks into outboxes.\n",
        size_of(&usr)?.div_ceil(1024)
    );
    let debian = folder.join("DEBIAN");
    fs::create_dir_all(&debian).context(debian.display())?;
    fs::write(debian.join("control"), control).context("control")?;
    // The loader looks the library up in a cache of its own.
    fs::write(debian.join("triggers"), "activate-noawait ldconfig\n").context("triggers")?;
    let file = tree.directory("packages/c")?.join(format!("{name}_{VERSION}_{architecture}.deb"));
    step(tree, &format!("Debian package {}", platform.name), |step| {
        let mut dpkg = Command::new("dpkg-deb");
        dpkg.args(["--build", "--root-owner-group", "-Zxz"]).arg(&folder).arg(&file);
        step.run(dpkg.env("SOURCE_DATE_EPOCH", SAME_TIME))
    })?;
    let mut artefact = Artefact::new(file, platform.name, size_of(&usr)?);
    artefact.glibc = libraries.glibc;
    Ok(Some(artefact))
}

/// Unpacks an archive; the prefix.
pub(crate) fn unpack(artefact: &Artefact, folder: &Path) -> Result<PathBuf> {
    tools::output(Command::new("tar").arg("-xf").arg(&artefact.file).arg("-C").arg(folder))?;
    Ok(folder.join(artefact.name().trim_end_matches(".tar.xz")))
}

/// Compiles a program with what pkg-config says of a prefix; the program.
pub(crate) fn compile(tree: &Tree, libdir: &Path, source: &str, to: &Path) -> Result<PathBuf> {
    let mut asked = Command::new("pkg-config");
    asked.env("PKG_CONFIG_PATH", libdir.join("pkgconfig")).args([
        "--cflags",
        "--libs",
        "durstream",
    ]);
    let flags = tools::output(&mut asked)?;
    let mut compiler = c_compiler();
    compiler.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"]).arg(to);
    compiler.arg(tree.root.join(source)).args(flags.split_whitespace());
    compiler.arg(format!("-Wl,-rpath,{}", libdir.display()));
    tools::output(&mut compiler)?;
    Ok(to.to_path_buf())
}

/// Unpacks a Debian package without installing it; the prefix.
pub(crate) fn unpack_deb(artefact: &Artefact, folder: &Path) -> Result<PathBuf> {
    tools::output(Command::new("dpkg-deb").arg("-x").arg(&artefact.file).arg(folder))?;
    Ok(folder.join("usr"))
}

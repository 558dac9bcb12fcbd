//! Other machines: a folder with another Linux's own C library, Python and Node, made of Debian's
//! packages, and an emulator for another processor. Nothing is installed in the system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use durstream_tests::failure::{Context, Result};
use durstream_tests::step::{Step, step};
use durstream_tests::tree::Tree;

use crate::platforms::Platform;
use crate::tools;

/// What a machine with glibc has: Node 18 and Python 3.11 in Debian 12.
const WITH_GLIBC: [&str; 3] = ["nodejs", "python3.11", "libgcc-s1"];
/// Debian has no Python and no Node that use musl.
const WITH_MUSL: [&str; 1] = ["musl"];

/// One that programs of a platform run on.
pub(crate) struct Machine {
    root: PathBuf,
    emulator: Option<PathBuf>,
    is_musl: bool,
}

impl Machine {
    /// The machine of a platform; none where Debian's tools are not to be had.
    pub(crate) fn of(tree: &Tree, platform: &Platform) -> Result<Option<Self>> {
        let has = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
        if !(has("apt-get") && has("dpkg-deb")) {
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

    /// Whether it has Python and Node.
    pub(crate) fn has_languages(&self) -> bool {
        !self.is_musl
    }

    /// What is said of it in the report.
    pub(crate) fn shown(&self) -> String {
        let libc = if self.is_musl { "musl" } else { "glibc" };
        let emulated = if self.emulator.is_some() { ", under qemu" } else { "" };
        format!("Debian 12's {libc}{emulated}")
    }

    /// Runs a program of this machine, which finds libraries in a folder beside its own.
    pub(crate) fn run(&self, program: &Path, libraries: &Path) -> Result<Command> {
        if !self.is_musl {
            let mut command = self.emulated(program);
            command.env("LD_LIBRARY_PATH", libraries);
            return Ok(command);
        }
        // Its loader is a program, too.
        let loader = self.root.join("lib");
        let entries = fs::read_dir(&loader).context(loader.display())?.flatten();
        let is_loader = |path: &PathBuf| path.to_string_lossy().contains("/ld-musl-");
        let loader = entries.map(|entry| entry.path()).find(is_loader);
        let mut command = self.emulated(&loader.ok_or("musl has no loader")?);
        command.arg("--library-path").arg(libraries).arg(program);
        Ok(command)
    }

    pub(crate) fn python(&self, packages: &Path) -> Command {
        let mut command = self.emulated(&self.root.join("usr/bin/python3.11"));
        command.env("PYTHONHOME", self.root.join("usr")).env("PYTHONPATH", packages);
        command
    }

    pub(crate) fn node(&self) -> Command {
        self.emulated(&self.root.join("usr/bin/node"))
    }

    fn emulated(&self, program: &Path) -> Command {
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
    let apt = tree.directory(&format!("package-machines/apt-{architecture}"))?;
    let archives = apt.join(format!("archives-{name}"));
    for folder in [apt.join("state/lists/partial"), archives.join("partial")] {
        fs::create_dir_all(&folder).context(folder.display())?;
    }
    // Its own state: the system's has other architectures, and what it has installed counts there.
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        for option in [
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures={architecture}"),
            format!("Dir::State={}", apt.join("state").display()),
            format!("Dir::Cache::archives={}", archives.display()),
            "Dir::State::status=/dev/null".to_owned(),
            "APT::Install-Recommends=false".to_owned(),
            "APT::Sandbox::User=".to_owned(),
            "Debug::NoLocking=true".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.args(arguments);
        command
    };
    step.run(&mut apt_get(&["-qq", "update"]))?;
    step.run(apt_get(&["-qq", "-y", "--download-only", "install"]).args(packages))?;
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

//! What packages are built with, beyond Rust, Python and Node: installed below `target/` when it is
//! missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use durstream_tests::failure::{Context, Result};
use durstream_tests::needs::Need;
use durstream_tests::process::cargo;
use durstream_tests::step::Step;
use durstream_tests::tool::Tool;
use durstream_tests::tree::Tree;

use crate::platforms::{Here, PLATFORMS, Platform};

/// Lists whose work is in a product, with the text of each licence.
pub(crate) const ABOUT: Tool =
    Tool { crate_name: "cargo-about", version: "0.9.3", binary: "cargo-about", features: "cli" };
/// Writes the list of a product's parts that scanners read.
pub(crate) const CYCLONEDX: Tool = Tool {
    crate_name: "cargo-cyclonedx",
    version: "0.5.9",
    binary: "cargo-cyclonedx",
    features: "",
};

const FOLDER: &str = "package-tools";

/// The programs that PyPI has.
pub(crate) fn need() -> Need {
    Need::PythonEnvironment {
        title: "Packaging tools".to_owned(),
        folder: FOLDER.to_owned(),
        requirements: "packaging/requirements.txt".to_owned(),
    }
}

pub(crate) fn python(tree: &Tree) -> PathBuf {
    Tree::python_of(&tree.target.join(FOLDER))
}

/// Rust's standard library for a platform, and its programs that read any machine's files.
pub(crate) fn rust_parts(step: &Step, platform: &Platform) -> Result {
    let installed = output(Command::new("rustup").args(["component", "list", "--installed"]))?;
    let has = |part: &str| installed.lines().any(|line| line.starts_with(part));
    if !has(&format!("rust-std-{}", platform.triple)) {
        step.run(Command::new("rustup").args(["target", "add", platform.triple]))?;
    }
    if !has("llvm-tools") {
        step.run(Command::new("rustup").args(["component", "add", "llvm-tools"]))?;
    }
    Ok(())
}

/// One of Rust's own programs: `llvm-objcopy` and the like.
pub(crate) fn llvm(name: &str) -> Result<Command> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("rustc does not say what machine this is")?;
    let place = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin").join(name);
    Ok(Command::new(place))
}

/// What a program writes to its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = durstream_tests::process::describe(command);
    let output = command.output().context(format!("running `{name}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{name}` failed: {}\n{said}", output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Debian's client for an architecture, with a state of its own: the system's has other architectures,
/// and what it has installed counts there.
pub(crate) fn apt_get(tree: &Tree, architecture: &str) -> Result<Command> {
    let state = tree.directory(&format!("package-machines/apt-{architecture}"))?;
    let lists = state.join("lists/partial");
    fs::create_dir_all(&lists).context(lists.display())?;
    let mut command = Command::new("apt-get");
    for option in [
        format!("APT::Architecture={architecture}"),
        format!("APT::Architectures={architecture}"),
        format!("Dir::State={}", state.display()),
        "Dir::State::status=/dev/null".to_owned(),
        "APT::Install-Recommends=false".to_owned(),
        "APT::Sandbox::User=".to_owned(),
        "Debug::NoLocking=true".to_owned(),
    ] {
        command.arg("-o").arg(option);
    }
    Ok(command)
}

/// A cargo, or a maturin, that builds for a platform: with zig as its C compiler and linker, and
/// without a word of where it was built.
pub(crate) struct Builder {
    variables: Vec<(String, String)>,
}

impl Builder {
    pub(crate) fn new(tree: &Tree, platform: &Platform, here: &Here) -> Result<Self> {
        let folder = tree.directory("package-tools/wrappers")?;
        let wrapper = |name: &str, arguments: &str| -> Result<String> {
            let file = folder.join(name);
            let text = format!(
                "#!/bin/sh\n\
                 export CARGO_ZIGBUILD_ZIG_COMMAND='{python}' CARGO_ZIGBUILD_ZIG_COMMAND_ARGS='-m ziglang'\n\
                 exec '{zigbuild}' zig {arguments} \"$@\"\n",
                python = python(tree).display(),
                zigbuild = python(tree).with_file_name("cargo-zigbuild").display(),
            );
            if fs::read_to_string(&file).is_ok_and(|present| present == text) {
                return Ok(file.display().to_string());
            }
            fs::write(&file, text).context(file.display())?;
            executable(&file)?;
            Ok(file.display().to_string())
        };
        // cargo-zigbuild writes the same; its own would differ between cargo and maturin, which then
        // would compile everything twice.
        let flags = |here: &Here| format!("-- -g -fno-sanitize=all -target {}", here.zig);
        let cc = wrapper(&format!("zigcc-{}", here.zig), &format!("cc {}", flags(here)))?;
        let cxx = wrapper(&format!("zigc++-{}", here.zig), &format!("c++ {}", flags(here)))?;
        let ar = wrapper("zig-ar", "ar --")?;
        let name = platform.triple.replace('-', "_");
        let registry = registry()?;
        let mut rust = vec![
            format!("--remap-path-prefix={}=/durstream", tree.root.display()),
            format!("--remap-path-prefix={}=/crates", registry.display()),
        ];
        if platform.is_musl() {
            // A library that is loaded cannot bring a C library of its own. In these words: maturin
            // adds them unless it finds them, and would compile everything once more.
            rust.extend(["-C".to_owned(), "target-feature=-crt-static".to_owned()]);
        }
        let linker = format!("CARGO_TARGET_{}_LINKER", name.to_uppercase());
        let mut variables = Vec::new();
        if let Some((host, here)) = host() {
            // Of build scripts: cargo compiles them, and all that have one, again for another linker.
            let name = host.triple.replace('-', "_").to_uppercase();
            let cc = wrapper(&format!("zigcc-{}", here.zig), &format!("cc {}", flags(here)))?;
            variables.push((format!("CARGO_TARGET_{name}_LINKER"), cc));
        }
        variables.extend([
            (format!("CC_{name}"), cc.clone()),
            (format!("CXX_{name}"), cxx),
            (format!("AR_{name}"), ar),
            (format!("CFLAGS_{name}"), format!("-ffile-prefix-map={}=/crates", registry.display())),
            (linker, cc),
            // Flags are parted by this character, since paths may hold spaces.
            ("CARGO_ENCODED_RUSTFLAGS".to_owned(), rust.join("\u{1f}")),
        ]);
        Ok(Self { variables })
    }

    pub(crate) fn cargo(&self, tree: &Tree, arguments: &[&str]) -> Command {
        let mut command = cargo(&tree.root, arguments);
        self.surround(&mut command);
        command
    }

    pub(crate) fn surround(&self, command: &mut Command) {
        command.envs(self.variables.iter().cloned());
    }
}

/// The platform of this machine, where it is one that is built here.
fn host() -> Option<(&'static Platform, &'static Here)> {
    let host = PLATFORMS.iter().find(|platform| platform.is_host())?;
    Some((host, host.here.as_ref()?))
}

/// Where cargo unpacks crates.
fn registry() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
        let home = std::env::home_dir()?;
        Some(home.join(".cargo"))
    });
    let sources = home.ok_or("no home directory")?.join("registry/src");
    let mut found = fs::read_dir(&sources).context(sources.display())?.flatten();
    // One for each registry: there is one.
    Ok(found.next().map_or(sources, |entry| entry.path()))
}

#[cfg(unix)]
pub(crate) fn executable(file: &Path) -> Result {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).context(file.display())
}

#[cfg(not(unix))]
pub(crate) fn executable(_file: &Path) -> Result {
    Ok(())
}

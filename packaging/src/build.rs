//! The libraries of a platform: built as a release is, their symbols beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use durstream_package::prefix::{self, Names, install};
use durstream_tests::failure::{Context, Result};
use durstream_tests::step::{Step, step};
use durstream_tests::tree::Tree;
use memchr::memmem;

use crate::artefact::at_most;
use crate::platforms::{Here, OLDEST_GLIBC, Platform};
use crate::tools::{self, Builder};

/// What one build of a platform makes, each without its symbols.
pub(crate) struct Libraries {
    /// Where they are: the C library and the tool as cargo calls them, and `durstream.node`.
    pub(crate) folder: PathBuf,
    /// Their symbols, for debuggers; none where they are as the tests built them.
    pub(crate) symbols: Option<PathBuf>,
    /// The oldest C library they run with.
    pub(crate) glibc: Option<(u32, u32)>,
}

/// The same of the tool, which needs no network and no schemas.
const MOST_OF_TOOL: u64 = 1_000_000;
/// The addon within its npm package.
pub(crate) const ADDON: &str = "durstream.node";
/// The most that a library without symbols may take. The goal is 6 MB: `core/docs/adr/size.md`.
pub(crate) const MOST_BYTES: u64 = 8_700_000;

/// Named beside what is built, as for the tests: one choice of features for every product.
const ONE_BUILD: &str = "durstream-one-build";

/// What the other suites built, for this machine.
pub(crate) fn as_built(tree: &Tree) -> Result<Libraries> {
    let folder = tree.fresh_directory("packages/as-built/libraries")?;
    let names = Names::here();
    let tool = prefix::tool();
    for name in [names.built, names.archive, &tool] {
        install(&tree.release(name), &folder.join(name))?;
    }
    install(&tree.root.join("bindings-node/native").join(ADDON), &folder.join(ADDON))?;
    step(tree, "Libraries as built", |step| {
        // What debuggers read is most of them, and takes long to pack.
        let files = [names.built, names.archive, &tool, ADDON].map(|name| folder.join(name));
        step.run(Command::new("strip").arg("-S").args(files))
    })?;
    Ok(Libraries { folder, symbols: None, glibc: None })
}

/// Builds them.
pub(crate) fn build(tree: &Tree, platform: &Platform, here: &Here) -> Result<Libraries> {
    let folder = tree.fresh_directory(&format!("packages/libraries/{}", platform.name))?;
    let symbols = tree.fresh_directory(&format!("packages/libraries/{}/symbols", platform.name))?;
    let tool = prefix::tool();
    step(tree, &format!("Libraries {}", platform.name), |step| {
        tools::rust_parts(step, platform)?;
        // With the core comes the tool.
        let ours = ["durstream", "durstream-core", "durstream-node", ONE_BUILD];
        let packages = ours.map(|package| ["-p", package]).concat();
        let arguments =
            [&["build", "--profile", "dist", "--target", platform.triple], &packages[..]];
        let builder = Builder::new(tree, platform, here)?;
        step.run(&mut builder.cargo(tree, &arguments.concat()))?;
        let built = tree.target.join(platform.triple).join("dist");
        let names = Names::here();
        split(step, &built.join(names.built), &folder.join(names.built), &symbols)?;
        split(step, &built.join("libdurstream_node.so"), &folder.join(ADDON), &symbols)?;
        split(step, &built.join(&tool), &folder.join(&tool), &symbols)?;
        install(&built.join(names.archive), &folder.join(names.archive))?;
        step.run(tools::llvm("llvm-strip")?.arg("--strip-debug").arg(folder.join(names.archive)))
    })?;
    let mut oldest = None;
    at_most(
        &folder.join(&tool),
        fs::metadata(folder.join(&tool)).context(&tool)?.len(),
        MOST_OF_TOOL,
    )?;
    for name in [Names::here().built, ADDON, &tool] {
        let glibc = check(platform, &folder.join(name))?;
        oldest = oldest.max(glibc);
    }
    Ok(Libraries { folder, symbols: Some(symbols), glibc: oldest })
}

/// Takes a library's symbols out, into a file beside it that debuggers find by its name.
pub(crate) fn split(step: &Step, from: &Path, to: &Path, symbols: &Path) -> Result {
    let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kept = symbols.join(format!("{name}.debug"));
    step.run(tools::llvm("llvm-objcopy")?.arg("--only-keep-debug").arg(from).arg(&kept))?;
    let mut stripped = tools::llvm("llvm-objcopy")?;
    stripped.args(["--strip-all", "--add-gnu-debuglink"]).arg(&kept).arg(from).arg(to);
    step.run(&mut stripped)
}

/// Whether a library is as small and as widely usable as was promised; the oldest C library that it
/// runs with.
pub(crate) fn check(platform: &Platform, library: &Path) -> Result<Option<(u32, u32)>> {
    let shown = library.display();
    at_most(library, fs::metadata(library).context(&shown)?.len(), MOST_BYTES)?;
    if platform.is_musl() {
        return Ok(None);
    }
    let symbols = tools::output(tools::llvm("llvm-readobj")?.arg("--version-info").arg(library))?;
    let needed = newest_glibc(&symbols);
    match needed {
        Some(version) if version > OLDEST_GLIBC => {
            let (major, minor) = version;
            Err(format!("{shown} needs glibc {major}.{minor}").into())
        }
        None => Err(format!("{shown} names no version of glibc").into()),
        _ => Ok(needed),
    }
}

/// Whether the files of a package tell nothing of the machine that built it.
pub(crate) fn tells_nothing(tree: &Tree, folder: &Path) -> Result {
    for entry in fs::read_dir(folder).context(folder.display())?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            tells_nothing(tree, &path)?;
            continue;
        }
        let bytes = fs::read(&path).context(path.display())?;
        let told = |secret: &&String| memmem::find(&bytes, secret.as_bytes()).is_some();
        if let Some(secret) = secrets(tree).iter().find(told) {
            return Err(format!("{} tells of {secret}", path.display()).into());
        }
    }
    Ok(())
}

/// Paths that only the builder has.
fn secrets(tree: &Tree) -> Vec<String> {
    let home = std::env::home_dir().filter(|home| home.components().count() > 1);
    let home = home.map(|home| format!("{}/", home.display()));
    let root = format!("{}/", tree.root.display());
    home.into_iter().chain([root]).collect()
}

/// The newest version of glibc among what a library asks the system for.
fn newest_glibc(listing: &str) -> Option<(u32, u32)> {
    let versions = listing.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let mut numbers = rest[..end].split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    });
    versions.max()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_counts() {
        let listing = "Name: GLIBC_2.2.5\nName: GLIBC_2.17\n Name: GLIBC_2.4\nName: GCC_3.0\n";
        assert_eq!(newest_glibc(listing), Some((2, 17)));
        assert_eq!(newest_glibc("Name: GCC_3.0"), None);
    }

    #[test]
    fn a_path_of_the_builder_is_found() {
        let tree = Tree::find().unwrap();
        let folder = crate::trial::Folder::new("tells").unwrap();
        let inner = folder.path().join("lib");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("first"), b"\0/durstream/core/lib.rs\0").unwrap();
        tells_nothing(&tree, folder.path()).unwrap();
        let text = format!("\0{}/core/lib.rs\0", tree.root.display());
        fs::write(inner.join("second"), text).unwrap();
        let told = tells_nothing(&tree, folder.path()).unwrap_err().to_string();
        assert!(told.contains("second tells of"), "{told}");
    }
}

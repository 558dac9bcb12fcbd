//! What every package tells of itself: licences, whose work is in it, its parts.

use std::fs;
use std::path::{Path, PathBuf};

use durstream_tests::failure::{Context, Result};
use durstream_tests::process::cargo;
use durstream_tests::step::step;
use durstream_tests::tree::Tree;

use crate::tools::{ABOUT, CYCLONEDX};

const LICENSES: [&str; 3] = ["LICENSE", "LICENSE-APACHE", "LICENSE-MIT"];
/// Whose work is in the products, with the text of each licence.
const NOTICES: &str = "packaging/THIRD-PARTY.md";
/// The parts of a product, for scanners.
pub(crate) const PARTS: &str = "durstream.cdx.json";
/// The crates that become products.
const PRODUCTS: [&str; 3] = ["ffi-c", "bindings-node", "bindings-python"];

/// Copies the licences and notices to a folder.
pub(crate) fn copy(tree: &Tree, folder: &Path) -> Result {
    fs::create_dir_all(folder).context(folder.display())?;
    for name in LICENSES {
        copy_file(&tree.root.join(name), &folder.join(name))?;
    }
    copy_file(&tree.root.join(NOTICES), &folder.join("THIRD-PARTY.md"))
}

/// The first README that is there.
pub(crate) fn readme(tree: &Tree, candidates: &[&str], folder: &Path) -> Result {
    let found = candidates.iter().map(|name| tree.root.join(name)).find(|path| path.exists());
    copy_file(&found.ok_or("no README")?, &folder.join("README.md"))
}

pub(crate) fn copy_file(from: &Path, to: &Path) -> Result {
    fs::copy(from, to).map(drop).context(from.display())
}

/// Writes the notices anew.
pub(crate) fn write_notices(tree: &Tree) -> Result {
    let about = ABOUT.install(tree, "cargo-about")?;
    step(tree, "Notices", |step| {
        let made = tree.directory("packages")?.join("THIRD-PARTY.md");
        let mut command = std::process::Command::new(&about);
        command.arg("generate").arg("--workspace").arg("--fail").arg("--offline").arg("-c");
        command.arg(tree.root.join("packaging/about.toml")).arg("-o").arg(&made);
        command.arg(tree.root.join("packaging/templates/THIRD-PARTY.hbs"));
        step.run(command.current_dir(&tree.root))?;
        copy_file(&made, &tree.root.join(NOTICES))
    })
}

/// The crates of other people in our products that the notices do not name.
pub(crate) fn unnamed(tree: &Tree) -> Result<Vec<String>> {
    let notices = tree.root.join(NOTICES);
    let notices = fs::read_to_string(&notices).context(notices.display())?;
    let mut missing = Vec::new();
    for name in crates(tree)? {
        if !notices.lines().any(|line| line.trim_start_matches("- ") == name) {
            missing.push(name);
        }
    }
    Ok(missing)
}

/// Each crate with its version, of every platform.
fn crates(tree: &Tree) -> Result<Vec<String>> {
    let packages = ["-p", "durstream", "-p", "durstream-node", "-p", "durstream-python"];
    let how = ["tree", "--offline", "-e", "normal", "--prefix", "none", "--no-dedupe"];
    let what = ["--format", "{p}"];
    let arguments = [&how[..], &what, &packages].concat();
    let text = crate::tools::output(&mut cargo(&tree.root, &arguments))?;
    let mut crates: Vec<String> = text.lines().filter_map(named).collect();
    crates.sort();
    crates.dedup();
    Ok(crates)
}

/// `name version` of a line of cargo's tree; ours have a path.
fn named(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    let is_ours = words.next().is_some_and(|place| place.starts_with("(/"));
    (!is_ours).then(|| format!("{name} {version}"))
}

/// Writes the list of parts of each product; the folder of the lists, by the product's folder.
pub(crate) fn write_parts(tree: &Tree) -> Result<PathBuf> {
    let folder = tree.fresh_directory("packages/parts")?;
    let cyclonedx = CYCLONEDX.install(tree, "cargo-cyclonedx")?;
    step(tree, "Parts", |step| {
        let mut command = std::process::Command::new(&cyclonedx);
        command.args(["cyclonedx", "--format", "json", "--spec-version", "1.5"]);
        command.args(["--no-build-deps", "--override-filename", "durstream-parts"]);
        step.run(command.current_dir(&tree.root))?;
        // It writes beside each crate of the workspace.
        take_parts(&tree.root, &tree.root, &folder)
    })?;
    Ok(folder)
}

fn take_parts(root: &Path, folder: &Path, to: &Path) -> Result {
    for entry in fs::read_dir(folder).context(folder.display())?.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let skipped = ["target", "node_modules", ".git"];
        if path.is_dir() && !skipped.iter().any(|skipped| name == *skipped) {
            take_parts(root, &path, to)?;
        } else if name == "durstream-parts.json" {
            let product = folder.strip_prefix(root).unwrap_or(folder).display().to_string();
            if PRODUCTS.contains(&product.as_str()) {
                fs::copy(&path, to.join(format!("{product}.json"))).context(path.display())?;
            }
            fs::remove_file(&path).context(path.display())?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]
mod tests {
    use super::*;

    #[test]
    fn whose_work_is_shipped_is_named() {
        let missing = unnamed(&Tree::find().unwrap()).unwrap();
        let hint = "`cargo xtask package notices` writes them anew";
        assert!(missing.is_empty(), "{NOTICES} lacks {}: {hint}", missing.join(", "));
    }

    #[test]
    fn a_crate_is_named_with_its_version() {
        assert_eq!(named("bytes v1.11.0").as_deref(), Some("bytes 1.11.0"));
        assert_eq!(
            named("serde_derive v1.0.2 (proc-macro)").as_deref(),
            Some("serde_derive 1.0.2")
        );
        assert_eq!(named("durstream-core v0.1.0 (/a/core)"), None);
        assert_eq!(named(""), None);
    }
}

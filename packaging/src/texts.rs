//! What every package tells of itself: licences, whose work is in it, its parts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use durstream_tests::failure::{Context, Result};
use durstream_tests::process::cargo;
use durstream_tests::step::step;
use durstream_tests::tree::Tree;
use serde::Deserialize;

use crate::artefact::SAME_TIME;
use crate::platforms::PLATFORMS;
use crate::tools::{self, ABOUT, CYCLONEDX};

const LICENSES: [&str; 3] = ["LICENSE", "LICENSE-APACHE", "LICENSE-MIT"];
/// Whose work is in the products, with the text of each licence.
const NOTICES: &str = "packaging/THIRD-PARTY.md";
const HEAD: &str = "# Whose work is in durstream\n\n\
    durstream's libraries hold these crates, each under the licence shown with it, or are built with them.\n\
    Written by `cargo xtask package notices`.\n";
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

/// Copies a package's README to a folder.
pub(crate) fn readme(tree: &Tree, source: &str, folder: &Path) -> Result {
    copy_file(&tree.root.join(source), &folder.join("README.md"))
}

pub(crate) fn copy_file(from: &Path, to: &Path) -> Result {
    fs::copy(from, to).map(drop).context(from.display())
}

/// Writes the notices anew.
pub(crate) fn write_notices(tree: &Tree) -> Result {
    let about = ABOUT.install(tree, "cargo-about")?;
    let file = tree.root.join(NOTICES);
    step(tree, "Notices", |step| {
        let made = tree.directory("packages")?.join("licenses.json");
        // What it reads has to be there: alone, it asks for nothing.
        step.run(&mut cargo(&tree.root, &["fetch", "--locked"]))?;
        let mut command = std::process::Command::new(&about);
        command.args(["generate", "--workspace", "--frozen", "--fail", "--format", "json", "-c"]);
        command.arg(tree.root.join("packaging/about.toml")).arg("-o").arg(&made);
        step.run(command.current_dir(&tree.root))?;
        let text = fs::read(&made).context(made.display())?;
        let found: Found = serde_json::from_slice(&text).context(made.display())?;
        fs::write(&file, notices(&found, &crates(tree)?)?).context(file.display())
    })
}

/// What cargo-about finds for all of the workspace, the tests too.
#[derive(Deserialize)]
struct Found {
    licenses: Vec<License>,
}

#[derive(Deserialize)]
struct License {
    name: String,
    text: String,
    used_by: Vec<User>,
}

#[derive(Deserialize)]
struct User {
    #[serde(rename = "crate")]
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

/// The notices of what is shipped. Each text stands there once, below the crates that have it.
fn notices(found: &Found, shipped: &[String]) -> Result<String> {
    let mut text = HEAD.to_owned();
    let mut named = Vec::new();
    for license in &found.licenses {
        let users = license.used_by.iter().map(|user| &user.package);
        let mut users: Vec<String> = users.map(|p| format!("{} {}", p.name, p.version)).collect();
        users.retain(|user| shipped.contains(user));
        users.sort();
        users.dedup();
        if users.is_empty() {
            continue;
        }
        let list: String = users.iter().map(|user| format!("- {user}\n")).collect();
        let lines: Vec<&str> = license.text.trim_matches('\n').lines().map(str::trim_end).collect();
        text += &format!("\n## {}\n\n{list}\n```text\n{}\n```\n", license.name, lines.join("\n"));
        named.extend(users);
    }
    match shipped.iter().find(|name| !named.contains(name)) {
        Some(name) => Err(format!("no licence of {name} was found").into()),
        None => Ok(text),
    }
}

/// The crates of other people that only our products have, or only the notices.
pub(crate) fn differing(tree: &Tree) -> Result<Vec<String>> {
    let notices = tree.root.join(NOTICES);
    let notices = fs::read_to_string(&notices).context(notices.display())?;
    Ok(differences(&notices, &crates(tree)?))
}

fn differences(notices: &str, shipped: &[String]) -> Vec<String> {
    // Within the texts of licences a list may begin in the same way, but not with a name and a version.
    let is_crate =
        |words: &str| words.split_once(' ').is_some_and(|(_, version)| is_version(version));
    let lines = notices.lines().filter_map(|line| line.strip_prefix("- "));
    let named: BTreeSet<&str> = lines.filter(|words| is_crate(words)).collect();
    let shipped: BTreeSet<&str> = shipped.iter().map(String::as_str).collect();
    named.symmetric_difference(&shipped).map(|name| (*name).to_owned()).collect()
}

fn is_version(word: &str) -> bool {
    !word.contains(' ') && word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')
}

/// Each crate with its version, of every platform.
fn crates(tree: &Tree) -> Result<Vec<String>> {
    let packages = ["-p", "durstream", "-p", "durstream-node", "-p", "durstream-python"];
    let how = ["tree", "--locked", "-e", "normal", "--prefix", "none", "--no-dedupe"];
    let what = ["--format", "{p}"];
    let mut arguments = [&how[..], &what, &packages].concat();
    for platform in &PLATFORMS {
        arguments.extend(["--target", platform.triple]);
    }
    let text = tools::output(&mut cargo(&tree.root, &arguments))?;
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
        step.run(command.current_dir(&tree.root).env("SOURCE_DATE_EPOCH", SAME_TIME))?;
        // It writes beside each crate of the workspace.
        take_parts(&tree.root, &tree.root, &folder)?;
        without_root(tree, &folder)
    })?;
    Ok(folder)
}

/// Takes the builder's folder out of lists of parts, which name each crate of ours by its place.
pub(crate) fn without_root(tree: &Tree, lists: &Path) -> Result {
    let root = tree.root.display().to_string();
    for entry in fs::read_dir(lists).context(lists.display())?.flatten() {
        let text = fs::read_to_string(entry.path()).context(entry.path().display())?;
        fs::write(entry.path(), text.replace(&root, "/durstream"))
            .context(entry.path().display())?;
    }
    Ok(())
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
        let differing = differing(&Tree::find().unwrap()).unwrap();
        let hint = "`cargo xtask package notices` writes them anew";
        assert!(differing.is_empty(), "{NOTICES} differs by {}: {hint}", differing.join(", "));
    }

    #[test]
    fn notices_and_crates_are_compared_both_ways() {
        let crates = ["bytes 1.11.0".to_owned(), "url 2.5.8".to_owned()];
        let text = "## MIT\n\n- bytes 1.11.0\n- url 2.5.8\n\n- no crate\n- or other. 1\n";
        assert_eq!(differences(text, &crates), [""; 0]);
        assert_eq!(differences(text, &crates[..1]), ["url 2.5.8"]);
        assert_eq!(differences("- url 2.5.7", &crates), ["bytes 1.11.0", "url 2.5.7", "url 2.5.8"]);
    }

    #[test]
    fn notices_hold_what_is_shipped_alone() {
        let license = |name: &str, users: &[&str]| License {
            name: name.to_owned(),
            text: format!("Do as {name} says.  \n"),
            used_by: users.iter().map(|user| package(user)).collect(),
        };
        fn package(name: &str) -> User {
            User { package: Package { name: name.to_owned(), version: "1.0.0".to_owned() } }
        }
        let licenses = vec![license("MIT", &["b", "test", "a"]), license("ISC", &["test"])];
        let found = Found { licenses };
        let shipped = ["a 1.0.0".to_owned(), "b 1.0.0".to_owned()];
        let text = notices(&found, &shipped).unwrap();
        let expected = "\n## MIT\n\n- a 1.0.0\n- b 1.0.0\n\n```text\nDo as MIT says.\n```\n";
        assert_eq!(text.strip_prefix(HEAD), Some(expected));
        let without = notices(&found, &["c 1.0.0".to_owned()]).unwrap_err().to_string();
        assert_eq!(without, "no licence of c 1.0.0 was found");
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

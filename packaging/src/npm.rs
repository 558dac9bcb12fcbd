//! The npm packages: `durstream`, and one with the addon of each platform.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use durstream_tests::failure::{Context, Result};
use durstream_tests::step::step;
use durstream_tests::tree::Tree;
use serde_json::{Map, Value, json};

use crate::artefact::{Artefact, at_most, only, size_of};
use crate::build::{ADDON, Libraries, MOST_BYTES as MOST_LIBRARY_BYTES, tells_nothing};
use crate::platforms::{PLATFORMS, Platform};
use crate::texts::{self, PARTS};
use crate::tools;

/// Unpacked, one of a platform: the addon, and the texts of everybody's licences. The goal is 6 MB:
/// `core/docs/adr/size.md`.
const MOST_BYTES: u64 = MOST_LIBRARY_BYTES + 500_000;
const FOLDER: &str = "bindings-node";
/// What the main package has of it.
const PARTS_OF_MAIN: [&str; 3] = ["bin", "dist", "skills"];

pub(crate) fn npm() -> Command {
    Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

/// Compiles the facade.
pub(crate) fn facade(tree: &Tree) -> Result {
    step(tree, "Node facade", |step| {
        step.run(npm().args(["run", "build"]).current_dir(tree.root.join(FOLDER)))
    })
}

fn manifest(tree: &Tree) -> Result<Map<String, Value>> {
    let file = tree.root.join(FOLDER).join("package.json");
    let text = fs::read(&file).context(file.display())?;
    match serde_json::from_slice(&text).context(file.display())? {
        Value::Object(manifest) => Ok(manifest),
        _ => Err(format!("{} is no object", file.display()).into()),
    }
}

/// The package that people install. `made` is where packages of this kind go.
pub(crate) fn main_package(tree: &Tree, made: &str) -> Result<Artefact> {
    let folder = tree.fresh_directory(&format!("{made}/durstream"))?;
    for part in PARTS_OF_MAIN {
        copy_folder(&tree.root.join(FOLDER).join(part), &folder.join(part))?;
    }
    texts::copy(tree, &folder)?;
    texts::readme(tree, "bindings-node/README.md", &folder)?;
    let mut manifest = manifest(tree)?;
    let version = manifest["version"].clone();
    let platforms = PLATFORMS.iter().map(|platform| (platform.npm(), version.clone()));
    manifest.insert("optionalDependencies".to_owned(), Value::Object(platforms.collect()));
    let texts = ["THIRD-PARTY.md", "LICENSE-*"];
    manifest.insert("files".to_owned(), json!([&PARTS_OF_MAIN[..], &texts].concat()));
    // What builds it is of no use to those who install it.
    manifest.remove("scripts");
    manifest.remove("devDependencies");
    pack(tree, &folder, &manifest, "")
}

/// The package of a platform.
pub(crate) fn platform_package(
    tree: &Tree,
    made: &str,
    platform: &'static Platform,
    libraries: &Libraries,
    parts: Option<&Path>,
) -> Result<Artefact> {
    let name = platform.npm();
    let folder = tree.fresh_directory(&format!("{made}/{name}"))?;
    texts::copy_file(&libraries.folder.join(ADDON), &folder.join(ADDON))?;
    texts::copy(tree, &folder)?;
    let text = format!(
        "# {name}\n\nThe native addon of `durstream` for {}. \
         npm installs it with `durstream` where it fits.\n",
        platform.triple
    );
    fs::write(folder.join("README.md"), text).context("README.md")?;
    if let Some(parts) = parts {
        texts::copy_file(&parts.join("bindings-node.json"), &folder.join(PARTS))?;
    }
    let ours = manifest(tree)?;
    let mut manifest = Map::new();
    manifest.insert("name".to_owned(), json!(name));
    for same in ["version", "license", "repository", "homepage", "engines"] {
        if let Some(value) = ours.get(same) {
            manifest.insert(same.to_owned(), value.clone());
        }
    }
    let about = format!("The native addon of durstream for {}", platform.triple);
    manifest.insert("description".to_owned(), json!(about));
    manifest.insert("main".to_owned(), json!(ADDON));
    manifest.insert("files".to_owned(), json!([ADDON, PARTS, "THIRD-PARTY.md", "LICENSE-*"]));
    manifest.insert("os".to_owned(), json!([platform.os]));
    manifest.insert("cpu".to_owned(), json!([platform.cpu]));
    if let Some(libc) = platform.libc {
        manifest.insert("libc".to_owned(), json!([libc]));
    }
    let mut artefact = pack(tree, &folder, &manifest, platform.name)?;
    artefact.glibc = libraries.glibc;
    if libraries.symbols.is_some() {
        tells_nothing(tree, &folder)?;
        at_most(&artefact.file, artefact.unpacked, MOST_BYTES)?;
    }
    Ok(artefact)
}

fn pack(
    tree: &Tree,
    folder: &Path,
    manifest: &Map<String, Value>,
    platform: &'static str,
) -> Result<Artefact> {
    let text = serde_json::to_string_pretty(manifest).context("package.json")? + "\n";
    fs::write(folder.join("package.json"), text).context("package.json")?;
    let parent = folder.parent().unwrap_or(folder);
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    step(tree, &format!("npm {name}"), |step| {
        let mut pack = npm();
        pack.args(["pack", "--ignore-scripts", "--pack-destination"]).arg(parent);
        step.run(pack.current_dir(folder))
    })?;
    let version = manifest["version"].as_str().unwrap_or_default();
    let file = parent.join(format!("{name}-{version}.tgz"));
    Ok(Artefact::new(file, platform, size_of(folder)?))
}

pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to).context(to.display())?;
    for entry in fs::read_dir(from).context(from.display())?.flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            texts::copy_file(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Installs packages in an empty project. Those of other platforms are not to be had, as they are
/// not where somebody is offline: npm goes on without them.
pub(crate) fn project(folder: &Path, packages: &[&Path], options: &[String]) -> Result<PathBuf> {
    let project = folder.join("project");
    fs::create_dir_all(&project).context(project.display())?;
    fs::write(project.join("package.json"), "{ \"private\": true }").context("package.json")?;
    let mut install = npm();
    install.args(["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts"]);
    install.arg("--cache").arg(folder.join("cache")).args(packages);
    install.args(options).current_dir(&project);
    tools::output(&mut install)?;
    only(&project, "node_modules")?;
    Ok(project)
}

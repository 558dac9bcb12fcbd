//! What the packages say of themselves is the same in each, and said in one place first.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use durstream_tests::tree::Tree;
use serde_json::Value;

fn read(path: &str) -> String {
    let file = Tree::find().unwrap().root.join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The text of a key, in a part of a TOML file that has such keys alone.
fn toml(text: &str, part: &str, key: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("\n[{part}]\n"))?;
    let part = rest.split_once("\n[").map_or(rest, |(part, _)| part);
    part.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim().strip_prefix('"')?;
        let value = &value[..value.find('"')?];
        (name.trim() == key).then(|| value.to_owned())
    })
}

fn node() -> Value {
    serde_json::from_str(&read("bindings-node/package.json")).unwrap()
}

#[test]
fn the_version_is_one() {
    let version = toml(&read("Cargo.toml"), "workspace.package", "version");
    assert!(version.is_some());
    assert_eq!(node()["version"].as_str(), version.as_deref());
    let lock: Value = serde_json::from_str(&read("bindings-node/package-lock.json")).unwrap();
    assert_eq!(lock["version"].as_str(), version.as_deref());
}

#[test]
fn the_licence_is_one() {
    let licence = toml(&read("Cargo.toml"), "workspace.package", "license");
    assert!(licence.is_some());
    assert_eq!(toml(&read("bindings-python/pyproject.toml"), "project", "license"), licence);
    assert_eq!(node()["license"].as_str(), licence.as_deref());
}

/// Registries show it, and trust no release from elsewhere.
#[test]
fn the_repository_is_one() {
    let repository = toml(&read("Cargo.toml"), "workspace.package", "repository");
    let inherited = read("core/Cargo.toml").contains("\nrepository.workspace = true\n");
    assert_eq!(inherited, repository.is_some(), "core/Cargo.toml");
    let python = read("bindings-python/pyproject.toml");
    assert_eq!(toml(&python, "project.urls", "Repository"), repository);
    let url = repository.map(|repository| format!("git+{repository}.git"));
    assert_eq!(node()["repository"]["url"].as_str(), url.as_deref());
}

#[test]
fn keys_are_read_from_their_part() {
    let text = "\n[a]\nx = \"1\"\n# y = \"2\"\n\n[b]\nx = \"3\" # why\nz = \"4\"\n";
    assert_eq!(toml(text, "a", "x").as_deref(), Some("1"));
    assert_eq!(toml(text, "b", "x").as_deref(), Some("3"));
    assert_eq!(toml(text, "a", "y"), None);
    assert_eq!(toml(text, "a", "z"), None);
}

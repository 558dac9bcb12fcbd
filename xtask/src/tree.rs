//! Where things are: the repository and everything made below `target/`.

use std::path::{Path, PathBuf};

use durstream_tests::failure::{Context, Result};

/// The checkout and its target directory, both absolute.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

impl Tree {
    pub(crate) fn find() -> Result<Self> {
        // Set by `cargo run`; the path of the build serves a binary started by hand.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().map(Path::to_path_buf).unwrap_or_default();
        let target = match std::env::var_os("CARGO_TARGET_DIR").filter(|text| !text.is_empty()) {
            Some(chosen) => std::path::absolute(chosen).context("CARGO_TARGET_DIR")?,
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The installed form of the C library: headers, libraries, pkg-config and CMake files.
    pub(crate) fn stage(&self) -> PathBuf {
        self.target.join("stage")
    }

    pub(crate) fn venv_python(&self) -> PathBuf {
        let inside = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
        self.target.join("venv").join(inside)
    }

    /// The path of one of cargo's products in the release profile.
    pub(crate) fn release(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// The path of one of cargo's products in the profile of the tests.
    pub(crate) fn debug(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// A directory below `target/` that exists, made when missing.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.target.join(name);
        std::fs::create_dir_all(&path).context(path.display())?;
        Ok(path)
    }

    /// A directory below `target/`, made when missing and emptied first.
    pub(crate) fn fresh_directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.target.join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).context(path.display())?;
        }
        self.directory(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cargo and maturin take the workspace's version; npm has files of its own.
    #[test]
    fn there_is_one_version() {
        let root = Tree::find().unwrap().root;
        for name in ["package.json", "package-lock.json"] {
            let text = std::fs::read(root.join("bindings-node").join(name)).unwrap();
            let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"), "{name}");
        }
    }
}

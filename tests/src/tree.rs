//! Where things are: the repository and everything made below `target/`.

use std::path::{Path, PathBuf};

use crate::failure::{Context, Result};

/// The checkout and its target directory, both absolute.
pub struct Tree {
    /// The checkout.
    pub root: PathBuf,
    /// Where everything that is made goes.
    pub target: PathBuf,
}

impl Tree {
    /// The tree this program was built from.
    ///
    /// # Errors
    /// If there is none.
    pub fn find() -> Result<Self> {
        // Set by `cargo run`; the path of the build serves a binary started by hand.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.ancestors().find(|folder| folder.join("Cargo.lock").exists());
        let root = root.ok_or("no Cargo.lock above the manifest")?.to_path_buf();
        let target = match std::env::var_os("CARGO_TARGET_DIR").filter(|text| !text.is_empty()) {
            Some(chosen) => std::path::absolute(chosen).context("CARGO_TARGET_DIR")?,
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The installed form of the C library: headers, libraries, pkg-config and CMake files.
    pub fn stage(&self) -> PathBuf {
        self.target.join("stage")
    }

    /// The interpreter that has the wheel.
    pub fn venv_python(&self) -> PathBuf {
        Self::python_of(&self.target.join("venv"))
    }

    /// The interpreter of a virtual environment.
    pub fn python_of(environment: &Path) -> PathBuf {
        environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
    }

    /// The path of one of cargo's products in the release profile.
    pub fn release(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// The path of one of cargo's products in the profile of the tests.
    pub fn debug(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// A directory below `target/` that exists, made when missing.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.target.join(name);
        std::fs::create_dir_all(&path).context(path.display())?;
        Ok(path)
    }

    /// A directory below `target/`, made when missing and emptied first.
    pub fn fresh_directory(&self, name: &str) -> Result<PathBuf> {
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

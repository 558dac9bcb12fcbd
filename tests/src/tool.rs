//! Programs that come as crates: each is installed once, below `target/tools`.

use std::path::PathBuf;

use crate::failure::{Context, Result};
use crate::process::cargo;
use crate::step::step;
use crate::tree::Tree;

/// A program of a crate, in one version.
pub struct Tool {
    /// The crate's name.
    pub crate_name: &'static str,
    /// The version that is used, exactly.
    pub version: &'static str,
    /// Not always called like the crate.
    pub binary: &'static str,
    /// Of the crate's features those that the program needs and the crate leaves out.
    pub features: &'static str,
}

impl Tool {
    /// Where its binary is, or will be.
    pub fn place(&self, tree: &Tree) -> PathBuf {
        self.root(tree).join("bin").join(format!("{}{}", self.binary, std::env::consts::EXE_SUFFIX))
    }

    /// Installs it when it is missing, in a step of this title; where its binary is.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn install(&self, tree: &Tree, title: &str) -> Result<PathBuf> {
        let binary = self.place(tree);
        step(tree, title, |step| {
            if binary.exists() {
                return Ok(());
            }
            let build = tree.fresh_directory("tools/build")?;
            let arguments = [
                "install",
                self.crate_name,
                "--version",
                self.version,
                "--locked",
                "--features",
                self.features,
            ];
            let mut install = cargo(&tree.root, &arguments);
            install.arg("--root").arg(self.root(tree)).arg("--target-dir").arg(&build);
            step.run(&mut install)?;
            std::fs::remove_dir_all(&build).context(build.display())
        })?;
        Ok(binary)
    }

    /// The folder it is installed in, its own.
    pub fn root(&self, tree: &Tree) -> PathBuf {
        tree.target.join("tools").join(format!("{}-{}", self.crate_name, self.version))
    }
}

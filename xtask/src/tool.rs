//! Programs that come as crates: each is installed once, below `target/tools`.

use std::path::PathBuf;

use crate::process;
use crate::step::step;
use crate::tree::Tree;
use durstream_tests::failure::{Context, Result};

pub(crate) struct Tool {
    pub(crate) crate_name: &'static str,
    pub(crate) version: &'static str,
    /// Not always called like the crate.
    pub(crate) binary: &'static str,
}

impl Tool {
    /// Installs it when it is missing; a step of this title.
    pub(crate) fn install(&self, tree: &Tree, title: &str) -> Result<PathBuf> {
        let binary = self.place(tree);
        step(tree, title, |step| {
            if binary.exists() {
                return Ok(());
            }
            let build = tree.fresh_directory("tools/build")?;
            let arguments = ["install", self.crate_name, "--version", self.version, "--locked"];
            let mut install = process::cargo(&tree.root, &arguments);
            install.arg("--root").arg(self.root(tree)).arg("--target-dir").arg(&build);
            step.run(&mut install)?;
            std::fs::remove_dir_all(&build).context(build.display())
        })?;
        Ok(binary)
    }

    /// Where its binary is, or will be.
    pub(crate) fn place(&self, tree: &Tree) -> PathBuf {
        self.root(tree).join("bin").join(format!("{}{}", self.binary, std::env::consts::EXE_SUFFIX))
    }

    fn root(&self, tree: &Tree) -> PathBuf {
        tree.target.join("tools").join(format!("{}-{}", self.crate_name, self.version))
    }
}

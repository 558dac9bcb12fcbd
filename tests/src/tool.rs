//! Programs that come as crates: which, and where they are installed.

use std::path::PathBuf;

use crate::tree::Tree;

/// A program of a crate, in one version.
pub struct Tool {
    /// The crate's name.
    pub crate_name: &'static str,
    /// The version that is used, exactly.
    pub version: &'static str,
    /// Not always called like the crate.
    pub binary: &'static str,
}

impl Tool {
    /// Where its binary is, or will be.
    pub fn place(&self, tree: &Tree) -> PathBuf {
        self.root(tree).join("bin").join(format!("{}{}", self.binary, std::env::consts::EXE_SUFFIX))
    }

    /// The folder it is installed in, its own.
    pub fn root(&self, tree: &Tree) -> PathBuf {
        tree.target.join("tools").join(format!("{}-{}", self.crate_name, self.version))
    }
}

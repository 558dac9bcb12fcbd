//! Programs that come as crates: each is installed once, below `target/tools`.

use std::path::PathBuf;

use crate::toolchain;
use durstream_tests::failure::{Context, Result};
use durstream_tests::server;
use durstream_tests::step::step;
use durstream_tests::tool::Tool;
use durstream_tests::tree::Tree;

/// Installs a tool when it is missing; a step of this title.
pub(crate) fn install(tree: &Tree, tool: &Tool, title: &str) -> Result<PathBuf> {
    let binary = tool.place(tree);
    step(tree, title, |step| {
        if binary.exists() {
            return Ok(());
        }
        let build = tree.fresh_directory("tools/build")?;
        let arguments = ["install", tool.crate_name, "--version", tool.version, "--locked"];
        let mut install = toolchain::cargo(&tree.root, &arguments);
        install.arg("--root").arg(tool.root(tree)).arg("--target-dir").arg(&build);
        step.run(&mut install)?;
        std::fs::remove_dir_all(&build).context(build.display())
    })?;
    Ok(binary)
}

/// Installs the official server when it is missing.
pub(crate) fn install_server(tree: &Tree) -> Result<PathBuf> {
    install(tree, &server::OFFICIAL, "server")
}

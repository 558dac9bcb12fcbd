//! The core as a crate.

use durstream_tests::failure::Result;
use durstream_tests::process::cargo;
use durstream_tests::step::step;
use durstream_tests::tree::Tree;

use crate::artefact::{Artefact, only};

const CORE: &str = "durstream-core";

/// Packs the crate and compiles it from the package, as its users do.
pub(crate) fn core(tree: &Tree) -> Result<Artefact> {
    let target = tree.fresh_directory("packages/crates/build")?;
    step(tree, "Crate", |step| {
        // What is not committed is packed too: a person tries before committing.
        let how = ["-p", CORE, "--allow-dirty", "--locked"];
        let cargo = |what: &[&str]| {
            let mut cargo = cargo(&tree.root, &[what, &how].concat());
            cargo.arg("--target-dir").arg(&target);
            cargo
        };
        step.run(&mut cargo(&["publish", "--dry-run"]))?;
        // Where a dry run leaves the package depends on cargo's version.
        step.run(&mut cargo(&["package", "--no-verify"]))
    })?;
    let file = only(&target.join("package"), ".crate")?;
    let place = tree.directory("packages/crates")?.join(file.file_name().unwrap_or_default());
    durstream_package::prefix::install(&file, &place)?;
    let mut artefact = Artefact::new(place, "", 0);
    artefact.tried("as a package by cargo", "compiled; `cargo publish --dry-run`");
    Ok(artefact)
}

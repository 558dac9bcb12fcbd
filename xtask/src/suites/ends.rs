//! The ends of processes: the recipes of `docs/shutdown.md`, with the frameworks that they are for.

use std::path::Path;

use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::runner::Suite;
use durstream_tests::stamp::Stamp;
use durstream_tests::step::step;
use durstream_tests::tree::Tree;

use crate::artefacts::{self, pip_install};

type Build = fn(&Tree) -> Result;

pub(crate) fn suite(suite: &mut Suite<'_>) {
    let Some(folder) = suite.folder("tests/ends") else { return };
    let builds: [(&str, Build); 4] = [
        ("fault proxy", artefacts::fault_proxy),
        ("C library", artefacts::c_library),
        ("wheel", artefacts::python_wheel),
        ("package", artefacts::node_package),
    ];
    let mut is_built = true;
    for (name, build) in builds {
        is_built &= suite.step(name, build);
    }
    is_built &= suite.step("frameworks", |tree| {
        python_frameworks(tree, &folder)?;
        artefacts::npm_packages(tree, "Node frameworks", &folder)
    });
    if !is_built {
        return suite.blocked("pytest");
    }
    let mut pytest = std::process::Command::new(suite.tree.venv_python());
    pytest.args(["-m", "pytest", "-p", "no:cacheprovider", "-ra", "--timeout", "120"]).arg(&folder);
    pytest.current_dir(&suite.tree.root);
    suite.run("pytest", pytest);
}

/// Beside our wheel. What of it there is not for every machine may be missing: its tests are skipped.
fn python_frameworks(tree: &Tree, folder: &Path) -> Result {
    let lists = ["requirements.txt", "optional.txt"].map(|name| folder.join(name));
    let python = tree.venv_python();
    step(tree, "Python frameworks", |step| {
        // Inside the environment: gone when that is made anew.
        let stamp = Stamp::new(tree.target.join("venv/frameworks-installed"), &lists, "")?;
        step.unless_done(&stamp, &python, || {
            step.run(pip_install(&python).arg("-r").arg(&lists[0]))?;
            let optional = std::fs::read_to_string(&lists[1]).context(lists[1].display())?;
            for package in optional.lines() {
                let mut pip = pip_install(&python);
                if step.run(pip.args(["--only-binary", ":all:", package])).is_err() {
                    console::line(&format!("there is no {package} for this machine"));
                }
            }
            Ok(())
        })
    })
}

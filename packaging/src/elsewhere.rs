//! What is tried with the packages of another machine's platform.

use std::path::Path;

use durstream_package::prefix;
use durstream_tests::runner::Suite;

use crate::artefact::Artefact;
use crate::host::looks_into_outboxes;
use crate::machine::{self, Machine};
use crate::platforms::{Here, Platform};
use crate::trial::{Folder, Site};
use crate::{c, npm, python, texts, tools};

const RAN: &str = "`first` (read back)";

pub(crate) fn c_library(
    suite: &mut Suite<'_>,
    site: Site,
    machine: &Machine,
    here: &Here,
    artefact: &mut Artefact,
) {
    suite.step(&format!("{} unpacked", artefact.name()), |tree| {
        let folder = Folder::new("c-elsewhere")?;
        let prefix = c::unpack(artefact, folder.path())?;
        let program = folder.path().join("first");
        let program =
            machine::compile(tree, here.zig, &prefix, "packaging/programs/first.c", &program)?;
        site.first(machine.run(&program, &prefix.join("lib"))?)?;
        let tool = prefix.join("bin").join(prefix::tool());
        looks_into_outboxes(&mut machine.emulated(&tool), folder.path())?;
        artefact.tried(&format!("tar; {}", machine.shown()), RAN);
        Ok(())
    });
}

pub(crate) fn wheel(
    suite: &mut Suite<'_>,
    site: Site,
    machine: &Machine,
    here: &Here,
    artefact: &mut Artefact,
) {
    suite.step(&format!("{} installed", artefact.name()), |tree| {
        let folder = Folder::new("python-elsewhere")?;
        let packages = folder.path().join("packages");
        let mut pip = python::python3();
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]);
        pip.args(["--only-binary=:all:", "--python-version", "3.11", "--platform"]);
        pip.arg(here.wheel_platform())
            .arg("--target")
            .arg(&packages)
            .arg("--find-links")
            .arg(parent(&artefact.file));
        tools::output(pip.arg("durstream").env_remove("PIP_FIND_LINKS"))?;
        let program = folder.path().join("first.py");
        texts::copy_file(&tree.root.join("packaging/programs/first.py"), &program)?;
        let mut command = machine.python(&packages)?;
        command.arg(&program);
        site.first(command)?;
        artefact.tried(&format!("pip for Python 3.11; {}", machine.shown()), RAN);
        Ok(())
    });
}

pub(crate) fn npm_packages(
    suite: &mut Suite<'_>,
    site: Site,
    machine: &Machine,
    main: &Path,
    addon: &mut Artefact,
    platform: &Platform,
) {
    suite.step(&format!("{} installed", addon.name()), |tree| {
        let folder = Folder::new("npm-elsewhere")?;
        let (os, cpu) = (platform.os, platform.cpu);
        // By force: npm compares a package that is named with its own machine all the same.
        let mut target = vec!["--force".to_owned(), format!("--os={os}"), format!("--cpu={cpu}")];
        target.extend(platform.libc.map(|libc| format!("--libc={libc}")));
        let project = npm::project(folder.path(), &[main, &addon.file], &target)?;
        let program = project.join("first.mjs");
        texts::copy_file(&tree.root.join("packaging/programs/first.mjs"), &program)?;
        let mut command = machine.node()?;
        command.arg(&program);
        site.first(command)?;
        addon.tried(&format!("npm; {}", machine.node_shown()), RAN);
        Ok(())
    });
}

fn parent(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}

//! The wheels, and the sources that pip builds where there is no wheel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use durstream_tests::failure::{Context, Result};
use durstream_tests::step::step;
use durstream_tests::tree::Tree;

use crate::artefact::{Artefact, SAME_TIME, at_most, only, size_of};
use crate::build::{check, split, tells_nothing};
use crate::platforms::{Here, Platform};
use crate::texts;
use crate::tools::{self, Builder};

/// The goal is 3.5 MB: `core/docs/adr/size.md`.
const MOST_BYTES: u64 = 4_050_000;
const MODULE: &str = "_durstream.abi3.so";

/// The wheel that the Python suite tests.
pub(crate) fn as_built(tree: &Tree, platform: &'static Platform) -> Result<Artefact> {
    let wheel = only(&tree.target.join("wheels"), ".whl")?;
    Ok(Artefact::new(wheel, platform.name, 0))
}

pub(crate) fn wheel(tree: &Tree, platform: &'static Platform, here: &Here) -> Result<Artefact> {
    let made = tree.fresh_directory(&format!("packages/wheels/{}", platform.name))?;
    let unpacked = tree.fresh_directory(&format!("packages/wheels/{}/unpacked", platform.name))?;
    let symbols = tree.directory(&format!("packages/libraries/{}/symbols", platform.name))?;
    let python = tools::python(tree);
    let mut glibc = None;
    let title = format!("Wheel {}", platform.name);
    step(tree, &title, |step| {
        tools::rust_parts(step, platform)?;
        let mut maturin = Command::new(&python);
        maturin.args(["-m", "maturin", "build", "--profile", "dist", "--strip", "false"]);
        // The features of the tests' build: the libraries of a platform share what they are made of.
        maturin.args(["--features", "one-build", "--target", platform.triple]);
        maturin.args(["--compatibility", here.wheel, "--out"]).arg(&made);
        maturin.current_dir(tree.root.join("bindings-python"));
        Builder::new(tree, platform, here)?.surround(&mut maturin);
        step.run(&mut maturin)?;
        let wheel = only(&made, ".whl")?;
        step.run(wheel_tool(&python).arg("unpack").arg("--dest").arg(&unpacked).arg(&wheel))?;
        let content = only(&unpacked, "")?;
        let module = content.join("durstream").join(MODULE);
        let whole = made.join(MODULE);
        fs::rename(&module, &whole).context(module.display())?;
        split(step, &whole, &module, &symbols)?;
        fs::remove_file(&whole).context(whole.display())?;
        let licenses = only(&content, ".dist-info")?.join("licenses");
        texts::copy(tree, &licenses)?;
        texts::without_root(tree, &only(&content, ".dist-info")?.join("sboms"))?;
        glibc = check(platform, &module)?;
        tells_nothing(tree, &content)?;
        fs::remove_file(&wheel).context(wheel.display())?;
        let mut pack = wheel_tool(&python);
        pack.arg("pack").arg("--dest-dir").arg(&made).arg(&content);
        step.run(pack.env("SOURCE_DATE_EPOCH", SAME_TIME))
    })?;
    let wheel = only(&made, ".whl")?;
    let final_place =
        tree.directory("packages/python")?.join(wheel.file_name().unwrap_or_default());
    fs::rename(&wheel, &final_place).context(wheel.display())?;
    let mut artefact = Artefact::new(final_place, platform.name, size_of(&unpacked)?);
    artefact.glibc = glibc;
    at_most(&artefact.file, artefact.bytes(), MOST_BYTES)?;
    Ok(artefact)
}

fn wheel_tool(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "wheel"]);
    command
}

/// The sources, for a platform without a wheel.
pub(crate) fn sources(tree: &Tree) -> Result<Artefact> {
    let made = tree.directory("packages/python")?;
    step(tree, "Sources for pip", |step| {
        let mut maturin = Command::new(tools::python(tree));
        maturin.args(["-m", "maturin", "sdist", "--out"]).arg(&made);
        step.run(maturin.current_dir(tree.root.join("bindings-python")))
    })?;
    Ok(Artefact::new(only(&made, ".tar.gz")?, "", 0))
}

/// Builds a wheel of the sources, as pip does where there is none that fits; its file.
pub(crate) fn wheel_of_sources(tree: &Tree, sources: &Path, folder: &Path) -> Result<PathBuf> {
    let (made, unpacked) = (folder.join("built"), folder.join("unpacked"));
    // What is compiled of other people's crates is kept. It is a place of its own: cargo tells by the
    // time of a file whether it changed, and takes these for the checkout's.
    let target = tree.directory("package-sources")?;
    step(tree, "Wheel of the sources", |step| {
        fs::create_dir_all(&unpacked).context(unpacked.display())?;
        // The files in it have one time for ever: as if all were changed now, so that none is passed over.
        step.run(
            Command::new("tar")
                .arg("-xmf")
                .arg(sources)
                .args(["--strip-components=1", "-C"])
                .arg(&unpacked),
        )?;
        let mut pip = Command::new(tools::python(tree));
        // With the maturin that is here.
        pip.args(["-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation"]);
        pip.args(["--no-cache-dir", "--config-settings", "build-args=--features one-build"]);
        pip.arg("--wheel-dir").arg(&made).arg(&unpacked).env("CARGO_TARGET_DIR", &target);
        let tools = tools::python(tree);
        let tools = tools.parent().unwrap_or(folder).to_path_buf();
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(tools).chain(std::env::split_paths(&paths));
        step.run(pip.env("PATH", std::env::join_paths(paths).context("PATH")?))
    })?;
    only(&made, ".whl")
}

/// A virtual environment in which nothing but a wheel is installed; its Python.
pub(crate) fn environment(folder: &Path, wheel: &Path) -> Result<PathBuf> {
    let environment = folder.join("environment");
    tools::output(python3().args(["-m", "venv"]).arg(&environment))?;
    let python = Tree::python_of(&environment);
    // By its name, of what is in its folder: that it fits is what pip finds out.
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]);
    pip.arg("--find-links").arg(wheel.parent().unwrap_or(folder)).arg("durstream");
    tools::output(pip.env_remove("PIP_FIND_LINKS"))?;
    Ok(python)
}

/// The Python that the tests use.
pub(crate) fn python3() -> Command {
    durstream_tests::compilers::program("PYTHON", if cfg!(windows) { "python" } else { "python3" })
}

/// What pip says to a Python that is too old, of an index that has the wheel.
pub(crate) fn for_python_38(wheel: &Path, folder: &Path) -> Result<String> {
    // An index says of each file what is in its metadata, so that pip need not fetch it.
    let needed = "import sys, zipfile, email\n\
                  files = zipfile.ZipFile(sys.argv[1])\n\
                  name = next(n for n in files.namelist() if n.endswith('.dist-info/METADATA'))\n\
                  print(email.message_from_bytes(files.read(name))['Requires-Python'])";
    let needed = tools::output(python3().args(["-c", needed]).arg(wheel))?;
    let index = folder.join("simple/durstream");
    fs::create_dir_all(&index).context(index.display())?;
    // The sources are beside the wheel, whose tag alone would hide it without a word.
    let sources = format!("durstream-{}.tar.gz", env!("CARGO_PKG_VERSION"));
    let wheel = wheel.display().to_string();
    let needed = needed.trim().replace('>', "&gt;");
    let link = |file: &str| {
        let name = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
        format!("<a href=\"file://{file}\" data-requires-python=\"{needed}\">{name}</a>\n")
    };
    let page = link(&wheel) + &link(&format!("/{sources}"));
    fs::write(index.join("index.html"), page).context(index.display())?;
    let mut pip = python3();
    pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--python-version", "3.8", "--isolated", "--index-url"]);
    pip.arg(format!("file://{}", folder.join("simple").display())).arg("--dest").arg(folder);
    let output = pip.arg("durstream").output().context("pip")?;
    if output.status.success() {
        return Err("pip has a wheel for Python 3.8".into());
    }
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

//! What is tried with the packages of this machine's platform, and what they say where they cannot work.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use durstream_package::prefix;
use durstream_tests::failure::{Context, Result};
use durstream_tests::runner::Suite;
use durstream_tests::tree::Tree;

use crate::artefact::Artefact;
use crate::npm;
use crate::trial::{Folder, Site, complaint, median_ms, says, timed};
use crate::{c, python, tools};

const PYTHON_EXAMPLES: [&str; 2] = ["shipments.py", "writing_data.py"];
const NODE_EXAMPLES: [&str; 2] = ["shipments.mjs", "writing-data.mjs"];
/// What the command that starts a server for development says of itself.
const SERVER: &[&str] = &["--port"];
const RAN: &str = "`first` (read back), shipments, the ways of writing";

/// Milliseconds that loading takes, where it was measured.
#[derive(Default)]
pub(crate) struct Loading {
    pub(crate) python: Option<f64>,
    pub(crate) node: Option<f64>,
}

/// A program of the checkout, copied to where nothing of it is near.
fn copied(tree: &Tree, source: &str, folder: &Path) -> Result<PathBuf> {
    let from = tree.root.join(source);
    let to = folder.join(from.file_name().unwrap_or_default());
    crate::texts::copy_file(&from, &to)?;
    Ok(to)
}

pub(crate) fn wheel(suite: &mut Suite<'_>, site: Site, artefact: &mut Artefact) -> Option<f64> {
    let mut loading = None;
    let wheel = artefact.file.clone();
    suite.step(&format!("{} installed", artefact.name()), |tree| {
        let folder = Folder::new("python")?;
        let (python, seconds) = timed(|| python::environment(folder.path(), &wheel))?;
        let run = |source: PathBuf| {
            let mut command = Command::new(&python);
            command.arg("-I").arg(source).current_dir(folder.path());
            command
        };
        site.first(run(copied(tree, "packaging/programs/first.py", folder.path())?))?;
        let [shipments, writing] = PYTHON_EXAMPLES
            .map(|name| copied(tree, &format!("bindings-python/examples/{name}"), folder.path()));
        site.shipments(run(shipments?), folder.path())?;
        site.writing(run(writing?))?;
        let timer = "import time; s = time.perf_counter(); import durstream; \
                     print((time.perf_counter() - s) * 1000)";
        loading = Some(median_ms(|| {
            let mut command = Command::new(&python);
            command.args(["-I", "-c", timer]);
            command
        })?);
        let mut server = Command::new(&python);
        says(&tools::output(server.args(["-I", "-m", "durstream.dev_server", "--help"]))?, SERVER)?;
        let mut tool = Command::new(&python);
        looks_into_outboxes(tool.args(["-I", "-m", "durstream.outbox"]), folder.path())?;
        says_why_not(&python)?;
        artefact.tried(&format!("pip in an empty environment, {seconds:.1} s"), RAN);
        Ok(())
    });
    suite.step("Python 3.8 is told", |_| {
        let folder = Folder::new("python38")?;
        let said = python::for_python_38(&wheel, folder.path())?;
        says(&said, &["require a different python version", "Requires-Python >=3.9"])
    });
    loading
}

/// The sources, built by pip and installed.
pub(crate) fn sources(suite: &mut Suite<'_>, site: Site, artefact: &mut Artefact) {
    suite.step(&format!("{} built and installed", artefact.name()), |tree| {
        let folder = Folder::new("sources")?;
        let wheel = python::wheel_of_sources(tree, &artefact.file, folder.path())?;
        let python = python::environment(folder.path(), &wheel)?;
        let mut command = Command::new(&python);
        command.arg("-I").arg(copied(tree, "packaging/programs/first.py", folder.path())?);
        site.first(command)?;
        artefact.tried("pip, which built a wheel of it, unpacked", "`first` (read back)");
        Ok(())
    });
}

/// A package without its module, or with that of another platform, and a Python that is too old.
fn says_why_not(python: &Path) -> Result {
    let place = "import durstream, os; print(os.path.dirname(durstream.__file__))";
    let place = tools::output(Command::new(python).args(["-I", "-c", place]))?;
    let module = Path::new(place.trim()).join("_durstream.abi3.so");
    let loaded = |code: &str| {
        let mut command = Command::new(python);
        complaint(command.args(["-I", "-c", code]))
    };
    let old = "import sys; sys.version_info = (3, 8, 1, 'final', 0); import durstream";
    says(&loaded(old)?, &["durstream needs Python 3.9 or newer, and this is Python"])?;
    let other = module.with_file_name("_durstream.cpython-39-darwin.so");
    fs::rename(&module, &other).context(module.display())?;
    let parts = [
        "its native module cannot be loaded on linux",
        "the installed package has _durstream.cpython-39-darwin.so",
        "pip install --force-reinstall",
    ];
    says(&loaded("import durstream")?, &parts)?;
    fs::rename(&other, &module).context(module.display())
}

fn node() -> PathBuf {
    let name = if cfg!(windows) { "node.exe" } else { "node" };
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| name.into())
}

/// The packages, `durstream` first.
pub(crate) fn npm_packages(
    suite: &mut Suite<'_>,
    site: Site,
    main: &mut Artefact,
    addon: &mut Artefact,
) -> Option<f64> {
    let mut loading = None;
    let packages = [main.file.clone(), addon.file.clone()];
    suite.step(&format!("{} and {} installed", main.name(), addon.name()), |tree| {
        let folder = Folder::new("npm")?;
        let (project, seconds) =
            timed(|| npm::project(folder.path(), &packages.each_ref().map(PathBuf::as_path), &[]))?;
        let run = |source: PathBuf| {
            let mut command = Command::new(node());
            command.arg(source).current_dir(&project);
            command
        };
        site.first(run(copied(tree, "packaging/programs/first.mjs", &project)?))?;
        let [shipments, writing] = NODE_EXAMPLES
            .map(|name| copied(tree, &format!("bindings-node/examples/{name}"), &project));
        site.shipments(run(shipments?), &project)?;
        site.writing(run(writing?))?;
        let timer =
            "const s = performance.now(); require('durstream'); console.log(performance.now() - s)";
        loading = Some(median_ms(|| {
            let mut command = Command::new(node());
            command.args(["-e", timer]).current_dir(&project);
            command
        })?);
        let mut server = npm::npm();
        server.args(["exec", "--offline", "--no", "--", "durstream-dev-server", "--help"]);
        says(&tools::output(server.current_dir(&project))?, SERVER)?;
        let mut tool = npm::npm();
        tool.args(["exec", "--offline", "--no", "--", "durstream-outbox"]).current_dir(&project);
        looks_into_outboxes(&mut tool, &project)?;
        let how = format!("npm in an empty project, {seconds:.1} s");
        main.tried(&how, RAN);
        addon.tried(&how, RAN);
        Ok(())
    });
    suite.step("npm packages that do not fit", |_| {
        let folder = Folder::new("npm-unfit")?;
        let project = npm::project(folder.path(), &packages.each_ref().map(PathBuf::as_path), &[])?;
        unfit(&project, &addon.platform_package())
    });
    loading
}

/// Each way in which an addon is not to be had.
fn unfit(project: &Path, package: &str) -> Result {
    let said = |before: &str| {
        let code = format!("{before}; require('durstream')");
        complaint(Command::new(node()).args(["-e", &code]).current_dir(project))
    };
    let set = |name: &str, value: &str| {
        format!("Object.defineProperty(process, '{name}', {{ value: {value} }})")
    };
    let version = env!("CARGO_PKG_VERSION");
    let old = "({ ...process.versions, node: '16.20.2' })";
    let old = format!("{}; {}", set("versions", old), set("version", "'v16.20.2'"));
    says(&said(&old)?, &["this is Node v16.20.2, and Node 18 or newer is needed"])?;
    let parts = ["no native addon for sunos-x64, Node v", "there is one for Linux (glibc or musl)"];
    says(&said(&format!("{}; {}", set("platform", "'sunos'"), set("arch", "'x64'")))?, &parts)?;
    let mips = format!("{}; {}", set("platform", "'linux'"), set("arch", "'mips'"));
    says(&said(&mips)?, &["no native addon for linux-mips, "])?;

    let modules = project.join("node_modules");
    let (addon, away) = (modules.join(package), modules.join("away"));
    let manifest = addon.join("package.json");
    let whole = fs::read_to_string(&manifest).context(manifest.display())?;
    // The addon itself says its version: that of another one is told apart by what it answers.
    let main = addon.join("other.js");
    fs::write(&main, "exports.version = () => '0.0.9';").context(main.display())?;
    let other = whole.replace("\"durstream.node\",\n  \"name\"", "\"other.js\",\n  \"name\"");
    let other = other.replace("\"main\": \"durstream.node\"", "\"main\": \"other.js\"");
    fs::write(&manifest, other).context(manifest.display())?;
    let parts = [
        &format!(
            "the package {package} is of 0.0.9, and durstream of {version}: both have to be the same"
        ),
        "install durstream again",
    ];
    says(&said("0")?, &parts.map(|part: &str| part))?;
    fs::write(&manifest, &whole).context(manifest.display())?;

    let library = addon.join(crate::build::ADDON);
    let bytes = fs::read(&library).context(library.display())?;
    fs::write(&library, "not for this machine").context(library.display())?;
    let parts =
        [&format!("the package {package} is here and does not load on"), "install durstream again"];
    says(&said("0")?, &parts.map(|part: &str| part))?;
    fs::write(&library, bytes).context(library.display())?;

    fs::rename(&addon, &away).context(addon.display())?;
    let todo = format!("npm install {package}@{version}");
    let parts =
        [&format!("the package {package} is not installed"), "--omit=optional", todo.as_str()];
    says(&said("0")?, &parts.map(|part: &str| part))?;
    let musl = "process.report.getReport = () => ({ header: {} })";
    let parts = [", musl, Node v", "-musl is not installed"];
    if cfg!(target_os = "linux") {
        says(&said(musl)?, &parts)?;
    }
    fs::rename(&away, &addon).context(addon.display())
}

pub(crate) fn c_library(
    suite: &mut Suite<'_>,
    site: Site,
    artefact: &mut Artefact,
    libdir: &str,
    unpack: fn(&Artefact, &Path) -> Result<PathBuf>,
    how: &str,
) {
    suite.step(&format!("{} unpacked", artefact.name()), |tree| {
        let folder = Folder::new("c")?;
        let prefix = unpack(artefact, folder.path())?;
        let libdir = prefix.join(libdir);
        let program = |source: &str, name: &str| {
            c::compile(tree, &libdir, source, &folder.path().join(name)).map(Command::new)
        };
        site.first(program("packaging/programs/first.c", "first")?)?;
        site.shipments(program("ffi-c/examples/shipments.c", "shipments")?, folder.path())?;
        site.writing(program("ffi-c/examples/writing.c", "writing")?)?;
        let mut tool = Command::new(prefix.join("bin").join(prefix::tool()));
        looks_into_outboxes(&mut tool, folder.path())?;
        manual(&prefix)?;
        let documents: Vec<OsString> = files(&prefix.join("share/doc"))?;
        if !documents.iter().any(|name| name.to_string_lossy().starts_with("LICENSE")) {
            return Err("no licence is in it".into());
        }
        artefact.tried(how, &format!("{RAN}; compiled with what pkg-config says"));
        Ok(())
    });
}

/// Runs the tool of a package.
pub(crate) fn looks_into_outboxes(tool: &mut Command, folder: &Path) -> Result {
    says(&tools::output(tool.arg("list").arg(folder))?, &["no outbox is here"])
}

/// Reads a manual page as a person does; where nothing shows one, as it is written.
fn manual(prefix: &Path) -> Result {
    let pages = prefix.join("share/man");
    let mut man = Command::new("man");
    man.arg("-M").arg(&pages).args(["-P", "cat", "durstream_producer_append"]);
    let text = match tools::output(man.env("MANWIDTH", "400")) {
        Ok(text) => text,
        Err(_) => {
            let page = pages.join("man3/durstream_producer_append.3");
            fs::read_to_string(&page).context(page.display())?
        }
    };
    says(&text, &["Accepts one message", "blocks only while the buffer is full"])
}

/// The names of the files below a folder.
fn files(folder: &Path) -> Result<Vec<OsString>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).context(folder.display())?.flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.file_name());
        }
    }
    Ok(found)
}

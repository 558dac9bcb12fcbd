//! Other people's clients: built from checkouts that the user names, each by a program of ours. One
//! that cannot be built costs a line, not the report.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::contestant::{self, Contestant, Id, no_client, within};
use crate::options::Options;
use durstream_tests::compilers;
use durstream_tests::failure::{Context, Result};
use durstream_tests::step::step;
use durstream_tests::tree::Tree;

const FOLDER: &str = "bench/peers";

/// Everybody who can take part, and a line for each who cannot.
pub(crate) fn all(tree: &Tree, options: &Options, wanted: &[Id]) -> (Vec<Contestant>, Vec<String>) {
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for id in wanted.iter().copied() {
        match one(tree, options, id) {
            Ok(contestant) => there.push(contestant),
            Err(failure) => {
                // A build's failure ends with its log.
                let text = failure.to_string();
                let first = text.lines().next().unwrap_or_default();
                missing.push(format!("{}: {first}", id.title()));
            }
        }
    }
    (there, missing)
}

fn one(tree: &Tree, options: &Options, id: Id) -> Result<Contestant> {
    let named = |path: &Option<PathBuf>, option: &str| {
        let path = path.clone().or_else(|| options.upstream.clone());
        path.ok_or_else(|| format!("no checkout was named ({option} or --upstream PATH)"))
    };
    let program = match id {
        Id::UpstreamRust => rust(tree, &named(&options.upstream_rust, "--upstream-rust")?)?,
        Id::UpstreamGo => go(tree, &named(&options.upstream_go, "--upstream-go")?)?,
        Id::Librdkafka => librdkafka(tree)?,
        Id::UpstreamPython => {
            let checkout = named(&options.upstream_python, "--upstream-python")?;
            return contestant::of(tree, id, Some(&checkout));
        }
        _ => return contestant::of(tree, id, None),
    };
    Ok(Contestant::new(id, program, Vec::new()))
}

fn executable(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

/// A path as TOML has it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

/// A package of its own, that names our source and their crate.
fn rust(tree: &Tree, checkout: &Path) -> Result<PathBuf> {
    let theirs = within(checkout, &["packages/client-rust", "."], "src/producer.rs")
        .map_err(|_| no_client(checkout, "Rust"))?;
    let folder = tree.directory(&format!("{FOLDER}/rust"))?;
    let ours = tree.root.join("tests/bench");
    let manifest = format!(
        "[package]\nname = \"upstream-rust\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [lib]\nname = \"durstream_bench_programs\"\npath = {}\n\n\
         [[bin]]\nname = \"upstream-rust\"\npath = {}\n\n\
         [dependencies]\ndurable-streams = {{ path = {} }}\nlibc = \"0.2\"\nserde_json = \"1\"\n\
         tokio = {{ version = \"1\", features = [\"rt-multi-thread\", \"macros\"] }}\n\n\
         # Neither theirs nor ours.\n[workspace]\n",
        quoted(&ours.join("rust/src/lib.rs")),
        quoted(&ours.join("peers/rust/main.rs")),
        quoted(&theirs)
    );
    let file = folder.join("Cargo.toml");
    std::fs::write(&file, manifest).context(file.display())?;
    // The versions that they were tested with.
    let lock = theirs.join("Cargo.lock");
    if lock.exists() && !folder.join("Cargo.lock").exists() {
        std::fs::copy(&lock, folder.join("Cargo.lock")).context(lock.display())?;
    }
    step(tree, "upstream's Rust", |step| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--release", "--target-dir"]).arg(folder.join("target"));
        step.run(cargo.current_dir(&folder))
    })?;
    Ok(folder.join("target/release").join(executable("upstream-rust")))
}

fn go(tree: &Tree, checkout: &Path) -> Result<PathBuf> {
    const MODULE: &str = "github.com/durable-streams/durable-streams/packages/client-go";
    let theirs = within(checkout, &["packages/client-go", "."], "idempotent_producer.go")
        .map_err(|_| no_client(checkout, "Go"))?;
    if Command::new("go").arg("version").output().is_err() {
        return Err("go is not installed".into());
    }
    let folder = tree.directory(&format!("{FOLDER}/go"))?;
    let source = tree.root.join("tests/bench/peers/go/main.go");
    std::fs::copy(&source, folder.join("main.go")).context(source.display())?;
    let module = format!(
        "module bench\n\ngo 1.22\n\nrequire {MODULE} v0.0.0\n\nreplace {MODULE} => {}\n",
        theirs.display()
    );
    std::fs::write(folder.join("go.mod"), module).context("go.mod")?;
    let program = folder.join(executable("upstream-go"));
    step(tree, "upstream's Go", |step| {
        let mut go = Command::new("go");
        step.run(go.args(["build", "-o"]).arg(&program).arg(".").current_dir(&folder))
    })?;
    Ok(program)
}

fn librdkafka(tree: &Tree) -> Result<PathBuf> {
    let found = Command::new("pkg-config").args(["--cflags", "--libs", "rdkafka"]).output();
    let found = found.ok().filter(|output| output.status.success());
    let found = found.ok_or("pkg-config knows no rdkafka (Debian: librdkafka-dev)")?;
    let program = tree.directory(FOLDER)?.join(executable("librdkafka"));
    step(tree, "librdkafka", |step| {
        let mut compiler = compilers::c_compiler();
        compiler.arg("-O2").arg(tree.root.join("tests/bench/peers/kafka/main.c"));
        compiler.args(String::from_utf8_lossy(&found.stdout).split_whitespace());
        step.run(compiler.args(["-lpthread", "-o"]).arg(&program))
    })?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_not_there_costs_a_line() {
        let tree = Tree::find().unwrap();
        let wanted = [Id::Rust, Id::UpstreamRust, Id::UpstreamGo, Id::UpstreamPython];
        let lines = |options: &Options| {
            let (there, missing) = all(&tree, options, &wanted);
            assert_eq!(there.iter().map(|one| one.id).collect::<Vec<_>>(), [Id::Rust]);
            missing
        };
        let missing = lines(&Options::default());
        assert!(missing[0].starts_with("upstream's Rust: no checkout was named"), "{missing:?}");
        assert_eq!(missing.len(), 3);
        let elsewhere = tree.root.join("core");
        let missing = lines(&Options { upstream: Some(elsewhere), ..Options::default() });
        assert!(missing[1].ends_with("is no checkout of upstream's Go client"), "{missing:?}");
        assert!(missing.iter().all(|line| !line.contains('\n')));
    }
}

//! `interop`: what every language's state producer writes, read by the reference libraries and curl.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use durstream_tests::failure::Result;
use durstream_tests::harness::Harness;
use durstream_tests::needs::{CProgram, Need};
use durstream_tests::process;
use durstream_tests::server::Server;
use durstream_tests::tree::Tree;
use lexopt::prelude::*;
use serde_json::{Value, json};

const FOLDER: &str = "tests/interop";
const RUST_WRITER: &str = "durstream-interop-writer";
const LANGUAGES: [&str; 5] = ["rust", "c", "cpp", "python", "node"];
const LIMIT: Duration = Duration::from_secs(1800);

fn main() -> ExitCode {
    Harness { name: "interop", parse, needs: |languages| Ok(needs(languages)), run }.main()
}

/// `[--only LANGUAGE]…`
fn parse(arguments: &[String]) -> Result<Vec<&'static str>> {
    let mut only = Vec::new();
    let mut words = lexopt::Parser::from_args(arguments);
    while let Some(word) = words.next()? {
        match word {
            Long("only") => only.push(language(&words.value()?.string()?)?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(if only.is_empty() { LANGUAGES.to_vec() } else { only })
}

fn language(name: &str) -> Result<&'static str> {
    let known = LANGUAGES.into_iter().find(|known| *known == name);
    known.ok_or_else(|| format!("no language {name:?}: there are {}", LANGUAGES.join(", ")).into())
}

fn needs(languages: &[&str]) -> Vec<Need> {
    let of = |language: &&str| match *language {
        "rust" => Need::RustPrograms(RUST_WRITER.into()),
        "c" => Need::CProgram(c_program("C", "c/writer.c")),
        "cpp" => Need::CProgram(c_program("C++", "cpp/writer.cpp")),
        "python" => Need::PythonPackage,
        _ => Need::NodePackage,
    };
    // The readers first: without them nothing of the rest is of use.
    let readers = Need::NpmPackages { title: "interop packages".into(), folder: FOLDER.into() };
    [Need::Server, readers].into_iter().chain(languages.iter().map(of)).collect()
}

fn c_program(title: &str, source: &str) -> CProgram {
    CProgram {
        title: format!("{title} interop writer"),
        source: format!("{FOLDER}/writers/{source}"),
        program: format!("interop/{}", source.replace(['/', '.'], "-")),
    }
}

/// How a writer is started.
fn writer(tree: &Tree, language: &str) -> Vec<PathBuf> {
    let compiled = |title, source| tree.target.join(c_program(title, source).path());
    let script = |path: &str| tree.root.join(FOLDER).join("writers").join(path);
    match language {
        "rust" => vec![tree.release(&format!("{RUST_WRITER}{}", std::env::consts::EXE_SUFFIX))],
        "c" => vec![compiled("C", "c/writer.c")],
        "cpp" => vec![compiled("C++", "cpp/writer.cpp")],
        "python" => vec![tree.venv_python(), script("python/writer.py")],
        _ => vec!["node".into(), script("node/writer.mjs")],
    }
}

fn run(tree: &Tree, languages: Vec<&'static str>) -> Result<u8> {
    let server = Server::start(tree)?;
    let writers: Value =
        languages.iter().map(|language| json!([language, writer(tree, language)])).collect();
    let mut node = Command::new("node");
    node.args(["--test", "readers.test.mjs"]).current_dir(tree.root.join(FOLDER));
    if languages.contains(&"node") {
        node.arg("migrating.test.mjs");
    }
    node.env("DURABLE_STREAMS_URL", server.url());
    node.env("DURSTREAM_INTEROP_WRITERS", writers.to_string());
    process::shown(&mut node, Some(LIMIT))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_writer_and_is_chosen_by_name() {
        let tree = Tree::find().unwrap();
        assert_eq!(parse(&[]).unwrap(), LANGUAGES);
        for name in LANGUAGES {
            assert_eq!(parse(&["--only".to_owned(), name.to_owned()]).unwrap(), [name]);
            assert_eq!(needs(&[name]).len(), 3);
            assert!(!writer(&tree, name).is_empty());
        }
        for source in ["c/writer.c", "cpp/writer.cpp", "python/writer.py", "node/writer.mjs"] {
            assert!(tree.root.join(FOLDER).join("writers").join(source).exists(), "{source}");
        }
        for wrong in [&["--only"][..], &["--only", "go"], &["--fast"]] {
            let words: Vec<String> = wrong.iter().map(|word| (*word).to_owned()).collect();
            assert!(parse(&words).is_err(), "{wrong:?} was taken");
        }
    }
}

//! The README's quick starts, run as a reader would run them. The Rust one is a doctest of
//! `durstream-tests`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use durstream_tests::failure::{Context, Result};
use durstream_tests::readback::read_stream;
use serde_json::json;

use crate::artefacts;
use crate::stage::{self, Linkage};
use durstream_tests::runner::Suite;
use durstream_tests::step::step;
use durstream_tests::tree::Tree;

type Build = fn(&Tree) -> Result;
/// Makes a program of a block.
type Prepare = fn(&Tree, &str) -> Result<Command>;

pub(crate) fn suite(suite: &mut Suite<'_>) {
    let builds: [(&str, Build); 3] = [
        ("C library", artefacts::c_library),
        ("wheel", artefacts::python_wheel),
        ("package", artefacts::node_package),
    ];
    for (name, build) in builds {
        if !suite.step(name, build) {
            return suite.blocked("quick starts");
        }
    }
    let programs: [(&str, Prepare); 4] =
        [("c", compiled_c), ("cpp", compiled_cpp), ("python", python), ("js", node)];
    for (language, program) in programs {
        let mut command = None;
        let title = format!("quick start: {language}");
        let prepared = suite.step(&format!("{title}, prepared"), |tree| {
            let readme = tree.root.join("README.md");
            let text = std::fs::read_to_string(&readme).context(readme.display())?;
            command = Some(program(tree, block(&text, language)?)?);
            Ok(())
        });
        let Some(command) = command.filter(|_| prepared) else {
            suite.blocked(&title);
            continue;
        };
        if suite.run(&title, command) {
            let address = suite.address();
            suite.step(&format!("{title}, read back"), |_| arrived(address?, language));
        }
    }
}

/// Every quick start publishes the same two events.
fn arrived(address: SocketAddr, language: &str) -> Result {
    let stream = match language {
        "js" => "/readme/node".to_owned(),
        other => format!("/readme/{other}"),
    };
    let expected = [
        json!({ "type": "shipment", "key": "ship_123",
            "value": { "id": "ship_123", "status": "in_transit" },
            "headers": { "operation": "upsert" } }),
        json!({ "type": "shipment", "key": "ship_123", "headers": { "operation": "delete" } }),
    ];
    let found = read_stream(address, &stream)?;
    if found == expected { Ok(()) } else { Err(format!("{stream} holds {found:?}").into()) }
}

/// The one block of a language.
fn block<'a>(text: &'a str, language: &str) -> Result<&'a str> {
    let fence = format!("\n```{language}\n");
    let mut parts = text.split(fence.as_str()).skip(1);
    let (Some(block), None) = (parts.next(), parts.next()) else {
        return Err(format!("the README has not exactly one ```{language} block").into());
    };
    let end = block.find("\n```").ok_or("a block without an end")?;
    Ok(&block[..=end])
}

fn written(tree: &Tree, name: &str, text: &str) -> Result<PathBuf> {
    let file = tree.directory("readme")?.join(name);
    std::fs::write(&file, text).context(file.display())?;
    Ok(file)
}

fn compiled_c(tree: &Tree, text: &str) -> Result<Command> {
    compiled(tree, "quickstart.c", text)
}

fn compiled_cpp(tree: &Tree, text: &str) -> Result<Command> {
    compiled(tree, "quickstart.cpp", text)
}

fn compiled(tree: &Tree, name: &str, text: &str) -> Result<Command> {
    let source = written(tree, name, text)?;
    let program = source.with_extension(format!("{}.program", name.len()));
    step(tree, name, |step| stage::compile(tree, step, &[&source], &program, Linkage::Shared))?;
    Ok(Command::new(program))
}

fn python(tree: &Tree, text: &str) -> Result<Command> {
    let mut command = Command::new(tree.venv_python());
    command.arg(written(tree, "quickstart.py", text)?);
    Ok(command)
}

/// Node finds the package by its name in a `node_modules` beside the program.
fn node(tree: &Tree, text: &str) -> Result<Command> {
    let entry = tree.root.join("bindings-node/dist/index.mjs");
    let modules = tree.directory("readme/node_modules/durstream")?;
    let manifest = r#"{ "name": "durstream", "version": "0.0.0", "exports": "./index.mjs" }"#;
    std::fs::write(modules.join("package.json"), manifest).context("package.json")?;
    let forward = format!("export * from {:?};\n", format!("file://{}", entry.display()));
    std::fs::write(modules.join("index.mjs"), forward).context("index.mjs")?;
    let mut command = Command::new("node");
    command.arg(written(tree, "quickstart.mjs", text)?);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_block_of_each_language() {
        let text =
            "a\n```c\nint x;\n```\nb\n```cpp\nint y;\nint z;\n```\n```js\n1\n```\n```js\n2\n```\n";
        assert_eq!(block(text, "c").ok(), Some("int x;\n"));
        assert_eq!(block(text, "cpp").ok(), Some("int y;\nint z;\n"));
        assert!(block(text, "js").is_err() && block(text, "python").is_err());
    }
}

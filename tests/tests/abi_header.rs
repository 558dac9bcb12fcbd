//! The C headers are what cbindgen makes of the sources; `DURSTREAM_REWRITE=1` makes them so.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::path::{Path, PathBuf};

/// A header: its name, how it is made, and its nouns.
struct Header {
    name: &'static str,
    config: &'static str,
    nouns: &'static [Noun],
    /// Files without functions.
    types: &'static [&'static str],
}

/// In the header's order: the file, what its functions begin with, the headline.
type Noun = (&'static str, &'static str, &'static str);

const HEADERS: [Header; 2] = [
    Header {
        name: "durstream.h",
        config: "cbindgen.toml",
        nouns: NOUNS,
        types: &["problem"], // the codes, and the error that every noun answers with
    },
    Header {
        name: "durstream_test.h",
        config: "cbindgen-test.toml",
        nouns: &[("recorder", "durstream_test_recorder_new(", "Recorders")],
        types: &[],
    },
];

const NOUNS: &[Noun] = &[
    ("options", "durstream_options_new(", "Options"),
    ("header", "durstream_options_set_header_fn(", "Headers that are asked for"),
    ("error", "durstream_error_free(", "Errors"),
    ("stream", "durstream_stream_create(", "Streams"),
    ("source", "durstream_stream_append_stream(", "Sources"),
    ("metadata", "durstream_metadata_free(", "What a stream is"),
    ("reader", "durstream_reader_free(", "Readers"),
    ("chunk", "durstream_chunk_free(", "Chunks"),
    ("producer", "durstream_producer_open(", "Producers"),
    ("outcome", "durstream_outcome_free(", "Outcomes"),
    ("outcome", "durstream_failure_id(", "Failures, inside the error callback"),
    ("delivery", "durstream_delivery_first_id(", "Deliveries, inside the delivery callback"),
    ("transition", "durstream_transition_from(", "Transitions, inside the state callback"),
    ("schema", "durstream_schema_new(", "Schemas"),
    ("state", "durstream_state_open(", "Entity state"),
    ("inspect", "durstream_state_inspect(", "What would be opened"),
    ("event", "durstream_state_change(", "Changes that say more than their value"),
    ("transaction", "durstream_state_begin(", "Transactions"),
    ("stats", "durstream_lifecycle_name(", "Where a producer stands"),
    ("process", "durstream_version(", "The process"),
    ("log", "durstream_set_log(", "The log"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn include(header: &Header) -> PathBuf {
    root().join("include").join(header.name)
}

fn generated(header: &Header) -> String {
    let ffi = root().join("ffi-c");
    let config = cbindgen::Config::from_file(ffi.join(header.config)).unwrap();
    let mut files: Vec<&str> = header.nouns.iter().map(|(file, ..)| *file).collect();
    files.dedup();
    let files = files.iter().chain(header.types);
    let builder = files.fold(cbindgen::Builder::new().with_config(config), |builder, file| {
        builder.with_src(ffi.join(format!("src/{file}.rs")))
    });
    let mut bytes = Vec::new();
    builder.generate().unwrap().write(&mut bytes);
    header.nouns.iter().fold(String::from_utf8(bytes).unwrap(), |text, (_, first, headline)| {
        with_headline(&text, first, headline)
    })
}

/// Puts a headline above the comment of a function.
fn with_headline(text: &str, function: &str, headline: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_declaration = |line: &&str| line.contains(function) && !line.starts_with("//");
    let at = lines.iter().position(is_declaration).unwrap_or_else(|| panic!("no {function}"));
    let comment = |n: &usize| lines[*n].starts_with("//");
    let first = (0..at).rev().take_while(comment).last().unwrap_or(at);
    let rule = "-".repeat(94 - headline.len());
    let headline = format!("// --- {headline} {rule}");
    let (before, after) = lines.split_at(first);
    let parts = [before, &[headline.as_str(), ""], after].concat();
    parts.join("\n") + "\n"
}

#[test]
fn the_headers_are_current() {
    for header in &HEADERS {
        let (path, generated) = (include(header), generated(header));
        if std::env::var_os("DURSTREAM_REWRITE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &generated).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == generated,
            "include/{} is not what the sources make: run \
             `DURSTREAM_REWRITE=1 cargo test -p durstream-tests --test abi_header`",
            header.name
        );
    }
}

/// Each function's comment and declaration, in one line each.
fn functions() -> Vec<(String, String)> {
    let texts = HEADERS.iter().map(|header| std::fs::read_to_string(include(header)).unwrap());
    let mut found = Vec::new();
    for part in texts.collect::<Vec<_>>().join("\n").split("\n\n") {
        let (comment, rest): (Vec<&str>, Vec<&str>) =
            part.lines().partition(|line| line.starts_with("//"));
        let declaration = rest.join(" ");
        if declaration.contains("durstream_") && declaration.ends_with(");") {
            let is_type = declaration.starts_with("typedef") || declaration.contains('{');
            let comment = comment.join(" ").replace(" // ", " ");
            found.extend((!is_type).then_some((comment, declaration)));
        }
    }
    found
}

/// Its own words, whoever else's errors or receipts they speak of: a hover shows one comment alone.
#[test]
fn every_comment_says_threads_blocking_ownership_and_errors() {
    let functions = functions();
    assert!(functions.len() > 100, "only {} functions were found", functions.len());
    for (comment, declaration) in functions {
        let says = |words: &[&str]| words.iter().any(|word| comment.contains(word));
        let has = |text: &str| declaration.contains(text);
        assert!(says(&["thread"]), "{declaration}: on which threads?");
        assert!(says(&["block"]), "{declaration}: does it block?");
        if has("durstream_error **error") {
            assert!(says(&["Errors:"]), "{declaration}: which errors?");
        }
        let (returned, arguments) = declaration.split_once("durstream_").unwrap();
        // `durstream_... *name(` has its name behind the type's.
        let name = arguments.split('(').next().unwrap();
        let gives = (returned.contains('*') || name.contains('*'))
            || declaration.replace("durstream_error **error", "").contains("**");
        if gives {
            let owned = ["wned by", "_free`", "Static", "to be freed"];
            assert!(says(&owned), "{declaration}: whose is what it gives?");
        }
    }
}

#[test]
fn every_pointer_is_tried_with_null() {
    let tests = std::fs::read_to_string(root().join("ffi-c/tests/bad_input.c")).unwrap();
    for (_, declaration) in functions() {
        let (before, arguments) = declaration.split_once('(').unwrap();
        let name = before.rsplit([' ', '*']).next().unwrap();
        let first = arguments.split(',').next().unwrap();
        if first.contains('*') && first != "durstream_error **error);" {
            assert!(tests.contains(&format!("{name}(NULL")), "{name} is not called with NULL");
        }
    }
}

#[test]
fn every_source_with_exports_is_in_a_header() {
    for entry in std::fs::read_dir(root().join("ffi-c/src")).unwrap() {
        let path = entry.unwrap().path();
        if std::fs::read_to_string(&path).unwrap().contains("#[unsafe(no_mangle)]") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let mut nouns = HEADERS.iter().flat_map(|header| header.nouns);
            assert!(nouns.any(|(file, ..)| **file == *name), "{name} is missing");
        }
    }
}

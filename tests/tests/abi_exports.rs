//! What the C library offers: the names of the headers and no others, each through the ffi_guard,
//! under the right soname, with the core's numbers.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use durstream_core::{Control, ErrorKind, Lifecycle, LogLevel, Operation, Reason, Stats, Status};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What the headers declare.
fn header() -> String {
    let read = |name| std::fs::read_to_string(root().join("include").join(name)).unwrap();
    ["durstream.h", "durstream_test.h"].map(read).concat()
}

/// What is in the name of the shared library: until 1.0 the minor version too, which may break
/// programs until then.
fn abi() -> String {
    let numbers: Vec<&str> = env!("CARGO_PKG_VERSION").split('.').collect();
    let decisive = if numbers[0] == "0" { 2 } else { 1 };
    numbers[..decisive].join(".")
}

/// The shared library of the staged prefix; none when the test runs without one.
fn library() -> Option<PathBuf> {
    let name = match cfg!(target_os = "macos") {
        true => format!("libdurstream.{}.dylib", abi()),
        false => format!("libdurstream.so.{}", abi()),
    };
    std::env::var_os("DURSTREAM_STAGE").map(|stage| Path::new(&stage).join("lib").join(name))
}

fn output(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(file).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The functions the header declares.
fn declared() -> BTreeSet<String> {
    let code =
        header().lines().filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join("\n");
    let names = code.split("durstream_").skip(1).filter_map(|rest| {
        let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()?;
        rest[name.len()..].starts_with('(').then(|| format!("durstream_{name}"))
    });
    names.collect()
}

#[test]
fn the_library_offers_what_the_header_declares() {
    let Some(library) = library() else { return };
    if cfg!(windows) {
        return;
    }
    let arguments: &[&str] =
        if cfg!(target_os = "macos") { &["-gU"] } else { &["-D", "--defined-only"] };
    let listing = output("nm", arguments, &library);
    let names = listing.lines().filter_map(|line| line.split_whitespace().last());
    let exported: BTreeSet<String> = names
        .map(|name| name.split('@').next().unwrap_or(name))
        .map(|name| name.strip_prefix(if cfg!(target_os = "macos") { "_" } else { "" }).unwrap())
        .map(str::to_owned)
        .collect();
    assert_eq!(exported, declared());
}

#[test]
#[cfg(target_os = "linux")]
fn the_library_names_itself_and_stays_loaded() {
    let Some(library) = library() else { return };
    let dynamic = output("readelf", &["-d"], &library);
    let name = format!("Library soname: [libdurstream.so.{}]", abi());
    assert!(dynamic.contains(&name), "no {name} in {dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
}

/// The sources' exports: name and body.
fn exports() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("ffi-c/src")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let foreign = text.matches("extern \"C\" fn durstream_").count();
        let parts: Vec<&str> = text.split("#[unsafe(no_mangle)]\n").skip(1).collect();
        assert_eq!(parts.len(), foreign, "an export without its attribute, or the other way round");
        for part in parts {
            let rest = part.strip_prefix("pub unsafe extern \"C\" fn ").expect("plainly visible");
            let name = rest.split('(').next().unwrap();
            // rustfmt puts the end of an item's body at the start of a line.
            let body = &rest[rest.find("{\n").unwrap() + 1..rest.find("\n}\n").unwrap()];
            found.insert(name.to_owned(), body.to_owned());
        }
    }
    found
}

/// Whether a body is one call of the guard, possibly in one unsafe block with its reason.
fn is_guarded(body: &str) -> bool {
    let lines = body.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.collect::<Vec<_>>().join("\n");
    let mut code = code.trim();
    if let Some(inner) = code.strip_prefix("unsafe {") {
        code = inner.strip_suffix('}').unwrap_or("").trim();
    }
    let Some(arguments) = code.strip_prefix("call").or_else(|| code.strip_prefix("get")) else {
        return false;
    };
    let mut depth = 0i32;
    for (at, c) in arguments.char_indices() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            return c == ')' && at + 1 == arguments.len();
        }
    }
    false
}

#[test]
fn every_export_goes_through_the_ffi_guard() {
    let exports = exports();
    assert!(exports.len() > 80, "only {} exports were found", exports.len());
    for (name, body) in &exports {
        assert!(is_guarded(body), "{name} is not one call of the guard:{body}");
    }
    assert_eq!(exports.into_keys().collect::<BTreeSet<_>>(), declared());
}

#[test]
fn the_guard_is_recognised() {
    assert!(is_guarded("\n    // SAFETY: x.\n    unsafe { get(0, || Some(1)) }"));
    assert!(is_guarded("\n    get((), || { f(); Some(()) })"));
    assert!(!is_guarded("\n    f();\n    get(0, || None)"));
    assert!(!is_guarded("\n    get(0, || None) + f(1)"));
    assert!(!is_guarded("\n    unsafe { *x }"));
}

/// Every enumerator of the header with its number.
fn numbers(prefix: &str) -> BTreeMap<String, i32> {
    let header = header();
    let lines = header.lines().filter_map(|line| line.trim().strip_prefix(prefix));
    lines
        .filter_map(|line| {
            let (name, number) = line.trim_end_matches(',').split_once(" = ")?;
            Some((name.to_owned(), number.parse().ok()?))
        })
        .collect()
}

fn upper(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

#[test]
fn numbers_are_the_cores() {
    let codes = numbers("DURSTREAM_");
    let is_code = |name: &str| {
        let others = ["STATUS_", "REASON_", "LIFECYCLE_", "LOG_", "OPERATION_", "CONTROL_"];
        !others.iter().any(|p| name.starts_with(p))
    };
    let codes: BTreeMap<_, _> = codes.into_iter().filter(|(name, _)| is_code(name)).collect();
    let mut expected: BTreeMap<_, _> =
        ErrorKind::ALL.iter().map(|kind| (kind.code().to_owned(), *kind as i32)).collect();
    expected.insert("OK".to_owned(), 0);
    assert_eq!(codes, expected);

    let numbered = |names: &[&str]| -> BTreeMap<String, i32> {
        names.iter().zip(1..).map(|(name, number)| (upper(name), number)).collect()
    };
    assert_eq!(numbers("DURSTREAM_OPERATION_"), numbered(&Operation::ALL.map(Operation::as_str)));
    assert_eq!(numbers("DURSTREAM_CONTROL_"), numbered(&Control::ALL.map(Control::as_str)));

    let mut expected: BTreeMap<_, _> =
        Reason::ALL.iter().map(|reason| (upper(reason.as_str()), *reason as i32)).collect();
    expected.insert("NONE".to_owned(), 0);
    assert_eq!(numbers("DURSTREAM_REASON_"), expected);

    use Status::*;
    let all = [Delivered, DeliveryUnknown, Rejected, Cancelled, Forgotten, Kept];
    let expected: BTreeMap<_, _> = all.iter().map(|s| (upper(s.as_str()), *s as i32)).collect();
    assert_eq!(numbers("DURSTREAM_STATUS_"), expected);

    use Lifecycle::*;
    let all = [Connecting, Ready, Backoff, Reconnecting, Stopping, Stopped, Failed, Fenced];
    let mut expected: BTreeMap<_, _> = all.iter().map(|s| (upper(s.as_str()), *s as i32)).collect();
    expected.insert("NONE".to_owned(), 0);
    assert_eq!(numbers("DURSTREAM_LIFECYCLE_"), expected);

    let name = |level: &LogLevel| match level {
        LogLevel::Warning => "WARNING".to_owned(),
        other => upper(other.as_str()),
    };
    let expected = LogLevel::ALL.iter().map(|level| (name(level), *level as i32)).collect();
    assert_eq!(numbers("DURSTREAM_LOG_"), expected);
}

#[test]
fn every_counter_is_in_the_struct_in_the_cores_order() {
    let header = header();
    let (_, rest) = header
        .split_once("size_t size;\n    // Writes accepted, and those found in the outbox.")
        .unwrap();
    let (fields, _) = rest.split_once("} durstream_stats;").unwrap();
    let names: Vec<&str> = fields
        .lines()
        .filter_map(|line| line.trim().strip_prefix("uint64_t ")?.strip_suffix(';'))
        .filter(|name| !name.contains('['))
        .collect();
    assert_eq!(names, Stats::default().entries().map(|(name, _)| name));
    let distributions = fields
        .lines()
        .filter_map(|line| line.trim().strip_prefix("durstream_distribution ")?.strip_suffix(';'));
    let expected = Stats::default().distributions().map(|(name, _)| name);
    assert_eq!(distributions.collect::<Vec<_>>(), expected);
    assert!(
        fields.contains(&format!("uint64_t undelivered[{}];", Stats::default().undelivered.len()))
    );
}

/// The declarations of a header: functions and types without their comments, and each enumerator.
fn declarations(header: &str) -> BTreeSet<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//") && !line.starts_with('#');
    let code: Vec<&str> = header.lines().filter(is_code).map(str::trim).collect();
    let mut found: BTreeSet<String> =
        code.iter().filter(|line| line.contains(" = ")).map(|line| (*line).to_owned()).collect();
    for part in code.join(" ").split(';') {
        let declaration = part.split_whitespace().collect::<Vec<_>>().join(" ");
        if declaration.ends_with(')') && !declaration.contains('{') {
            found.insert(declaration);
        }
    }
    found
}

/// The fields of the structs that callers make, in their order.
fn fields(header: &str) -> BTreeMap<String, Vec<String>> {
    let structs = header.split("typedef struct {\n").skip(1).filter_map(|rest| {
        let (fields, rest) = rest.split_once("\n} ")?;
        let lines = fields.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        Some((rest.split(';').next()?.to_owned(), lines.map(str::to_owned).collect()))
    });
    structs.collect()
}

#[test]
fn what_the_first_header_of_this_soname_declares_still_stands() {
    let kept = root().join("tests/abi/0.1.0/durstream.h");
    let (kept, today) = (std::fs::read_to_string(kept).unwrap(), header());
    let (old, new) = (declarations(&kept), declarations(&today));
    assert!(old.len() > 150, "only {} declarations were found", old.len());
    let gone: Vec<_> = old.difference(&new).collect();
    assert!(gone.is_empty(), "older programs have, and the header has not: {gone:#?}");
    let (old, new) = (fields(&kept), fields(&today));
    assert!(old.len() > 1, "only {} structs were found", old.len());
    for (name, fields) in old {
        assert!(new[&name].starts_with(&fields), "{name} begins with other fields");
    }
}

#[test]
fn the_header_has_the_librarys_version() {
    let header = header();
    let number = |name: &str| {
        let line = format!("#define DURSTREAM_VERSION_{name} ");
        header.lines().find_map(|text| text.strip_prefix(&line)).unwrap().to_owned()
    };
    let version = ["MAJOR", "MINOR", "PATCH"].map(number).join(".");
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
}

//! With which versions something was measured, and beside what.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::contestant::Id;
use crate::machine;
use crate::options::Options;
use durstream_tests::facts::{commit, said};
use durstream_tests::server::OFFICIAL;
use durstream_tests::tree::Tree;

/// The part of the machine that is in use while this program does nothing.
pub(crate) fn busy(time: Duration) -> Option<f64> {
    let (started, before) = (Instant::now(), machine::cpu_seconds(None)?);
    std::thread::sleep(time);
    let used = machine::cpu_seconds(None)? - before;
    Some(used / started.elapsed().as_secs_f64() / machine::cores() as f64)
}

pub(crate) fn versions(tree: &Tree, options: &Options, wanted: &[Id]) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let mut put = |name: &str, version: Option<String>| {
        if let Some(version) = version {
            versions.insert(name.to_owned(), version);
        }
    };
    let has = |id: Id| wanted.contains(&id);
    put("durstream", Some(env!("CARGO_PKG_VERSION").to_owned()));
    put("server", Some(format!("{} {}", OFFICIAL.crate_name, OFFICIAL.version)));
    put("rustc", said("rustc", &["--version"]).map(|text| text.replace("rustc ", "")));
    let word = |text: String, at: usize| text.split_whitespace().nth(at).map(str::to_owned);
    if has(Id::Node) || has(Id::NpmClient) {
        put("node", said("node", &["--version"]));
        let file = tree.root.join("tests/comparison/package.json");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let version = package["devDependencies"]["@durable-streams/client"].as_str();
        put("@durable-streams/client", version.map(str::to_owned));
    }
    if has(Id::Python) || has(Id::UpstreamPython) {
        let python = tree.venv_python().display().to_string();
        put("python", said(&python, &["--version"]).and_then(|text| word(text, 1)));
    }
    if has(Id::Librdkafka) {
        put("librdkafka", said("pkg-config", &["--modversion", "rdkafka"]));
    }
    for (id, name, own) in [
        (Id::UpstreamRust, "upstream's Rust client", &options.upstream_rust),
        (Id::UpstreamGo, "upstream's Go client", &options.upstream_go),
        (Id::UpstreamPython, "upstream's Python client", &options.upstream_python),
    ] {
        if let Some(checkout) = own.as_ref().or(options.upstream.as_ref()).filter(|_| has(id)) {
            put(name, Some(commit(checkout, &[])));
        }
    }
    if has(Id::UpstreamGo) {
        put("go", said("go", &["version"]).and_then(|text| word(text, 2)));
    }
    versions
}

//! What the command's arguments ask for.

use std::path::PathBuf;

use durstream_tests::failure::Result;
use lexopt::prelude::*;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) sweep: bool,
    pub(crate) round_trip_ms: u64,
    pub(crate) only: Option<String>,
    pub(crate) json: Option<PathBuf>,
    /// Checkouts of upstream's clients: of all, or of one.
    pub(crate) upstream: Option<PathBuf>,
    pub(crate) upstream_python: Option<PathBuf>,
    pub(crate) upstream_rust: Option<PathBuf>,
    pub(crate) upstream_go: Option<PathBuf>,
    /// The whole report.
    pub(crate) report: bool,
    /// Who takes part in it: names, separated by commas.
    pub(crate) clients: Option<String>,
    /// Divides its numbers of events.
    pub(crate) shrink: Option<usize>,
}

/// `[--quick] [--round-trip-ms N] [--only PATTERN] [--upstream-python PATH] [--json FILE] [--sweep]`, or
/// `--report [--quick] [--only PARTS] [--clients NAMES] [--upstream PATH] [--upstream-rust PATH] ...`
pub(crate) fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut words = lexopt::Parser::from_args(arguments);
    while let Some(word) = words.next()? {
        match word {
            Long("quick") => options.quick = true,
            Long("sweep") => options.sweep = true,
            Long("round-trip-ms") => options.round_trip_ms = words.value()?.parse()?,
            Long("only") => options.only = Some(words.value()?.string()?),
            Long("upstream") => options.upstream = Some(words.value()?.into()),
            Long("upstream-python") => options.upstream_python = Some(words.value()?.into()),
            Long("upstream-rust") => options.upstream_rust = Some(words.value()?.into()),
            Long("upstream-go") => options.upstream_go = Some(words.value()?.into()),
            Long("report") => options.report = true,
            Long("clients") => options.clients = Some(words.value()?.string()?),
            Long("shrink") => options.shrink = Some(words.value()?.parse()?),
            Long("json") => options.json = Some(words.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.shrink == Some(0) {
        return Err("--shrink takes 1 or more".into());
    }
    let of_the_report = options.clients.is_some()
        || options.shrink.is_some()
        || options.upstream_rust.is_some()
        || options.upstream_go.is_some();
    if of_the_report && !options.report {
        return Err(
            "--clients, --shrink, --upstream-rust and --upstream-go belong to --report".into()
        );
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let parsed = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            parse(&words).map_err(|failure| failure.to_string())
        };
        let expected = Options {
            quick: true,
            round_trip_ms: 50,
            only: Some("rust".into()),
            ..Options::default()
        };
        assert_eq!(parsed(&["--quick", "--round-trip-ms", "50", "--only", "rust"]), Ok(expected));
        assert!(parsed(&["--round-trip-ms", "many"]).is_err());
        assert!(parsed(&["--json"]).is_err());
        assert!(parsed(&["--fast"]).is_err());
        assert!(parsed(&["--clients", "rust"]).is_err());
        assert!(parsed(&["--report", "--shrink", "0"]).is_err());
    }
}

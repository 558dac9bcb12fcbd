//! What may be asked of the demo.

use std::path::PathBuf;

use lexopt::prelude::*;

use super::browser::Errand;
use durstream_tests::failure::{Context, Result};

/// What may be asked for alone; C comes with C++.
pub(crate) const LANGUAGES: [&str; 4] = ["rust", "c", "python", "node"];

/// How many shipments a service has unless told: as fast as it goes, to be looked at, to be tested.
const SHIPMENTS: usize = 2000;
const SHOWN_SHIPMENTS: usize = 1000;
const TESTED_SHIPMENTS: usize = 60;
/// A service with fewer is done before anybody can kill it.
const KILLED_SHIPMENTS: usize = 100;
/// How long all is written on a board, without the outage.
const SHOWN_SECONDS: u32 = 60;
const TESTED_SECONDS: u32 = 12;

pub(crate) struct Options {
    /// Of [`LANGUAGES`].
    pub(crate) only: Vec<&'static str>,
    pub(crate) keep: bool,
    /// Services have an outbox and are killed half way.
    pub(crate) outbox: bool,
    pub(crate) shipments: usize,
    /// With a board, for so many seconds.
    pub(crate) web: Option<u32>,
    /// What a browser of ours does on the board.
    pub(crate) errand: Option<Errand>,
}

/// `[--only LANGUAGE]… [--keep] [--outbox] [--shipments N] [--web] [--seconds N] [--screenshot DIR | --check]`
pub(crate) fn parse(arguments: &[String]) -> Result<Options> {
    let (mut only, mut keep, mut outbox, mut web) = (Vec::new(), false, false, false);
    let (mut shipments, mut seconds, mut errand) = (None, None, None);
    let mut words = lexopt::Parser::from_args(arguments);
    while let Some(word) = words.next()? {
        match word {
            Long("only") => only.push(language(&words.value()?.string()?)?),
            Long("keep") => keep = true,
            Long("outbox") => outbox = true,
            Long("shipments") => shipments = Some(words.value()?.parse()?),
            Long("web") => web = true,
            Long("seconds") => seconds = Some(words.value()?.parse()?),
            Long("check") => errand = Some(Errand::Test),
            Long("screenshot") => {
                let folder = PathBuf::from(words.value()?);
                let folder = std::path::absolute(&folder).context(folder.display())?;
                errand = Some(Errand::Pictures(folder));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if shipments == Some(0) || seconds == Some(0) {
        return Err("--shipments and --seconds: at least 1".into());
    }
    if !web && (seconds.is_some() || errand.is_some()) {
        return Err("--seconds, --screenshot and --check: with --web alone".into());
    }
    if only.is_empty() {
        only = LANGUAGES.into();
    }
    let (usual_shipments, usual_seconds) = match (web, &errand) {
        (false, _) => (SHIPMENTS, 0),
        (true, Some(Errand::Test)) => (TESTED_SHIPMENTS, TESTED_SECONDS),
        (true, _) => (SHOWN_SHIPMENTS, SHOWN_SECONDS),
    };
    let shipments = shipments.unwrap_or(usual_shipments);
    if outbox && shipments < KILLED_SHIPMENTS {
        return Err(format!("--outbox: at least {KILLED_SHIPMENTS} shipments").into());
    }
    let web = web.then(|| seconds.unwrap_or(usual_seconds));
    Ok(Options { only, keep, outbox, shipments, web, errand })
}

fn language(name: &str) -> Result<&'static str> {
    let known = LANGUAGES.into_iter().find(|known| *known == name);
    known.ok_or_else(|| format!("no language {name:?}: there are {}", LANGUAGES.join(", ")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_checked() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let options = parse(&words("--shipments 20 --keep")).unwrap();
        assert!(options.keep && options.shipments == 20);
        assert!(parse(&words("--outbox --shipments 100")).unwrap().outbox && !options.outbox);
        let usual = parse(&[]).unwrap();
        assert_eq!((usual.shipments, usual.only), (SHIPMENTS, LANGUAGES.to_vec()));
        assert_eq!((usual.web, usual.errand), (None, None));
        let board = parse(&words("--web --seconds 5")).unwrap();
        assert_eq!((board.shipments, board.web), (SHOWN_SHIPMENTS, Some(5)));
        let tested = parse(&words("--web --check")).unwrap();
        assert_eq!((tested.shipments, tested.errand), (TESTED_SHIPMENTS, Some(Errand::Test)));
        let pictures = parse(&words("--web --screenshot /p")).unwrap();
        assert_eq!(pictures.errand, Some(Errand::Pictures("/p".into())));
        for wrong in [
            "--shipments",
            "--shipments many",
            "--shipments 0",
            "--outbox --shipments 99",
            "--fast",
            "--only go",
            "--seconds 5",
            "--check",
            "--web --seconds 0",
        ] {
            assert!(parse(&words(wrong)).is_err(), "{wrong} was taken");
        }
    }
}

//! `[--minutes N] [--seed S] [--report]`

use std::time::Duration;

use durstream_tests::failure::Result;
use durstream_tests::random;
use lexopt::prelude::*;

pub(crate) struct Options {
    /// How long the services write.
    pub(crate) lasts: Duration,
    pub(crate) seed: u64,
    /// Whether `docs/soak.md` is written.
    pub(crate) report: bool,
}

pub(crate) fn parse(arguments: &[String]) -> Result<Options> {
    let (mut minutes, mut seed, mut report) = (60, None, false);
    let mut words = lexopt::Parser::from_args(arguments);
    while let Some(word) = words.next()? {
        match word {
            Long("minutes") => minutes = words.value()?.parse::<u64>()?,
            Long("seed") => seed = Some(words.value()?.parse()?),
            Long("report") => report = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if minutes == 0 {
        return Err("--minutes is 1 or more".into());
    }
    let lasts = Duration::from_secs(60 * minutes);
    Ok(Options { lasts, seed: seed.unwrap_or_else(random::chance), report })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_checked() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let options = parse(&words("--minutes 3 --seed 7 --report")).unwrap();
        assert_eq!((options.lasts.as_secs(), options.seed, options.report), (180, 7, true));
        let options = parse(&[]).unwrap();
        assert_eq!((options.lasts.as_secs(), options.report), (3600, false));
        for wrong in ["--minutes", "--minutes 0", "--minutes x", "--seed", "5"] {
            assert!(parse(&words(wrong)).is_err(), "{wrong} was taken");
        }
    }
}

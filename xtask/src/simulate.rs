//! `simulate`: the engine's random schedules, as many as one likes.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::artefacts;
use durstream_tests::console;
use durstream_tests::failure::Result;
use durstream_tests::process;
use durstream_tests::tree::Tree;
use lexopt::prelude::*;

const SCHEDULES: u64 = 10_000;

/// `simulate [--schedules N] [--seed S]`
pub(crate) fn simulate(tree: &Tree, arguments: &[String]) -> Result<u8> {
    let (schedules, seed) = parse(arguments)?;
    let seed = seed.unwrap_or_else(chance);
    console::line(&format!("{schedules} schedules from seed {seed}"));
    let mut tests = artefacts::cargo_test(tree, &["--quiet", "--lib", "random_schedules"]);
    tests.env("DURSTREAM_SEED", seed.to_string());
    tests.env("DURSTREAM_SCHEDULES", schedules.to_string());
    process::shown(&mut tests, None)?;
    Ok(0)
}

/// A seed nobody chose.
fn chance() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64 % 1_000_000_000_000
}

fn parse(arguments: &[String]) -> Result<(u64, Option<u64>)> {
    let (mut schedules, mut seed) = (SCHEDULES, None);
    let mut words = lexopt::Parser::from_args(arguments);
    while let Some(word) = words.next()? {
        match word {
            Long("schedules") => schedules = words.value()?.parse()?,
            Long("seed") => seed = Some(words.value()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok((schedules, seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_and_anything_else_is_refused() {
        let parse = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            super::parse(&words).map_err(|failure| failure.to_string())
        };
        assert_eq!(parse(""), Ok((SCHEDULES, None)));
        assert_eq!(parse("--seed 7 --schedules 3"), Ok((3, Some(7))));
        for wrong in ["--seed", "--seed x", "--schedules -1", "7"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

//! One service per language: the program, its names, and what it tells at its end.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use durstream_tests::failure::{Context, Result};

pub(crate) struct Service {
    /// As people call the language.
    pub(crate) title: &'static str,
    key: &'static str,
    program: PathBuf,
    script: Option<PathBuf>,
}

impl Service {
    /// `script` is for languages whose program is the interpreter.
    pub(crate) fn new(
        title: &'static str,
        key: &'static str,
        program: PathBuf,
        script: Option<PathBuf>,
    ) -> Self {
        Self { title, key, program, script }
    }

    pub(crate) fn name(&self) -> String {
        format!("shipments-{}", self.key)
    }

    pub(crate) fn stream_path(&self) -> String {
        format!("/demo/{}", self.name())
    }

    /// The producer id, equal in both runs: that is the point of the demo.
    pub(crate) fn producer_id(&self) -> String {
        format!("shipping-{}", self.key)
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.script);
        command
    }
}

/// How many writes a service makes in its two runs: three upserts each, every second one deleted.
pub(crate) fn expected_writes(shipments: usize) -> usize {
    first_writes(shipments) + last_writes(shipments)
}

/// How many of them its first run makes.
pub(crate) fn first_writes(shipments: usize) -> usize {
    shipments * 2
}

/// How many its second one makes.
pub(crate) fn last_writes(shipments: usize) -> usize {
    shipments + shipments / 2
}

/// What a run prints as its last line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) accepted: usize,
    pub(crate) delivered: usize,
    pub(crate) seconds: f64,
}

impl Summary {
    pub(crate) fn parse(output: &str) -> Result<Self> {
        let last = output.lines().rfind(|line| !line.trim().is_empty());
        let last = last.ok_or("it printed no summary")?;
        let value: Value = serde_json::from_str(last).context(format!("its summary {last:?}"))?;
        let count = |name: &str| {
            let number = value[name].as_u64().and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(|| format!("its summary {last:?} lacks {name:?}"))
        };
        let seconds = value["seconds"].as_f64();
        let seconds = seconds.ok_or_else(|| format!("its summary {last:?} lacks \"seconds\""))?;
        Ok(Self { accepted: count("accepted")?, delivered: count("delivered")?, seconds })
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.seconds += other.seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_summary() {
        let output = "starting\n{\"accepted\":3,\"delivered\":2,\"seconds\":0.5}\n\n";
        let expected = Summary { accepted: 3, delivered: 2, seconds: 0.5 };
        assert_eq!(Summary::parse(output).unwrap(), expected);
    }

    #[test]
    fn a_summary_that_says_too_little_is_refused() {
        for output in
            ["", "done", "{\"accepted\":3}", "{\"accepted\":-1,\"delivered\":1,\"seconds\":1}"]
        {
            assert!(Summary::parse(output).is_err(), "{output:?} was taken");
        }
    }

    #[test]
    fn an_odd_number_of_shipments_has_one_less_to_delete() {
        assert_eq!((expected_writes(1), expected_writes(2), expected_writes(2000)), (3, 7, 7000));
    }
}

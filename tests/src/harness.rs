//! What every harness is: a program that `cargo xtask` asks what it needs, builds that for, and runs.

use std::process::ExitCode;

use crate::failure::Result;
use crate::needs::{self, Need};
use crate::tree::Tree;
use crate::{console, signals};

/// The first argument of the question what is needed for the arguments behind it. The answer is a
/// line on standard output.
pub const NEEDS: &str = "--needs";

/// A harness's two answers to its arguments.
pub struct Harness<Options> {
    /// The command it belongs to.
    pub name: &'static str,
    /// What its arguments ask for.
    pub parse: fn(&[String]) -> Result<Options>,
    /// What must be there before it runs.
    pub needs: fn(&Options) -> Result<Vec<Need>>,
    /// Runs; the exit status.
    pub run: fn(&Tree, Options) -> Result<u8>,
}

impl<Options> Harness<Options> {
    /// The whole of a harness's `main`.
    pub fn main(&self) -> ExitCode {
        signals::watch();
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        finish(self.name, self.answer(&arguments))
    }

    fn answer(&self, arguments: &[String]) -> Result<u8> {
        if let Some((NEEDS, rest)) = arguments.split_first().map(|(a, rest)| (a.as_str(), rest)) {
            let needs = (self.needs)(&(self.parse)(rest)?)?;
            console::line(&needs::write(&needs));
            return Ok(0);
        }
        let options = (self.parse)(arguments)?;
        (self.run)(&Tree::find()?, options)
    }
}

/// The exit status of a command, after its failure was told.
pub fn finish(name: &str, result: Result<u8>) -> ExitCode {
    match result {
        Ok(status) => ExitCode::from(status),
        Err(_) if signals::interrupted() => {
            console::line("Interrupted.");
            ExitCode::from(signals::INTERRUPTED_STATUS)
        }
        Err(failure) => {
            console::status("");
            eprintln!("{name}: {failure}");
            ExitCode::FAILURE
        }
    }
}

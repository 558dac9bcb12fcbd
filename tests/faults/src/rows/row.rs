//! One row: a fault, and what it may cost.

use crate::expect::Expect;
use crate::stage::{Ran, Stage};
use durstream_tests::failure::Result;

/// Writers, where there are several.
pub(super) const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Makes a fault happen while something is written.
type Run = Box<dyn Fn(&Stage<'_>) -> Result<Ran> + Send + Sync>;

pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) expect: Expect,
    pub(crate) run: Run,
}

impl Row {
    pub(super) fn new(
        name: impl Into<String>,
        expect: Expect,
        run: impl Fn(&Stage<'_>) -> Result<Ran> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), expect, run: Box::new(run) }
    }
}

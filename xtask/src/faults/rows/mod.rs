//! The rows of the table: a fault each, and what it may cost.

mod crashes;
mod endings;
mod proxied;
mod reference;
mod refusals;
mod rivals;

use super::expect::Expect;
use super::stage::{Ran, Stage};
use durstream_tests::failure::Result;

/// Writers, where there are several.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Makes a fault happen while something is written.
type Run = Box<dyn Fn(&Stage<'_>) -> Result<Ran> + Send + Sync>;

pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) expect: Expect,
    pub(crate) run: Run,
}

impl Row {
    fn new(
        name: impl Into<String>,
        expect: Expect,
        run: impl Fn(&Stage<'_>) -> Result<Ran> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), expect, run: Box::new(run) }
    }
}

pub(crate) fn all() -> Vec<Row> {
    let mut rows = proxied::rows();
    rows.extend(refusals::rows());
    rows.extend(crashes::rows());
    rows.extend(reference::rows());
    rows.extend(rivals::rows());
    rows.extend(endings::rows());
    rows
}

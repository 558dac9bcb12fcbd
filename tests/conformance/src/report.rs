//! The score: cases down, adapters across, then what failed.

use durstream_tests::console;
use durstream_tests::table;

/// What became of one case with one adapter.
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// Not run, for what the library cannot do yet.
    Waits(String),
    /// Not run, because the adapter could not be.
    NotRun,
}

/// One adapter's results, in the order of the cases.
pub(crate) struct Column {
    pub(crate) adapter: &'static str,
    pub(crate) outcomes: Vec<Outcome>,
    /// What went wrong outside of any case.
    pub(crate) trouble: Option<String>,
}

impl Column {
    /// Whether every case that is not waiting ran and passed.
    pub(crate) fn is_clean(&self) -> bool {
        let counts = Counts::of(&self.outcomes);
        self.trouble.is_none() && counts.failed == 0 && counts.not_run == 0 && counts.passed > 0
    }

    /// The totals in words.
    pub(crate) fn summary(&self) -> String {
        let counts = Counts::of(&self.outcomes);
        let mut text = format!("{} passed, {} failed", counts.passed, counts.failed);
        for (count, what) in [(counts.waiting, "waiting"), (counts.not_run, "not run")] {
            if count > 0 {
                text += &format!(", {count} {what}");
            }
        }
        text
    }
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    waiting: usize,
    not_run: usize,
}

impl Counts {
    fn of(outcomes: &[Outcome]) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            *match outcome {
                Outcome::Passed => &mut counts.passed,
                Outcome::Failed(_) => &mut counts.failed,
                Outcome::Waits(_) => &mut counts.waiting,
                Outcome::NotRun => &mut counts.not_run,
            } += 1;
        }
        counts
    }
}

/// Prints what became of each case with each adapter.
pub(crate) fn show_table(ids: &[&str], columns: &[Column]) {
    console::line(&format!("\n{}", table::render(&headings(columns), &rows(ids, columns))));
}

/// Prints what is wrong and the counts; whether all is well.
pub(crate) fn show(ids: &[&str], columns: &[Column]) -> bool {
    for column in columns {
        for (id, outcome) in ids.iter().zip(&column.outcomes) {
            if let Outcome::Failed(text) = outcome {
                console::line(&format!("{}: {id}: {text}\n", column.adapter));
            }
        }
        if let Some(trouble) = &column.trouble {
            console::line(&format!("{}: {trouble}\n", column.adapter));
        }
    }
    for column in columns {
        console::line(&format!("{:<7} {}", column.adapter, column.summary()));
    }
    !columns.is_empty() && columns.iter().all(Column::is_clean)
}

fn headings(columns: &[Column]) -> Vec<&'static str> {
    std::iter::once("case").chain(columns.iter().map(|column| column.adapter)).collect()
}

fn rows(ids: &[&str], columns: &[Column]) -> Vec<Vec<String>> {
    let cell = |outcome: &Outcome| match outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed(_) => "FAILED".to_owned(),
        Outcome::Waits(text) => format!("waits: {text}"),
        Outcome::NotRun => "not run".to_owned(),
    };
    let row = |(index, id): (usize, &&str)| {
        let cells = columns.iter().map(|column| cell(&column.outcomes[index]));
        std::iter::once((*id).to_owned()).chain(cells).collect()
    };
    ids.iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(outcomes: Vec<Outcome>) -> Column {
        Column { adapter: "c", outcomes, trouble: None }
    }

    #[test]
    fn one_failure_or_gap_is_no_success() {
        let waits = || Outcome::Waits("live reading".to_owned());
        assert!(show(&["a", "b"], &[column(vec![Outcome::Passed, waits()])]));
        let failed = || Outcome::Failed("broken".to_owned());
        for wrong in [failed(), Outcome::NotRun] {
            assert!(!show(&["a", "b"], &[column(vec![Outcome::Passed, wrong])]));
        }
        assert!(!show(&["a"], &[column(vec![waits()])]));
        assert!(!show(&["a"], &[]));
        let trouble = Column { trouble: Some("ended".to_owned()), ..column(vec![Outcome::Passed]) };
        assert!(!show(&["a"], &[trouble]));
    }

    #[test]
    fn the_table_has_a_row_for_each_case() {
        let columns = [column(vec![Outcome::Passed, Outcome::Waits("x".to_owned())])];
        assert_eq!(rows(&["a", "b"], &columns), [["a", "passed"], ["b", "waits: x"]]);
        assert_eq!(columns[0].summary(), "1 passed, 0 failed, 1 waiting");
    }
}

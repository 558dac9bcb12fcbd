//! The lines of a test program's output that say what failed, whoever printed them.

/// A test runner says a failure in a line, and why in some lines behind it.
const LINES_BEHIND: usize = 6;
/// More than that is a catastrophe, whose first lines tell as much.
const MOST_LINES: usize = 120;

/// Keeps what tells of failures of all lines it sees.
#[derive(Default)]
pub(crate) struct Kept {
    lines: Vec<String>,
    behind: usize,
}

impl Kept {
    pub(crate) fn see(&mut self, line: &str) {
        if tells_of_failure(line) {
            self.behind = LINES_BEHIND + 1;
        }
        if self.behind > 0 && self.lines.len() < MOST_LINES {
            self.lines.push(line.to_owned());
        }
        self.behind = self.behind.saturating_sub(1);
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines
    }
}

/// As cargo, Rust's tests, pytest, node's runner, tsc and mypy say it.
fn tells_of_failure(line: &str) -> bool {
    let text = line.trim_start();
    let starts = ["error:", "error[", "not ok ", "FAILED ", "ERROR ", "E   "];
    starts.iter().any(|start| text.starts_with(start))
        || text.ends_with("... FAILED")
        || ["panicked at", ": error TS", ": error: "].iter().any(|part| text.contains(part))
}

/// Lines below the sentence that they explain.
pub(crate) fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n    {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(lines: &[&str]) -> Vec<String> {
        let mut kept = Kept::default();
        lines.iter().for_each(|line| kept.see(line));
        kept.into_lines()
    }

    #[test]
    fn a_failure_is_kept_with_what_stands_behind_it() {
        for failure in [
            "test registry::holders ... FAILED",
            "thread 'a' (12) panicked at core/src/lib.rs:1:2:",
            "    not ok 3 - appends in order",
            "FAILED tests/test_flush.py::test_flush - assert 1 == 2",
            "lib/both.cts(3,1): error TS2304: Cannot find name 'x'.",
            "python/durstream/__init__.py:3: error: Incompatible types",
        ] {
            let all = [&["test one ... ok", failure, "why"][..], &["ok"; 5], &["far"]].concat();
            let told = kept(&all);
            assert_eq!(told.len(), 1 + LINES_BEHIND, "{failure}");
            assert_eq!(told[..2], [failure, "why"]);
        }
    }

    #[test]
    fn what_passes_is_not_kept_and_a_catastrophe_has_an_end() {
        assert!(
            kept(&["test errors::are_told ... ok", "ok 1 - an error: told", "0 failed"]).is_empty()
        );
        assert_eq!(kept(&["error: no"; 1000]).len(), MOST_LINES);
    }
}

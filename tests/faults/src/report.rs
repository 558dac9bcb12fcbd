//! The table, and below it what is not as expected.

use std::collections::BTreeMap;

use durstream_tests::audit::outcomes::Verdict;
use durstream_tests::console;
use durstream_tests::table::{self, grouped};

const HEADINGS: [&str; 11] = [
    "fault",
    "injected",
    "accepted",
    "delivered",
    "lost",
    "doubled",
    "flagged",
    "unknown",
    "longest pause",
    "others",
    "result",
];

/// What a row came to.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) injected: u64,
    pub(crate) verdict: Verdict,
    pub(crate) longest_pause_ms: u64,
    pub(crate) reasons: BTreeMap<String, u64>,
    pub(crate) problems: Vec<String>,
}

impl Line {
    fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.verdict.is_true()
    }

    fn cells(&self) -> Vec<String> {
        let v = &self.verdict;
        let pause = format!("{:.1} s", self.longest_pause_ms as f64 / 1000.0);
        let mut cells = vec![self.name.clone(), grouped(self.injected as usize)];
        let counts = [v.accepted, v.delivered, v.lost, v.doubled, v.flagged, v.unknown];
        cells.extend(counts.map(grouped));
        let result = if self.is_clean() { "as expected" } else { "WRONG" };
        cells.extend([pause, self.others(), result.to_owned()]);
        cells
    }

    /// What is rarely not 0.
    fn others(&self) -> String {
        let v = &self.verdict;
        let others = [("rejected", v.rejected), ("cancelled", v.cancelled), ("refused", v.refused)];
        let others = others.into_iter().filter(|(_, count)| *count > 0);
        others.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    }
}

/// Shows everything; whether all rows came to what is expected.
pub(crate) fn show(lines: &[Line]) -> bool {
    let rows: Vec<Vec<String>> = lines.iter().map(Line::cells).collect();
    console::line(&format!("\n{}", table::render(&HEADINGS, &rows)));
    for line in lines.iter().filter(|line| !line.is_clean()) {
        console::line(&format!("{}:", line.name));
        line.problems.iter().for_each(|problem| console::line(&format!("  {problem}")));
        if !line.reasons.is_empty() {
            console::line(&format!("  reasons given: {:?}", line.reasons));
        }
    }
    let wrong = lines.iter().filter(|line| !line.is_clean()).count();
    let total = |of: fn(&Verdict) -> usize| lines.iter().map(|line| of(&line.verdict)).sum();
    let (lost, doubled): (usize, usize) = (total(|v| v.lost), total(|v| v.doubled));
    console::line(&format!(
        "{} writes accepted, {lost} lost, {doubled} doubled; {} rows as expected, {wrong} not.",
        grouped(total(|v| v.accepted)),
        lines.len() - wrong,
    ));
    wrong == 0 && !lines.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_row_fails_all_and_so_does_none() {
        let right = || Line { name: "a".into(), ..Line::default() };
        let verdict = Verdict { lost: 1, ..Verdict::default() };
        assert!(show(&[right()]));
        assert!(!show(&[right(), Line { verdict, ..right() }]));
        assert!(!show(&[Line { problems: vec!["no".into()], ..right() }]));
        assert!(!show(&[]));
    }

    #[test]
    fn what_is_rare_is_named() {
        let verdict = Verdict { rejected: 1, refused: 20, ..Verdict::default() };
        let line = Line { verdict, ..Line::default() };
        assert_eq!(line.others(), "1 rejected, 20 refused");
    }
}

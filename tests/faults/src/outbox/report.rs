//! The table of the outbox's rows, and the part of the README that has it.

use super::lives::CameTo;
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::table::{self, grouped};
use durstream_tests::tree::Tree;

const README: &str = "tests/faults/README.md";
const BEGIN: &str = "<!-- written by `cargo xtask faults --only outbox --report` -->\n";
const END: &str = "<!-- end -->\n";
const HEADINGS: [&str; 14] = [
    "outbox",
    "kills",
    "in flight",
    "opening",
    "server killed",
    "accepted",
    "found again",
    "in their call",
    "lost",
    "doubled",
    "out of order",
    "flagged",
    "of these twice",
    "result",
];

/// What a row came to.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) came_to: CameTo,
}

impl Line {
    /// Everything that is not as it should be.
    fn problems(&self) -> Vec<String> {
        let CameTo { verdict: v, parted, problems, .. } = &self.came_to;
        let wrong = [
            (v.lost, "accepted and not in the stream"),
            (self.doubled(), "copies too many, and not flagged"),
            (v.misplaced, "out of order"),
            (v.foreign, "records nobody wrote"),
            (self.unexplained(), "flagged, and no server had forgotten anything"),
            (*parted, "writes of groups that are not whole"),
        ];
        let wrong = wrong.into_iter().filter(|(count, _)| *count > 0);
        let mut found: Vec<String> = wrong.map(|(count, what)| format!("{count} {what}")).collect();
        if v.accepted == 0 {
            found.push("nothing was accepted".to_owned());
        }
        found.extend(problems.iter().cloned());
        found
    }

    /// Copies too many of writes that no producer called uncertain.
    fn doubled(&self) -> usize {
        self.came_to.verdict.doubled.saturating_sub(self.came_to.flagged as usize)
    }

    /// Flagged writes for which there is no reason: a server that was killed forgets its producers.
    fn unexplained(&self) -> usize {
        let CameTo { server_kills, flagged, excused, .. } = self.came_to;
        if server_kills > 0 { 0 } else { (flagged - excused) as usize }
    }

    fn cells(&self) -> Vec<String> {
        let CameTo { verdict: v, .. } = &self.came_to;
        let counts = [
            self.came_to.kills,
            self.came_to.in_flight,
            self.came_to.opening,
            self.came_to.server_kills,
            v.accepted - v.unknown,
            self.came_to.recovered as usize,
            v.unknown,
            v.lost,
            self.doubled(),
            v.misplaced,
            self.came_to.flagged as usize,
            v.doubled - self.doubled(),
        ];
        let mut cells = vec![self.name.clone()];
        cells.extend(counts.map(grouped));
        cells.push(if self.problems().is_empty() { "as expected" } else { "WRONG" }.to_owned());
        cells
    }
}

/// Shows everything; whether all rows came to what is expected.
pub(crate) fn show(lines: &[Line]) -> bool {
    let rows: Vec<Vec<String>> = lines.iter().map(Line::cells).collect();
    console::line(&format!("\n{}", table::render(&HEADINGS, &rows)));
    let mut clean = true;
    for line in lines {
        let problems = line.problems();
        clean &= problems.is_empty();
        if !problems.is_empty() {
            console::line(&format!("{}:", line.name));
            problems.iter().for_each(|problem| console::line(&format!("  {problem}")));
        }
    }
    let total = |of: fn(&CameTo) -> usize| lines.iter().map(|line| of(&line.came_to)).sum();
    let (kills, lost): (usize, usize) = (total(|c| c.kills), total(|c| c.verdict.lost));
    let doubled: usize = lines.iter().map(Line::doubled).sum();
    console::line(&format!("{} kills, {lost} lost, {doubled} doubled.", grouped(kills)));
    clean && !lines.is_empty()
}

/// Writes the table into the README.
pub(crate) fn write(tree: &Tree, lines: &[Line]) -> Result {
    let path = tree.root.join(README);
    let text = std::fs::read_to_string(&path).context(path.display())?;
    let written = replaced(&text, &markdown(lines)).ok_or("the README has no place for it")?;
    std::fs::write(&path, written).context(path.display())
}

fn markdown(lines: &[Line]) -> String {
    let shown = &HEADINGS[..HEADINGS.len() - 1];
    let row = |cells: &[String]| format!("| {} |\n", cells[..shown.len()].join(" | "));
    let mut text = format!("| {} |\n|---|{}\n", shown.join(" | "), "---:|".repeat(shown.len() - 1));
    text.extend(lines.iter().map(|line| row(&line.cells())));
    text
}

/// The text with something else between the marks.
fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use durstream_tests::audit::outcomes::Verdict;

    use super::*;

    fn line(change: impl FnOnce(&mut CameTo)) -> Line {
        let verdict = Verdict { accepted: 9, unknown: 2, ..Verdict::default() };
        let mut came_to = CameTo { kills: 1234, verdict, ..CameTo::default() };
        change(&mut came_to);
        Line { name: "a".into(), came_to }
    }

    #[test]
    fn whatever_is_wrong_fails_the_row() {
        assert!(show(&[line(|_| ())]));
        // What was killed forgot, and a first batch in doubt is no fault.
        assert!(show(&[line(|c| (c.server_kills, c.flagged, c.verdict.doubled) = (1, 5, 5))]));
        assert!(show(&[line(|c| (c.flagged, c.excused) = (5, 5))]));
        assert!(!show(&[]));
        for change in [
            |c: &mut CameTo| c.verdict.lost = 1,
            |c: &mut CameTo| c.verdict.doubled = 1,
            |c: &mut CameTo| c.verdict.misplaced = 1,
            |c: &mut CameTo| c.verdict.foreign = 1,
            |c: &mut CameTo| c.verdict = Verdict::default(),
            |c: &mut CameTo| c.flagged = 1,
            |c: &mut CameTo| (c.server_kills, c.flagged, c.verdict.doubled) = (1, 1, 2),
            |c: &mut CameTo| c.parted = 1,
            |c: &mut CameTo| c.problems.push("no".into()),
        ] {
            assert!(!show(&[line(|_| ()), line(change)]));
        }
    }

    #[test]
    fn the_table_has_its_place_in_the_readme() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        let table = markdown(&[line(|_| ())]);
        assert!(
            table.ends_with("| a | 1 234 | 0 | 0 | 0 | 7 | 0 | 2 | 0 | 0 | 0 | 0 | 0 |\n"),
            "{table}"
        );
        let written = replaced(&text, &table).unwrap();
        assert_eq!(written, format!("a\n{BEGIN}\n{table}\n{END}b\n"));
        assert_eq!(replaced(&written, &table), Some(written));
        assert_eq!(replaced("a", &table), None);
        let tree = Tree::find().unwrap();
        let readme = std::fs::read_to_string(tree.root.join(README)).unwrap();
        assert!(replaced(&readme, &table).is_some());
    }
}

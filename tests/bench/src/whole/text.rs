//! Markdown, line by line.

use std::fmt::Write;

/// The pictures' folder, beside the report.
pub(crate) const PICTURES: &str = "report";

/// Text that is added to, line by line. Writing to text does not fail.
#[derive(Default)]
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn text(self) -> String {
        self.0
    }

    pub(crate) fn line(&mut self, text: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{text}");
    }

    pub(crate) fn title(&mut self, text: &str) {
        self.line(format!("\n## {text}\n"));
    }

    pub(crate) fn table(&mut self, headings: &[&str], rows: &[Vec<String>]) {
        self.line(format!("| {} |", headings.join(" | ")));
        // Names to the left, numbers to the right.
        let marks: Vec<&str> =
            (0..headings.len()).map(|at| if at == 0 { "---" } else { "---:" }).collect();
        self.line(format!("|{}|", marks.join("|")));
        for row in rows {
            self.line(format!("| {} |", row.join(" | ")));
        }
        self.line("");
    }

    /// A picture in both colours.
    pub(crate) fn picture(&mut self, name: &str, what: &str) {
        self.line(format!(
            "<picture>\n  <source media=\"(prefers-color-scheme: dark)\" srcset=\"{PICTURES}/{name}-dark.svg\">\n  \
             <img alt=\"{what}\" src=\"{PICTURES}/{name}-light.svg\">\n</picture>\n"
        ));
    }
}

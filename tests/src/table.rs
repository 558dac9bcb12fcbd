//! A table in plain text: the first column to the left, the others to the right.

/// Renders the rows below the headings, each line indented by two.
pub fn render(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width_of).collect();
    let render_row = |cells: &[&str]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("  {}\n", padded.collect::<Vec<_>>().join("   ").trim_end())
    };
    let rule = widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>();
    let mut text = render_row(headings);
    text += &render_row(&rule.iter().map(String::as_str).collect::<Vec<_>>());
    for row in rows {
        text += &render_row(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    text
}

/// 1234567 as "1 234 567".
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["C++".into(), "7".into()], vec!["Python".into(), "1 000".into()]];
        let expected =
            "  service   events\n  -------   ------\n  C++            7\n  Python     1 000\n";
        assert_eq!(render(&["service", "events"], &rows), expected);
    }

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1 000", "1 234 567"].map(str::to_owned)
        );
    }
}

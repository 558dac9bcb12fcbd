//! Lines that the end of an answer cuts: some servers end an answer at any byte, inside a message
//! too. Pure.

use std::sync::Arc;

/// How many bytes of a text are whole lines. The rest is the beginning of one.
pub(crate) fn whole_lines(text: &[u8]) -> usize {
    text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

/// The offset of a byte between two offsets of the server's, `from` and `next`, which has `at` of
/// the `length` bytes between them before it. Offsets are opaque: there is such an offset only where
/// both are decimal numbers that differ by just these bytes, so that the server counts bytes.
/// Without `from` the text is that of the stream's beginning.
pub(crate) fn offset_between(
    from: Option<&str>,
    next: &str,
    length: usize,
    at: usize,
) -> Option<Arc<str>> {
    let begin = from.map_or(Some(0), number)?;
    let is_counted = number(next)?.checked_sub(begin)? == length as u64 && at <= length;
    let offset = is_counted.then(|| begin + at as u64)?;
    // Either all have the same number of digits, or none has a leading zero.
    let is_padded = |text: &str| text.len() > 1 && text.starts_with('0');
    let width = if is_padded(next) || from.is_some_and(is_padded) { next.len() } else { 0 };
    Some(format!("{offset:0width$}").into())
}

fn number(text: &str) -> Option<u64> {
    let is_one = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_one.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_whole_with_its_end() {
        for (text, whole) in [("", 0), ("1", 0), ("1\n", 2), ("1\n2", 2), ("\n\n", 2), ("é\nü", 3)]
        {
            assert_eq!(whole_lines(text.as_bytes()), whole, "{text:?}");
        }
    }

    #[test]
    fn an_offset_lies_between_two_where_the_server_counts_bytes() {
        let between = |from, next, length, at| {
            offset_between(from, next, length, at).map(|offset| offset.to_string())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(between(None, "00000000000000000010", 10, 7), some("00000000000000000007"));
        assert_eq!(between(Some("0095"), "0105", 10, 4), some("0099"));
        assert_eq!(between(Some("5"), "0015", 10, 4), some("0009"));
        assert_eq!(between(Some("95"), "105", 10, 4), some("99"));
        assert_eq!(between(Some("95"), "105", 10, 10), some("105"));
        // It does not count bytes, or not these, or says nothing that can be counted.
        for (from, next, length) in [
            (Some("95"), "106", 10),
            (Some("95"), "104", 10),
            (Some("105"), "95", 10),
            (Some("0_95"), "0_105", 10),
            (Some("-1"), "9", 10),
            (Some("now"), "105", 10),
            (Some("a5"), "a15", 10),
            (Some("+5"), "15", 10),
            (Some("5"), "", 10),
            (None, "99999999999999999999999", 10),
            (Some("0"), "18446744073709551616", 10),
        ] {
            assert_eq!(between(from, next, length, 4), None, "{from:?} {next}");
        }
        assert_eq!(between(Some("5"), "15", 10, 11), None);
    }
}

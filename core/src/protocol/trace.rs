//! The context of a trace, as W3C Trace Context writes it.

/// The name of the header that has a trace's id and that of the caller's span.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// The name of the header in which tracing systems keep what is theirs.
pub(crate) const TRACESTATE: &str = "tracestate";

/// The longest `tracestate` that everybody hands on.
const MAX_STATE: usize = 512;

/// Whether a text is a `traceparent`: a version, a trace's id, a span's id and flags, of which the
/// version is not `ff` and no id is all zeros. A later version may have more behind them.
pub(crate) fn is_traceparent(text: &str) -> bool {
    let is_hex =
        |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let is_id = |part: &str| is_hex(part) && part.bytes().any(|b| b != b'0');
    let mut parts = text.splitn(5, '-');
    let mut next = |length: usize| parts.next().filter(|part| part.len() == length);
    let (Some(version), Some(trace), Some(span), Some(flags)) =
        (next(2), next(32), next(16), next(2))
    else {
        return false;
    };
    let more = parts.next();
    let is_known = version == "00" && more.is_none();
    let is_later = version != "00" && version != "ff" && more.is_none_or(is_visible);
    is_hex(version) && is_id(trace) && is_id(span) && is_hex(flags) && (is_known || is_later)
}

/// Whether a text can be a `tracestate`.
pub(crate) fn is_tracestate(text: &str) -> bool {
    (1..=MAX_STATE).contains(&text.len()) && is_visible(text)
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_standard_allows_is_taken_and_nothing_else() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        for good in
            ["00-T-S-01", "00-T-S-00", "00-T-S-ff", "cc-T-S-01", "cc-T-S-01-what the future has"]
        {
            let good = good.replace('T', trace).replace('S', span);
            assert!(is_traceparent(&good), "{good}");
        }
        let zeros = [&"0".repeat(32), &"0".repeat(16)];
        for bad in [
            "",
            "00",
            "00-T-S",
            "00-T-S-1",
            "00-T-S-0g",
            "00-T-S-01-",
            "00-T-S-01-more",
            "ff-T-S-01",
            "0-T-S-01",
            "00-T-S-01 ",
            " 00-T-S-01",
            "00-S-T-01",
            "00-Z-S-01",
            "00-T-z-01",
            "00-T-S-01\n",
            "zz-T-S-01",
            "00-U-S-01",
            "cc-T-S-01-\u{7f}",
        ] {
            let bad = bad.replace('Z', zeros[0]).replace('z', zeros[1]);
            let bad =
                bad.replace('U', &trace.to_uppercase()).replace('T', trace).replace('S', span);
            assert!(!is_traceparent(&bad), "{bad}");
        }
        assert!(is_tracestate("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"));
        assert!(
            ![String::new(), "a\n".to_owned(), "x".repeat(513)]
                .iter()
                .any(|text| is_tracestate(text))
        );
    }
}

//! What callgrind wrote: instructions by function, and functions by crate. Pure.

use std::collections::BTreeMap;

/// The instructions each function spent itself. Names are whole (`--compress-strings=no`).
pub(crate) fn functions(text: &str) -> BTreeMap<String, f64> {
    let mut functions: BTreeMap<String, f64> = BTreeMap::new();
    let mut name = String::new();
    let mut is_call = false;
    for line in text.lines() {
        if let Some(function) = line.strip_prefix("fn=") {
            name = function.to_owned();
        } else if line.starts_with("calls=") {
            // The line behind it has what the call took, which is counted where it was spent.
            is_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost = line.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok());
            if let (false, Some(cost)) = (std::mem::take(&mut is_call), cost) {
                *functions.entry(name.clone()).or_default() += cost;
            }
        }
    }
    functions
}

/// The crate a function is of, by its name; what is no Rust is the system's.
pub(crate) fn crate_of(function: &str) -> &str {
    let name = function.trim_start_matches(|c: char| "<&*([".contains(c));
    let name = ["dyn ", "mut ", "const "]
        .iter()
        .fold(name, |name, word| name.strip_prefix(word).unwrap_or(name));
    match name.split_once("::") {
        Some(("core" | "alloc" | "std" | "hashbrown", _)) => "the standard library",
        Some(("__rustc", _)) => "the allocator",
        Some((own, _)) if own.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => own,
        _ if name.contains("malloc") || name.contains("free") || name.contains("alloc") => {
            "the allocator"
        }
        _ => "the C library and the rest",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_has_what_it_spent_itself() {
        let text = "events: Ir\nfl=a.rs\nfn=hyper::a\n10 5\n11 7\ncfn=tokio::b\ncalls=3 20\n12 900\n\
                    13 1\n\nfn=tokio::b\n20 300\nfn=hyper::a\nfi=b.rs\n30 2\ntotals: 315\n";
        let expected = [("hyper::a".to_owned(), 15.0), ("tokio::b".to_owned(), 300.0)];
        assert_eq!(functions(text), expected.into());
    }

    #[test]
    fn a_crate_is_the_first_word_of_a_path() {
        for (name, expected) in [
            ("hyper::proto::h1::conn::Conn<I,B,T>::poll_read_head", "hyper"),
            ("<tokio::runtime::Handle as core::clone::Clone>::clone", "tokio"),
            ("<&mut durstream_core::a::B as core::future::Future>::poll", "durstream_core"),
            ("core::ptr::drop_in_place<reqwest::Request>", "the standard library"),
            ("malloc", "the allocator"),
            ("__memcpy_avx_unaligned_erms", "the C library and the rest"),
        ] {
            assert_eq!(crate_of(name), expected, "{name}");
        }
    }
}

//! One pass over JSON text: is it one value, and where is a field of it? Pure.
//!
//! A parser that builds nothing still takes twice the time, and this is most of what a write of
//! JSON costs (`docs/adr/json.md`). As strict as `serde_json`: a fuzz target compares the two.

use std::ops::Range;

/// The text is not one JSON value in UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wrong;

/// What a field of a value is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// Where its value lies in the text; of several the last, as in every parser a reader may use.
    At(Range<usize>),
    Missing,
    /// The value is no object.
    NotAnObject,
}

/// Checks that the text is one JSON value, however deep.
pub(crate) fn check(text: &[u8]) -> Result<(), Wrong> {
    Walk::begin(text)?.whole::<false>("").map(drop)
}

/// Checks the text as [`check`] does, and looks for a field of the value.
pub(crate) fn find(text: &[u8], name: &str) -> Result<Field, Wrong> {
    let found = Walk::begin(text)?.whole::<true>(name)?;
    Ok(match found {
        Some(place) => Field::At(place),
        None if text.trim_ascii_start().starts_with(b"{") => Field::Missing,
        None => Field::NotAnObject,
    })
}

/// A place in the text. Behind its end there are zeros, which no JSON has.
struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    /// A bit a level, the innermost lowest: 1 for an object.
    objects: u128,
    /// The bits of the levels around those, where there are more.
    outer: Vec<u128>,
}

/// How many levels have their bits in one word.
const LEVELS: usize = u128::BITS as usize;

impl<'a> Walk<'a> {
    fn begin(text: &'a [u8]) -> Result<Self, Wrong> {
        std::str::from_utf8(text).map_err(|_| Wrong)?;
        Ok(Walk { text, at: 0, depth: 0, objects: 0, outer: Vec::new() })
    }

    /// Walks over one value to the end of the text; with `SEARCHES` the place of the last field of
    /// this name.
    fn whole<const SEARCHES: bool>(mut self, name: &str) -> Result<Option<Range<usize>>, Wrong> {
        let (mut began, mut found) = (None, None);
        self.skip_space();
        loop {
            if !self.opens()? {
                // A value has ended, and maybe those around it.
                loop {
                    if SEARCHES && self.depth == 1 {
                        found = began.take().map(|start| start..self.at).or(found);
                    }
                    self.skip_space();
                    if self.depth == 0 {
                        return if self.at == self.text.len() { Ok(found) } else { Err(Wrong) };
                    }
                    let in_object = self.objects & 1 == 1;
                    match self.next() {
                        b',' => break,
                        b'}' if in_object => {}
                        b']' if !in_object => {}
                        _ => return Err(Wrong),
                    }
                    self.close();
                }
                self.skip_space();
            }
            if self.objects & 1 == 1 {
                let (own, is_escaped) = self.name()?;
                self.skip_space();
                if SEARCHES && self.depth == 1 && is_named(&self.text[own], is_escaped, name) {
                    began = Some(self.at);
                }
            }
        }
    }

    /// Walks over a scalar or an empty container; whether it is a container with something in it,
    /// which is open now.
    fn opens(&mut self) -> Result<bool, Wrong> {
        let byte = self.next();
        match byte {
            b'"' => self.string().map(drop)?,
            b'{' | b'[' => {
                self.skip_space();
                if self.peek() != byte + 2 {
                    self.open(byte == b'{');
                    return Ok(true);
                }
                self.at += 1;
            }
            b't' => self.word(b"rue")?,
            b'f' => self.word(b"alse")?,
            b'n' => self.word(b"ull")?,
            b'-' | b'0'..=b'9' => self.number(byte)?,
            _ => return Err(Wrong),
        }
        Ok(false)
    }

    #[inline(always)]
    fn open(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(LEVELS) {
            self.outer.push(self.objects);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(is_object);
    }

    #[inline(always)]
    fn close(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(LEVELS) {
            self.objects = self.outer.pop().expect("it was pushed when the next level opened");
        }
    }

    #[inline(always)]
    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn next(&mut self) -> u8 {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    #[inline(always)]
    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    fn word(&mut self, rest: &[u8]) -> Result<(), Wrong> {
        let is_it = self.text[self.at..].starts_with(rest);
        self.at += rest.len();
        if is_it { Ok(()) } else { Err(Wrong) }
    }

    /// Walks over a field's name and the colon: where it lies, quotes included, and whether it has
    /// escapes.
    #[inline(always)]
    fn name(&mut self) -> Result<(Range<usize>, bool), Wrong> {
        let start = self.at;
        if self.next() != b'"' {
            return Err(Wrong);
        }
        let is_escaped = self.string()?;
        let name = start..self.at;
        self.skip_space();
        if self.next() == b':' { Ok((name, is_escaped)) } else { Err(Wrong) }
    }

    /// Walks over a string behind its first quote; whether it has escapes.
    #[inline(always)]
    fn string(&mut self) -> Result<bool, Wrong> {
        let mut is_escaped = false;
        loop {
            while let Some(eight) = self.text[self.at..].first_chunk() {
                match first_special(u64::from_le_bytes(*eight)) {
                    None => self.at += 8,
                    Some(beyond) => {
                        self.at += beyond;
                        break;
                    }
                }
            }
            match self.next() {
                b'"' => return Ok(is_escaped),
                b'\\' => {
                    is_escaped = true;
                    match self.next() {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' if (0..4).all(|_| self.next().is_ascii_hexdigit()) => {}
                        _ => return Err(Wrong),
                    }
                }
                0..0x20 => return Err(Wrong),
                _ => {}
            }
        }
    }

    #[inline(always)]
    fn number(&mut self, first: u8) -> Result<(), Wrong> {
        match if first == b'-' { self.next() } else { first } {
            b'0' => {}
            b'1'..=b'9' => self.skip_digits(),
            _ => return Err(Wrong),
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Wrong> {
        if !self.next().is_ascii_digit() {
            return Err(Wrong);
        }
        self.skip_digits();
        Ok(())
    }

    #[inline(always)]
    fn skip_digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }
}

/// Which of eight bytes is the first quote, backslash or control character.
#[inline(always)]
fn first_special(eight: u64) -> Option<usize> {
    const LOW: u64 = u64::MAX / 255;
    // The high bit of each byte below `bound`; behind the first such byte not exact.
    let below =
        |eight: u64, bound: u8| eight.wrapping_sub(LOW * u64::from(bound)) & !eight & (LOW << 7);
    let is = |byte: u8| below(eight ^ (LOW * u64::from(byte)), 1);
    let found = is(b'"') | is(b'\\') | below(eight, 0x20);
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// Whether a name, quotes included, is the one that is looked for.
#[inline(always)]
fn is_named(own: &[u8], is_escaped: bool, name: &str) -> bool {
    match is_escaped {
        false => own[1..own.len() - 1] == *name.as_bytes(),
        true => serde_json::from_slice::<String>(own).is_ok_and(|own| own == name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every kind of text that parsers disagree about, most of them refused.
    const TEXTS: &[&str] = &[
        "",
        " ",
        "[",
        "]",
        "{",
        "}",
        "[]",
        "{}",
        " [ ] ",
        "[1,]",
        "[,1]",
        "[1,,2]",
        "[1 2]",
        "[1}",
        "{1}",
        "[1]]",
        "[1][2]",
        "[1]x",
        "1 2",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\" 1}",
        "{\"a\"::1}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1}{",
        "{1:1}",
        "{null:1}",
        "{\"a\":1,\"a\":2}",
        "{\"\":0}",
        "nul",
        "nulll",
        "null",
        "True",
        "true",
        "false",
        "fals",
        "tru",
        "NaN",
        "Infinity",
        "-Infinity",
        "undefined",
        "0",
        "-0",
        "00",
        "01",
        "-01",
        "1.",
        ".1",
        "-.1",
        "1.e1",
        "1e",
        "1e+",
        "1E-",
        "1e1",
        "1E+22",
        "0e0",
        "0.0e-0",
        "-",
        "--1",
        "+1",
        "1-1",
        "1.2.3",
        "1e1.5",
        "0x1",
        "1_000",
        "1e999",
        "-1e999",
        "123456789012345678901234567890",
        "\"\"",
        "\"",
        "\"a",
        "\"\\",
        "\"\\\"",
        "\"\\\"\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u1234\"",
        "\"\\ud800\"",
        "\"\\ud83d\\ude00\"",
        "\"\\uD83D\"",
        "\"\u{0}\"",
        "\"\n\"",
        "\"\t\"",
        "\"\u{1f}\"",
        "\"\u{7f}\"",
        "\"\u{e9}\u{1f600}\"",
        "\u{feff}1",
        "\u{a0}1",
        "\u{b}1",
        "\u{c}1",
        "/**/1",
        "1//",
        "[\"a\",\n4\n,1,",
        "[1,\n1\n,1",
        "\"12345678\"",
        "\"1234567\\\"\"",
        "\"123456\\\\\"",
        "[\"abcdefg\\u0020hijklmno\",{\"pqrstuvwx\":[{}]}]",
        "{\"a\":[{\"b\":[1,{\"c\":{}}]},[]]}",
        "[[[[]]]]",
        "[{\"a\":[}]]",
        "{\"a\":[1,2}",
        "[\"a\":1]",
    ];

    fn is_json(text: &[u8]) -> bool {
        serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
            && std::str::from_utf8(text).is_ok()
    }

    #[test]
    fn as_strict_as_a_parser() {
        for text in TEXTS {
            assert_eq!(check(text.as_bytes()).is_ok(), is_json(text.as_bytes()), "{text:?}");
        }
        for bytes in
            [&b"\"\xff\""[..], b"\"\xc0\xaf\"", b"\"\xed\xa0\x80\"", b"[\"\xf4\x90\x80\x80\"]"]
        {
            assert_eq!(check(bytes), Err(Wrong), "{bytes:?}");
        }
    }

    #[test]
    fn however_deep() {
        for depth in [1, 127, 128, 129, 255, 256, 257, 1_000, 100_000] {
            for (open, close, wrong) in [("[", "]", "}"), ("{\"a\":", "}", "]")] {
                let begin = open.repeat(depth);
                let nested = |last: &str| format!("{begin}1{}{last}", close.repeat(depth - 1));
                assert_eq!(check(nested(close).as_bytes()), Ok(()), "{depth}");
                assert_eq!(check(nested(wrong).as_bytes()), Err(Wrong), "{depth}");
                assert_eq!(check(nested("").as_bytes()), Err(Wrong), "{depth}");
                let inner = format!("{begin}1{wrong}{}", close.repeat(depth - 1));
                assert_eq!(check(inner.as_bytes()), Err(Wrong), "{depth}");
            }
        }
        let mixed =
            |levels: usize| format!("{}0{}", "[{\"a\":".repeat(levels), "}]".repeat(levels));
        assert_eq!(check(mixed(500).as_bytes()), Ok(()));
        let entity = format!("{{\"x\":{},\"id\":7}}", mixed(500));
        assert_eq!(
            find(entity.as_bytes(), "id"),
            Ok(Field::At(entity.len() - 2..entity.len() - 1))
        );
    }

    #[test]
    fn a_field_is_the_last_of_its_name_at_the_top() {
        let field = |text: &str, name: &str| match find(text.as_bytes(), name).unwrap() {
            Field::At(place) => text[place].to_owned(),
            other => format!("{other:?}"),
        };
        let text = r#" { "x" : {"id":1}, "id" : [1, {"id":2}] , "id": "last" , "n":{} } "#;
        assert_eq!(field(text, "id"), "\"last\"");
        assert_eq!(field(text, "x"), "{\"id\":1}");
        assert_eq!(field(text, "n"), "{}");
        assert_eq!(field(r#"{"id":[1, {"id":2}]}"#, "id"), "[1, {\"id\":2}]");
        assert_eq!(field(r#"{"\u0069d":1,"a\"":2}"#, "id"), "1");
        assert_eq!(field(r#"{"\u0069d":1,"a\"":2}"#, "a\""), "2");
        assert_eq!(field(r#"{"":-0.5}"#, ""), "-0.5");
        assert_eq!(field(r#"[{"id":1}]"#, "id"), "NotAnObject");
        assert_eq!(field(r#"{"a":{"id":1}}"#, "id"), "Missing");
        assert_eq!(field(r#""id""#, "id"), "NotAnObject");
    }

    proptest! {
        /// Texts made of what JSON is made of, so that many are nearly right.
        #[test]
        fn random_texts_are_judged_as_a_parser_does(
            parts in prop::collection::vec(prop::sample::select(&[
                "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"a\":", "1", "-", "0", ".", "e", "true",
                "null", " ", "\\", "\\u00e9", "\\\"", "\u{e9}", "\n", "12345678", "abcdefgh",
            ][..]), 0..24),
        ) {
            let text = parts.concat();
            prop_assert_eq!(check(text.as_bytes()).is_ok(), is_json(text.as_bytes()), "{:?}", text);
        }
    }
}

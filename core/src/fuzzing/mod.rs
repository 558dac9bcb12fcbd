//! Promises that hold for any bytes from outside: the bodies of the targets in `fuzz/`. Each takes
//! an input and panics where a promise is broken, not only where the code under it panics.
//!
//! Inputs are text where they can be, so that seeds are written by hand and findings read.

use crate::error::{CUT, MAX_TEXT};

mod answers;
mod messages;
mod options;
mod outbox;

pub use answers::answers;
pub use messages::{framing, json_keys, looking};
pub use options::{options, urls};
pub use outbox::outbox;

/// A target and its name, which is also that of its file and of its corpus in `fuzz/`.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 7] = [
    ("answers", answers),
    ("framing", framing),
    ("json_keys", json_keys),
    ("looking", looking),
    ("options", options),
    ("outbox", outbox),
    ("urls", urls),
];

/// The line between the parts of an input.
const RULE: &[u8] = b"\n--\n";

/// The parts before and behind the first `by`; everything is before, if there is none.
fn split<'a>(data: &'a [u8], by: &[u8]) -> (&'a [u8], &'a [u8]) {
    match data.windows(by.len()).position(|window| window == by) {
        Some(at) => (&data[..at], &data[at + by.len()..]),
        None => (data, b""),
    }
}

fn parts(mut data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while !data.is_empty() {
        let (part, rest) = split(data, RULE);
        parts.push(part);
        data = rest;
    }
    parts
}

fn first_line(part: &[u8]) -> Vec<&str> {
    let line = split(part, b"\n").0;
    std::str::from_utf8(line).unwrap_or_default().split_whitespace().collect()
}

/// Errors are logged, so their texts are of a line and of a known length.
fn check_text(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.len() <= MAX_TEXT + CUT.len(), "{} bytes", text.len());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{Rng, RngExt, SeedableRng};

    use super::*;

    /// Some seconds in all, in a build for tests.
    const MUTATIONS: usize = 10_000;
    /// The most inputs that are kept for each target.
    const MOST_FILES: usize = 120;
    const MOST_BYTES: usize = 300_000 / TARGETS.len();

    /// Words that random bytes would hardly form.
    const WORDS: [&[u8]; 30] = [
        b"\n--\n",
        b"\n\n",
        b"\n",
        b"producer-epoch: 5000",
        b"producer-seq: 0",
        b"stream-closed: true",
        b"retry-after: 1",
        b" maybe",
        b" end",
        b"9007199254740991",
        b"9007199254740992",
        b"18446744073709551616",
        b"-1",
        b"1e400",
        b"\"\\ud800\"",
        b"\\u0000",
        b"[[[[[[[[",
        b"{\"id\":",
        b",",
        b"null",
        b"\xff",
        b"\xe2\x80\xa8",
        b"\x1b[31m",
        b"..",
        b"%2e%2E",
        b"\\",
        b"//",
        b"@",
        b"http://[::1]:1",
        b"stream_path=",
    ];

    pub(super) fn fails(check: &dyn Fn()) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err()
    }

    fn corpus_of(target: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
    }

    fn kept(target: &str) -> Vec<Vec<u8>> {
        let files = std::fs::read_dir(corpus_of(target)).unwrap();
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// Says what a target failed on.
    struct Input<'a>(&'static str, &'a [u8]);

    impl Drop for Input<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{} failed on b\"{}\"", self.0, self.1.escape_ascii());
            }
        }
    }

    fn mutated(rng: &mut impl Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus.choose(rng).unwrap().clone();
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..=input.len());
            let to = (at + rng.random_range(0..16)).min(input.len());
            let part = match rng.random_range(0..5) {
                0 => Vec::new(),
                1 => vec![rng.random()],
                2 => input[at..to].repeat(2),
                3 => {
                    let other = corpus.choose(rng).unwrap();
                    let from = rng.random_range(0..=other.len());
                    let length = rng.random_range(0..64).min(other.len() - from);
                    other[from..from + length].to_vec()
                }
                _ => WORDS.choose(rng).unwrap().to_vec(),
            };
            // In place of something, or between.
            let to = if rng.random() { to } else { at };
            input.splice(at..to, part);
        }
        input
    }

    #[test]
    fn what_is_kept_and_what_is_near_keeps_every_promise() {
        let given = std::env::var("DURSTREAM_SEED").ok().and_then(|text| text.parse().ok());
        let seed: u64 = given.unwrap_or_else(crate::runtime::chance::random);
        eprintln!("mutations of DURSTREAM_SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for (name, target) in TARGETS {
            let corpus = kept(name);
            let mutations = (0..MUTATIONS).map(|_| mutated(&mut rng, &corpus));
            for input in corpus.iter().cloned().chain(mutations) {
                let input = Input(name, &input);
                target(input.1);
            }
        }
    }

    #[test]
    fn every_target_is_built_and_has_a_small_corpus() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let files = std::fs::read_dir(folder.join("targets")).unwrap();
        let files = files.map(|file| file.unwrap().path().with_extension(""));
        let files: BTreeSet<_> =
            files.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(files, TARGETS.map(|(name, _)| name.to_owned()).into());
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for (name, _) in TARGETS {
            assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
            let corpus = kept(name);
            let bytes = corpus.iter().map(Vec::len).sum::<usize>();
            assert!((1..=MOST_FILES).contains(&corpus.len()), "{name}: {} files", corpus.len());
            assert!(bytes <= MOST_BYTES, "{name}: {bytes} bytes");
        }
    }

    /// As in the other files: what is to be found is.
    #[test]
    fn what_is_no_text_of_an_error_is_found() {
        assert!(fails(&|| check_text("one\ntwo")));
        assert!(fails(&|| check_text(&"x".repeat(2 * MAX_TEXT))));
    }
}

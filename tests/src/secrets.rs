//! Secrets that tests use hold a mark, by which they are found where no secret may be: in what the
//! suites' programs print, and in the files that they write below `target/`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::failure::Result;

/// The mark. A token, a password, a parameter or a key that a test uses has it in its text.
pub const MARK: &str = "s3cret";
/// What is built or fetched, below `target/`: programs and copies of the tests hold the mark.
const BUILT: [&str; 13] = [
    "bench",
    "debug",
    "doc",
    "fuzz",
    "maturin",
    "mypy-cache",
    "packages",
    "release",
    "sanitizers",
    "stage",
    "tools",
    "venv",
    "wheels",
];
/// One leak often comes with many more.
const MOST: usize = 20;

/// Keeps the lines that hold the mark, with their numbers, of all it sees.
#[derive(Default)]
pub(crate) struct Kept {
    lines: Vec<String>,
    seen: usize,
}

impl Kept {
    pub(crate) fn see(&mut self, line: &str) {
        self.seen += 1;
        if self.lines.len() < MOST && line.to_ascii_lowercase().contains(MARK) {
            self.lines.push(format!("line {}: {line}", self.seen));
        }
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines
    }
}

/// Refuses lines that hold the mark.
///
/// # Errors
/// If there is one; the text has them.
pub(crate) fn none_in(what: &str, lines: &[String]) -> Result {
    if lines.is_empty() {
        return Ok(());
    }
    Err(format!("{what} shows a secret{}", crate::failures::indented(lines)).into())
}

/// Looks for the mark in the text files below `target` that were written since a moment. What is
/// built and what is no text is passed over.
///
/// # Errors
/// If a file holds it; the text names its lines.
pub fn none_in_files(target: &Path, since: SystemTime) -> Result {
    let is_built =
        |path: &Path| path.file_name().is_some_and(|name| BUILT.iter().any(|b| name == *b));
    let mut folders: Vec<PathBuf> =
        entries(target).filter(|path| path.is_dir() && !is_built(path)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            let Ok(about) = path.symlink_metadata() else { continue };
            if about.is_dir() && path.file_name().is_some_and(|name| name != "node_modules") {
                folders.push(path);
            } else if about.is_file() && about.modified().is_ok_and(|written| written >= since) {
                let in_file = |line: &String| format!("{}, {line}", path.display());
                found.extend(in_text(&path).iter().map(in_file));
            }
        }
    }
    found.truncate(MOST);
    none_in("a file", &found)
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The lines of a file with the mark; none of a program.
fn in_text(path: &Path) -> Vec<String> {
    let (mut head, mut kept) = (Vec::new(), Kept::default());
    // A program has zeros at once; what else is large here is a server's data.
    if File::open(path).and_then(|file| file.take(512).read_to_end(&mut head)).is_err()
        || head.contains(&0)
    {
        return Vec::new();
    }
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().for_each(|line| kept.see(line));
    kept.into_lines()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_a_secret_is_named_with_its_line() {
        let target = std::env::temp_dir().join(format!("durstream-mark-{}", std::process::id()));
        let began = SystemTime::UNIX_EPOCH;
        for (name, text) in [
            ("logs/good.log", "nothing".to_owned()),
            ("debug/test-source", MARK.to_owned()),
            ("c-tests/program", format!("\u{7f}ELF\0{MARK}")),
        ] {
            let path = target.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        none_in_files(&target, began).unwrap();
        let leak = target.join("logs/bad.log");
        std::fs::write(&leak, format!("one\ntoken={}\n", MARK.to_uppercase())).unwrap();
        let told = none_in_files(&target, began).unwrap_err().to_string();
        assert!(told.contains(&format!("{}, line 2: token=", leak.display())), "{told}");
        // What was there before the run is not the run's.
        none_in_files(&target, SystemTime::now() + std::time::Duration::from_secs(60)).unwrap();
        std::fs::remove_dir_all(&target).unwrap();
    }
}

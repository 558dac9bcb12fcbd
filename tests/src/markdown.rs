//! The project's pages: their blocks, links and headings, as far as tests read them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::failure::{Context, Result};

/// Nothing below them is written by hand.
const SKIPPED: [&str; 4] = ["target", "node_modules", ".git", "dist"];

/// A block between fences.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// What its fence says it is written in.
    pub language: String,
    /// Its lines, each with its end.
    pub text: String,
    /// The line of its first fence, from 1.
    pub line: usize,
}

/// Every page below a folder: the files that end in `.md`, in their order.
///
/// # Errors
/// If a folder cannot be read.
pub fn pages(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut left) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(&folder).context(folder.display())? {
            let path = entry.context(folder.display())?.path();
            let is_skipped = SKIPPED.iter().any(|name| path.ends_with(name));
            if path.is_dir() && !is_skipped && !path.is_symlink() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The blocks of a page, in their order.
pub fn blocks(page: &str) -> Vec<Block> {
    parted(page).0
}

/// The links of a page, with their lines: of Markdown, and of the HTML within it.
pub fn links(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, prose) in parted(page).1 {
        let prose = without_code(prose);
        for (mark, end) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"'), ("href=\"", '"')] {
            for part in prose.split(mark).skip(1) {
                found.extend(part.split_once(end).map(|(link, _)| (line, link.to_owned())));
            }
        }
    }
    found
}

/// What leads to a page's headings behind `#`, as forges make it.
pub fn anchors(page: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let lines = parted(page).1.into_iter();
    let headings = lines.filter_map(|(_, line)| line.strip_prefix('#'));
    let titles = headings.filter_map(|rest| rest.trim_start_matches('#').strip_prefix(' '));
    titles.map(|title| numbered(&mut seen, slug(title))).collect()
}

fn numbered(seen: &mut BTreeMap<String, usize>, slug: String) -> String {
    let times = seen.entry(slug.clone()).or_default();
    *times += 1;
    if *times == 1 { slug } else { format!("{slug}-{}", *times - 1) }
}

fn slug(title: &str) -> String {
    let kept = title.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        _ => c.is_alphanumeric().then_some(c),
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// The blocks, and the lines of prose with their numbers.
fn parted(page: &str) -> (Vec<Block>, Vec<(usize, &str)>) {
    let (mut blocks, mut prose) = (Vec::new(), Vec::new());
    let mut open: Option<Block> = None;
    for (n, line) in page.lines().enumerate() {
        match (open.as_mut(), line.strip_prefix("```")) {
            (None, Some(language)) => {
                let language = language.to_owned();
                open = Some(Block { language, text: String::new(), line: n + 1 });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) => prose.push((n + 1, line)),
        }
    }
    (blocks, prose)
}

/// A line without what is code in it.
fn without_code(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    let is_even = parts.len() % 2 == 1; // else a mark stands alone
    let prose = parts.iter().enumerate().filter(|(n, _)| !is_even || n % 2 == 0);
    prose.map(|(_, part)| *part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A page: `it`, Zoë\n\n[a](b.md#c) and `[no](link)`\n\n```js\n[x](y)\n```\n\
                        <img src=\"p.svg\">\n## A page\n## A page\n```\nz\n```\n";

    #[test]
    fn blocks_have_their_language_and_line() {
        let block = |language: &str, text: &str, line| Block {
            language: language.to_owned(),
            text: text.to_owned(),
            line,
        };
        assert_eq!(blocks(PAGE), [block("js", "[x](y)\n", 5), block("", "z\n", 11)]);
    }

    #[test]
    fn links_are_those_of_the_prose() {
        let expected = [(3, "b.md#c".to_owned()), (8, "p.svg".to_owned())];
        assert_eq!(links(PAGE), expected);
    }

    #[test]
    fn anchors_are_made_as_forges_make_them() {
        assert_eq!(anchors(PAGE), ["a-page-it-zoë", "a-page", "a-page-1"]);
    }
}

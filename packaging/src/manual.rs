//! The manual pages of the C library, made of its headers: `man durstream_producer_append`.
//!
//! Each comment right above a declaration becomes a page, and the first one of the main header the
//! page `durstream`. cbindgen and the house keep the headers as regular as that.

use std::collections::BTreeMap;
use std::path::Path;

use durstream_tests::failure::{Context, Result};

/// Where they are below a prefix.
const FOLDER: &str = "share/man/man3";
const OVERVIEW: &str = "durstream";
const HEADERS: [&str; 2] = ["durstream.h", "durstream_test.h"];

/// Something that a header declares.
struct Entry<'a> {
    header: &'a str,
    /// Its lines, with comments within it.
    declaration: Vec<&'a str>,
    /// The lines above it, without their strokes.
    comment: Vec<&'a str>,
}

/// Writes the pages of the headers of a folder below a prefix.
pub(crate) fn fill(prefix: &Path, include: &Path) -> Result {
    let folder = prefix.join(FOLDER);
    std::fs::create_dir_all(&folder).context(folder.display())?;
    for (name, page) in pages(&headers(include)?) {
        let file = folder.join(format!("{name}.3"));
        std::fs::write(&file, page).context(file.display())?;
    }
    Ok(())
}

/// The headers for C with their names.
fn headers(include: &Path) -> Result<Vec<(&'static str, String)>> {
    let read = |name: &'static str| {
        let file = include.join(name);
        Ok((name, std::fs::read_to_string(&file).context(file.display())?))
    };
    HEADERS.into_iter().map(read).collect()
}

/// The pages by their names.
fn pages(headers: &[(&'static str, String)]) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    for (header, text) in headers {
        for entry in read(header, text) {
            if let Some(name) = entry.name() {
                entries.entry(name.to_owned()).or_insert(entry);
            }
        }
    }
    let known: Vec<String> = entries.keys().cloned().collect();
    entries.into_iter().map(|(name, entry)| (name.clone(), entry.page(&name, &known))).collect()
}

fn read<'a>(header: &'a str, text: &'a str) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    let mut comment = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(said) = line.strip_prefix("//") {
            comment.push(said.strip_prefix(' ').unwrap_or(said));
            continue;
        }
        let comment = std::mem::take(&mut comment);
        let mut declaration = Vec::new();
        if !line.is_empty() {
            declaration.push(line);
            while !is_whole(&declaration) {
                let Some(line) = lines.next() else { break };
                declaration.push(line);
            }
        }
        entries.push(Entry { header, declaration, comment });
    }
    entries
}

/// Whether no line of a declaration is missing.
fn is_whole(declaration: &[&str]) -> bool {
    let (first, last) = (declaration[0], declaration[declaration.len() - 1]);
    if first.starts_with('#') {
        return !last.ends_with('\\');
    }
    // The brackets of C++, around everything.
    if first.starts_with("extern ") || first.starts_with('}') {
        return true;
    }
    let opened = declaration.iter().any(|line| line.ends_with('{'));
    last.ends_with(';') && (!opened || last.starts_with('}'))
}

impl Entry<'_> {
    /// What it declares, where that has a page.
    fn name(&self) -> Option<&str> {
        let (first, last) = (self.declaration.first(), self.declaration.last());
        let Some((first, last)) = first.zip(last) else {
            let is_head = self.comment.first()?.starts_with("libdurstream: ");
            return (is_head && self.header == "durstream.h").then_some(OVERVIEW);
        };
        if self.comment.is_empty() || first.starts_with("#if") {
            return None;
        }
        if let Some((_, rest)) = first.split_once("(*") {
            return rest.split(')').next();
        }
        let first = first.strip_prefix("#define ").unwrap_or(first);
        let before = match (last.strip_prefix("} "), first.split_once('(')) {
            (Some(name), _) => name.trim_end_matches(';'),
            (None, Some((before, _))) => before,
            (None, None) => first.trim_end_matches(';'),
        };
        let name = before.rsplit([' ', '*']).next()?;
        name.to_ascii_lowercase().starts_with("durstream_").then_some(name)
    }

    fn page(&self, name: &str, known: &[String]) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let summary = escaped(&summary(&self.comment));
        // Macros have their `#define`; conditions within others are the compiler's alone.
        let is_macro = self.declaration.first().is_some_and(|first| first.starts_with('#'));
        let shown = self.declaration.iter().filter(|line| is_macro || !line.starts_with('#'));
        [
            format!(".\\\" Made of {}.\n", self.header),
            format!(".TH {name} 3 \"\" \"durstream {version}\" durstream\n.nh\n.ad l\n"),
            format!(".SH NAME\n{name} \\- {summary}\n"),
            format!(".SH SYNOPSIS\n.nf\n.B #include <{}>\n.PP\n{}.fi\n", self.header, verbatim(shown)),
            ".PP\nCompile and link with what\n.B pkg\\-config \\-\\-cflags \\-\\-libs durstream\nsays.\n".to_owned(),
            format!(".SH DESCRIPTION\n{}", description(&self.comment)),
            format!(".SH SEE ALSO\n{}\n", self.others(name, known).join(" ,\n")),
        ]
        .concat()
    }

    /// The pages that it mentions, behind the overview, which holds what is true of all calls.
    fn others(&self, name: &str, known: &[String]) -> Vec<String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let lines = self.declaration.iter().chain(&self.comment);
        let words: Vec<&str> = lines.flat_map(|line| line.split(|c| !is_part(c))).collect();
        let mentioned = known.iter().map(String::as_str).filter(|other| words.contains(other));
        let others = [OVERVIEW].into_iter().chain(mentioned.filter(|other| *other != OVERVIEW));
        others.filter(|other| *other != name).map(|other| format!(".BR {other} (3)")).collect()
    }
}

/// The first part of the first sentence.
fn summary(comment: &[&str]) -> String {
    let text = comment.split(|line| line.is_empty()).next().unwrap_or_default().join(" ");
    let text = text.strip_prefix("libdurstream: ").unwrap_or(&text).replace('`', "");
    let mut depth = 0;
    let end = text.char_indices().find(|(at, c)| {
        depth += i32::from(*c == '(') - i32::from(*c == ')');
        let ends = text[at + c.len_utf8()..].starts_with(' ') || at + c.len_utf8() == text.len();
        depth == 0 && ends && matches!(c, '.' | ';' | ':')
    });
    text[..end.map_or(text.len(), |(at, _)| at)].to_owned()
}

/// Paragraphs, what is indented as it is, and the errors under a heading of their own.
fn description(comment: &[&str]) -> String {
    let mut text = String::new();
    let parts = comment.split(|line| line.is_empty());
    let parts =
        parts.filter(|part| !part.first().is_some_and(|first| first.starts_with("Generated ")));
    for (n, part) in parts.enumerate() {
        let errors = part.first().and_then(|first| first.strip_prefix("Errors: "));
        text += match (n, errors) {
            (_, Some(_)) => ".SH ERRORS\n",
            (0, None) => "",
            (_, None) => ".PP\n",
        };
        if part.first().is_some_and(|first| first.starts_with("  ")) {
            text += &format!(".nf\n.RS\n{}.RE\n.fi\n", verbatim(part.iter()));
            continue;
        }
        for (n, line) in part.iter().enumerate() {
            let line = if n == 0 { errors.unwrap_or(line) } else { line };
            text += &format!("{}\n", emphasised(&escaped(line)));
        }
    }
    text
}

fn verbatim<'a>(lines: impl Iterator<Item = &'a &'a str>) -> String {
    lines.map(|line| format!("{}\n", escaped(line))).collect()
}

/// What is between backticks is bold.
fn emphasised(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return line.to_owned(); // one that goes on in the next line
    }
    let bold = |(n, part): (usize, &&str)| {
        if n % 2 == 1 { format!("\\fB{part}\\fR") } else { (*part).to_owned() }
    };
    parts.iter().enumerate().map(bold).collect()
}

fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]
mod tests {
    use super::*;
    use durstream_tests::tree::Tree;

    #[test]
    fn each_function_and_type_has_a_page() {
        let headers = headers(&Tree::find().unwrap().root.join("include")).unwrap();
        let pages = pages(&headers);
        let text: String = headers.into_iter().map(|(_, text)| text).collect();
        let mut looked_at = 0;
        for line in text.lines().filter(|line| !line.starts_with([' ', '/', '#', '}'])) {
            let Some((before, _)) = line.split_once('(') else { continue };
            let Some(name) = before.rsplit([' ', '*']).next() else { continue };
            if name.starts_with("durstream_") {
                looked_at += 1;
                assert!(pages.contains_key(name), "{name} has no page");
            }
        }
        assert!(looked_at > 150, "{looked_at}");
        for name in [
            "durstream",
            "durstream_code",
            "durstream_stats",
            "durstream_producer",
            "durstream_error_callback",
            "DURSTREAM_CHECK_VERSION",
        ] {
            assert!(pages.contains_key(name), "{name} has no page");
        }
    }

    #[test]
    fn a_page_says_what_the_header_says() {
        let text = "// Frees it (`a`; b), and more; NULL is fine.\n//\n// Errors: `DURSTREAM_FORKED`: in a child.\n\
                    // .It\ndurstream_code durstream_x_free(durstream_x *x,\n    int a-b);\n\n\
                    // A thing.\ntypedef struct durstream_x durstream_x;\n\n// --- Parts ---\n\n// Of\n#if 0\n";
        let pages = pages(&[("durstream.h", text.to_owned())]);
        assert_eq!(pages.keys().collect::<Vec<_>>(), ["durstream_x", "durstream_x_free"]);
        let page = &pages["durstream_x_free"];
        let parts = [
            "durstream_x_free \\- Frees it (a; b), and more\n",
            "durstream_code durstream_x_free(durstream_x *x,\n    int a\\-b);\n.fi",
            ".SH DESCRIPTION\nFrees it (\\fBa\\fR; b), and more; NULL is fine.\n",
            ".SH ERRORS\n\\fBDURSTREAM_FORKED\\fR: in a child.\n\\&.It\n",
            ".SH SEE ALSO\n.BR durstream (3) ,\n.BR durstream_x (3)\n",
        ];
        for part in parts {
            assert!(page.contains(part), "{part:?} is not in {page}");
        }
    }
}

//! `install-c`: the C library where a system, or the maker of a package, wants it.

use std::path::{Component, Path, PathBuf};

use crate::artefacts;
use crate::stage;
use durstream_tests::console;
use durstream_tests::failure::Result;
use durstream_tests::tree::Tree;
use lexopt::prelude::*;

/// Where to install.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    prefix: PathBuf,
    libdir: String,
}

/// `install-c --prefix DIR [--libdir NAME] [--destdir DIR]`
pub(crate) fn install_c(tree: &Tree, arguments: &[String]) -> Result<u8> {
    let place = place(arguments)?;
    artefacts::c_library(tree)?;
    stage::fill_at(tree, &place.prefix, &place.libdir)?;
    stage::add_tool(tree, &place.prefix)?;
    console::line(&format!("installed in {}", place.prefix.display()));
    Ok(0)
}

fn place(arguments: &[String]) -> Result<Place> {
    let (mut prefix, mut libdir, mut destdir) = (None, stage::LIB.to_owned(), None);
    let mut words = lexopt::Parser::from_args(arguments);
    while let Some(word) = words.next()? {
        match word {
            Long("prefix") => prefix = Some(PathBuf::from(words.value()?)),
            Long("libdir") => libdir = words.value()?.string()?,
            Long("destdir") => destdir = Some(PathBuf::from(words.value()?)),
            other => return Err(other.unexpected().into()),
        }
    }
    let prefix = prefix.ok_or("install-c needs --prefix DIR")?;
    let libdir = below(&prefix, &libdir)?;
    let prefix = match destdir {
        // Put before an absolute prefix, not replaced by it.
        Some(destdir) => prefix
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .fold(destdir, |path, part| path.join(part)),
        None => prefix,
    };
    Ok(Place { prefix, libdir })
}

/// The folder of the libraries relative to the prefix; distributions give whole paths.
fn below(prefix: &Path, libdir: &str) -> Result<String> {
    let path = Path::new(libdir);
    let inside = path.strip_prefix(prefix).unwrap_or(path);
    let is_plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
    match inside.to_str() {
        Some(text) if is_plain && !text.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("--libdir {libdir} is not below the prefix").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_the_arguments() {
        let read = |words: &str| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            place(&words).map_err(|failure| failure.to_string())
        };
        let at = |prefix: &str, libdir: &str| {
            Ok(Place { prefix: prefix.into(), libdir: libdir.to_owned() })
        };
        assert_eq!(read("--prefix /usr"), at("/usr", "lib"));
        assert_eq!(read("--prefix /usr --libdir lib64"), at("/usr", "lib64"));
        assert_eq!(
            read("--prefix /usr --libdir /usr/lib/x86_64-a-b"),
            at("/usr", "lib/x86_64-a-b")
        );
        assert_eq!(read("--destdir /tmp/a --prefix /usr"), at("/tmp/a/usr", "lib"));
        for wrong in [
            "",
            "--prefix",
            "--libdir lib",
            "--prefix /usr --libdir /lib64",
            "--prefix /usr --libdir ../lib",
            "--prefix /usr --libdir /usr",
            "--prefix /usr --includedir x",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}

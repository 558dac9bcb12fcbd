//! Something that a release uploads, and what is known about it.

use std::fs;
use std::path::{Path, PathBuf};

use durstream_tests::failure::{Context, Result};

/// When everything that is packed was made, in seconds since 1970: the same bytes whenever it is done.
pub(crate) const SAME_TIME: &str = "1577836800";

/// One file.
pub(crate) struct Artefact {
    pub(crate) file: PathBuf,
    /// The platform's name; empty for those that serve all.
    pub(crate) platform: &'static str,
    /// What it takes once it is installed.
    pub(crate) unpacked: u64,
    pub(crate) glibc: Option<(u32, u32)>,
    /// How it was installed and what ran then.
    pub(crate) tried: Vec<Tried>,
    /// Why it was not, where it was not.
    pub(crate) untried: &'static str,
}

/// An attempt that worked.
pub(crate) struct Tried {
    pub(crate) installed: String,
    pub(crate) ran: String,
}

impl Artefact {
    pub(crate) fn new(file: PathBuf, platform: &'static str, unpacked: u64) -> Self {
        Self {
            file,
            platform,
            unpacked,
            glibc: None,
            tried: Vec::new(),
            untried: "nothing to run it is at hand",
        }
    }

    pub(crate) fn name(&self) -> String {
        self.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The npm package of its platform.
    pub(crate) fn platform_package(&self) -> String {
        format!("durstream-{}", self.platform)
    }

    pub(crate) fn bytes(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |metadata| metadata.len())
    }

    pub(crate) fn tried(&mut self, installed: &str, ran: &str) {
        self.tried.push(Tried { installed: installed.to_owned(), ran: ran.to_owned() });
    }
}

/// What a folder's files take.
pub(crate) fn size_of(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).context(folder.display())?.flatten() {
        let metadata = entry.metadata().context(entry.path().display())?;
        bytes += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// The one file of a folder whose name ends like this.
pub(crate) fn only(folder: &Path, end: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).context(folder.display())?.flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(end));
    match &files[..] {
        [file] => Ok(file.clone()),
        _ => Err(format!("{} has {} files *{end}", folder.display(), files.len()).into()),
    }
}

/// An artefact that is larger than was promised.
pub(crate) fn at_most(file: &Path, bytes: u64, most: u64) -> Result {
    if bytes <= most {
        return Ok(());
    }
    Err(format!("{} takes {bytes} bytes, more than {most}", file.display()).into())
}

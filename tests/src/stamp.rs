//! Knows whether work is already done, for tools that do not know it themselves.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::path::{Path, PathBuf};

use crate::failure::{Context, Result};

/// Folders that hold products or things that do not go into products.
const SKIPPED: [&str; 7] =
    ["node_modules", "dist", "native", "target", "__pycache__", "tests", "examples"];

/// A file that holds the fingerprint of the inputs some work was last done for.
pub struct Stamp {
    file: PathBuf,
    fingerprint: String,
}

impl Stamp {
    /// Fingerprints the content of `inputs` (files, or folders without their products) and `extra`.
    pub fn new(file: PathBuf, inputs: &[PathBuf], extra: &str) -> Result<Self> {
        let mut hasher = DefaultHasher::new();
        hasher.write(extra.as_bytes());
        for input in inputs {
            add(&mut hasher, input)?;
        }
        Ok(Self { file, fingerprint: format!("{:016x}", hasher.finish()) })
    }

    /// Whether the work was done for what the inputs are now.
    pub fn is_current(&self) -> bool {
        std::fs::read_to_string(&self.file).is_ok_and(|text| text == self.fingerprint)
    }

    /// The work is not done.
    pub fn remove(&self) {
        // A missing stamp is what is wanted.
        let _ = std::fs::remove_file(&self.file);
    }

    /// The work is done.
    ///
    /// # Errors
    /// If that cannot be noted.
    pub fn write(&self) -> Result {
        std::fs::write(&self.file, &self.fingerprint).context(self.file.display())
    }
}

fn add(hasher: &mut DefaultHasher, path: &Path) -> Result {
    hasher.write(path.to_string_lossy().as_bytes());
    if path.is_dir() {
        let entries = std::fs::read_dir(path).context(path.display())?;
        let mut children = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<Vec<_>>>()
            .context(path.display())?;
        children.sort();
        for child in children.iter().filter(|child| !is_skipped(child)) {
            add(hasher, child)?;
        }
    } else if path.exists() {
        let bytes = std::fs::read(path).context(path.display())?;
        hasher.write_usize(bytes.len());
        hasher.write(&bytes);
    }
    Ok(())
}

fn is_skipped(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || SKIPPED.contains(&name.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_current_until_an_input_changes() {
        let folder = std::env::temp_dir().join(format!("xtask-stamp-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("dist")).unwrap();
        let source = folder.join("source");
        std::fs::write(&source, "one").unwrap();
        let stamp = |extra: &str| {
            Stamp::new(folder.join(".stamp"), std::slice::from_ref(&folder), extra).unwrap()
        };

        assert!(!stamp("").is_current());
        stamp("").write().unwrap();
        std::fs::write(folder.join("dist/product"), "not an input").unwrap();
        assert!(stamp("").is_current());
        assert!(!stamp("another tool").is_current());
        std::fs::write(&source, "two").unwrap();
        assert!(!stamp("").is_current());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

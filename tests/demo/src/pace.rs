//! Slows a service down without its knowing: its ledger is a pipe, from which no more is taken than its
//! pace allows. What is taken goes into the ledger's file.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use durstream_tests::failure::{Context, Result};

/// As much as the smallest pipe holds. A service runs ahead by the lines in it.
const PAGE: usize = 4096;

pub(crate) struct Pace {
    path: PathBuf,
    pipe: File,
    ledger: File,
    each_second: f64,
    /// So many lines may be taken; below 0 where more were taken at once.
    allowed: f64,
    last: Instant,
}

impl Pace {
    /// Makes a pipe beside a ledger.
    pub(crate) fn new(ledger: &Path, each_second: f64) -> Result<Self> {
        let path = ledger.with_extension("pipe");
        let pipe = named_pipe(&path)?;
        let ledger = File::create(ledger).context(ledger.display())?;
        Ok(Self { path, pipe, ledger, each_second, allowed: 0.0, last: Instant::now() })
    }

    /// What the service takes for its ledger.
    pub(crate) fn pipe(&self) -> &Path {
        &self.path
    }

    /// Takes what there is: as much as the pace allows, or all.
    pub(crate) fn advance(&mut self, all: bool) -> Result {
        // A service that was busy for long does not catch up in a burst.
        let seconds = self.last.elapsed().as_secs_f64();
        self.allowed = (self.allowed + seconds * self.each_second).min(self.each_second.max(1.0));
        self.last = Instant::now();
        while all || self.allowed >= 1.0 {
            let mut page = [0; PAGE];
            let length = match self.pipe.read(&mut page) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error).context(self.path.display()),
            };
            if length == 0 {
                break;
            }
            self.ledger.write_all(&page[..length]).context("the ledger")?;
            self.allowed -= page[..length].iter().filter(|byte| **byte == b'\n').count() as f64;
        }
        Ok(())
    }
}

/// A new pipe, opened for reading without waiting for a writer, that holds little.
#[cfg(unix)]
fn named_pipe(path: &Path) -> Result<File> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::OpenOptionsExt;

    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).context(path.display())?;
    // SAFETY: the name ends with a zero and outlives the call.
    if unsafe { libc::mkfifo(name.as_ptr(), 0o600) } != 0 {
        return Err(std::io::Error::last_os_error()).context(path.display());
    }
    let mut options = File::options();
    let pipe = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let pipe = pipe.context(path.display())?;
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        // Elsewhere a service runs ahead by what a pipe holds. It may here too, where this is refused.
        // SAFETY: the descriptor is open, and the call touches no memory.
        unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, PAGE as libc::c_int) };
    }
    Ok(pipe)
}

#[cfg(not(unix))]
fn named_pipe(_: &Path) -> Result<File> {
    Err("--web needs named pipes, which Linux and macOS have".into())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("durstream-{name}-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        folder.join("a.ledger")
    }

    #[test]
    fn no_more_is_taken_than_the_pace_allows_until_all_is() {
        let path = ledger("pace");
        // One line in a hundred years.
        let mut pace = Pace::new(&path, 3e-10).unwrap();
        let mut service = File::options().append(true).open(pace.pipe()).unwrap();
        let mut write = |text: &str| service.write_all(text.as_bytes()).unwrap();
        let read = || std::fs::read_to_string(&path).unwrap();
        write("one\ntwo\n");
        pace.advance(false).unwrap();
        assert_eq!(read(), "");
        pace.allowed = 1.0;
        pace.advance(false).unwrap();
        assert_eq!(read(), "one\ntwo\n");
        // One was too many.
        write("three\n");
        pace.allowed += 1.0;
        pace.advance(false).unwrap();
        assert_eq!(read(), "one\ntwo\n");
        pace.advance(true).unwrap();
        assert_eq!(read(), "one\ntwo\nthree\n");
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_service_waits_once_the_pipe_is_full() {
        use std::os::unix::fs::OpenOptionsExt;

        let path = ledger("full");
        let mut pace = Pace::new(&path, 3e-10).unwrap();
        let mut options = File::options();
        let mut service =
            options.append(true).custom_flags(libc::O_NONBLOCK).open(pace.pipe()).unwrap();
        service.write_all(&[b'a'; PAGE]).unwrap();
        assert_eq!(service.write(b"b").unwrap_err().kind(), ErrorKind::WouldBlock);
        pace.advance(true).unwrap();
        assert_eq!(service.write(b"b").unwrap(), 1);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}

//! A browser that looks at the board: to test it, or to take its picture.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use durstream_tests::failure::Result;
use durstream_tests::process::Guarded;
use durstream_tests::signals;
use durstream_tests::tree::Tree;

/// The page, and what a browser does on it.
pub(crate) const FOLDER: &str = "tests/demo/web";
const LIMIT: Duration = Duration::from_secs(300);
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// What it does there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Errand {
    Test,
    /// Takes pictures into a folder.
    Pictures(PathBuf),
}

pub(crate) struct Browser {
    process: Guarded,
    started: Instant,
}

impl Browser {
    /// Starts it, and waits until it shows the page, so that it sees all.
    pub(crate) fn start(
        tree: &Tree,
        folder: &Path,
        errand: &Errand,
        page: &str,
        server: &str,
    ) -> Result<Self> {
        let open = folder.join("open");
        let mut node = Command::new("node");
        match errand {
            Errand::Test => node.args(["--test", "board.test.mjs"]),
            Errand::Pictures(folder) => node.arg("pictures.mjs").arg(folder),
        };
        node.current_dir(tree.root.join(FOLDER)).stdin(Stdio::null());
        node.env("BOARD_CHROMIUM", chromium()?).env("BOARD_URL", page);
        node.env("DURABLE_STREAMS_URL", server).env("BOARD_OPEN", &open);
        let process = Guarded::spawn(signals::die_with_us(&mut node))?;
        let mut browser = Self { process, started: Instant::now() };
        while !open.exists() && browser.is_running()? {
            signals::check()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(browser)
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> Result<bool> {
        if self.started.elapsed() > LIMIT {
            self.process.kill();
        }
        Ok(self.process.poll()?.is_none())
    }

    /// Whether it did what it was to do.
    pub(crate) fn end(mut self) -> Result {
        match self.process.wait(Some(LIMIT), || ())? {
            status if status.success() => Ok(()),
            status => Err(format!("the browser's program failed: {status}").into()),
        }
    }
}

/// The installed browser; an error that says what was looked for.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM").filter(|name| !name.is_empty()) {
        return Ok(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let places = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = places.into_iter().find(|place| place.is_file());
    found.ok_or_else(|| {
        format!("no Chromium: {} are not there, nor is CHROMIUM set", NAMES.join(", ")).into()
    })
}

//! What every row needs: the programs, a folder, and the reading back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::writer::{Job, Told, Writer};
use durstream_tests::failure::Result;
use durstream_tests::numbered::{Found, Kind};
use durstream_tests::proxy::{Proxy, Settings};
use durstream_tests::readback;
use durstream_tests::server::{Durability, Server};
use durstream_tests::signals;
use durstream_tests::tree::Tree;

/// A row that takes longer hangs.
pub(crate) const ROW_LIMIT: Duration = Duration::from_secs(60);
/// The package of the writer, and its program.
pub(crate) const WRITER: &str = "durstream-faults-writer";
/// Where the reference server is.
pub(crate) const REFERENCE: &str = "tests/faults/reference";
const TICK: Duration = Duration::from_millis(2);

/// The programs and the seed of a run.
#[derive(Clone)]
pub(crate) struct Stage<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) seed: u64,
    writer: PathBuf,
    /// Where a row keeps what is its own.
    pub(crate) folder: PathBuf,
    /// The folder with the reference server.
    pub(crate) reference: PathBuf,
}

/// What a row came to.
#[derive(Default)]
pub(crate) struct Ran {
    /// How often the fault happened.
    pub(crate) injected: u64,
    pub(crate) told: Vec<Told>,
    pub(crate) stream: Vec<Found>,
    /// What the row itself found wrong.
    pub(crate) problems: Vec<String>,
}

impl<'a> Stage<'a> {
    /// Everything it needs is built.
    pub(crate) fn prepare(tree: &'a Tree, seed: u64) -> Result<Self> {
        Ok(Self {
            tree,
            seed,
            writer: tree.release(&format!("{WRITER}{}", std::env::consts::EXE_SUFFIX)),
            folder: tree.fresh_directory("faults")?,
            reference: tree.root.join(REFERENCE),
        })
    }

    /// This stage with a folder of its own: rows run beside each other.
    pub(crate) fn of_row(&self, index: usize) -> Result<Self> {
        self.named(&index.to_string())
    }

    /// This stage with a folder of that name.
    pub(crate) fn named(&self, name: &str) -> Result<Self> {
        let folder = self.tree.directory(&format!("faults/{name}"))?;
        Ok(Self { folder, ..self.clone() })
    }

    /// A fresh official server.
    pub(crate) fn server(&self, durability: Durability) -> Result<Server> {
        Server::start_as(self.tree, durability)
    }

    /// A proxy in front of a server; it keeps no bodies.
    pub(crate) fn proxy(&self, server: SocketAddr) -> Result<Proxy> {
        let settings = Settings { seed: self.seed, max_body_bytes: 0, ..Settings::default() };
        Proxy::start_with(server, settings)
    }

    pub(crate) fn start(&self, job: Job) -> Result<Writer> {
        Writer::start(&self.writer, &self.folder, job)
    }

    /// Waits until something holds.
    pub(crate) fn wait(&self, mut holds: impl FnMut() -> Result<bool>) -> Result {
        let started = Instant::now();
        while !holds()? {
            signals::check()?;
            if started.elapsed() > ROW_LIMIT {
                return Err(format!("waited for {} s", ROW_LIMIT.as_secs()).into());
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// Runs a writer for each job to its end, calling `tick` with how many writes are settled.
    pub(crate) fn run(
        &self,
        jobs: &[Job],
        mut tick: impl FnMut(usize) -> Result,
    ) -> Result<Vec<Told>> {
        let start = |job: &Job| self.start(job.clone());
        let mut writers = jobs.iter().map(start).collect::<Result<Vec<Writer>>>()?;
        let started = Instant::now();
        loop {
            signals::check()?;
            let mut running = false;
            for writer in &mut writers {
                running |= writer.is_running()?;
            }
            if !running {
                return writers.into_iter().map(|writer| writer.finish(ROW_LIMIT)).collect();
            }
            if started.elapsed() > ROW_LIMIT {
                return Err(format!("not done after {} s", ROW_LIMIT.as_secs()).into());
            }
            tick(writers.iter().map(Writer::settled).sum())?;
            std::thread::sleep(TICK);
        }
    }
}

/// Every record of a job's stream, read past any proxy.
pub(crate) fn read(server: SocketAddr, kind: Kind, stream_path: &str) -> Result<Vec<Found>> {
    kind.read(&readback::read_pages(server, stream_path)?)
}

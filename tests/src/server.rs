//! The official server that the demo and the tests write to: `cargo xtask` installs it, each user
//! starts one.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::failure::{Context, Result};
use crate::http;
use crate::process::{self, Guarded};
use crate::signals;
use crate::tool::Tool;
use crate::tree::Tree;

/// Which one it is.
pub const OFFICIAL: Tool = Tool {
    crate_name: "durable-streams",
    version: "0.1.5",
    binary: "durable-streams-server",
    features: "",
};

/// The one that runs on several nodes. It builds for a quarter of an hour.
pub const URSULA: Tool =
    Tool { crate_name: "ursula", version: "0.11.5", binary: "ursula", features: "" };

const START_LIMIT: Duration = Duration::from_secs(20);
/// A port found free may be taken by the time the server binds it.
const START_ATTEMPTS: usize = 3;
/// How many this process has started: each has a folder of its own.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// Whether a server keeps what it acknowledged when it is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Durability {
    /// It does not: for tests that do not kill it.
    Memory,
    /// It does.
    Disk,
}

impl Durability {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Durability::Memory => &["--durability", "memory"],
            // Small enough to be read back in no time.
            Durability::Disk => &["--wal-shards", "1", "--wal-segment-bytes", "16777216"],
        }
    }
}

/// A running server with its own empty data; both end with this value.
pub struct Server {
    address: SocketAddr,
    binary: PathBuf,
    durability: Durability,
    // Declared before the data: the process ends first.
    process: Guarded,
    data: Data,
}

struct Data(PathBuf);

impl Drop for Data {
    fn drop(&mut self) {
        // What is left is below target/ and harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Server {
    /// Starts the installed server on a free port and waits until it answers. It keeps nothing.
    ///
    /// # Errors
    /// If it is not installed, or does not answer.
    pub fn start(tree: &Tree) -> Result<Self> {
        Self::start_as(tree, Durability::Memory)
    }

    /// Starts the installed server on a free port and waits until it answers.
    ///
    /// # Errors
    /// If it is not installed, or does not answer.
    pub fn start_as(tree: &Tree, durability: Durability) -> Result<Self> {
        let binary = OFFICIAL.place(tree);
        let mut last = None;
        for _ in 0..START_ATTEMPTS {
            signals::check()?;
            let number = STARTED.fetch_add(1, Ordering::Relaxed);
            let name = format!("servers/{}-{number}", std::process::id());
            match Self::start_once(tree.fresh_directory(&name)?, &binary, durability) {
                Ok(server) => return Ok(server),
                Err(failure) => last = Some(failure),
            }
        }
        Err(last.unwrap_or_else(|| "the server did not start".into()))
    }

    fn start_once(directory: PathBuf, binary: &Path, durability: Durability) -> Result<Self> {
        let data = Data(directory);
        let address = free_address()?;
        let process = launch(&data, binary, durability, address)?;
        Ok(Self { address, binary: binary.to_path_buf(), durability, process, data })
    }

    /// Kills the server and starts it again on what it kept, at the same address; how long nobody
    /// answered there.
    pub fn kill_and_restart(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.kill();
        self.restart()?;
        Ok(started.elapsed())
    }

    /// Kills the server; [`Server::restart`] brings it back.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks the server to end, kills it if it has not by then, and starts it again; whether it
    /// ended by itself.
    pub fn stop_and_restart(&mut self, grace: Duration) -> Result<bool> {
        self.process.terminate();
        let ended = self.process.wait(Some(grace), || ()).is_ok();
        self.process.kill();
        self.restart()?;
        Ok(ended)
    }

    /// Starts a server that has ended again on what it kept, at the same address.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn restart(&mut self) -> Result {
        let started = Instant::now();
        loop {
            match launch(&self.data, &self.binary, self.durability, self.address) {
                Ok(process) => {
                    self.process = process;
                    return Ok(());
                }
                // A client that tries to connect may hold the port for a moment.
                Err(_) if started.elapsed() < START_LIMIT => signals::check()?,
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The id of its process, which a restart changes.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Whether its process has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.poll(), Ok(None))
    }
}

fn launch(
    data: &Data,
    binary: &Path,
    durability: Durability,
    address: SocketAddr,
) -> Result<Guarded> {
    let log = data.0.join("server.log");
    let output = File::options().create(true).append(true).open(&log).context(log.display())?;
    let errors = output.try_clone().context(log.display())?;
    let mut command = Command::new(binary);
    command.args(["--port", &address.port().to_string()]).args(durability.arguments());
    command.arg("--data-dir").arg(data.0.join("data"));
    command.stdin(std::process::Stdio::null()).stdout(output).stderr(errors);
    signals::own_group(signals::die_with_us(&mut command));
    let mut process = Guarded::spawn(&mut command)?;
    wait_until_ready(&mut process, address)
        .map_err(|failure| process::with_tail(&failure, &log))?;
    Ok(process)
}

/// An address on this machine that was free a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a port")?;
    listener.local_addr().context("looking for a port")
}

fn wait_until_ready(process: &mut Guarded, address: SocketAddr) -> Result {
    let started = Instant::now();
    loop {
        signals::check()?;
        if let Some(status) = process.poll()? {
            return Err(format!("the server ended at once: {status}").into());
        }
        if http::get(address, "/health").is_ok_and(|answer| answer.status == 200) {
            return Ok(());
        }
        if started.elapsed() > START_LIMIT {
            return Err(format!("no answer from the server at {address}").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

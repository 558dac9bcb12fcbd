//! Three nodes of ursula, and what can happen to each.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::link::Link;
use durstream_tests::failure::{Context, Result};
use durstream_tests::http;
use durstream_tests::process::{self, Guarded};
use durstream_tests::server::{URSULA, free_address};
use durstream_tests::signals;
use durstream_tests::tree::Tree;

pub(super) const NODES: usize = 3;
pub(super) const START_LIMIT: Duration = Duration::from_secs(60);
/// The bucket of every stream.
pub(super) const BUCKET: &str = "faults";

pub(super) struct Cluster {
    binary: PathBuf,
    nodes: Vec<Node>,
    /// From each node to each other one.
    links: Vec<(usize, usize, Link)>,
}

struct Node {
    address: SocketAddr,
    between: SocketAddr,
    folder: PathBuf,
    process: Option<Guarded>,
}

impl Cluster {
    /// Starts three nodes on fresh data and waits until they take writes.
    pub(super) fn start(tree: &Tree, folder: &Path) -> Result<Self> {
        let node = |number: usize| -> Result<Node> {
            let folder = folder.join(format!("node-{number}"));
            std::fs::create_dir_all(&folder).context(folder.display())?;
            let (address, between) = (free_address()?, free_address()?);
            Ok(Node { address, between, folder, process: None })
        };
        let nodes = (0..NODES).map(node).collect::<Result<Vec<_>>>()?;
        let pairs = (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to)));
        let links = pairs
            .filter(|(from, to)| from != to)
            .map(|(from, to)| Ok((from, to, Link::to(nodes[to].between)?)))
            .collect::<Result<Vec<_>>>()?;
        let mut cluster = Self { binary: URSULA.place(tree), nodes, links };
        for number in 0..NODES {
            let text = cluster.settings(number)?;
            let path = cluster.nodes[number].folder.join("node.toml");
            std::fs::write(&path, text).context(path.display())?;
        }
        (0..NODES).try_for_each(|number| cluster.launch(number))?;
        (0..NODES).try_for_each(|number| cluster.await_ready(number))?;
        Ok(cluster)
    }

    fn settings(&self, number: usize) -> Result<String> {
        let own = &self.nodes[number];
        let admin = free_address()?;
        let mut text = format!(
            "[server]\nlisten = \"{}\"\ncluster_listen = \"{}\"\nadmin_listen = \"{admin}\"\n\
             cluster_id = \"durstream-faults\"\n[runtime]\ncore_count = 1\n\
             [raft]\nnode_id = {}\ngroup_count = 4\n[raft.wal]\npath = \"{}\"\n\
             fsync = \"always\"\n[raft.placement]\nreplication_factor = 3\n\
             [storage.cold]\nbackend = \"none\"\nmax_hot_size_per_group = \"0\"\n",
            own.address,
            own.between,
            number + 1,
            own.folder.join("wal").display(),
        );
        for (peer, node) in self.nodes.iter().enumerate() {
            let link = self.links.iter().find(|(from, to, _)| (*from, *to) == (number, peer));
            let between = link.map_or(own.between, |(_, _, link)| link.address);
            text += &format!(
                "[[raft.peers]]\nnode_id = {}\nurl = \"http://{between}\"\n\
                 client_url = \"http://{}\"\n",
                peer + 1,
                node.address
            );
        }
        Ok(text)
    }

    pub(super) fn launch(&mut self, number: usize) -> Result {
        let node = &mut self.nodes[number];
        let log = node.folder.join("node.log");
        let output = File::options().create(true).append(true).open(&log).context(log.display())?;
        let errors = output.try_clone().context(log.display())?;
        let mut command = Command::new(&self.binary);
        command.args(["server", "--config"]).arg(node.folder.join("node.toml"));
        command.env("RUST_LOG", "warn").stdin(Stdio::null()).stdout(output).stderr(errors);
        node.process =
            Some(Guarded::spawn(signals::own_group(signals::die_with_us(&mut command)))?);
        Ok(())
    }

    /// Waits until a node says that it is ready.
    pub(super) fn await_ready(&mut self, number: usize) -> Result {
        let started = Instant::now();
        let node = &mut self.nodes[number];
        loop {
            signals::check()?;
            let log = node.folder.join("node.log");
            let process = node.process.as_mut().ok_or("the node was not started")?;
            if let Some(status) = process.poll()? {
                let failure = format!("node {number} ended: {status}").into();
                return Err(process::with_tail(&failure, &log));
            }
            let ready = http::get_within(node.address, "/__ursula/ready", Duration::from_secs(1));
            if ready.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if started.elapsed() > START_LIMIT {
                let failure = format!("node {number} is not ready").into();
                return Err(process::with_tail(&failure, &log));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where clients reach each node.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// The option `endpoints`, beginning with one of the nodes.
    pub(super) fn endpoints(&self, first: usize) -> String {
        let from = |n: usize| format!("http://{}", self.nodes[(first + n) % NODES].address);
        (0..NODES).map(from).collect::<Vec<_>>().join(",")
    }

    pub(super) fn number_of(&self, address: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.address.to_string() == address)
    }

    pub(super) fn kill(&mut self, number: usize) {
        self.nodes[number].process = None; // who is dropped is killed
    }

    /// Stops it for a while, as a machine does that swaps or is moved.
    pub(super) fn freeze(&self, number: usize, is_frozen: bool) -> Result {
        let process = self.nodes[number].process.as_ref().ok_or("it does not run")?;
        process.freeze(is_frozen)
    }

    /// Asks it to end, as a deploy does, and waits for that.
    pub(super) fn stop(&mut self, number: usize) -> Result {
        let Some(mut process) = self.nodes[number].process.take() else { return Ok(()) };
        process.terminate();
        process.wait(Some(START_LIMIT), || ()).map(drop)
    }

    /// Starts it again, on what it kept.
    pub(super) fn start_again(&mut self, number: usize) -> Result {
        let started = Instant::now();
        loop {
            self.launch(number)?;
            match self.await_ready(number) {
                // A client that tries to connect may hold the port for a moment.
                Err(_) if started.elapsed() < START_LIMIT && self.has_ended(number) => {}
                ready => return ready,
            }
        }
    }

    fn has_ended(&mut self, number: usize) -> bool {
        let process = self.nodes[number].process.as_mut();
        process.is_none_or(|process| !matches!(process.poll(), Ok(None)))
    }

    /// Takes from a node that does not run what it kept.
    pub(super) fn wipe(&self, number: usize) -> Result {
        let wal = self.nodes[number].folder.join("wal");
        std::fs::remove_dir_all(&wal).context(wal.display())
    }

    /// Cuts a node off from the others, or mends that; clients still reach it.
    pub(super) fn cut_off(&self, number: usize, is_cut: bool) {
        let touches = |(from, to, _): &&(usize, usize, Link)| [*from, *to].contains(&number);
        self.links.iter().filter(touches).for_each(|(_, _, link)| link.set_cut(is_cut));
    }
}

//! Who has an outbox open: a file beside the lock, for people and for the error of whoever comes
//! second. The lock decides; `real::is_locked` asks for it without harm.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// The names of the files.
pub(crate) const LOCK: &str = "lock";
pub(crate) const OWNER: &str = "owner.json";

/// The process that opened an outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) host: String,
    /// What tells this process from others that had its number.
    #[serde(default)]
    pub(crate) started: String,
}

impl Owner {
    pub(crate) fn this_process() -> Self {
        Owner { pid: std::process::id(), host: host(), started: started(std::process::id()) }
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("text and numbers")
    }

    /// Whether it is this process for certain.
    pub(crate) fn is_this_process(&self) -> bool {
        !self.started.is_empty() && *self == Owner::this_process()
    }

    pub(crate) fn this_process_owns(folder: &Path) -> bool {
        let owner = std::fs::read(folder.join(OWNER)).ok().and_then(|bytes| Owner::parse(&bytes));
        owner.is_some_and(|owner| owner == Owner::this_process())
    }

    pub(crate) fn shown(owner: Option<&Owner>) -> String {
        match owner {
            Some(owner) if owner.host.is_empty() => format!("process {} has it open", owner.pid),
            Some(owner) => format!("process {} on {} has it open", owner.pid, owner.host),
            None => "another process has it open".to_owned(),
        }
    }
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// The machine's start, and the process's since then.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn started(pid: u32) -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let about = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program, in brackets, may hold spaces; the start is the 20th field behind it.
    let ticks = about.rsplit_once(')').and_then(|(_, rest)| rest.split(' ').nth(20));
    ticks.map_or(String::new(), |ticks| format!("{} {ticks}", boot.trim()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn started(_: u32) -> String {
    String::new()
}

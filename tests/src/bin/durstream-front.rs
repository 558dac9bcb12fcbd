//! `durstream-front --upstream ADDRESS FOLDER`: TLS before a server, and a proxy, as a process.
//!
//! It writes `ca.pem`, `client.pem` and `client.key` into the folder, prints one line of JSON,
//! `{"url":...,"mutual":...,"proxy":...}`, and ends when its standard input does. Who asks `mutual`
//! has to show the client's certificate; who uses the proxy has to give its user and password.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use durstream_tests::beside;
use durstream_tests::failure::{Context, Result};
use durstream_tests::network::authority::Authority;
use durstream_tests::network::forward::ForwardProxy;
use durstream_tests::network::front::{Front, config};
use lexopt::prelude::*;
use serde_json::{Value, json};

/// Of `user` and `p@ss`.
const CREDENTIALS: &str = "Basic dXNlcjpwQHNz";

fn main() -> ExitCode {
    beside::main("durstream-front", start)
}

fn start() -> Result<(Value, (Front, Front))> {
    let (upstream, folder) = arguments()?;
    let (authority, clients) = (Authority::new("servers")?, Authority::new("clients")?);
    let (server, client) = (authority.server(&["localhost"])?, clients.client("a client")?);
    write(&folder, "ca.pem", authority.pem())?;
    write(&folder, "client.pem", &client.certificate)?;
    write(&folder, "client.key", &client.key)?;
    let front = Front::start(upstream, config(&server, None)?)?;
    let mutual = Front::start(upstream, config(&server, Some(clients.pem()))?)?;
    let proxy = ForwardProxy::start(Some(CREDENTIALS))?;
    let proxy = format!("http://user:p%40ss@{}", proxy.address());
    let line = json!({ "url": front.url(), "mutual": mutual.url(), "proxy": proxy });
    Ok((line, (front, mutual)))
}

fn write(folder: &Path, name: &str, text: &str) -> Result {
    let path = folder.join(name);
    std::fs::write(&path, text).context(path.display())
}

fn arguments() -> Result<(SocketAddr, PathBuf)> {
    let (mut upstream, mut folder) = (None, None);
    let mut words = lexopt::Parser::from_env();
    while let Some(word) = words.next()? {
        match word {
            Long("upstream") => upstream = Some(beside::address(&words.value()?.string()?)?),
            Value(value) => folder = Some(PathBuf::from(value)),
            other => return Err(other.unexpected().into()),
        }
    }
    let usage = "use: durstream-front --upstream ADDRESS FOLDER";
    Ok((upstream.ok_or(usage)?, folder.ok_or(usage)?))
}

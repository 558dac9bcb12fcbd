//! `durstream-proxy --upstream ADDRESS [--seed N]`: the fault proxy as a process.
//!
//! Prints one line of JSON, `{"url":...,"control":...}`, and ends when its standard input does.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use durstream_tests::beside;
use durstream_tests::failure::Result;
use durstream_tests::proxy::control::Control;
use durstream_tests::proxy::{Proxy, Settings};
use lexopt::prelude::*;
use serde_json::{Value, json};

fn main() -> ExitCode {
    beside::main("durstream-proxy", start)
}

fn start() -> Result<(Value, (Arc<Proxy>, Control))> {
    let (upstream, settings) = arguments()?;
    let proxy = Arc::new(Proxy::start_with(upstream, settings)?);
    let control = Control::start(proxy.clone())?;
    let line = json!({ "url": proxy.url(), "control": control.url() });
    Ok((line, (proxy, control)))
}

fn arguments() -> Result<(SocketAddr, Settings)> {
    let mut upstream = None;
    let mut settings = Settings::default();
    let mut words = lexopt::Parser::from_env();
    while let Some(word) = words.next()? {
        match word {
            Long("upstream") => upstream = Some(beside::address(&words.value()?.string()?)?),
            Long("seed") => settings.seed = words.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let usage = "use: durstream-proxy --upstream ADDRESS [--seed N]";
    Ok((upstream.ok_or(usage)?, settings))
}

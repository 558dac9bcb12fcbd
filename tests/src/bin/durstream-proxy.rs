//! `durstream-proxy --upstream ADDRESS [--seed N]`: the fault proxy as a process.
//!
//! Prints one line of JSON, `{"url":...,"control":...}`, and ends when its standard input does.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use durstream_tests::failure::{Context, Result};
use durstream_tests::proxy::control::Control;
use durstream_tests::proxy::{Proxy, Settings};
use lexopt::prelude::*;
use serde_json::json;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("durstream-proxy: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result {
    let (upstream, settings) = arguments()?;
    let proxy = Arc::new(Proxy::start_with(upstream, settings)?);
    let control = Control::start(proxy.clone())?;
    let line = json!({ "url": proxy.url(), "control": control.url() });
    let mut output = std::io::stdout();
    writeln!(output, "{line}").and_then(|()| output.flush()).context("standard output")?;
    // Whoever started this holds the other end, and lets go of it however it ends.
    let mut input = std::io::stdin();
    while input.read(&mut [0; 1024]).is_ok_and(|bytes| bytes > 0) {}
    Ok(())
}

fn arguments() -> Result<(SocketAddr, Settings)> {
    let mut upstream = None;
    let mut settings = Settings::default();
    let mut words = lexopt::Parser::from_env();
    while let Some(word) = words.next()? {
        match word {
            Long("upstream") => {
                let value = words.value()?.string()?;
                let address = value.trim_start_matches("http://").trim_end_matches('/');
                upstream = Some(address.parse().context(&value)?);
            }
            Long("seed") => settings.seed = words.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let usage = "use: durstream-proxy --upstream ADDRESS [--seed N]";
    Ok((upstream.ok_or(usage)?, settings))
}

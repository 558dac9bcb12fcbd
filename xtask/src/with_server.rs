//! `with-server`: a command beside a fresh server.

use std::process::Command;

use durstream_tests::failure::Result;
use durstream_tests::process::{self, Guarded};
use durstream_tests::server::{OFFICIAL, Server};
use durstream_tests::tree::Tree;

/// `with-server -- CMD ARGS…`: runs a command beside a fresh server and passes its status on.
pub(crate) fn with_server(tree: &Tree, arguments: &[String]) -> Result<u8> {
    let words = arguments.strip_prefix(&["--".to_owned()]).unwrap_or(arguments);
    let Some((program, rest)) = words.split_first() else {
        return Err("with-server needs a command: cargo xtask with-server -- CMD ARGS…".into());
    };
    // The output belongs to the command: nothing is said when there is nothing to install.
    if !OFFICIAL.place(tree).exists() {
        OFFICIAL.install(tree, "server")?;
    }
    let server = Server::start(tree)?;
    let mut command = Command::new(program);
    process::forget_cargo(command.args(rest)).env("DURABLE_STREAMS_URL", server.url());
    let status = Guarded::spawn(&mut command)?.wait(None, || ())?;
    Ok(process::exit_code(status))
}

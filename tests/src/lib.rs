//! What tests, their harnesses and the project's commands share: servers and other processes, what a
//! person sees of them, and reading a stream back with nothing of ours between.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The blocks in Rust of the READMEs and of `docs/`, run as doctests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../README.md")]
    pub struct Readme;
    #[doc = include_str!("../../core/README.md")]
    pub struct CoreReadme;
    #[doc = include_str!("../../docs/rust.md")]
    pub struct Rust;
    #[doc = include_str!("../../docs/testing.md")]
    pub struct Testing;
}

pub mod audit;
pub mod beside;
pub mod compilers;
pub mod console;
pub mod facts;
pub mod failure;
mod failures;
pub mod harness;
pub mod http;
pub mod markdown;
pub mod needs;
pub mod network;
pub mod numbered;
pub mod process;
pub mod proxy;
pub mod quickstart;
pub mod random;
pub mod readback;
pub mod runner;
pub mod secrets;
pub mod server;
pub mod signals;
pub mod stamp;
pub mod step;
pub mod table;
pub mod tool;
pub mod tree;
pub mod writing;

/// The base URL of the server `cargo xtask with-server` started.
///
/// # Panics
/// If there is none: these tests have no meaning without a server.
pub fn server_url() -> String {
    std::env::var("DURABLE_STREAMS_URL")
        .expect("run these tests with `cargo xtask test`, or below `cargo xtask with-server --`")
}

/// The address of the server, to connect to.
///
/// # Panics
/// If the URL is not `http://` and an address.
pub fn server_address() -> SocketAddr {
    let url = server_url();
    let address =
        url.strip_prefix("http://").and_then(|rest| rest.trim_end_matches('/').parse().ok());
    address.expect("DURABLE_STREAMS_URL is http://ADDRESS:PORT")
}

/// A stream path nobody else uses.
pub fn fresh_path(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("/test/{name}-{}-{n}", std::process::id())
}

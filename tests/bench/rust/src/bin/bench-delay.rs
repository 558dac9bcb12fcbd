//! `bench-delay ADDRESS MS`: a proxy that adds to each round trip. Prints its URL, and ends when its
//! standard input does.
#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

use durstream_bench::{Result, answer};
use durstream_tests::proxy::{Fault, Proxy, Rule, Settings};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [upstream, ms] = arguments.as_slice() else {
        return Err("use: bench-delay ADDRESS MS".into());
    };
    // It keeps nothing of what goes through: that would cost time.
    let settings = Settings { max_body_bytes: 0, max_entries: 1, ..Settings::default() };
    let started = Proxy::start_with(upstream.parse()?, settings);
    let proxy = started.map_err(|failure| failure.to_string())?;
    let added = proxy.add(Rule::new(Fault::Latency { ms: ms.parse()? }));
    added.map_err(|failure| failure.to_string())?;
    answer(&proxy.url())
}

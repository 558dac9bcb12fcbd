//! Networks as they are: names, TLS, proxies, and servers that speak HTTP in odd ways.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

#[cfg(target_os = "linux")]
mod names;
mod odd_servers;
mod proxies;
mod tls;

use durstream_core::{DurableStream, Error, IdempotentProducer, Options};
use durstream_tests::fresh_path;
use durstream_tests::network::authority::Authority;
use durstream_tests::network::front::{Front, config};
use durstream_tests::server_address;

/// A stream of its own below a base, tried once.
fn options(base: &str) -> Options {
    let url = format!("{}/v1/stream{}", base.trim_end_matches('/'), fresh_path("networks"));
    Options::new().url(url).content_type("text/plain").max_retries(0u64)
}

/// A front with a certificate for `localhost`.
fn front_of(authority: &Authority) -> Front {
    let pair = authority.server(&["localhost"]).unwrap();
    Front::start(server_address(), config(&pair, None).unwrap()).unwrap()
}

/// Writes through a new handle, and reads it back.
fn write_and_read(options: Options) -> Result<(), Error> {
    let stream = DurableStream::create(options, "").wait()?;
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    for _ in 0..100 {
        producer.append("x").unwrap();
    }
    assert_eq!(producer.detach().wait()?.delivered, 100);
    assert_eq!(stream.read(None).unwrap().next_chunk().wait()?.unwrap().data.len(), 100);
    Ok(())
}

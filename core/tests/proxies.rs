//! Proxies of the environment, in a process of its own: the environment is read when the library
//! starts.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]
#![allow(unsafe_code, reason = "the environment is changed, while nothing else runs")]

use std::time::Duration;

use durstream_core::{DurableStream, Options};

/// The error of a request to a host that refuses connections, with these variables set.
fn error_with(variables: &[(&str, &str)], own: Options) -> String {
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"] {
        // SAFETY: no other thread runs: the library was shut down.
        unsafe { std::env::remove_var(name) };
    }
    for (name, value) in variables {
        // SAFETY: as above.
        unsafe { std::env::set_var(name, value) };
    }
    let options = own.url("http://127.0.0.1:9/s").max_retries(0u64);
    let error = DurableStream::create(options, "").wait().unwrap_err();
    durstream_core::shutdown(Duration::from_secs(5)).unwrap();
    error.message().to_owned()
}

#[test]
fn the_proxy_is_named_and_a_star_excepts_every_host() {
    let proxy = ("http_proxy", "http://user:s3cret@127.0.0.1:1");
    let through = error_with(&[proxy], Options::new());
    assert!(through.contains("no connection through the proxy http://127.0.0.1:1:"), "{through}");
    assert!(!through.contains("s3cret"), "{through}");
    for except in [("NO_PROXY", "*"), ("no_proxy", "example.com, *"), ("no_proxy", "127.0.0.0/8")] {
        let direct = error_with(&[proxy, except], Options::new());
        assert!(!direct.contains("proxy") && direct.contains("refused"), "{except:?}: {direct}");
    }
    let direct = error_with(&[proxy], Options::new().proxy("none"));
    assert!(!direct.contains("proxy") && direct.contains("refused"), "{direct}");
    let other = error_with(&[proxy, ("NO_PROXY", "*")], Options::new().proxy("127.0.0.1:2"));
    assert!(other.contains("no connection through the proxy http://127.0.0.1:2:"), "{other}");
    let wrong = error_with(&[("http_proxy", "socks5://u:s3cret@p")], Options::new());
    assert!(wrong.contains("the variable http_proxy is a SOCKS proxy"), "{wrong}");
    assert!(!wrong.contains("s3cret"), "{wrong}");
}

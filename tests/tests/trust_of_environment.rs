//! The authorities that the environment names, in a process of its own: it is read when the library
//! starts.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]
#![allow(unsafe_code, reason = "the environment is changed, while nothing else runs")]

use std::time::Duration;

use durstream_core::{DurableStream, Error, Options};
use durstream_tests::network::authority::Authority;
use durstream_tests::network::front::{Front, config};
use durstream_tests::{fresh_path, server_address};

fn create(front: &Front) -> Result<(), Error> {
    let url = format!("{}/v1/stream{}", front.url(), fresh_path("trust"));
    let options = Options::new().url(url).content_type("text/plain").max_retries(0u64);
    let result = DurableStream::create(options, "").wait().map(drop);
    durstream_core::shutdown(Duration::from_secs(5)).unwrap();
    result
}

#[test]
fn the_environment_names_authorities() {
    let (first, second) = (Authority::new("first").unwrap(), Authority::new("second").unwrap());
    let front = |authority: &Authority| {
        let pair = authority.server(&["localhost"]).unwrap();
        Front::start(server_address(), config(&pair, None).unwrap()).unwrap()
    };
    let fronts = [front(&first), front(&second)];
    let folder =
        std::env::temp_dir().join(format!("durstream{}", fresh_path("trust").replace('/', "-")));
    std::fs::create_dir(&folder).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (ca, beside, none) =
        (file("ca.pem", first.pem()), file("beside.pem", second.pem()), file("none.pem", ""));

    let error = create(&fronts[0]).unwrap_err();
    assert!(error.message().contains("nobody who is trusted here"), "{error}");
    // SAFETY: no other thread runs: the library was shut down.
    unsafe {
        std::env::remove_var("SSL_CERT_DIR");
        std::env::set_var("SSL_CERT_FILE", &ca);
    }
    create(&fronts[0]).unwrap();
    create(&fronts[1]).unwrap_err();
    // As Node's binding does where `NODE_EXTRA_CA_CERTS` is set.
    durstream_core::trust_also(beside);
    create(&fronts[0]).unwrap();
    create(&fronts[1]).unwrap();
    // SAFETY: as above.
    unsafe { std::env::set_var("SSL_CERT_FILE", &none) };
    let error = create(&fronts[0]).unwrap_err();
    let told = "there is no certificate where the variable SSL_CERT_FILE points";
    assert!(error.message().contains(told) && error.retryable(), "{error}");
}

//! A server whose certificate nobody vouches for: no outage, and no reason to try again.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;

use durstream_core::{
    DurableStream, Error, ErrorKind, IdempotentProducer, Lifecycle, Options, Status,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Serves TLS under a certificate of its own making; returns its URL.
fn serve() -> String {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/s", listener.local_addr().unwrap().port());
    let config = Arc::new(config);
    let body = move || {
        for connection in listener.incoming() {
            let tls = rustls::ServerConnection::new(config.clone()).unwrap();
            // The client ends the handshake when it has seen the certificate.
            let _ = rustls::StreamOwned::new(tls, connection.unwrap()).read(&mut [0; 64]);
        }
    };
    std::thread::Builder::new().spawn(body).unwrap();
    url
}

fn check(error: &Error) {
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Transport, false), "{error:?}");
    assert!(error.definite() && error.message().contains("certificate"), "{error}");
}

#[test]
fn a_certificate_that_is_not_accepted_is_no_outage() {
    let options = || Options::new().url(serve()).content_type("text/plain");
    check(&DurableStream::create(options(), "").wait().unwrap_err());
    let stream = DurableStream::connect(options()).unwrap();
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    let receipt = producer.append("x").unwrap();
    let outcome = producer.wait(receipt.id()).wait().unwrap();
    assert_eq!(outcome.status, Status::Cancelled);
    check(&outcome.error.unwrap());
    assert_eq!(producer.snapshot().state, Lifecycle::Failed);
    // A handle that does not know its stream's type asks for it first.
    let untyped = DurableStream::connect(Options::new().url(serve())).unwrap();
    check(&untyped.append("x").wait().unwrap_err());
}

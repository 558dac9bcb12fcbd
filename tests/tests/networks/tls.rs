//! TLS with certificates made here, before a real server: what is accepted, what is refused and how
//! it is told, and certificates that are replaced under a writer.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::{front_of, options, write_and_read};
use durstream_core::{
    DurableStream, Error, ErrorKind, IdempotentProducer, Lifecycle, Options, Status,
};
use durstream_tests::network::authority::{Authority, Pair};
use durstream_tests::network::front::{Front, config, config_of};
use durstream_tests::{fresh_path, server_address};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

const DAY: Duration = Duration::from_secs(86_400);

fn authority() -> Authority {
    Authority::new("an authority of a test").unwrap()
}

fn front(config: ServerConfig) -> Front {
    Front::start(server_address(), config).unwrap()
}

/// A file of its own, which nothing removes: it is in the system's folder for such.
fn file(name: &str, content: &str) -> PathBuf {
    let name = format!("durstream{}-{name}", fresh_path("pem").replace('/', "-"));
    let path = std::env::temp_dir().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn path(file: &std::path::Path) -> String {
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_private_authority_is_trusted_where_it_is_given() {
    let authority = authority();
    let front = front_of(&authority);
    write_and_read(options(&front.url()).ca_pem(authority.pem())).unwrap();
    let known = file("ca.pem", authority.pem());
    write_and_read(options(&front.url()).ca_pem(path(&known))).unwrap();
    // Several authorities in one file, and what people write between certificates.
    let other = self::authority();
    let both = format!("# ours\n{}\n\n# theirs\n{}", other.pem(), authority.pem());
    write_and_read(options(&front.url()).ca_pem(both)).unwrap();
    // In place of the platform's, and kept apart from those who trust others.
    let error = write_and_read(options(&front.url()).ca_pem(other.pem())).unwrap_err();
    assert!(error.message().contains("certificate is not accepted"), "{error}");
}

#[test]
fn a_client_shows_its_certificate_where_one_is_wanted() {
    let (authority, clients) = (authority(), authority());
    let server = authority.server(&["localhost"]).unwrap();
    let own = clients.client("a client").unwrap();
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let front = front(config_of(&server, Some(clients.pem()), versions).unwrap());
        let trusting = || options(&front.url()).ca_pem(authority.pem());
        let with = trusting()
            .client_cert_pem(path(&file("client.pem", &own.certificate)))
            .client_key_pem(own.key.as_str());
        write_and_read(with).unwrap();
        let der = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
        assert_eq!(front.shown().as_deref(), Some(der.as_ref()));
        // Both in one text.
        let both = format!("{}{}", own.key, own.certificate);
        write_and_read(trusting().client_cert_pem(both)).unwrap();
    }
}

/// What a server does wrong, and how it is told.
struct Wrong {
    front: Front,
    options: Options,
    told: &'static str,
    /// Whether waiting mends it.
    retryable: bool,
}

fn wrongs(authority: &Authority) -> Vec<Wrong> {
    let now = SystemTime::now();
    let named = |names: &[&str]| authority.server(names).unwrap();
    let between = |from, until| authority.server_between(&["localhost"], from, until).unwrap();
    let wrong = |server: ServerConfig, told| {
        let front = front(server);
        let options = options(&front.url()).ca_pem(authority.pem());
        Wrong { front, options, told, retryable: false }
    };
    let plain = |pair: &Pair| config(pair, None).unwrap();
    let local = named(&["localhost"]);
    let strict = || config(&local, Some(authority.pem())).unwrap();
    let mut unknown = wrong(plain(&local), "nobody who is trusted here has signed it");
    unknown.options = options(&unknown.front.url());
    let mut foreign = wrong(strict(), "does not accept the client certificate: its issuer");
    let other = Authority::new("an authority of others").unwrap().client("a stranger").unwrap();
    foreign.options = foreign.options.client_cert_pem(other.certificate).client_key_pem(other.key);
    let mut early = wrong(plain(&between(now + DAY, now + 2 * DAY)), "it is valid from ");
    early.retryable = true;
    let older = config_of(&local, Some(authority.pem()), &[&rustls::version::TLS12]).unwrap();
    let itself = Pair { certificate: authority.pem().to_owned(), key: authority.key() };
    vec![
        unknown,
        wrong(plain(&named(&["other.example"])), "it is for other.example, not for localhost"),
        wrong(plain(&between(now - 2 * DAY, now - DAY)), "it expired at "),
        early,
        wrong(strict(), "the server wants a client certificate"),
        wrong(older, "the server wants a client certificate"),
        foreign,
        wrong(plain(&itself), "it is that of an authority (`CA:TRUE`), and no server's"),
    ]
}

/// What users are told to expect.
const PAGE: &str = include_str!("../../../docs/networks.md");

fn check(error: &Error, told: &str, retryable: bool) {
    assert!(error.message().contains(told), "{error}");
    assert!(PAGE.contains(told), "docs/networks.md does not say: {told}");
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Transport, retryable), "{error:?}");
    assert!(error.definite(), "{error:?}");
}

#[test]
fn what_is_wrong_is_told_and_waited_for_only_where_that_mends_it() {
    for Wrong { front, options, told, retryable } in wrongs(&authority()) {
        let error = DurableStream::create(options.clone(), "").wait().unwrap_err();
        println!("{error}");
        check(&error, told, retryable);
        if retryable {
            continue;
        }
        // With every repeat there is: none is made.
        let stream = DurableStream::connect(options.clone().max_retries(8u64)).unwrap();
        check(&stream.append("x").wait().unwrap_err(), told, false);
        let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
        let receipt = producer.append("x").unwrap();
        let outcome = producer.wait(receipt.id()).wait().unwrap();
        assert_eq!(outcome.status, Status::Cancelled, "{told}");
        check(&outcome.error.unwrap(), told, false);
        assert_eq!(producer.snapshot().state, Lifecycle::Failed);
        let tries = front.handshakes();
        assert!((3..=6).contains(&tries), "{told}: {tries} connections");
    }
}

#[test]
fn a_port_with_tls_and_one_without_are_told_apart() {
    let base = format!("https://{}", server_address());
    let error = DurableStream::create(options(&base), "").wait().unwrap_err();
    check(&error, "does not speak TLS; is its URL one with http:?", false);
    let front = front_of(&authority());
    let base = format!("http://localhost:{}", front.port());
    let error = DurableStream::create(options(&base), "").wait().unwrap_err();
    assert!(error.message().contains("does not speak HTTP"), "{error}");
}

#[test]
fn a_server_goes_by_another_name_in_tls() {
    let authority = authority();
    let server = authority.server(&["streams.example"]).unwrap();
    let front = front(config(&server, None).unwrap());
    for host in ["127.0.0.1", "localhost"] {
        let base = format!("https://{host}:{}", front.port());
        let trusting = || options(&base).ca_pem(authority.pem());
        let error = write_and_read(trusting()).unwrap_err();
        assert!(error.message().contains("it is for streams.example, not for"), "{error}");
        write_and_read(trusting().tls_server_name("streams.example")).unwrap();
    }
}

/// Another handshake was begun, so the one before it came to nothing.
fn wait_until_refused(front: &Front) {
    let (began, enough) = (Instant::now(), front.handshakes() + 2);
    while front.handshakes() < enough {
        assert!(began.elapsed() < Duration::from_secs(300), "nothing is tried");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn replaced_certificates_are_read_again_and_nothing_is_lost() {
    let (first, second) = (authority(), authority());
    let (old, new) = (first.client("old").unwrap(), second.client("new").unwrap());
    let server = |own: &Authority, clients: &Authority| {
        config(&own.server(&["localhost"]).unwrap(), Some(clients.pem())).unwrap()
    };
    let front = front(server(&first, &first));
    let ca = file("ca.pem", first.pem());
    let (certificate, key) = (file("own.pem", &old.certificate), file("own.key", &old.key));
    let options = options(&front.url())
        .ca_pem(path(&ca))
        .client_cert_pem(path(&certificate))
        .client_key_pem(path(&key));
    let stream = DurableStream::create(options, "").wait().unwrap();
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    let write = |count: usize| (0..count).for_each(|_| drop(producer.append("x").unwrap()));
    write(10);
    assert_eq!(producer.flush().wait().unwrap().delivered, 10);

    // The server is first, as if everything had been replaced there while the files here had not.
    front.rotate(server(&second, &second), true);
    write(10);
    wait_until_refused(&front);
    assert_eq!(producer.snapshot().buffered_writes, 10, "nothing is given up");
    fs::write(&ca, second.pem()).unwrap();
    wait_until_refused(&front);
    fs::write(&certificate, &new.certificate).unwrap();
    wait_until_refused(&front); // half of it: the old pair stays in use
    fs::write(&key, &new.key).unwrap();
    assert_eq!(producer.flush().wait().unwrap().delivered, 10);
    let der = CertificateDer::from_pem_slice(new.certificate.as_bytes()).unwrap();
    assert_eq!(front.shown().as_deref(), Some(der.as_ref()));

    // A file that is of no use takes nothing away.
    fs::write(&ca, "no certificate").unwrap();
    front.cut();
    write(10);
    assert_eq!(producer.detach().wait().unwrap().delivered, 10);
}

#[test]
fn an_authority_that_was_taken_away_is_trusted_no_more() {
    let (first, second) = (authority(), Authority::new("another").unwrap());
    let front = front_of(&first);
    let ca = file("ca.pem", first.pem());
    let stream = DurableStream::create(options(&front.url()).ca_pem(path(&ca)), "").wait().unwrap();
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    producer.append("x").unwrap();
    assert_eq!(producer.flush().wait().unwrap().delivered, 1);
    fs::write(&ca, second.pem()).unwrap();
    front.cut();
    producer.append("y").unwrap();
    wait_until_refused(&front);
    assert_eq!(producer.snapshot().buffered_writes, 1, "a session of before is not resumed");
    fs::write(&ca, first.pem()).unwrap();
    assert_eq!(producer.detach().wait().unwrap().delivered, 1);
}

#[test]
fn what_is_of_no_use_is_refused_at_the_call() {
    let authority = authority();
    let (own, other) = (authority.client("a").unwrap(), authority.client("b").unwrap());
    let with = Options::new;
    let cut = &own.certificate[..own.certificate.len() / 2];
    let encrypted = own.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (option, options, told) in [
        (
            "ca_pem",
            with().ca_pem("/nowhere/ca.pem"),
            "`ca_pem`: the file /nowhere/ca.pem cannot be read: No such file",
        ),
        ("ca_pem", with().ca_pem(std::env::temp_dir().to_str().unwrap()), "is no regular file"),
        ("ca_pem", with().ca_pem("/dev/zero"), "is no regular file"),
        ("ca_pem", with().ca_pem(""), "cannot be read"),
        (
            "client_key_pem",
            with()
                .client_cert_pem(own.certificate.as_str())
                .client_key_pem(own.key.lines().nth(1).unwrap()),
            "what is neither PEM nor the path of a file cannot be read",
        ),
        ("ca_pem", with().ca_pem(own.key.as_str()), "the text has no certificate"),
        ("ca_pem", with().ca_pem(cut), "the text is no PEM: a section has no end"),
        ("ca_pem", with().ca_pem(path(&file("empty", ""))), "has no certificate"),
        ("client_cert_pem", with().client_cert_pem(cut), "no PEM"),
        ("client_key_pem", with().client_cert_pem(own.certificate.as_str()), "has no private key"),
        ("client_key_pem", with().client_key_pem(own.key.as_str()), "no `client_cert_pem`"),
        (
            "client_key_pem",
            with().client_cert_pem(own.certificate.as_str()).client_key_pem(other.key.as_str()),
            "the private key does not belong to the certificate",
        ),
        (
            "client_key_pem",
            with().client_cert_pem(own.certificate.as_str()).client_key_pem(encrypted),
            "is encrypted: decrypt it first",
        ),
        ("tls_server_name", with().tls_server_name("a b"), "is no host name"),
        ("tls_server_name", with().tls_server_name(""), "is no host name"),
        ("tls_server_name", with().tls_server_name("a").proxy("http://p"), "does not go together"),
    ] {
        let error =
            DurableStream::connect(options.url("https://localhost/s")).map(drop).unwrap_err();
        assert_eq!(error.option_name(), Some(option), "{error}");
        assert!(error.message().contains(told), "{error}");
        let body = own.key.lines().nth(1).unwrap();
        assert!(!error.to_string().contains(body), "{error}");
    }
}

//! Servers that speak HTTP in odd ways, and what stands before servers: nothing is lost or doubled, and
//! no answer takes more memory than it may.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use durstream_core::{DurableStream, ErrorKind, IdempotentProducer, Options};
use durstream_tests::fresh_path;
use durstream_tests::network::authority::Authority;
use durstream_tests::network::front::{Front, config};
use durstream_tests::proxy::{Fault, Proxy, Rule};
use durstream_tests::server_address;

/// What a server does with its answers.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// HTTP/1.0: the end of the connection is the end of the answer.
    Old,
    /// Closes each connection after its answer, without saying so before.
    Closing,
    /// A header of so many bytes in each answer.
    Long(usize),
}

/// The batches by their epochs and sequence numbers.
type Batches = Mutex<BTreeMap<(u64, u64), Vec<u8>>>;

/// A server that stores each batch once and answers in its own way.
pub(super) struct Odd {
    address: SocketAddr,
    url: String,
    batches: Arc<Batches>,
    is_over: Arc<AtomicBool>,
}

impl Odd {
    fn start(way: Way) -> Self {
        Odd::start_at("127.0.0.1:0", way)
    }

    pub(super) fn start_at(address: &str, way: Way) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}/odd");
        let batches = Arc::new(Batches::default());
        let own = Arc::clone(&batches);
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let accept = move || {
            for client in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let own = Arc::clone(&own);
                let serve = move || while answer(&client, way, &own).is_some_and(|stays| stays) {};
                drop(std::thread::Builder::new().spawn(serve));
            }
        };
        std::thread::Builder::new().spawn(accept).unwrap();
        Odd { address, url, batches, is_over }
    }

    /// Nothing listens there any more.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        while TcpStream::connect(self.address).is_ok() {}
    }

    pub(super) fn stored(&self) -> Vec<u8> {
        self.batches.lock().unwrap().values().flatten().copied().collect()
    }
}

/// Answers one request; whether the connection goes on.
fn answer(client: &TcpStream, way: Way, batches: &Batches) -> Option<bool> {
    let mut input = BufReader::new(client);
    let (mut head, mut line) = (BTreeMap::new(), String::new());
    while input.read_line(&mut line).ok()? > 0 && line != "\r\n" {
        if let Some((name, value)) = line.split_once(": ") {
            head.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        line.clear();
    }
    let number = |name: &str| head.get(name).and_then(|value| value.parse::<u64>().ok());
    let mut body = vec![0; number("content-length").unwrap_or(0) as usize];
    input.read_exact(&mut body).ok()?;
    let mut answered = String::from("stream-next-offset: 7\r\n");
    let status = match number("producer-seq") {
        None => "201 Created",
        Some(seq) => {
            let epoch = number("producer-epoch")?;
            answered += &format!("producer-epoch: {epoch}\r\nproducer-seq: {seq}\r\n");
            match batches.lock().unwrap().insert((epoch, seq), body) {
                None => "200 OK",
                Some(_) => "204 No Content",
            }
        }
    };
    let (version, length) = match way {
        Way::Old => ("1.0", ""),
        Way::Closing | Way::Long(_) => ("1.1", "content-length: 0\r\n"),
    };
    if let Way::Long(length) = way {
        answered += &format!("x-long: {}\r\n", "x".repeat(length));
    }
    let mut client = client;
    client
        .write_all(format!("HTTP/{version} {status}\r\n{answered}{length}\r\n").as_bytes())
        .ok()?;
    Some(matches!(way, Way::Long(_)))
}

/// Writes one after the other, so that each meets the connection of the one before.
fn write(odd: &Odd) {
    let options = Options::new().url(&odd.url).content_type("text/plain");
    let stream = DurableStream::create(options.retry_initial_delay_ms(1u64), "").wait().unwrap();
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    for n in 0..100 {
        producer.append(format!("{n},")).unwrap();
        assert_eq!(producer.flush().wait().unwrap().delivered, 1);
    }
    producer.detach().wait().unwrap();
    let expected: String = (0..100).map(|n| format!("{n},")).collect();
    assert_eq!(String::from_utf8(odd.stored()).unwrap(), expected);
}

#[test]
fn http_1_0_is_spoken_to() {
    write(&Odd::start(Way::Old));
}

#[test]
fn connections_that_end_after_each_answer_lose_and_double_nothing() {
    write(&Odd::start(Way::Closing));
}

#[test]
fn a_long_header_is_taken_and_an_endless_one_is_not() {
    write(&Odd::start(Way::Long(100_000)));
    let odd = Odd::start(Way::Long(10_000_000));
    let options = Options::new().url(&odd.url).content_type("text/plain").max_retries(0u64);
    let error = DurableStream::create(options, "").wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert!(error.message().contains("message head is too large"), "{error}");
}

#[test]
fn a_redirect_from_https_to_http_is_not_followed() {
    let authority = Authority::new("an authority").unwrap();
    let proxy = Proxy::start(server_address()).unwrap();
    let pair = authority.server(&["localhost"]).unwrap();
    let front = Front::start(proxy.address(), config(&pair, None).unwrap()).unwrap();
    let path = format!("/v1/stream{}", fresh_path("downgraded"));
    let elsewhere = format!("http://{}{path}", server_address());
    let answer = Fault::Answer {
        status: 307,
        headers: vec![("location".to_owned(), elsewhere.clone())],
        body: String::new(),
        forward: false,
    };
    proxy.add(Rule::new(answer).times(0)).unwrap();
    let options = Options::new().url(format!("{}{path}", front.url())).content_type("text/plain");
    let error = DurableStream::create(options.ca_pem(authority.pem()), "").wait().unwrap_err();
    assert_eq!(error.status(), Some(307), "{error}");
    let direct = DurableStream::connect(Options::new().url(elsewhere)).unwrap();
    assert!(!direct.head().wait().unwrap().exists);
}

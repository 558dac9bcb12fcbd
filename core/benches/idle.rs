//! What one write on an idle producer takes from call to outcome, beside a bare POST of the same
//! bytes by the same HTTP client:
//! `cargo xtask with-server -- cargo bench -p durstream-core --bench idle`.
//!
//! Both go to the same server, each to a stream of its own, in turn. The bare POST too is handed
//! to a thread that does nothing but I/O, and waited for by its caller.

#![expect(clippy::disallowed_methods, reason = "real time is what it measures")]
#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use durstream_core::{DurableStream, IdempotentProducer, Options};
use reqwest::Client;

const MESSAGE: &str = r#"{"type":"shipment","key":"shp_000000001","value":{"state":"in-transit","eta":"2031-01-01"},"n":1234}"#;
const CONTENT_TYPE: &str = "application/json";
const WARM_UP: usize = 300;
const ROUNDS: usize = 5;
const PER_ROUND: usize = 1000;

/// Settings as the library's own client has them.
fn client() -> Client {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .tcp_nodelay(true)
        .build()
        .expect("settings are right")
}

/// POSTs by a thread with a runtime of its own.
struct Bare {
    jobs: tokio::sync::mpsc::Sender<mpsc::SyncSender<u16>>,
}

impl Bare {
    fn start(url: String) -> Self {
        let (jobs, mut queue) = tokio::sync::mpsc::channel::<mpsc::SyncSender<u16>>(1);
        let serve = async move {
            let client = client();
            while let Some(reply) = queue.recv().await {
                let call = client.post(&url).header("content-type", CONTENT_TYPE).body(MESSAGE);
                let answer = call.send().await.expect("the server answers");
                let status = answer.status().as_u16();
                answer.bytes().await.expect("the answer is whole");
                let _ = reply.send(status);
            }
        };
        let run = move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_io().enable_time().build().expect("a runtime").block_on(serve);
        };
        std::thread::Builder::new().name("bare".into()).spawn(run).expect("a thread starts");
        Bare { jobs }
    }

    fn post(&self) {
        let (reply, answer) = mpsc::sync_channel(1);
        self.jobs.blocking_send(reply).expect("the thread runs");
        let status = answer.recv().expect("the thread runs");
        assert!(matches!(status, 200 | 204), "the bare POST was answered {status}");
    }
}

fn write(producer: &IdempotentProducer) {
    let receipt = producer.append(MESSAGE).expect("there is room");
    let outcome = producer.wait(receipt.id()).wait().expect("it is settled");
    assert!(outcome.is_delivered());
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // there is nothing to check without a server
    }
    let create = |name: &str| {
        let path = format!("/bench/idle-{name}-{}", std::process::id());
        let options = Options::new().stream_path(path).content_type(CONTENT_TYPE);
        DurableStream::create(options, "").wait().expect("a server at DURABLE_STREAMS_URL")
    };
    let stream = create("producer");
    let producer = IdempotentProducer::open(&stream, "bench", Options::new()).expect("an id");
    let bare = Bare::start(create("bare").url().to_owned());
    for _ in 0..WARM_UP {
        write(&producer);
        bare.post();
    }
    println!("one write, call to outcome: medians of {PER_ROUND}, in microseconds");
    println!("{:>9} {:>9} {:>6}", "producer", "bare POST", "ratio");
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for n in 0..2 * PER_ROUND {
            let started = Instant::now();
            if n % 2 == 0 {
                write(&producer);
                ours.push(started.elapsed());
            } else {
                bare.post();
                theirs.push(started.elapsed());
            }
        }
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        ratios.push(ratio);
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        println!("{:>9.1} {:>9.1} {ratio:>6.3}", micros(ours), micros(theirs));
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "ratio, median of {ROUNDS} rounds: {:.3} (at most 1.25 is promised)",
        ratios[ROUNDS / 2]
    );
}

//! A bare POST by the HTTP client that the library uses, with its settings: what an idle write is
//! compared with, and where its instructions go. One write after the other, each waited for; made by a
//! thread that does nothing but I/O, as the library's are.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use durstream_bench_programs::{Job, Result, answer, idle_report};
use reqwest::{Client, StatusCode};

fn client() -> Result<Client> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .tcp_nodelay(true);
    Ok(client.build()?)
}

/// A message, and where the answer's status goes.
type Post = (Vec<u8>, mpsc::SyncSender<reqwest::Result<StatusCode>>);

async fn post(
    client: &Client,
    url: &str,
    kind: &str,
    body: Vec<u8>,
) -> reqwest::Result<StatusCode> {
    let answer = client.post(url).header("content-type", kind).body(body).send().await?;
    let status = answer.status();
    answer.bytes().await?;
    Ok(status)
}

fn main() -> Result<()> {
    let job = Job::from_arguments()?;
    let (posts, mut queue) = tokio::sync::mpsc::channel::<Post>(1);
    let (url, kind, client) = (job.url.clone(), job.content_type(), client()?);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let serve = move || {
        runtime.block_on(async move {
            let created = client.put(&url).header("content-type", kind).send().await;
            if let Err(error) = created.and_then(reqwest::Response::error_for_status) {
                eprintln!("bench-bare: {error}");
                return;
            }
            while let Some((body, reply)) = queue.recv().await {
                // Who asked waits for it.
                let _ = reply.send(post(&client, &url, kind, body).await);
            }
        });
    };
    std::thread::Builder::new().name("bare".into()).spawn(serve)?;
    let mut waits = Vec::with_capacity(job.events);
    for message in job.messages.iter().cycle().take(job.events) {
        let started = Instant::now();
        let (reply, answer) = mpsc::sync_channel(1);
        posts.blocking_send((message.clone(), reply))?;
        let status = answer.recv()??;
        if !status.is_success() {
            return Err(format!("a POST was answered {status}").into());
        }
        waits.push(started.elapsed());
    }
    answer(&idle_report(&waits))
}

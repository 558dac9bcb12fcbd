//! HTTP on reqwest.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use url::{Position, Url};

use crate::protocol::answer::Response;
use crate::runtime::chance::Chance;
use crate::transport::departure::Departure;
use crate::transport::endpoint::Endpoint;
use crate::transport::gate::Gates;
use crate::transport::lanes::{Lane, Lanes};
use crate::transport::peer::Peer;
use crate::transport::progress::Progress;
use crate::transport::request::{Keep, Request, SendError, Sending, Transport};

/// How much of an answer's body is kept for an error text.
const EXCERPT: usize = 16 * 1024;
/// How long the transport waits for that part, once status and headers are there.
const EXCERPT_WAIT: Duration = Duration::from_secs(1);
/// How much of a request's body is handed to the socket at a time: the grain of "progress".
const CHUNK: usize = 64 * 1024;

/// Sends over lanes; the host's gate gives their numbers.
pub(crate) struct HttpTransport {
    gates: Gates,
    lanes: Arc<Lanes>,
}

impl HttpTransport {
    pub(crate) fn new(chance: Chance) -> Self {
        HttpTransport { gates: Gates::new(chance), lanes: Arc::default() }
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: Request) -> Sending {
        let peer = Peer::of(&request.endpoint);
        let lanes = self.lanes.clone();
        let (own, own_method) = (peer.clone(), request.method.clone());
        let progress = request.progress.clone();
        let exchange = async move |lane| match lanes.of(&own, lane) {
            Ok(lane) => timed(&lane, &request).await,
            Err(failure) => Err(failure),
        };
        // A read may wait for what is not written yet.
        let hurried = (own_method != http::Method::GET).then_some(progress);
        self.gates.pass(&peer, hurried, exchange)
    }
}

/// One exchange, as long as it makes progress.
async fn timed(lane: &Lane, request: &Request) -> Result<Response, SendError> {
    let progress = &request.progress;
    progress.made(); // it is through the gate
    let attempt = exchange(lane, request);
    tokio::pin!(attempt);
    loop {
        let deadline = progress.last() + request.timeout;
        tokio::select! {
            outcome = &mut attempt => return outcome,
            () = tokio::time::sleep_until(deadline) => {
                // reqwest shows a head only when it is whole; the socket knows that some of it came
                // in.
                let received = lane.socket.received_ago();
                progress.was_made(received.and_then(|ago| Instant::now().checked_sub(ago)));
                if progress.last() + request.timeout > deadline {
                    continue;
                }
                let sent = !request.departure.give_up();
                let message = format!("no progress for {} ms", request.timeout.as_millis());
                return Err(SendError::stalled(sent, message));
            }
        }
    }
}

async fn exchange(lane: &Lane, request: &Request) -> Result<Response, SendError> {
    let progress = &request.progress;
    let mut headers = HeaderMap::clone(&request.headers);
    for (name, value) in &*request.endpoint.headers {
        if !request.headers.contains_key(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    let url = asked_url(&request.endpoint, &mut headers);
    let mut call = lane.client.request(request.method.clone(), url).headers(headers);
    if !request.body.is_empty() {
        let (rest, departure) = (request.body.clone(), request.departure.clone());
        let body = TrackedBody { rest, departure, progress: progress.clone() };
        call = call.body(reqwest::Body::wrap(body));
    } else {
        // A request without a body leaves unseen: from here on it counts as on its way.
        if !request.departure.leave() {
            return Err(SendError::unsent(Withdrawn.to_string()));
        }
        if request.method == http::Method::POST {
            call = call.header(http::header::CONTENT_LENGTH, 0);
        }
    }
    let failed = |e: reqwest::Error| {
        let failure = lane.failure(&e);
        let left = failure.sent && !e.is_connect() && !e.is_builder();
        SendError { sent: left && !request.departure.give_up(), ..failure }
    };
    let mut response = call.send().await.map_err(failed)?;
    progress.made();
    lane.socket.note_answer();
    if lane.is_kept_out(response.status()) {
        return Err(lane.not_let_through());
    }
    let (cap, whole) = match request.keep {
        Keep::Whole(cap) if response.status().is_success() => (cap, true),
        _ => (EXCERPT, false),
    };
    let length = response.content_length();
    // A body known to be too long is not waited for.
    let beyond = whole && length.is_some_and(|length| length > cap as u64);
    let mut body = Kept { bytes: Vec::new(), cap, cut: beyond };
    if let (Some(length), false) = (length, beyond) {
        body.expect(length)?;
    }
    let excerpt_until = Instant::now() + EXCERPT_WAIT.min(request.timeout / 2);
    while !body.cut {
        let chunk = match whole {
            true => response.chunk().await,
            false => match tokio::time::timeout_at(excerpt_until, response.chunk()).await {
                Ok(chunk) => chunk,
                Err(_) => break,
            },
        };
        let chunk = match chunk {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(error) if whole => return Err(failed(error)),
            // Status and headers are complete: a body cut short takes nothing from what they say.
            Err(_) => break,
        };
        progress.made();
        body.push(&chunk)?;
    }
    let cut = body.cut;
    Ok(Response {
        status: response.status().as_u16(),
        headers: std::mem::take(response.headers_mut()),
        body: body.complete(),
        cut,
    })
}

/// The URL to ask for, with the name that servers have to have in TLS, which the lane's names lead
/// to the URL's own host; that host stands in the headers then.
fn asked_url(endpoint: &Endpoint, headers: &mut HeaderMap) -> Url {
    let mut url = Url::clone(&endpoint.url);
    let name = endpoint.connect.server_name.as_deref().filter(|_| url.scheme() == "https");
    let Some(name) = name else { return url };
    let host = url[Position::BeforeHost..Position::AfterPort].parse();
    if let (Ok(host), Ok(())) = (host, url.set_host(Some(name))) {
        headers.insert(http::header::HOST, host);
    }
    url
}

/// An answer's body on its way in, as far as it is kept.
struct Kept {
    bytes: Vec<u8>,
    cap: usize,
    cut: bool,
}

impl Kept {
    /// Makes room for all of it: growing may hold the bytes in memory twice.
    fn expect(&mut self, length: u64) -> Result<(), SendError> {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(self.cap);
        self.bytes.try_reserve_exact(length).map_err(|_| no_memory(length))
    }

    fn push(&mut self, part: &[u8]) -> Result<(), SendError> {
        let room = self.cap - self.bytes.len();
        let kept = part.len().min(room);
        self.bytes.try_reserve(kept).map_err(|_| no_memory(self.bytes.len() + kept))?;
        self.bytes.extend_from_slice(&part[..kept]);
        self.cut = part.len() > room;
        Ok(())
    }

    /// The bytes, without unused room.
    fn complete(mut self) -> Bytes {
        self.bytes.shrink_to_fit();
        self.bytes.into()
    }
}

/// An answer is never worth the end of the process.
fn no_memory(bytes: usize) -> SendError {
    let message = format!("there is no memory for the {bytes} bytes of an answer");
    SendError::cut(message)
}

/// The error that ends a body before its length: the server sees half a request, and stores none.
#[derive(Debug)]
struct Withdrawn;

impl std::fmt::Display for Withdrawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the request was given up before it left")
    }
}

impl std::error::Error for Withdrawn {}

/// A body of known length that counts what it hands over, and hands nothing over once its request
/// was given up.
struct TrackedBody {
    rest: Bytes,
    departure: Departure,
    progress: Progress,
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = Withdrawn;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if !self.departure.leave() {
            return Poll::Ready(Some(Err(Withdrawn)));
        }
        let length = self.rest.len().min(CHUNK);
        let chunk = self.rest.split_to(length);
        self.progress.made();
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

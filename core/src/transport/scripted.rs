//! A model server in memory that follows PROTOCOL.md 5.2.1, with faults from a script: what the
//! engine is tested against, under virtual time.
//!
//! The wire to it is no kinder than a real one: a request is carried by a task of its own, which
//! asks for its body when its turn comes, and goes on when the sender has given the answer up. So
//! a request may arrive, whole, long after its sender was dropped.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::protocol::answer::Response;
use crate::protocol::headers::*;
use crate::runtime::chance::Chance;
use crate::runtime::threads::lock;
use crate::transport::request::{Request, SendError, Sending, Transport};

/// What happens to one request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Nothing: the server answers.
    None,
    /// Refused connections: not a byte is sent.
    Refuse,
    /// The connection is cut before the server sees the request.
    CutBefore,
    /// The connection is cut after the server stored it.
    CutAfter,
    /// The server answers so without storing.
    Answer(u16, Vec<(&'static str, String)>),
    /// The request lies with the connection's task for so long before its body is asked for.
    Held(Box<Fault>, Duration),
    /// The request arrives late, or its answer does.
    Delay(Box<Fault>, Duration, Duration),
    /// The server loses its producers' memory first, then handles the request.
    Amnesia(Box<Fault>),
    /// Somebody else's message, [`FOREIGN`], comes first.
    Foreign(Box<Fault>),
    /// The server crashes first: what is not durable is gone, and its producers' memory of it is not.
    Crash(Box<Fault>),
}

/// The message of other producers.
pub(crate) const FOREIGN: &str = "0";

/// The server's state, and what it saw.
#[derive(Default)]
pub(crate) struct Model {
    /// Messages stored, in order: for JSON streams the array's elements.
    pub(crate) stored: Vec<String>,
    pub(crate) closed: bool,
    /// One that is gone was.
    pub(crate) was_closed: bool,
    /// Nothing listens.
    pub(crate) down: bool,
    /// Producer id to epoch and last sequence number.
    pub(crate) producers: HashMap<String, (u64, u64)>,
    /// Every request: id, epoch, sequence, body.
    pub(crate) seen: Vec<(u64, u64, Bytes)>,
    /// A message that makes the server refuse its batch.
    pub(crate) poison: Option<&'static str>,
    /// Whether answers echo the tuple.
    pub(crate) mute: bool,
    /// Answers to appends tell where the stream ends when they leave, behind what came meanwhile, as
    /// those of the official server do.
    pub(crate) tells_late: bool,
    /// It takes no producers beyond those it knows.
    pub(crate) full: bool,
    /// The highest `Stream-Seq` so far.
    pub(crate) stream_seq: String,
    /// Messages of requests that had left when their senders gave the answers up: these may arrive
    /// after all, and once more under another tuple.
    pub(crate) late: Vec<String>,
    /// The `Authorization` of every request that had one and arrived.
    pub(crate) tokens: Vec<String>,
    /// How many messages there were at each offset.
    marks: Vec<usize>,
    /// How long a stream outlives its last use; without it, for ever.
    pub(crate) ttl: Option<Duration>,
    used: Option<Instant>,
    /// There is no stream.
    pub(crate) absent: bool,
    /// How often one was created.
    pub(crate) created: u64,
    /// The messages of the streams that were there before.
    pub(crate) before: Vec<Vec<String>>,
    /// The stream's content type, where it is not JSON.
    pub(crate) content_type: Option<&'static str>,
    /// How long it takes until what is stored is durable. Before that nobody reads it and the answer
    /// waits; that to a repeat does not.
    pub(crate) sync_takes: Duration,
    /// What is not durable yet, and when it will be.
    unsynced: VecDeque<(Instant, Vec<String>)>,
    crashes: u64,
}

/// The scripted transport: faults in order, then none.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) model: Arc<Mutex<Model>>,
    script: Arc<Mutex<VecDeque<Fault>>>,
    /// Requests that are held or on their way, whoever still waits for their answer.
    under_way: Arc<AtomicUsize>,
    /// The chance of all its writers, as if they were of one process.
    pub(crate) chance: Chance,
}

impl Default for Scripted {
    fn default() -> Self {
        Self::new([])
    }
}

impl Scripted {
    pub(crate) fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self::seeded(0, faults)
    }

    pub(crate) fn seeded(seed: u64, faults: impl IntoIterator<Item = Fault>) -> Self {
        let (model, under_way) = (Arc::default(), Arc::default());
        let script = Arc::new(Mutex::new(faults.into_iter().collect()));
        Scripted { model, script, under_way, chance: Chance::seeded(seed) }
    }

    /// What happens to the next requests.
    pub(crate) fn script(&self, faults: Vec<Fault>) {
        *lock(&self.script) = faults.into();
    }

    pub(crate) fn stored(&self) -> Vec<String> {
        lock(&self.model).stored.clone()
    }

    /// Waits until nothing is on its way any more: what is stored then stays so.
    pub(crate) async fn quiet(&self) {
        while self.under_way.load(Ordering::Relaxed) > 0 || lock(&self.model).is_behind() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Transport for Scripted {
    fn send(&self, request: Request) -> Sending {
        let fault = lock(&self.script).pop_front().unwrap_or(Fault::None);
        let (model, under_way) = (self.model.clone(), self.under_way.clone());
        let chance = self.chance.clone();
        Box::pin(async move {
            let (timeout, departure) = (request.timeout, request.departure.clone());
            let (answers, answer) = oneshot::channel();
            under_way.fetch_add(1, Ordering::Relaxed);
            let (carried, wire) = (request.clone(), model.clone());
            tokio::spawn(async move {
                let result = carry(fault, &wire, &carried, &chance).await;
                under_way.fetch_sub(1, Ordering::Relaxed);
                drop(answers.send(result)); // nobody may wait for it any more
            });
            match tokio::time::timeout(timeout, answer).await {
                Ok(result) => result.expect("a request is carried to its end"),
                Err(_) => {
                    let sent = !departure.give_up();
                    if sent && request.method == Method::POST {
                        lock(&model).late.extend(messages(&request));
                    }
                    let message = "no progress";
                    Err(SendError::stalled(sent, message))
                }
            }
        })
    }
}

/// The connection's task.
async fn carry(
    mut fault: Fault,
    model: &Mutex<Model>,
    request: &Request,
    chance: &Chance,
) -> Result<Response, SendError> {
    // A little time passes on every wire, so that several requests are under way at once.
    let (mut before, mut after) = (Duration::from_millis(1), Duration::from_millis(1));
    let mut held = Duration::ZERO;
    loop {
        fault = match fault {
            Fault::Held(inner, time) => {
                held += time;
                *inner
            }
            Fault::Delay(inner, there, back) => {
                (before, after) = (before + there, after + back);
                *inner
            }
            Fault::Amnesia(inner) => {
                lock(model).forget();
                *inner
            }
            Fault::Foreign(inner) => {
                lock(model).store(vec![FOREIGN.to_owned()]);
                *inner
            }
            Fault::Crash(inner) => {
                lock(model).crash();
                *inner
            }
            other => {
                fault = other;
                break;
            }
        };
    }
    let unsent =
        |unreachable, message: &str| Err(SendError { unreachable, ..SendError::unsent(message) });
    if matches!(fault, Fault::Refuse) || lock(model).down {
        return unsent(true, "connection refused");
    }
    if !held.is_zero() {
        tokio::time::sleep(held).await;
    }
    if !request.departure.leave() {
        return unsent(false, "given up");
    }
    tokio::time::sleep(before).await;
    if let Some(token) = request.headers.get(http::header::AUTHORIZATION) {
        lock(model).tokens.push(token.to_str().unwrap().to_owned());
    }
    let handled = match fault {
        Fault::CutBefore | Fault::Answer(..) => None,
        _ => {
            let (answer, crashes) = {
                let mut model = lock(model);
                (model.handle(request), model.crashes)
            };
            match fault {
                Fault::CutAfter => Some(answer), // at once
                _ => synced(model, answer, crashes).await,
            }
        }
    };
    let answer = match &fault {
        Fault::CutBefore | Fault::CutAfter => None,
        Fault::Answer(status, headers) => Some(response(*status, headers)),
        _ => handled.clone(),
    };
    chance.note(|| format!("{fault:?} {} {handled:?}", shown(request)));
    tokio::time::sleep(after).await;
    let answer = answer.map(|answer| lock(model).as_it_leaves(request, answer));
    answer.ok_or_else(|| SendError::cut("connection reset"))
}

/// An answer once what it says is durable; `None` where a crash comes first.
async fn synced(model: &Mutex<Model>, mut answer: Response, crashes: u64) -> Option<Response> {
    let is_new = answer.status == 200 && answer.headers.contains_key(PRODUCER_SEQ);
    let takes = lock(model).sync_takes;
    if is_new && !takes.is_zero() {
        tokio::time::sleep(takes).await;
        let mut model = lock(model);
        if model.crashes > crashes {
            return None;
        }
        model.sync();
        answer.headers.insert(STREAM_NEXT_OFFSET, model.tail().parse().unwrap());
    }
    Some(answer)
}

/// All of a request that the server sees.
fn shown(request: &Request) -> String {
    let (url, body) = (&request.endpoint.url, &request.body);
    format!("{} {url} {:?} {body:?}", request.method, request.headers)
}

pub(crate) fn response(status: u16, headers: &[(&'static str, String)]) -> Response {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    Response { status, headers: map, body: Bytes::new(), cut: false }
}

impl Model {
    fn handle(&mut self, request: &Request) -> Response {
        let now = Instant::now();
        self.sync();
        let is_over = |ttl| self.used.is_some_and(|used| now >= used + ttl);
        if self.ttl.is_some_and(is_over) {
            self.delete();
        }
        let is_new = self.absent && request.method == Method::PUT;
        if self.absent && !is_new {
            return response(404, &[]);
        }
        self.created += u64::from(is_new);
        if is_new {
            let is_text = |value: &HeaderValue| value == "text/plain";
            self.content_type =
                request.headers.get(CONTENT_TYPE).is_some_and(is_text).then_some("text/plain");
        }
        self.absent = false;
        if is_new || [Method::POST, Method::GET].contains(&request.method) {
            self.used = Some(now);
        }
        match request.method {
            Method::POST => self.take(request),
            _ => Response { status: if is_new { 201 } else { 200 }, ..self.show(request) },
        }
    }

    fn as_it_leaves(&mut self, request: &Request, mut answer: Response) -> Response {
        let offset = answer.headers.get_mut("stream-next-offset");
        if let Some(offset) = offset.filter(|_| self.tells_late && request.method == Method::POST) {
            *offset = self.tail().parse().expect("an offset");
        }
        answer
    }

    /// Begins a lifetime, if there is one.
    pub(crate) fn live(&mut self, ttl: Option<Duration>) {
        (self.ttl, self.used) = (ttl, Some(Instant::now()));
    }

    /// Deletes the stream, with what the server knows of its producers.
    pub(crate) fn delete(&mut self) {
        self.sync_all();
        self.before.push(std::mem::take(&mut self.stored));
        self.marks.clear();
        self.producers.clear();
        self.stream_seq.clear();
        self.was_closed |= self.closed;
        (self.closed, self.absent) = (false, true);
    }

    pub(crate) fn content_type(&self) -> &'static str {
        self.content_type.unwrap_or("application/json")
    }

    fn take(&mut self, request: &Request) -> Response {
        let headers = &request.headers;
        let number = |name| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
        let tuple = number(PRODUCER_EPOCH).zip(number(PRODUCER_SEQ));
        let is_plain_end = tuple.is_none() && request.body.is_empty();
        let is_typed = |value: &HeaderValue| value.as_bytes() == self.content_type().as_bytes();
        if !request.body.is_empty() && !headers.get(CONTENT_TYPE).is_some_and(is_typed) {
            return response(409, &[]);
        }
        let messages = messages(request);
        self.seen.extend(tuple.map(|(epoch, seq)| (epoch, seq, request.body.clone())));
        if self.closed && !is_plain_end {
            return response(409, &[("stream-closed", "true".into())]);
        }
        if messages.iter().any(|message| Some(message.as_str()) == self.poison) {
            return response(400, &[]);
        }
        let Some((epoch, seq)) = tuple else {
            return self.take_plainly(request, messages);
        };
        let id = headers[PRODUCER_ID].to_str().unwrap().to_owned();
        if self.full && !self.producers.contains_key(&id) {
            return response(429, &[]);
        }
        let last = match self.producers.get(&id) {
            Some((known, _)) if epoch < *known => {
                return response(403, &[("producer-epoch", known.to_string())]);
            }
            Some((known, last)) if epoch == *known => Some(*last),
            Some(_) if seq != 0 => return response(400, &[]),
            _ => None,
        };
        let expected = last.map_or(0, |last| last + 1);
        if seq > expected {
            return response(409, &[("producer-expected-seq", expected.to_string())]);
        }
        let fresh = seq == expected && !messages.is_empty();
        let status = if fresh { 200 } else { 204 };
        if seq == expected {
            if self.is_out_of_order(request) {
                return response(409, &[]);
            }
            self.producers.insert(id, (epoch, seq));
            self.unsynced.push_back((Instant::now() + self.sync_takes, messages));
            if headers.contains_key(STREAM_CLOSED) {
                self.sync_all(); // an end waits for what is before it
                self.closed = true;
            }
            self.sync();
        }
        if self.mute {
            return response(status, &[]);
        }
        let highest = last.unwrap_or(0).max(seq);
        response(
            status,
            &[
                ("producer-epoch", epoch.to_string()),
                ("producer-seq", highest.to_string()),
                ("stream-next-offset", self.tail()),
            ],
        )
    }

    /// Takes a request without an identity, however often it comes.
    fn take_plainly(&mut self, request: &Request, messages: Vec<String>) -> Response {
        if self.is_out_of_order(request) {
            return response(409, &[]);
        }
        if !messages.is_empty() {
            self.store(messages);
        }
        self.closed |= request.headers.contains_key(STREAM_CLOSED);
        let closed = self.closed.to_string();
        response(204, &[("stream-next-offset", self.tail()), ("stream-closed", closed)])
    }

    /// Whether it has a `Stream-Seq` that is not above the last one, which else is the last one.
    fn is_out_of_order(&mut self, request: &Request) -> bool {
        let Some(seq) = request.headers.get(STREAM_SEQ) else { return false };
        let seq = seq.to_str().unwrap();
        let is_so = *seq <= *self.stream_seq;
        if !is_so {
            self.stream_seq = seq.to_owned();
        }
        is_so
    }

    /// What has become durable is there for readers.
    fn sync(&mut self) {
        while let Some((_, messages)) =
            self.unsynced.pop_front_if(|(due, _)| *due <= Instant::now())
        {
            self.store(messages);
        }
    }

    /// Whether something is still to become durable.
    fn is_behind(&mut self) -> bool {
        self.sync();
        !self.unsynced.is_empty()
    }

    /// It ends, with everything durable, and comes back without its producers' memory.
    pub(crate) fn forget(&mut self) {
        self.sync_all();
        self.producers.clear();
    }

    fn sync_all(&mut self) {
        self.unsynced.iter_mut().for_each(|(due, _)| *due = Instant::now());
        self.sync();
    }

    /// What is not durable is gone.
    pub(crate) fn crash(&mut self) {
        self.sync();
        self.unsynced.clear();
        self.crashes += 1;
    }

    pub(crate) fn store(&mut self, messages: Vec<String>) {
        self.stored.extend(messages);
        self.marks.push(self.stored.len());
    }

    fn tail(&self) -> String {
        self.marks.len().to_string()
    }

    /// HEAD, GET, and a PUT of what is there already.
    fn show(&self, request: &Request) -> Response {
        let mut headers = vec![
            ("content-type", self.content_type().into()),
            ("stream-next-offset", self.tail()),
            ("stream-up-to-date", "true".into()),
        ];
        if self.closed {
            headers.push(("stream-closed", "true".into()));
        }
        let mut answer = response(200, &headers);
        if request.method == Method::GET {
            let mut query = request.endpoint.url.query_pairs();
            let offset = query.find(|(name, _)| name == "offset").unwrap().1.parse::<usize>();
            let from = match offset.ok().filter(|n| *n > 0).map(|n| self.marks.get(n - 1)) {
                None => 0,
                Some(Some(from)) => *from,
                Some(None) => return response(400, &[]), // an offset of another stream
            };
            let texts = &self.stored[from..];
            answer.body = match self.content_type {
                None => format!("[{}]", texts.join(",")).into(),
                Some(_) => texts.iter().map(|text| format!("{text} ")).collect::<String>().into(),
            };
        }
        answer
    }
}

fn messages(request: &Request) -> Vec<String> {
    if request.body.is_empty() {
        return Vec::new(); // the end alone
    }
    if request.headers.get(CONTENT_TYPE).is_none_or(|value| value != "application/json") {
        let text = std::str::from_utf8(&request.body).unwrap();
        return text.split_terminator(' ').map(str::to_owned).collect();
    }
    let elements: Vec<Box<serde_json::value::RawValue>> =
        serde_json::from_slice(&request.body).unwrap();
    elements.iter().map(|element| element.get().to_owned()).collect()
}

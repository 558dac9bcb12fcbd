//! A recorder's end of the wire: it stands where the network is, answers by the protocol, and does to
//! the requests what a test's script says.

pub(crate) mod hosts;
pub(crate) mod script;
pub(crate) mod server;

use std::sync::{Arc, Mutex, Weak};

use http::Method;
use tokio::sync::oneshot;
use url::Url;

use crate::error::{Error, Result};
use crate::protocol::answer::Response;
use crate::runtime::fork::{generation, made_in};
use crate::runtime::threads::lock;
use crate::transport::recorder::hosts::Recorder;
use crate::transport::recorder::script::Script;
use crate::transport::recorder::server::{Content, Server};
use crate::transport::request::{Keep, Request, SendError, Sending, Transport};

/// The path of a recorder's streams, as servers have it.
const PREFIX: &str = "/v1/stream";

/// What the producers of a recorder meet, who keep it: a recorder may go before they do.
pub(crate) struct Recording {
    host: String,
    /// The fork generation it was made in: in a child its lock is not touched.
    generation: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    server: Server,
    script: Script,
    /// Requests that have arrived and are not answered yet, in their order.
    held: Vec<(Request, oneshot::Sender<Response>)>,
}

impl Recording {
    /// A recording that this process finds by its URL, until it is retired.
    pub(crate) fn new() -> Arc<Self> {
        let (host, generation, state) = (hosts::next(), made_in(), Mutex::default());
        let recording = Arc::new(Recording { host, generation, state });
        let known: Weak<Self> = Arc::downgrade(&recording);
        hosts::add(&recording.host, known);
        recording
    }

    /// The base URL of its streams.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{PREFIX}", self.host)
    }

    pub(crate) fn is_foreign(&self) -> bool {
        self.generation != generation()
    }

    /// The content of a stream since it was last cleared; `None` if there is no such stream.
    pub(crate) fn content(&self, path: &str) -> Result<Option<Content>> {
        let key = self.key(path)?;
        Ok(self.with(|state| state.server.content(&key)))
    }

    /// The path of a stream's URL, by its path below the recorder's, or by that URL.
    fn key(&self, path: &str) -> Result<String> {
        let own = self.url();
        let below = path.strip_prefix(own.as_str()).unwrap_or(path).trim_start_matches('/');
        if below.is_empty() || below.contains("://") {
            let text = "`path` is no path of a stream below this recorder's URL";
            return Err(Error::option("path", text));
        }
        let text = format!("{own}/{below}");
        let url = Url::parse(&text).map_err(|wrong| {
            Error::option("path", format!("`path` is no path of a stream: {wrong}"))
        })?;
        Ok(url.path().to_owned())
    }

    pub(crate) fn clear(&self) {
        self.with(|state| state.server.clear());
    }

    pub(crate) fn script(&self, change: impl FnOnce(&mut Script)) {
        self.with(|state| change(&mut state.script));
    }

    /// No stream is opened at its URL any more, and those that are open are held up by nothing.
    pub(crate) fn retire(&self) {
        hosts::remove(&self.host);
        self.deliver();
    }

    /// Ends the script, and answers what was held.
    pub(crate) fn deliver(&self) {
        self.with(State::deliver);
    }

    /// Answers what is held, and holds no more; whether it did.
    pub(crate) fn release(&self) -> bool {
        self.with(State::release)
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut lock(&self.state))
    }
}

/// A request's way to its recorder.
async fn send(
    recorder: Arc<Recorder>,
    request: Request,
) -> std::result::Result<Response, SendError> {
    let (timeout, keep) = (request.timeout, request.keep);
    let recording = recorder.downcast::<Recording>().expect("recordings alone have hosts");
    if recording.is_foreign() {
        let unsent = SendError::unsent("the recorder was made before fork");
        return Err(SendError { lasting: true, ..unsent }); // no repeat fares better
    }
    let answer = recording.with(|state| state.arrive(request))?;
    match tokio::time::timeout(timeout, answer).await {
        Ok(response) => {
            Ok(as_kept(response.expect("whatever is held is answered in the end"), keep))
        }
        Err(_) => {
            let message = format!("no progress for {} ms", timeout.as_millis());
            Err(SendError::stalled(true, message))
        }
    }
}

impl State {
    /// A request comes in: where its answer will come from.
    fn arrive(
        &mut self,
        request: Request,
    ) -> std::result::Result<oneshot::Receiver<Response>, SendError> {
        if self.script.fails() {
            return Err(SendError::unreachable("the recorder takes no connections"));
        }
        if !request.departure.leave() {
            return Err(SendError::unsent("the request was given up before it left"));
        }
        let (answers, answer) = oneshot::channel();
        if self.script.holds && request.method == Method::POST {
            self.held.push((request, answers));
        } else {
            self.answer(&request, answers);
        }
        Ok(answer)
    }

    fn answer(&mut self, request: &Request, answers: oneshot::Sender<Response>) {
        let scripted = self.script.answer(request);
        let response = scripted.unwrap_or_else(|| self.server.answer(request));
        drop(answers.send(response)); // a request that was given up arrives all the same
    }

    fn release(&mut self) -> bool {
        let held = std::mem::take(&mut self.held);
        held.into_iter().for_each(|(request, answers)| self.answer(&request, answers));
        std::mem::take(&mut self.script.holds)
    }

    fn deliver(&mut self) {
        self.script = Script::default();
        self.release();
    }
}

/// An answer as far as its caller keeps it.
fn as_kept(mut response: Response, keep: Keep) -> Response {
    if let Keep::Whole(cap) = keep
        && response.body.len() > cap
    {
        (response.body, response.cut) = (response.body.slice(..cap), true);
    }
    response
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recording({})", self.host)
    }
}

/// A transport whose requests go to the recorder that their stream is of, or on.
pub(super) struct OrRecorder<T> {
    inner: T,
}

impl<T: Transport> OrRecorder<T> {
    pub(super) fn new(inner: T) -> Self {
        OrRecorder { inner }
    }
}

impl<T: Transport> Transport for OrRecorder<T> {
    fn send(&self, request: Request) -> Sending {
        match request.endpoint.recorder.clone() {
            Some(recorder) => Box::pin(send(recorder, request)),
            None => self.inner.send(request),
        }
    }
}

//! Headers whose values are functions: asked for once per request, kept for its repeats, and
//! asked for again when the server refuses what they gave.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Request, Response, SendError, Sending, Transport};
use crate::options::header_value;
use crate::pending::{Completer, pending};
use crate::protocol::headers::PRODUCER_EPOCH;
use crate::runtime::{Dispatcher, generation, lock, made_in};

/// Gives a header's value for one request, at once or later, from any thread.
///
/// The library calls it on a thread for header functions alone, one at a time. Nothing of the library
/// may be waited for there.
pub type HeaderFn = Arc<dyn Fn(HeaderAnswer) + Send + Sync>;

/// Where a [`HeaderFn`] puts its value. Dropped without one, it fails.
pub struct HeaderAnswer(Completer<String>);

impl HeaderAnswer {
    /// The value of the header for this request.
    pub fn give(self, value: impl Into<String>) {
        self.0.complete(Ok(value.into()));
    }

    /// There is none now; the request is tried again later.
    pub fn fail(self, why: impl Into<String>) {
        self.0.complete(Err(crate::Error::new(crate::ErrorKind::Transport, why)));
    }
}

/// The functions of one stream or producer.
pub(crate) struct HeaderFns {
    list: Vec<(HeaderName, HeaderFn)>,
    /// One request asks at a time, so that requests start in the order in which they were built.
    turn: tokio::sync::Mutex<()>,
    /// In a forked child the turn may be held by somebody who does not exist there.
    generation: u64,
}

impl HeaderFns {
    pub(crate) fn new(list: Vec<(HeaderName, HeaderFn)>) -> Option<Arc<Self>> {
        let turn = tokio::sync::Mutex::new(());
        let generation = made_in();
        (!list.is_empty()).then(|| Arc::new(HeaderFns { list, turn, generation }))
    }

    pub(crate) fn list(&self) -> &[(HeaderName, HeaderFn)] {
        &self.list
    }

    async fn ask(&self, dispatcher: &Dispatcher, limit: Duration) -> Result<HeaderMap, SendError> {
        let mut answers = HeaderMap::new();
        for (name, function) in &self.list {
            let failed = |why: &str| SendError {
                sent: false,
                late: false,
                unreachable: false,
                message: format!("the function for header `{name}` {why}"),
            };
            let (completer, answer) = pending();
            let function = function.clone();
            dispatcher.dispatch(move || function(HeaderAnswer(completer)));
            let value = match tokio::time::timeout(limit, answer).await {
                Ok(Ok(value)) => value,
                Ok(Err(error)) if error.kind() == crate::ErrorKind::Transport => {
                    return Err(failed(&format!("failed: {}", error.message())));
                }
                Ok(Err(_)) => return Err(failed("gave no value")),
                Err(_) => return Err(failed(&format!("took over {} ms", limit.as_millis()))),
            };
            let value = header_value(name, &value).map_err(|e| failed(&format!("failed: {e}")))?;
            answers.insert(name.clone(), value);
        }
        Ok(answers)
    }
}

impl std::fmt::Debug for HeaderFns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.list.iter().map(|(name, _)| name)).finish()
    }
}

/// What the functions gave for one request; its clones are its repeats.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Option<HeaderMap>>>);

/// A transport that asks before it sends.
pub(crate) struct Asking {
    inner: Arc<dyn Transport>,
    dispatcher: Arc<Dispatcher>,
}

impl Asking {
    pub(crate) fn new(inner: Arc<dyn Transport>, dispatcher: Arc<Dispatcher>) -> Self {
        Asking { inner, dispatcher }
    }
}

impl Transport for Asking {
    fn send(&self, request: Request) -> Sending {
        let Some(functions) = request.endpoint.functions.clone() else {
            return self.inner.send(request);
        };
        let (inner, dispatcher) = (self.inner.clone(), self.dispatcher.clone());
        Box::pin(async move {
            let mut asked_again = false;
            loop {
                let response = inner.send(dress(&request, &functions, &dispatcher).await?).await?;
                if !is_refused(&response) {
                    return Ok(response);
                }
                request.departure.came_to_nothing();
                *lock(&request.answers.0) = None;
                if asked_again {
                    return Ok(response);
                }
                asked_again = true;
            }
        })
    }
}

async fn dress(
    request: &Request,
    functions: &HeaderFns,
    dispatcher: &Dispatcher,
) -> Result<Request, SendError> {
    let mut dressed = request.clone();
    let _turn = match functions.generation == generation() {
        true => Some(functions.turn.lock().await),
        false => None,
    };
    let known = lock(&request.answers.0).clone();
    let answers = match known {
        Some(answers) => answers,
        None => {
            let fresh = functions.ask(dispatcher, request.timeout).await?;
            lock(&request.answers.0).insert(fresh).clone()
        }
    };
    for (name, value) in &answers {
        Arc::make_mut(&mut dressed.headers).insert(name.clone(), HeaderValue::clone(value));
    }
    Ok(dressed)
}

/// Whether the credentials were refused; a stale epoch is something else.
fn is_refused(response: &Response) -> bool {
    match response.status {
        401 => true,
        403 => !response.headers.contains_key(PRODUCER_EPOCH),
        _ => false,
    }
}

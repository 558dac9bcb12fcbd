//! Headers whose values are functions: called once per request, their values kept for its repeats,
//! and called again when the server refuses the values.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use crate::error::ErrorKind;
use crate::options::headers::{HeaderAnswer, header_value};
use crate::protocol::answer::Response;
use crate::protocol::headers::PRODUCER_EPOCH;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::pending::pending;
use crate::transport::header_values::HeaderFns;
use crate::transport::request::{Request, SendError, Sending, Transport};

/// A transport that asks header functions before it sends.
pub(crate) struct Authorize {
    inner: Arc<dyn Transport>,
    dispatcher: Arc<Dispatcher>,
}

impl Authorize {
    pub(crate) fn new(inner: Arc<dyn Transport>, dispatcher: Arc<Dispatcher>) -> Self {
        Authorize { inner, dispatcher }
    }
}

impl Transport for Authorize {
    fn send(&self, request: Request) -> Sending {
        let Some(functions) = request.endpoint.functions.clone() else {
            return self.inner.send(request);
        };
        let (inner, dispatcher) = (self.inner.clone(), self.dispatcher.clone());
        Box::pin(async move {
            let mut asked_again = false;
            loop {
                let response =
                    inner.send(apply_headers(&request, &functions, &dispatcher).await?).await?;
                if !is_refused(&response) {
                    return Ok(response);
                }
                request.departure.came_to_nothing();
                request.header_values.forget();
                if asked_again {
                    return Ok(response);
                }
                asked_again = true;
            }
        })
    }
}

async fn apply_headers(
    request: &Request,
    functions: &HeaderFns,
    dispatcher: &Dispatcher,
) -> Result<Request, SendError> {
    let mut dressed = request.clone();
    let _turn = functions.turn().await;
    let values = match request.header_values.get() {
        Some(values) => values,
        None => request.header_values.keep(ask(functions, dispatcher, request.timeout).await?),
    };
    for (name, value) in &values {
        Arc::make_mut(&mut dressed.headers).insert(name.clone(), HeaderValue::clone(value));
    }
    Ok(dressed)
}

/// Asks each function for the value of its header.
async fn ask(
    functions: &HeaderFns,
    dispatcher: &Dispatcher,
    limit: Duration,
) -> Result<HeaderMap, SendError> {
    let mut answers = HeaderMap::new();
    for (name, function) in functions.list() {
        let failed =
            |why: &str| SendError::unsent(format!("the function for header `{name}` {why}"));
        let (completer, answer) = pending();
        let function = function.clone();
        dispatcher.dispatch(move || function(HeaderAnswer::new(completer)));
        let value = match tokio::time::timeout(limit, answer).await {
            Ok(Ok(value)) => value,
            Ok(Err(error)) if error.kind() == ErrorKind::Transport => {
                return Err(failed(&format!("failed: {}", error.message())));
            }
            Ok(Err(_)) => return Err(failed("gave no value")),
            Err(_) => return Err(failed(&format!("took more than {} ms", limit.as_millis()))),
        };
        let value = header_value(name, &value).map_err(|e| failed(&format!("failed: {e}")))?;
        answers.insert(name.clone(), value);
    }
    Ok(answers)
}

/// Whether the server refused the credentials; a stale epoch is something else.
fn is_refused(response: &Response) -> bool {
    match response.status {
        401 => true,
        403 => !response.headers.contains_key(PRODUCER_EPOCH),
        _ => false,
    }
}

//! Requests outside a producer's session (create, HEAD, delete, read, close without a message):
//! idempotent, so transient failures are simply repeated, within limits.

use std::time::{Duration, SystemTime};

use http::Method;

use super::{Request, Response, Transport};
use crate::error::Error;
use crate::producer::backoff::Backoff;
use crate::protocol::answer::Answer;

/// When to give up.
#[derive(Debug, Clone)]
pub(crate) struct Retries {
    pub(crate) backoff: Backoff,
    pub(crate) max_retries: u64,
    pub(crate) retry_after_max: Duration,
    /// Not where the attempt may have been carried out: only after what certainly refused it.
    pub(crate) unless_stored: bool,
}

/// What came of it in the end.
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    pub(crate) response: Response,
    /// An earlier attempt may have been carried out.
    pub(crate) repeated: bool,
    pub(crate) attempts: u32,
}

/// Sends until an answer that decides something, or the retries are used up.
pub(crate) async fn send(
    transport: &dyn Transport,
    request: Request,
    retries: &Retries,
    doing: &str,
) -> Result<Reply, Error> {
    let mut attempt: u32 = 0;
    let mut repeated = false;
    loop {
        let url = &request.endpoint.shown;
        let (error, retry_after) = match transport.send(request.again()).await {
            Ok(response) => {
                let answer = Answer::read(&response, SystemTime::now());
                if !is_inconclusive(&request, &answer) {
                    return Ok(Reply { answer, response, repeated, attempts: attempt + 1 });
                }
                let error = answer.error(doing, url);
                let refused = retries.unless_stored && answer.is_refusal();
                let definite = refused || error.definite();
                (error.with_definite(definite), answer.retry_after)
            }
            Err(failure) => (failure.error(doing, url), None),
        };
        repeated |= !error.definite();
        if u64::from(attempt) >= retries.max_retries || (retries.unless_stored && repeated) {
            return Err(error.with_definite(!repeated)); // an earlier attempt counts too
        }
        let pause = retries.backoff.delay(attempt, rand::random());
        let asked = retry_after.unwrap_or_default().min(retries.retry_after_max);
        tokio::time::sleep(pause.max(asked)).await;
        attempt += 1;
    }
}

/// Whether it has to be asked again what the answer means: nothing came of it yet, something in
/// between answered, or something was done, and not told what (a 303 after a POST).
fn is_inconclusive(request: &Request, answer: &Answer) -> bool {
    answer.is_transient()
        || answer.is_foreign(&request.method, request.body.is_empty())
        || (answer.status == 303 && request.method == Method::POST)
}

//! Requests outside a producer's session (create, HEAD, delete, read, close without a message):
//! idempotent, so transient failures are simply repeated, within limits.

use std::time::Duration;

use http::Method;

use crate::error::{Error, Result};
use crate::options::Options;
use crate::protocol::answer::{Answer, Response};
use crate::runtime::io::Runtime;
use crate::transport::network;
use crate::transport::request::Request;

/// An exponential schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Backoff {
    pub(crate) initial: Duration,
    pub(crate) max: Duration,
    pub(crate) multiplier: f64,
}

impl Backoff {
    /// The pause after failed attempt `attempt` (from 0): between half of and the full
    /// exponential step, placed there by `random` in `0.0..1.0`.
    pub(crate) fn delay(&self, attempt: u32, random: f64) -> Duration {
        let growth = self.multiplier.powi(attempt.min(1_000) as i32);
        let step = (self.initial.as_secs_f64() * growth).min(self.max.as_secs_f64());
        Duration::from_secs_f64(step * (0.5 + random.clamp(0.0, 1.0) / 2.0))
    }
}

/// When a request is given up.
#[derive(Debug, Clone)]
pub(crate) struct Retries {
    pub(crate) backoff: Backoff,
    pub(crate) max_retries: u64,
    pub(crate) retry_after_max: Duration,
}

/// The most that is added to a pause that a server asks for.
const MOST_SPREAD: Duration = Duration::from_secs(5);

impl Retries {
    /// The pause after a failed attempt: that of the schedule, and none that is shorter than the server
    /// asked for. It asks all its clients alike, so each adds its own part of up to a quarter: they
    /// would all be there again in the same moment.
    pub(crate) fn pause(&self, attempt: u32, asked: Option<Duration>, random: f64) -> Duration {
        let asked = asked.unwrap_or_default().min(self.retry_after_max);
        let spread = (asked / 4).min(MOST_SPREAD).mul_f64(random.clamp(0.0, 1.0));
        self.backoff.delay(attempt, random).max(asked + spread)
    }
}

pub(crate) fn request_timeout(options: &Options) -> Duration {
    Duration::from_millis(options.number("request_timeout_ms", options.request_timeout_ms))
}

pub(crate) fn retries(options: &Options) -> Retries {
    let ms = |name, value| Duration::from_millis(options.number(name, value));
    let initial = ms("retry_initial_delay_ms", options.retry_initial_delay_ms);
    let max = ms("retry_max_delay_ms", options.retry_max_delay_ms);
    Retries {
        backoff: Backoff {
            // An option that is set moves the other's default.
            initial: options.retry_initial_delay_ms.map_or(initial.min(max), |_| initial),
            max: max.max(options.retry_initial_delay_ms.map_or(max, |_| initial)),
            multiplier: options.factor(),
        },
        max_retries: options.number("max_retries", options.max_retries),
        retry_after_max: ms("retry_after_max_ms", options.retry_after_max_ms),
    }
}

/// The final answer to a request.
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    pub(crate) response: Response,
    /// An earlier attempt may have been carried out.
    pub(crate) repeated: bool,
}

/// Sends until an answer that decides something, or the retries are used up.
pub(crate) async fn send(
    runtime: &Runtime,
    request: Request,
    retries: &Retries,
    doing: &str,
) -> Result<Reply, Error> {
    let mut attempt: u32 = 0;
    let mut repeated = false;
    let transport = network::of(runtime);
    loop {
        let url = &request.endpoint.shown;
        let (error, retry_after) = match transport.send(request.again()).await {
            Ok(response) => {
                let answer = Answer::read(&response, runtime.chance().now());
                if !is_inconclusive(&request, &answer) {
                    return Ok(Reply { answer, response, repeated });
                }
                (answer.error(doing, url), answer.retry_after)
            }
            Err(failure) if failure.lasting => {
                return Err(failure.error(doing, url).with_definite(!repeated));
            }
            Err(failure) => (failure.error(doing, url), None),
        };
        repeated |= !error.definite();
        if u64::from(attempt) >= retries.max_retries {
            return Err(error.with_definite(!repeated)); // an earlier attempt counts too
        }
        let random = runtime.chance().fraction();
        tokio::time::sleep(retries.pause(attempt, retry_after, random)).await;
        attempt += 1;
    }
}

/// One attempt; the caller decides whether and when to repeat a transient failure.
pub(super) async fn attempt(
    runtime: &Runtime,
    request: Request,
    doing: &str,
) -> Result<(Answer, Response), (Error, Option<Duration>)> {
    let url = request.endpoint.shown.clone();
    match network::of(runtime).send(request).await {
        Ok(response) => {
            let answer = Answer::read(&response, runtime.chance().now());
            if answer.is_transient() {
                return Err((answer.error(doing, &url), answer.retry_after));
            }
            Ok((answer, response))
        }
        Err(failure) => Err((failure.error(doing, &url), None)),
    }
}

/// Whether the answer leaves its meaning open and has to be asked for again: nothing was done yet,
/// something in between answered, or something was done, and the answer does not say what (a 303
/// after a POST).
fn is_inconclusive(request: &Request, answer: &Answer) -> bool {
    answer.is_transient()
        || answer.is_foreign(&request.method, request.body.is_empty())
        || (answer.status == 303 && request.method == Method::POST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn within_its_limits(attempt in 0u32.., random in 0.0f64..1.0, multiplier in 1.0f64..10.0) {
            let (initial, max) = (Duration::from_millis(100), Duration::from_secs(5));
            let delay = Backoff { initial, max, multiplier }.delay(attempt, random);
            prop_assert!(delay >= initial / 2 && delay <= max);
        }
    }

    #[test]
    fn the_largest_values_stay_a_pause() {
        let day = Duration::from_secs(86_400);
        let backoff = Backoff { initial: day, max: day, multiplier: f64::MAX };
        assert!(backoff.delay(u32::MAX, 1.0) <= day && backoff.delay(0, 0.0) >= day / 2);
    }

    #[test]
    fn grows_by_the_multiplier() {
        let backoff = Backoff {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(5),
            multiplier: 2.0,
        };
        let full: Vec<_> = (0..8).map(|n| backoff.delay(n, 1.0).as_millis()).collect();
        assert_eq!(full, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}

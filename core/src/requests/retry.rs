//! Requests outside a producer's session (create, HEAD, delete, read, close without a message):
//! idempotent, so transient failures are simply repeated, within limits.

use std::time::Duration;

use http::Method;
use tokio::time::Instant;

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

    /// Whether the pause after another failed attempt is longer.
    pub(crate) fn grows(&self, attempt: u32) -> bool {
        self.delay(attempt, 1.0) < self.max
    }

    /// For a server that is there, and turns away what is too much: whom it turned away while it caught
    /// up would otherwise be the last by far.
    fn sooner(self) -> Self {
        Backoff { max: (self.max / 2).max(self.initial), ..self }
    }

    /// The longest pause in an outage that lasts so long by now: what the schedule itself would make of
    /// it. Chance may have made the pauses before short; this one shall not be long beside them.
    fn most(&self, lasts: Duration) -> Duration {
        let next = lasts.as_secs_f64() * (self.multiplier - 1.0);
        Duration::try_from_secs_f64(next).unwrap_or(Duration::MAX).max(SOME * self.initial)
    }
}

/// In so many first pauses there is no need to look at how long the outage lasts.
const SOME: u32 = 4;

/// The status of a server that is there, and has more requests than it can answer.
const TOO_MANY: u16 = 429;

/// When a request is given up.
#[derive(Debug, Clone, PartialEq)]
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
    pub(crate) fn pause(&self, failed: &Failed<'_>, random: f64) -> Duration {
        let Failed { attempt, lasts, error, asked } = *failed;
        let asked = asked.unwrap_or_default().min(self.retry_after_max);
        let spread = (asked / 4).min(MOST_SPREAD).mul_f64(random.clamp(0.0, 1.0));
        let own = match error.status() {
            Some(TOO_MANY) => self.backoff.sooner(),
            _ => self.backoff,
        }
        .delay(attempt, random);
        own.min(self.backoff.most(lasts)).max(asked + spread)
    }
}

/// An attempt that failed.
pub(crate) struct Failed<'a> {
    /// How many failed before it.
    pub(crate) attempt: u32,
    /// How long the first of them is ago.
    pub(crate) lasts: Duration,
    pub(crate) error: &'a Error,
    /// The pause that the server asked for.
    pub(crate) asked: Option<Duration>,
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
    let mut first = None;
    let mut repeated = false;
    let transport = network::of(runtime);
    loop {
        let url = &request.endpoint.shown;
        let (error, asked) = match transport.send(request.again()).await {
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
        let lasts = first.get_or_insert_with(Instant::now).elapsed();
        let failed = Failed { attempt, lasts, error: &error, asked };
        tokio::time::sleep(retries.pause(&failed, runtime.chance().fraction())).await;
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
    use crate::error::ErrorKind;
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
        assert_eq!(backoff.most(day), Duration::MAX);
    }

    fn retries(initial: u64, max: u64) -> Retries {
        let ms = Duration::from_millis;
        let backoff = Backoff { initial: ms(initial), max: ms(max), multiplier: 2.0 };
        Retries { backoff, max_retries: 9, retry_after_max: ms(60_000) }
    }

    fn failed(status: u16) -> Error {
        Error::new(ErrorKind::Protocol, "it failed").with_status(status)
    }

    #[test]
    fn no_pause_is_longer_than_the_outage_by_then() {
        let pause = |attempt, lasts| {
            let lasts = Duration::from_millis(lasts);
            let failed = Failed { attempt, lasts, error: &failed(503), asked: None };
            retries(100, 5_000).pause(&failed, 1.0).as_millis()
        };
        assert_eq!(
            [pause(0, 0), pause(2, 150), pause(3, 350), pause(4, 750)],
            [100, 400, 400, 750]
        );
        assert_eq!([pause(9, 60_000), pause(2, 60_000)], [5_000, 400]);
    }

    #[test]
    fn a_server_that_turns_away_is_asked_sooner() {
        let long = Duration::from_secs(600);
        let pause = |attempt, initial, asked| {
            let failed = Failed { attempt, lasts: long, error: &failed(429), asked };
            retries(initial, 5_000).pause(&failed, 1.0).as_millis()
        };
        let full: Vec<_> = (0..8).map(|attempt| pause(attempt, 100, None)).collect();
        assert_eq!(full, [100, 200, 400, 800, 1_600, 2_500, 2_500, 2_500]);
        assert_eq!(pause(3, 5_000, None), 5_000); // what was set is the least
        assert_eq!(pause(9, 100, Some(Duration::from_secs(4))), 5_000); // and a quarter
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

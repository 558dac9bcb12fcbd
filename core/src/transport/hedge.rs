//! Past a server that does not answer, or says that it cannot: while one attempt at a request makes no
//! progress, another server is asked the same, again and again, until one of them answers.
//!
//! A cluster elects another leader within seconds, and only the one that froze says nothing of it.
//! What was sent there may still be stored: the request's [`Departure`] keeps count of that. One
//! request of a stream asks for all of them, and so a cluster that has no leader is asked little.

use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep_until};
use url::{Origin, Url};

use crate::protocol::answer::{Answer, Response};
use crate::protocol::headers::PRODUCER_ID;
use crate::runtime::chance::Chance;
use crate::transport::departure::Departure;
use crate::transport::request::{Request, SendError, Transport};
use crate::transport::way::{Leg, Way, is_denied};

/// The pause after an attempt that nobody took: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// How often a request that waits for another's attempts looks what became of them.
const LOOK: Duration = Duration::from_millis(50);
/// How long others are asked once the first attempt has failed, before that is the answer.
const ASKED_FOR: Duration = Duration::from_secs(5);
/// How long a silent server is left alone.
const ALONE: Duration = Duration::from_secs(1);
/// How long the turn to ask lasts without a sign of life.
const TURN: Duration = Duration::from_secs(5);

type Answered = Result<Response, SendError>;

/// Whether a request may reach two servers: it changes nothing, or they know it from a repeat.
pub(super) fn may_be(request: &Request) -> bool {
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    request.endpoint.route.has_others() && (reads || request.headers.contains_key(PRODUCER_ID))
}

/// Sends a request on its way from `start`, and past a server that stays silent, or has no answer, to
/// another one.
pub(super) async fn send<T: Transport>(
    way: &Way<T>,
    request: Request,
    start: Url,
    chance: &Chance,
) -> Answered {
    let (leg, moves) = (Leg::from(start), way.route.moves());
    request.progress.made();
    let first = way.walk(request.clone(), &leg);
    tokio::pin!(first);
    let mut lost = tokio::select! {
        biased;
        result = &mut first => match is_lost(&result) && request.method == Method::POST {
            true => Some(result),
            false => return result, // a read is repeated by whoever asks for it
        },
        () = stalled(way, &request, &leg) => None,
    };
    let others = Others::of(way, &request, leg.at(), lost.as_ref(), chance);
    let asking = others.ask_for_all(moves);
    tokio::pin!(asking);
    let mut until = Instant::now() + ASKED_FOR;
    loop {
        tokio::select! {
            biased;
            result = &mut first, if lost.is_none() => {
                if !is_lost(&result) {
                    way.route.was_only_slow();
                    return result;
                }
                (lost, until) = (Some(result), Instant::now() + ASKED_FOR);
            }
            found = &mut asking => return match found {
                Some(answer) => {
                    settle(&request.departure, lost.as_ref(), chance);
                    Ok(answer)
                }
                None => moved(&request.departure, lost, chance),
            },
            () = sleep_until(until), if lost.is_some() => break,
        }
    }
    lost.expect("nothing else ends the loop")
}

/// The first attempt, when another one is answered in its place.
fn settle(first: &Departure, lost: Option<&Answered>, chance: &Chance) {
    match lost {
        Some(Ok(answer)) => note_answered(first, &read(answer, chance)),
        _ => first.abandon(),
    }
}

/// The first attempt, when another request found who answers: this one goes there next.
fn moved(first: &Departure, lost: Option<Answered>, chance: &Chance) -> Answered {
    let why = "another server answers in the place of this one";
    match lost {
        None => Err(SendError::stalled(!first.give_up(), why)),
        Some(Ok(answer)) => {
            note_answered(first, &read(&answer, chance));
            Err(SendError::unsent(why))
        }
        Some(failed) => failed,
    }
}

fn read(answer: &Response, chance: &Chance) -> Answer {
    Answer::read(answer, chance.now())
}

/// An attempt was answered, and not in the request's name.
fn note_answered(attempt: &Departure, answer: &Answer) {
    match answer.is_refusal() {
        true => attempt.came_to_nothing(),
        false => attempt.was_unclear(),
    }
}

/// Waits until an attempt has made no progress for longer than its server is given.
async fn stalled<T: Transport>(way: &Way<T>, request: &Request, leg: &Leg) {
    loop {
        let patience = way.route.patience(&leg.at().origin(), request.timeout);
        let deadline = request.progress.last() + patience;
        if Instant::now() >= deadline {
            return;
        }
        // A redirect may lead to one that is given less.
        sleep_until(deadline.min(Instant::now() + 2 * LOOK)).await;
    }
}

/// The servers to ask in turn.
struct Others<'a, T> {
    way: &'a Way<T>,
    request: &'a Request,
    /// The one that is silent, to which others may redirect, and until when it is left alone. It may
    /// be one request alone that it does not answer.
    silent: Option<(Origin, Instant)>,
    /// From when on each may be asked.
    servers: Vec<(Url, Instant)>,
    chance: &'a Chance,
}

impl<'a, T: Transport> Others<'a, T> {
    /// Those beside the one that was asked; and later that one, too, after the pause that it asks for:
    /// it may lead in a moment, or have lost a connection and nothing else.
    fn of(
        way: &'a Way<T>,
        request: &'a Request,
        asked: Url,
        lost: Option<&Answered>,
        chance: &'a Chance,
    ) -> Self {
        let now = Instant::now();
        let others = way.route.others_than(&asked.origin());
        let mut servers: Vec<_> = others.into_iter().map(|url| (url, now)).collect();
        let silent = match lost {
            None => {
                let (silent, until) = (asked.origin(), now + ALONE);
                way.route.note_silent(&silent);
                servers.push((asked, until));
                Some((silent, until))
            }
            Some(result) => {
                let answer = result.as_ref().ok().map(|answer| read(answer, chance));
                let pause = answer.map_or(Duration::ZERO, |answer| asked_pause(&answer));
                servers.push((asked, now + pause.max(PAUSES.0)));
                None
            }
        };
        Others { way, request, silent, servers, chance }
    }

    /// Asks them when it is this request's turn; without an answer if another found one meanwhile,
    /// since there were so many moves.
    async fn ask_for_all(mut self, moves: u64) -> Option<Response> {
        let route = &self.way.route;
        let _turn = loop {
            let target = route.target().origin();
            let is_silent = self.silent.as_ref().is_some_and(|(silent, _)| *silent == target);
            if route.moves() != moves && !is_silent {
                return None;
            }
            match route.take_turn(TURN) {
                Some(turn) => break turn,
                None => tokio::time::sleep(LOOK).await,
            }
        };
        Some(self.ask().await)
    }

    /// Asks one after the other until one gives an answer that decides something. One that asks for a
    /// pause gets it.
    async fn ask(&mut self) -> Response {
        let count = self.servers.len();
        for asked in 0.. {
            let mut order = (0..count).map(|n| (asked + n) % count);
            if let Some(n) = order.find(|n| self.servers[*n].1 <= Instant::now()) {
                match self.attempt(self.servers[n].0.clone()).await {
                    Ok(answer) => return answer,
                    Err(asked) => self.servers[n].1 = Instant::now() + asked,
                }
            }
            self.way.route.keep_turn(TURN);
            let pause = PAUSES.1.min(PAUSES.0 * 2u32.pow(asked.min(8) as u32));
            let pause = pause.mul_f64(0.5 + self.chance.fraction() / 2.0);
            let first_awake = self.servers.iter().map(|(_, from)| *from).min();
            let next = Instant::now() + pause;
            sleep_until(first_awake.map_or(next, |awake| awake.max(next))).await;
        }
        std::future::pending().await
    }

    /// One attempt; without an answer of use the pause that the server asks for.
    async fn attempt(&mut self, mut url: Url) -> Result<Response, Duration> {
        let (request, asked) = (self.request.beside(), url.origin());
        url.set_query(request.endpoint.url.query());
        let mut beside = Beside(Some(request.departure.clone()));
        let alone = self.silent.as_ref().filter(|(_, until)| Instant::now() < *until);
        let leg = Leg::from(url).but_not_to(alone.map(|(silent, _)| silent.clone()));
        let result = tokio::select! {
            biased;
            result = self.way.walk(request.clone(), &leg) => result,
            () = stalled(self.way, &request, &leg) => {
                let at = leg.at().origin();
                self.way.route.note_silent(&at);
                if let Some((_, until)) = self.silent.as_mut().filter(|(silent, _)| *silent == at) {
                    *until = Instant::now() + ALONE;
                }
                // One that redirected there is awake.
                return Err(if at == asked { ALONE } else { Duration::ZERO });
            }
        };
        match result {
            Err(failure) => {
                if !failure.sent {
                    request.departure.came_to_nothing();
                }
                Err(Duration::ZERO)
            }
            Ok(answer) if is_of_use(&answer) => {
                beside.0 = None;
                self.way.route.found(&leg.at(), &request.method);
                Ok(answer)
            }
            Ok(answer) => {
                beside.0 = None;
                let answer = read(&answer, self.chance);
                note_answered(&request.departure, &answer);
                Err(asked_pause(&answer))
            }
        }
    }
}

/// An attempt that, unless it is answered, counts as given up wherever it ends.
struct Beside(Option<Departure>);

impl Drop for Beside {
    fn drop(&mut self) {
        self.0.iter().for_each(Departure::abandon);
    }
}

/// Whether another server may do better now: there was no answer, or one that says so.
fn is_lost(result: &Answered) -> bool {
    match result {
        Ok(answer) => matches!(answer.status, 502..=504),
        Err(failure) => !failure.lasting,
    }
}

/// Whether an answer is the one to give: another server has none that decides more.
fn is_of_use(answer: &Response) -> bool {
    let elsewhere = matches!(answer.status, 300..=399 | 408);
    !elsewhere && answer.status < 500 && !is_denied(answer)
}

/// The pause that a server without a leader asks for.
fn asked_pause(answer: &Answer) -> Duration {
    answer.retry_after.unwrap_or_default().min(TURN / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::scripted::response;

    /// The pause that a 503 asks for, and whether the attempt stays in doubt.
    fn heard(retry_after: &str) -> (Duration, bool) {
        let (chance, attempt) = (Chance::seeded(0), Departure::default());
        let answer = read(&response(503, &[("retry-after", retry_after.to_owned())]), &chance);
        assert!(attempt.leave());
        note_answered(&attempt, &answer);
        (asked_pause(&answer), attempt.take_doubts().1)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_asked_for_in_seconds_or_by_date() {
        let date = httpdate::fmt_http_date(Chance::seeded(0).now() + Duration::from_secs(2));
        assert_eq!(heard("2"), (Duration::from_secs(2), false));
        assert_eq!(heard(&date), (Duration::from_secs(2), false));
        assert_eq!(heard("soon"), (Duration::ZERO, true), "who says no time refuses nothing");
    }
}

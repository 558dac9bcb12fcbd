//! A server that is away for a while, and then back with a capacity: it remembers nothing but when it
//! was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::tests::*;
use crate::protocol::headers::{PRODUCER_EPOCH, PRODUCER_SEQ};
use crate::transport::gate::Gates;
use crate::transport::peer::Peer;

/// What clients meet while the server or a leader is away, and what once it is back and has more
/// requests than it can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Nobody listens. Later, requests wait for their turn.
    Silent,
    /// 503, and 429 later.
    Busy,
    /// The same with `Retry-After`, in seconds.
    Asking(u8),
}

/// The longest that a request waits for its turn where others are turned away.
const LONGEST_TURN: Duration = Duration::from_millis(100);
const ROUND_TRIP: Duration = Duration::from_millis(1);

pub(super) struct Server {
    pub(super) manner: Manner,
    /// Requests a second.
    pub(super) capacity: f64,
    pub(super) began: Instant,
    state: Mutex<State>,
}

struct State {
    is_away: bool,
    /// When the request that comes next gets its turn.
    turn: Instant,
    asked: Vec<Asked>,
}

/// A request: when, of which process, and whether it was answered well.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) at: Duration,
    pub(super) process: usize,
    pub(super) is_served: bool,
}

impl Server {
    pub(super) fn new(manner: Manner, capacity: f64) -> Arc<Self> {
        let began = Instant::now();
        let state = State { is_away: false, turn: began, asked: Vec::new() };
        Arc::new(Server { manner, capacity, began, state: Mutex::new(state) })
    }

    pub(super) fn set_away(&self, is_away: bool) {
        lock(&self.state).is_away = is_away;
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        lock(&self.state).asked.clone()
    }

    /// When a request is served; `None` if it is not.
    fn turn(&self, process: usize) -> Option<Instant> {
        let mut state = lock(&self.state);
        let now = Instant::now();
        let waits = self.manner == Manner::Silent;
        let turn = state.turn.max(now);
        let is_served = !state.is_away && (waits || turn - now < LONGEST_TURN);
        if is_served {
            state.turn = turn + Duration::from_secs_f64(1.0 / self.capacity);
        }
        state.asked.push(Asked { at: now - self.began, process, is_served });
        is_served.then_some(turn)
    }

    async fn answer(
        self: Arc<Self>,
        process: usize,
        request: Request,
    ) -> Result<Response, SendError> {
        let turn = self.turn(process);
        let is_away = lock(&self.state).is_away;
        tokio::time::sleep(ROUND_TRIP).await;
        let Some(turn) = turn else {
            let status = if is_away { 503 } else { 429 };
            return match self.manner {
                Manner::Silent => Err(SendError::unreachable("connection refused")),
                Manner::Busy => Ok(answer(status, &[])),
                Manner::Asking(later) => Ok(answer(status, &[("retry-after", &later.to_string())])),
            };
        };
        tokio::time::sleep_until(turn).await;
        let mut stored = answer(200, &[("stream-next-offset", "1")]);
        for name in [&PRODUCER_EPOCH, &PRODUCER_SEQ] {
            stored
                .headers
                .extend(request.headers.get(name).cloned().map(|value| (name.clone(), value)));
        }
        Ok(stored)
    }
}

/// The transport of one process, with a gate of its own as every process has.
pub(super) struct OfProcess {
    pub(super) number: usize,
    pub(super) gates: Gates,
    pub(super) server: Arc<Server>,
}

impl Transport for OfProcess {
    fn send(&self, request: Request) -> Sending {
        let (server, number) = (self.server.clone(), self.number);
        let peer = Peer::of(&request.endpoint);
        self.gates.pass(&peer, None, move |_| server.answer(number, request))
    }
}

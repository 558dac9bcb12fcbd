//! The listening side: connections come in here, unless it is closed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::link::reset;
use crate::failure::{Context, Result};

/// Pause after an accept that failed, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Opens and closes the listener, always on the same port.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    /// Bound, never listening: nobody else is given the port while it is closed.
    _reservation: Option<socket2::Socket>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    /// Wanted closed: for good, or until a time.
    closed: Option<Option<Instant>>,
    listening: bool,
}

impl Door {
    pub(super) fn open() -> Result<(Self, TcpListener)> {
        let doing = "opening a port for the proxy";
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let reservation = reserve(any).context(doing)?;
        let address = match &reservation {
            Some(socket) => socket.local_addr().context(doing)?.as_socket().unwrap_or(any),
            None => any,
        };
        let listener = TcpListener::bind(address).context(doing)?;
        let address = listener.local_addr().context(doing)?;
        let state = Mutex::new(State { listening: true, ..State::default() });
        let door = Self { address, _reservation: reservation, state, changed: Condvar::new() };
        Ok((door, listener))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        match self.changed.wait_timeout(state, limit) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }

    /// From the return of this on, connections are refused.
    pub(super) fn close(&self, limit: Option<Duration>) {
        let mut state = self.lock();
        if state.stopping {
            return;
        }
        state.closed = Some(limit.map(|limit| Instant::now() + limit));
        self.changed.notify_all();
        while state.listening && state.closed.is_some() {
            drop(state);
            self.knock();
            state = self.wait(self.lock(), ACCEPT_PAUSE);
        }
    }

    /// From the return of this on, connections are accepted.
    pub(super) fn reopen(&self) {
        let mut state = self.lock();
        state.closed = None;
        self.changed.notify_all();
        while !state.listening && !state.stopping {
            state = self.wait(state, Duration::from_secs(1));
        }
    }

    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
        self.knock();
    }

    /// Wakes the accepting thread up.
    fn knock(&self) {
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }

    /// Accepts until the stop, on a thread of its own.
    pub(super) fn run(&self, first: TcpListener, mut admit: impl FnMut(TcpStream)) {
        let mut listener = Some(first);
        loop {
            let accepted = listener.as_ref().map(TcpListener::accept);
            let mut state = self.lock();
            if state.stopping {
                return;
            }
            let now = Instant::now();
            if state.closed.flatten().is_some_and(|until| until <= now) {
                state.closed = None;
            }
            if let Some(until) = state.closed {
                if let Some(Ok((socket, _))) = accepted {
                    reset(&socket);
                }
                listener = None;
                state.listening = false;
                self.changed.notify_all();
                let left = until.map_or(Duration::from_secs(3600), |until| until - now);
                drop(self.wait(state, left));
                continue;
            }
            if listener.is_none() {
                listener = TcpListener::bind(self.address).ok();
                state.listening = listener.is_some();
                self.changed.notify_all();
            }
            match accepted {
                Some(Ok((socket, _))) => {
                    drop(state);
                    admit(socket);
                }
                None if listener.is_some() => {}
                _ => drop(self.wait(state, ACCEPT_PAUSE)),
            }
        }
    }
}

/// Keeps a port for us alone. Elsewhere than on Linux a second socket could not listen on it.
fn reserve(address: SocketAddr) -> std::io::Result<Option<socket2::Socket>> {
    if !cfg!(target_os = "linux") {
        return Ok(None);
    }
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(Some(socket))
}

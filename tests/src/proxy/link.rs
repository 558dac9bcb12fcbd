//! A connection as others see it.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

/// The sockets of a connection. Weak, so that its thread alone decides when it ends.
#[derive(Debug)]
pub(super) struct Link {
    client: Weak<TcpStream>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    upstream: Weak<TcpStream>,
    idle: bool,
    ended: bool,
}

impl Link {
    pub(super) fn new(client: &Arc<TcpStream>) -> Self {
        Self { client: Arc::downgrade(client), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether it waits for a request; `false` if it was ended meanwhile.
    pub(super) fn set_idle(&self, idle: bool) -> bool {
        let mut state = self.lock();
        state.idle = idle;
        !state.ended
    }

    pub(super) fn set_upstream(&self, socket: &Arc<TcpStream>) {
        self.lock().upstream = Arc::downgrade(socket);
    }

    /// Ends it at once, or after the request it is busy with.
    pub(super) fn end(&self, now: bool) {
        let mut state = self.lock();
        state.ended = true;
        if !now && !state.idle {
            return;
        }
        for socket in [self.client.upgrade(), state.upstream.upgrade()].into_iter().flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Makes the end of a connection a reset.
pub(super) fn reset(socket: &TcpStream) {
    let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

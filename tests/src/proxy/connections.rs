//! The connections there are, each on a thread of its own.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::connection::Connection;
use super::journal::Entry;
use super::link::{Link, reset};
use super::shared::Shared;

/// One thread per connection, so a small one.
const STACK_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Connections {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    accepted: u64,
    open: HashMap<u64, (Arc<Link>, JoinHandle<()>)>,
}

impl Connections {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn admit(&self, socket: TcpStream) {
        let mut state = self.lock();
        state.open.retain(|_, (_, thread)| !thread.is_finished());
        state.accepted += 1;
        let number = state.accepted;
        let plan = self.shared.rules().decide(None, b"");
        if plan.fault.is_some() {
            let entry = Entry { connection: number, rules: plan.fired, ..Entry::default() };
            self.shared.journal().push(entry);
            return reset(&socket);
        }
        let _ = socket.set_nodelay(true);
        let socket = Arc::new(socket);
        let link = Arc::new(Link::new(&socket));
        let connection = Connection::new(number, self.shared.clone(), link.clone(), socket);
        let thread = std::thread::Builder::new()
            .name(format!("proxy-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || connection.run());
        if let Ok(thread) = thread {
            state.open.insert(number, (link, thread));
        }
    }

    /// Ends those there are, each after the request it is busy with.
    pub(super) fn end(&self) {
        for (link, _) in self.lock().open.values() {
            link.end(false);
        }
    }

    /// Ends them at once and waits for their threads.
    pub(super) fn stop(&self) {
        let open = std::mem::take(&mut self.lock().open);
        for (link, _) in open.values() {
            link.end(true);
        }
        for (_, (_, thread)) in open {
            let _ = thread.join();
        }
    }
}

//! What the sockets show and reqwest does not: that a head is coming in bit by bit.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use tower_layer::Layer;
use tower_service::Service;

use crate::runtime::threads::lock;
#[cfg(target_os = "linux")]
pub(super) use crate::transport::descriptors::OpenSockets;

/// A connection's own end, and the other one.
type Ends = (SocketAddr, SocketAddr);

/// The last connection of a lane.
#[derive(Clone)]
pub(super) struct Socket {
    ends: Arc<Mutex<Option<Ends>>>,
    /// Whether an answer came through this connection.
    answered: Arc<AtomicBool>,
    open: Arc<Mutex<OpenSockets>>,
    /// Which of its host's addresses comes first; all lanes to the host know that.
    pub(super) turn: Arc<AtomicUsize>,
    /// The turn of the connection that is being made, or was not.
    unmade: Arc<Mutex<Option<usize>>>,
}

impl Socket {
    pub(super) fn among(open: Arc<Mutex<OpenSockets>>, turn: Arc<AtomicUsize>) -> Self {
        let (ends, answered, unmade) = (Arc::default(), Arc::default(), Arc::default());
        Socket { ends, answered, open, turn, unmade }
    }

    /// A connection is going to be made. Where the one before came to nothing, it is another
    /// address's turn: what is sent to one may vanish, until the request's time is over.
    fn begin(&self) {
        let mut unmade = lock(&self.unmade);
        if let Some(tried) = *unmade {
            // Several lanes may have tried the same one.
            let next = tried.wrapping_add(1);
            let _ = self.turn.compare_exchange(tried, next, Ordering::Relaxed, Ordering::Relaxed);
        }
        *unmade = Some(self.turn.load(Ordering::Relaxed));
    }

    /// An answer came.
    pub(super) fn note_answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whether one came: then its handshake has ended long ago.
    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// How long ago bytes came in, where the system tells.
    pub(super) fn received_ago(&self) -> Option<Duration> {
        let ends = (*lock(&self.ends))?;
        lock(&self.open).received_ago(ends)
    }
}

/// Notes each connection as it is made.
#[derive(Clone)]
pub(super) struct Noting(pub(super) Socket);

#[derive(Clone)]
pub(super) struct NotingService<S> {
    inner: S,
    socket: Socket,
}

impl<S> Layer<S> for Noting {
    type Service = NotingService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        NotingService { inner, socket: self.0.clone() }
    }
}

impl<S, R> Service<R> for NotingService<S>
where
    S: Service<R>,
    S::Response: Connection,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, target: R) -> Self::Future {
        self.socket.begin();
        let (connecting, socket) = (self.inner.call(target), self.socket.clone());
        Box::pin(async move {
            let connection = connecting.await?;
            *lock(&socket.unmade) = None;
            let mut extensions = http::Extensions::new();
            connection.connected().get_extras(&mut extensions);
            let info = extensions.get::<HttpInfo>();
            socket.answered.store(false, Ordering::Relaxed);
            *lock(&socket.ends) = info.map(|info| (info.local_addr(), info.remote_addr()));
            Ok(connection)
        })
    }
}

/// Nothing is known of sockets here.
#[cfg(not(target_os = "linux"))]
#[derive(Default)]
pub(super) struct OpenSockets;

#[cfg(not(target_os = "linux"))]
impl OpenSockets {
    fn received_ago(&mut self, _: Ends) -> Option<Duration> {
        None
    }
}

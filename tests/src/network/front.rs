//! A front that speaks TLS before a server that does not, as a load balancer does; or speaks none,
//! for comparison.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::failure::{Context, Result};
use crate::network::authority::Pair;

/// Ends with this value, and its connections with it.
pub struct Front {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    /// Its thread goes on as long as this is not dropped.
    _held: oneshot::Sender<()>,
}

struct Shared {
    upstream: SocketAddr,
    /// None for a front without TLS.
    config: Mutex<Option<Arc<ServerConfig>>>,
    handshakes: AtomicUsize,
    /// The certificate that a client showed last.
    shown: Mutex<Option<Vec<u8>>>,
    connections: Mutex<Vec<tokio::task::AbortHandle>>,
}

impl Front {
    /// # Errors
    /// There is no port for it.
    pub fn start(upstream: SocketAddr, config: impl Into<Option<ServerConfig>>) -> Result<Self> {
        let config: Option<ServerConfig> = config.into();
        let scheme = if config.is_some() { "https" } else { "http" };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().context("a runtime")?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("a port")?;
        let address = listener.local_addr().context("its address")?;
        let shared = Arc::new(Shared {
            upstream,
            config: Mutex::new(config.map(Arc::new)),
            handshakes: AtomicUsize::new(0),
            shown: Mutex::default(),
            connections: Mutex::default(),
        });
        let (held, dropped) = oneshot::channel();
        let accept = accept(listener, shared.clone());
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept => {}
                    _ = dropped => {}
                }
            });
        };
        std::thread::Builder::new().spawn(serve).context("a thread")?;
        Ok(Front { address, scheme, shared, _held: held })
    }

    /// Where it listens, on the loopback.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL by name: `https://localhost:PORT`, or `http://`.
    pub fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.port())
    }

    /// Connections from here on have these certificates; those there are end, if that is wanted.
    pub fn rotate(&self, config: ServerConfig, ending: bool) {
        *lock(&self.shared.config) = Some(Arc::new(config));
        if ending {
            self.cut();
        }
    }

    /// Ends every connection.
    pub fn cut(&self) {
        lock(&self.shared.connections).drain(..).for_each(|connection| connection.abort());
    }

    /// How many handshakes were begun.
    pub fn handshakes(&self) -> usize {
        self.shared.handshakes.load(Ordering::Relaxed)
    }

    /// The certificate that a client showed last, in DER.
    pub fn shown(&self) -> Option<Vec<u8>> {
        lock(&self.shared.shown).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        let serving = tokio::spawn(serve(socket, shared.clone()));
        lock(&shared.connections).push(serving.abort_handle());
    }
}

async fn serve(mut socket: TcpStream, shared: Arc<Shared>) {
    shared.handshakes.fetch_add(1, Ordering::Relaxed);
    let config = lock(&shared.config).clone();
    let Some(config) = config else { return join(&mut socket, &shared).await };
    let Ok(mut client) = TlsAcceptor::from(config).accept(socket).await else { return };
    let certificate = client.get_ref().1.peer_certificates().and_then(<[_]>::first);
    if let Some(certificate) = certificate {
        *lock(&shared.shown) = Some(certificate.to_vec());
    }
    join(&mut client, &shared).await;
}

/// Hands on what comes, both ways; without a server the connection ends.
async fn join(client: &mut (impl AsyncRead + AsyncWrite + Unpin), shared: &Shared) {
    let Ok(mut server) = TcpStream::connect(shared.upstream).await else { return };
    let _ = server.set_nodelay(true);
    let _ = copy_bidirectional(client, &mut server).await;
}

/// A server's side of TLS, for clients with a certificate of `clients` alone if that is given.
///
/// # Errors
/// The certificate is none, or not the key's.
pub fn config(own: &Pair, clients: Option<&str>) -> Result<ServerConfig> {
    config_of(own, clients, rustls::ALL_VERSIONS)
}

/// One that speaks some versions of TLS alone.
///
/// # Errors
/// The certificate is none, or not the key's.
pub fn config_of(
    own: &Pair,
    clients: Option<&str>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ServerConfig> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(ring.clone());
    let builder = builder.with_protocol_versions(versions).context("versions of TLS")?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(pem_certificate(authority)?).context("an authority")?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), ring);
            builder.with_client_cert_verifier(verifier.build().context("an authority")?)
        }
    };
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).context("a key")?;
    builder.with_single_cert(vec![pem_certificate(&own.certificate)?], key).context("a certificate")
}

fn pem_certificate(text: &str) -> Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(text.as_bytes()).context("a certificate")
}

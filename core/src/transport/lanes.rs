//! The connections to a host, each with a client of its own: so it is known which socket an
//! exchange uses. The socket shows what reqwest does not: that a head is coming in bit by bit.
#![cfg_attr(target_os = "linux", allow(unsafe_code, reason = "a socket is asked for its state"))]

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use once_cell::sync::OnceCell;
use reqwest::Client;
use rustls::CertificateError;
use tower_layer::Layer;
use tower_service::Service;

use crate::runtime::chance::real_now;
use crate::runtime::fork::uncut;
use crate::runtime::threads::lock;
use crate::transport::names::Names;
use crate::transport::proxies::Proxies;
use crate::transport::request::{SendError, innermost_cause};

/// One request at a time, over one connection that is kept.
pub(super) struct Lane {
    pub(super) client: Client,
    pub(super) socket: Socket,
    /// The proxy it goes through.
    proxy: Option<String>,
}

impl Lane {
    /// A failure of its client, in the words of somebody who has to mend it.
    pub(super) fn failure(&self, error: &reqwest::Error) -> SendError {
        let cause = innermost_cause(error);
        let message = match (refused_certificate(error), &self.proxy) {
            (Some(_), _) => format!("the server's certificate is not accepted: {cause}"),
            (None, Some(proxy)) if error.is_connect() => {
                format!("no connection through the proxy {proxy}: {cause}")
            }
            _ => cause,
        };
        let untrusted = refused_certificate(error).is_some();
        SendError { untrusted, ..SendError::unsent(message) }
    }
}

/// What is wrong with the certificate of who answers, if that is why the connection failed.
fn refused_certificate<'a>(mut error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    loop {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(why);
        }
        // What an I/O error wraps is not its source; that one's source is.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        error = match wrapped {
            Some(inner) => inner,
            None => error.source()?,
        };
    }
}

/// The lanes of every host, by number; the lowest ones are the ones in use.
#[derive(Default)]
pub(super) struct Lanes {
    by_origin: Mutex<HashMap<String, Vec<Arc<Lane>>>>,
    names: Names,
    proxies: OnceCell<Proxies>,
    plain: OnceCell<rustls::ClientConfig>,
    /// Made at the first use of https, which alone pays for the platform's root certificates.
    tls: OnceCell<rustls::ClientConfig>,
    open: Arc<Mutex<OpenSockets>>,
}

impl Lanes {
    /// The lane of this number to a host.
    pub(super) fn of(&self, origin: &str, number: usize) -> Result<Arc<Lane>, String> {
        let mut lanes = lock(&self.by_origin);
        let lanes = lanes.entry(origin.to_owned()).or_default();
        while lanes.len() <= number {
            // The first client makes lazy values deep in the libraries; a fork waits for that.
            lanes.push(Arc::new(uncut(|| self.build(origin))?));
        }
        Ok(lanes[number].clone())
    }

    fn build(&self, origin: &str) -> Result<Lane, String> {
        let https = origin.starts_with("https:");
        let proxy = self.proxies.get_or_init(Proxies::of_environment).of(origin);
        let cell = if https { &self.tls } else { &self.plain };
        let tls = cell.get_or_try_init(|| tls_config(https))?.clone();
        let socket = Socket { ends: Arc::default(), open: self.open.clone() };
        let builder = match &proxy {
            Some(proxy) => Client::builder().proxy(proxy.for_reqwest()?),
            None => Client::builder().no_proxy(),
        };
        let client = builder
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tcp_nodelay(true)
            .dns_resolver(self.names.clone())
            .connector_layer(Noting(socket.clone()))
            .pool_max_idle_per_host(1)
            .user_agent(concat!("durstream/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| innermost_cause(&e))?;
        Ok(Lane { client, socket, proxy: proxy.map(|proxy| proxy.shown()) })
    }
}

fn tls_config(https: bool) -> Result<rustls::ClientConfig, String> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let tls = if https {
        let verifier = rustls_platform_verifier::Verifier::new(builder.crypto_provider().clone())
            .map_err(|e| e.to_string())?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    } else {
        builder.with_root_certificates(rustls::RootCertStore::empty())
    };
    Ok(tls.with_no_client_auth())
}

/// A connection's own end, and the other one.
type Ends = (SocketAddr, SocketAddr);

/// The last connection of a lane.
#[derive(Clone)]
pub(super) struct Socket {
    ends: Arc<Mutex<Option<Ends>>>,
    open: Arc<Mutex<OpenSockets>>,
}

impl Socket {
    /// How long ago bytes came in, where the system tells.
    pub(super) fn received_ago(&self) -> Option<Duration> {
        let ends = (*lock(&self.ends))?;
        lock(&self.open).received_ago(ends)
    }
}

/// Notes each connection as it is made.
#[derive(Clone)]
struct Noting(Socket);

#[derive(Clone)]
struct NotingService<S> {
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
        let (connecting, socket) = (self.inner.call(target), self.socket.clone());
        Box::pin(async move {
            let connection = connecting.await?;
            let mut extensions = http::Extensions::new();
            connection.connected().get_extras(&mut extensions);
            let info = extensions.get::<HttpInfo>();
            *lock(&socket.ends) = info.map(|info| (info.local_addr(), info.remote_addr()));
            Ok(connection)
        })
    }
}

/// The descriptors of the process's connections: reqwest gives out none.
#[derive(Default)]
struct OpenSockets {
    by_ends: HashMap<Ends, i32>,
    looked: Option<Instant>,
}

/// A scan of a process's descriptors takes milliseconds if there are many: no more often than this,
/// however many requests stand still.
#[cfg(target_os = "linux")]
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(target_os = "linux")]
impl OpenSockets {
    fn received_ago(&mut self, ends: Ends) -> Option<Duration> {
        let known = |sockets: &Self| {
            let descriptor = *sockets.by_ends.get(&ends)?;
            (ends_of(descriptor) == Some(ends)).then_some(descriptor)
        };
        let mut descriptor = known(self);
        if descriptor.is_none() && self.looked.is_none_or(|at| at.elapsed() >= LOOK_AGAIN) {
            self.look();
            descriptor = known(self);
        }
        last_data(descriptor?)
    }

    fn look(&mut self) {
        self.looked = Some(real_now());
        self.by_ends.clear();
        let Ok(files) = std::fs::read_dir("/proc/self/fd") else { return };
        let descriptors = files.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok());
        self.by_ends = descriptors.filter_map(|own| Some((ends_of(own)?, own))).collect();
    }
}

#[cfg(not(target_os = "linux"))]
impl OpenSockets {
    fn received_ago(&mut self, _: Ends) -> Option<Duration> {
        None
    }
}

#[cfg(target_os = "linux")]
fn ends_of(descriptor: i32) -> Option<Ends> {
    // The other end first: most descriptors are no connections, and have none.
    let other = address(libc::getpeername, descriptor)?;
    Some((address(libc::getsockname, descriptor)?, other))
}

#[cfg(target_os = "linux")]
fn address(
    ask: unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32,
    descriptor: i32,
) -> Option<SocketAddr> {
    // SAFETY: the storage is large enough for any address, and zeroes are a valid one of none.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&storage) as libc::socklen_t;
    // SAFETY: the pointers are to storage of `length` bytes; a descriptor that is no socket fails.
    if unsafe { ask(descriptor, (&raw mut storage).cast(), &raw mut length) } != 0 {
        return None;
    }
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is what was written.
            let v4 = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in>() };
            let ip = std::net::Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some((ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in6>() };
            let ip = std::net::Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let (port, flow) = (u16::from_be(v6.sin6_port), v6.sin6_flowinfo);
            Some(std::net::SocketAddrV6::new(ip, port, flow, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(target_os = "linux")]
fn last_data(descriptor: i32) -> Option<Duration> {
    // SAFETY: zeroes are a valid value of this structure of numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the pointers are to `info` and its length.
    let failed = unsafe {
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        libc::getsockopt(descriptor, level, name, (&raw mut info).cast(), &raw mut length)
    };
    (failed == 0).then(|| Duration::from_millis(info.tcpi_last_data_recv.into()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_tells_when_bytes_came_in() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let own = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut other, _) = listener.accept().unwrap();
            let ends = (own.local_addr().unwrap(), own.peer_addr().unwrap());
            let mut open = OpenSockets::default();
            std::thread::sleep(Duration::from_millis(60));
            let quiet = open.received_ago(ends).unwrap();
            assert!(quiet >= Duration::from_millis(50), "{quiet:?}");
            other.write_all(b"x").unwrap();
            let mut waited = 0;
            while open.received_ago(ends).unwrap() >= quiet && waited < 1_000 {
                std::thread::sleep(Duration::from_millis(1));
                waited += 1;
            }
            assert!(waited < 1_000, "what came in was seen");
            assert_eq!(open.received_ago((ends.0, "192.0.2.1:1".parse().unwrap())), None);
            // A closed descriptor is not asked; its number may be another connection's.
            drop(own);
            assert_eq!(open.received_ago(ends), None);
        }
    }
}

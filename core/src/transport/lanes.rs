//! The connections to a host, each with a client of its own: so it is known which socket an
//! exchange uses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use once_cell::sync::OnceCell;
use reqwest::{Client, StatusCode};
use rustls::ClientConfig;

use crate::runtime::fork::uncut;
use crate::runtime::notice::Notice;
use crate::runtime::threads::lock;
use crate::transport::names::{self, Names};
use crate::transport::peer::Peer;
use crate::transport::proxies::{Proxies, Proxy};
use crate::transport::request::{SendError, innermost_cause};
use crate::transport::socket::{Noting, OpenSockets, Socket};
use crate::transport::tls::failure::{self, TlsFailure};
use crate::transport::tls::{self, Certificates};

/// One request at a time, over one connection that is kept.
pub(super) struct Lane {
    pub(super) client: Client,
    pub(super) socket: Socket,
    /// The proxy it goes through.
    proxy: Option<String>,
    /// Whether requests are the proxy's to answer, and not only to hand on.
    asks_proxy: bool,
    /// Whether that was given a user and a password.
    has_credentials: bool,
    /// Whether it has a certificate of its own to show.
    has_certificate: bool,
}

impl Lane {
    /// A failure of its client, in the words of somebody who has to mend it.
    pub(super) fn failure(&self, error: &reqwest::Error) -> SendError {
        // Behind a handshake an alert says nothing about certificates, nor that nothing was read.
        let is_handshake = error.is_connect() || !self.socket.has_answered();
        let refused = failure::of(error, self.has_certificate).filter(|_| is_handshake);
        if let Some(failure) = refused {
            let TlsFailure { lasting, message } = failure;
            return SendError { lasting, notice: Notice::Tls, ..SendError::unreachable(message) };
        }
        let cause = innermost_cause(error);
        if cause.ends_with("proxy authorization required") {
            return self.not_let_through();
        }
        let message = match &self.proxy {
            Some(proxy) if error.is_connect() => {
                format!("no connection through the proxy {proxy}: {cause}")
            }
            _ if cause.starts_with("invalid HTTP") => {
                format!("what answers there does not speak HTTP ({cause}); does it want https:?")
            }
            _ => cause,
        };
        let notice = match &self.proxy {
            _ if !error.is_connect() => Notice::Failing,
            Some(_) => Notice::Proxy,
            None if names::is_reason(error) => Notice::NoAddress,
            None => Notice::Unreachable,
        };
        SendError { unreachable: error.is_connect(), notice, ..SendError::cut(message) }
    }

    /// Whether the proxy answered, in place of the server, that it lets this client through nowhere.
    pub(super) fn is_kept_out(&self, status: StatusCode) -> bool {
        self.asks_proxy && status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
    }

    pub(super) fn not_let_through(&self) -> SendError {
        let proxy = self.proxy.as_deref().unwrap_or("in between");
        let why = match self.has_credentials {
            true => "does not accept the user and password",
            false => "wants a user and a password, in its URL",
        };
        let failed = SendError::unreachable(format!("the proxy {proxy} {why}"));
        SendError { lasting: true, notice: Notice::Proxy, ..failed }
    }
}

/// The lanes of every host, by number; the lowest ones are the ones in use.
#[derive(Default)]
pub(super) struct Lanes {
    by_peer: Mutex<HashMap<Peer, Vec<Arc<Lane>>>>,
    names: Names,
    proxies: OnceCell<Proxies>,
    plain: OnceCell<ClientConfig>,
    /// Made at the first use of https, which alone pays for the platform's root certificates.
    tls: Mutex<HashMap<Certificates, ClientConfig>>,
    open: Arc<Mutex<OpenSockets>>,
}

impl Lanes {
    /// The lane of this number to a host.
    ///
    /// # Errors
    /// There can be none now; for a proxy that is none, ever.
    pub(super) fn of(&self, peer: &Peer, number: usize) -> Result<Arc<Lane>, SendError> {
        let mut by_peer = lock(&self.by_peer);
        if let Some(lane) = by_peer.get(peer).and_then(|lanes| lanes.get(number)) {
            return Ok(lane.clone());
        }
        let lanes = by_peer.entry(peer.clone()).or_default();
        let turn = lanes.first().map(|lane| lane.socket.turn.clone()).unwrap_or_default();
        while lanes.len() <= number {
            let socket = Socket::among(self.open.clone(), turn.clone());
            // The first client makes lazy values deep in the libraries; a fork waits for that.
            lanes.push(Arc::new(uncut(|| self.build(peer, socket))?));
        }
        Ok(lanes[number].clone())
    }

    fn build(&self, peer: &Peer, socket: Socket) -> Result<Lane, SendError> {
        let lasting = |why: String| SendError {
            lasting: true,
            notice: Notice::Proxy,
            ..SendError::unreachable(why)
        };
        let Peer { origin, connect } = peer;
        let proxy = self.proxies.get_or_init(Proxies::of_environment).of(origin, &connect.proxy);
        let proxy = proxy.map_err(lasting)?;
        let https = origin.starts_with("https:") || proxy.as_ref().is_some_and(Proxy::has_tls);
        let tls = match https {
            true => self.tls_config(&connect.certificates),
            false => self.plain.get_or_try_init(tls::none).cloned(),
        };
        let untrusting = |why| SendError { notice: Notice::Tls, ..SendError::unreachable(why) };
        let tls = tls.map_err(untrusting)?;
        let builder = match (&proxy, &connect.server_name) {
            (Some(proxy), Some(_)) if https => {
                let shown = proxy.shown();
                let why = format!("`tls_server_name` cannot be used through the proxy {shown}");
                return Err(lasting(why));
            }
            (Some(proxy), _) => Client::builder().proxy(proxy.for_reqwest().map_err(lasting)?),
            (None, _) => Client::builder().no_proxy(),
        };
        let client = builder
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tcp_nodelay(true)
            .dns_resolver(self.names.renamed(peer, socket.turn.clone()))
            .connector_layer(Noting(socket.clone()))
            .pool_max_idle_per_host(1)
            .user_agent(concat!("durstream/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| SendError::unreachable(innermost_cause(&e)))?;
        Ok(Lane {
            client,
            socket,
            asks_proxy: proxy.is_some() && !origin.starts_with("https:"),
            proxy: proxy.as_ref().map(Proxy::shown),
            has_credentials: proxy.as_ref().is_some_and(Proxy::has_credentials),
            has_certificate: connect.certificates.has_own(),
        })
    }

    fn tls_config(&self, certificates: &Certificates) -> Result<ClientConfig, String> {
        let mut known = lock(&self.tls);
        if let Some(config) = known.get(certificates) {
            return Ok(config.clone());
        }
        let config = tls::config(certificates)?;
        Ok(known.entry(certificates.clone()).or_insert(config).clone())
    }
}

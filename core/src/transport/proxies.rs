//! Proxies, as the environment says: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, like
//! curl. Decided here and not by reqwest, so that an error can name the proxy.

use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::transport::request::innermost_cause;

pub(super) struct Proxies {
    matcher: Matcher,
    /// `NO_PROXY` has a `*`: no host has a proxy, addresses included.
    none: bool,
}

impl Proxies {
    /// Reads the environment.
    pub(super) fn of_environment() -> Self {
        let excepted = ["no_proxy", "NO_PROXY"].iter().find_map(|name| std::env::var(name).ok());
        let none = excepted.is_some_and(|hosts| hosts.split(',').any(|host| host.trim() == "*"));
        Proxies { matcher: Matcher::from_system(), none }
    }

    /// The proxy for a host, if it has one.
    pub(super) fn of(&self, origin: &str) -> Option<Proxy> {
        let host = origin.parse().ok().filter(|_| !self.none)?;
        self.matcher.intercept(&host).map(Proxy)
    }
}

pub(super) struct Proxy(Intercept);

impl Proxy {
    /// Its address, without credentials.
    pub(super) fn shown(&self) -> String {
        self.0.uri().to_string().trim_end_matches('/').to_owned()
    }

    pub(super) fn for_reqwest(&self) -> Result<reqwest::Proxy, String> {
        let wrong = |error: reqwest::Error| format!("the proxy: {}", innermost_cause(&error));
        let proxy = reqwest::Proxy::all(self.0.uri().to_string()).map_err(wrong)?;
        Ok(match self.0.basic_auth() {
            Some(credentials) => proxy.custom_http_auth(credentials.clone()),
            None => proxy,
        })
    }
}

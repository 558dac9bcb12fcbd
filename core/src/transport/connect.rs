//! How connections are made, as options say it. Hosts that are reached in different ways share none.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rustls::pki_types::DnsName;
use url::Url;

use crate::error::{Error, Result};
use crate::options::Options;
use crate::transport::proxies::{self, Choice};
use crate::transport::tls::{self, Certificates};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connect {
    /// Of all the rest: each request looks its connections up, and a certificate may be long.
    hash: u64,
    pub(super) certificates: Certificates,
    /// The name that servers are asked for in TLS, where it is not the URL's.
    pub(super) server_name: Option<Arc<str>>,
    pub(super) proxy: Choice,
    /// To one host, at the same time.
    pub(super) max_connections: usize,
}

/// What may be shown of an option's value, if that may hold a secret: a proxy without its user and
/// password, of certificates and keys the path of their file.
pub(crate) fn shown_secret(option: &str, value: &str) -> Option<String> {
    match option {
        "proxy" => Some(proxies::shown(value)),
        "ca_pem" | "client_cert_pem" | "client_key_pem" => Some(tls::shown(value)),
        _ => None,
    }
}

impl Hash for Connect {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Connect {
    pub(super) fn of(options: &Options) -> Result<Self> {
        let server_name = options.tls_server_name.as_deref();
        // What is looked up in names has to be a URL's host, too.
        let is_host =
            |name| Url::parse("https://h").is_ok_and(|mut u| u.set_host(Some(name)).is_ok());
        if server_name.is_some_and(|name| DnsName::try_from(name).is_err() || !is_host(name)) {
            let text = "`tls_server_name` is no host name: letters, digits, `-` and dots";
            return Err(Error::option("tls_server_name", text));
        }
        let proxy = Choice::of(options.proxy.as_deref())?;
        if let (Some(_), Choice::Given(_)) = (server_name, &proxy) {
            let text = "`tls_server_name` does not go together with `proxy`";
            return Err(Error::option("tls_server_name", text));
        }
        let certificates = Certificates::of(options)?;
        let max_connections = options.number("max_connections", options.max_connections) as usize;
        let server_name: Option<Arc<str>> = server_name.map(Into::into);
        let mut hasher = DefaultHasher::new();
        (&certificates, &server_name, &proxy, max_connections).hash(&mut hasher);
        let hash = hasher.finish();
        Ok(Connect { hash, certificates, server_name, proxy, max_connections })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_and_no_password_is_shown() {
        for (option, value, shown) in [
            ("proxy", "none", "none"),
            ("proxy", "user:s3cret@p:1", "http://p:1"),
            ("ca_pem", "/etc/ca.pem", "/etc/ca.pem"),
            ("client_key_pem", "-----BEGIN PRIVATE KEY-----\ns3cret", "(text)"),
        ] {
            assert_eq!(shown_secret(option, value).as_deref(), Some(shown));
        }
        assert_eq!(shown_secret("tls_server_name", "h"), None);
    }
}

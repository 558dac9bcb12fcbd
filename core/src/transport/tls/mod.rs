//! TLS: whose certificates are accepted, the client's own one, and what went wrong in words.

pub(super) mod failure;
mod identity;
mod pem;
pub(crate) mod trust;
mod watched;

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;

use crate::error::{Error, Result};
use crate::options::Options;
use identity::Identity;
use pem::Pem;
use trust::Trust;

/// Whose certificates are accepted and which one is shown, as options say it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Certificates {
    /// Those of the authorities that are trusted, in place of the platform's.
    authorities: Option<Pem>,
    /// The client's own, and its key.
    own: Option<(Pem, Pem)>,
}

impl Certificates {
    /// Reads them once, so that what is of no use is said at the call.
    pub(super) fn of(options: &Options) -> Result<Self> {
        let pem = |value: &Option<String>| value.as_deref().map(Pem::of);
        let authorities = pem(&options.ca_pem);
        if let Some(authorities) = &authorities {
            trust::roots(authorities).map_err(|why| wrong("ca_pem", &why))?;
        }
        let own = match (pem(&options.client_cert_pem), pem(&options.client_key_pem)) {
            (None, None) => None,
            (None, Some(_)) => {
                return Err(wrong("client_key_pem", "there is no `client_cert_pem` to go with it"));
            }
            // One text or file may hold both.
            (Some(certificate), key) => {
                let key = key.unwrap_or_else(|| certificate.clone());
                let option = |at_key| if at_key { "client_key_pem" } else { "client_cert_pem" };
                identity::load(&certificate, &key, &provider())
                    .map_err(|(at_key, why)| wrong(option(at_key), &why))?;
                Some((certificate, key))
            }
        };
        Ok(Certificates { authorities, own })
    }

    pub(super) fn has_own(&self) -> bool {
        self.own.is_some()
    }
}

/// What may be shown of an option's value.
pub(super) fn shown(option: &str) -> String {
    match Pem::of(option) {
        Pem::Text(_) => "(text)".to_owned(),
        Pem::File(path) => path.display().to_string(),
    }
}

fn wrong(option: &'static str, why: &str) -> Error {
    Error::option(option, format!("`{option}`: {why}"))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A client's side of TLS.
///
/// # Errors
/// A file of its certificates cannot be read, or holds none.
pub(super) fn config(certificates: &Certificates) -> Result<ClientConfig, String> {
    let trust = Trust::new(certificates.authorities.as_ref(), provider())?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust));
    let mut config = match &certificates.own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let identity = Identity::new(certificate, key, provider())?;
            builder.with_client_cert_resolver(Arc::new(identity))
        }
    };
    // A resumed session has the certificates of the first one: nobody would look at replaced ones.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// For what speaks no TLS: no certificate is accepted.
pub(super) fn none() -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

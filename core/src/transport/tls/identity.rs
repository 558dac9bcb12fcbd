//! The client's own certificate.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureScheme};

use crate::transport::tls::pem::Pem;
use crate::transport::tls::watched::Watched;

/// A certificate and its key, as their files have them at each handshake.
#[derive(Debug)]
pub(super) struct Identity(Watched<CertifiedKey>);

impl Identity {
    pub(super) fn new(
        certificate: &Pem,
        key: &Pem,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let files = (certificate.clone(), key.clone());
        let read = move || load(&files.0, &files.1, &provider).map_err(|(_, why)| why);
        Ok(Identity(Watched::new(vec![certificate.clone(), key.clone()], read)?))
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.get())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Reads a certificate and the key that has to belong to it.
///
/// # Errors
/// What is wrong, and whether it is wrong with the key.
pub(super) fn load(
    certificate: &Pem,
    key: &Pem,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, (bool, String)> {
    let chain = certificate.certificates().map_err(|why| (false, why))?;
    let key = key.key().map_err(|why| (true, why))?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| (true, "the private key is of an unknown kind".to_owned()))?;
    let own = CertifiedKey::new(chain, key);
    match own.keys_match() {
        // The library cannot tell for some keys.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(own),
        Err(Error::InconsistentKeys(_)) => {
            Err((true, "the private key does not belong to the certificate".to_owned()))
        }
        Err(_) => Err((false, "the certificate cannot be read".to_owned())),
    }
}

//! Whose certificates are accepted.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::runtime::chance::real_now;
use crate::runtime::log::warn_of_connection;
use crate::runtime::notice::Notice;
use crate::runtime::threads::lock;
use crate::transport::tls::pem::Pem;
use crate::transport::tls::watched::Watched;

/// How old the platform's certificates have to be before a refused one has them read again.
const READ_AGAIN: Duration = Duration::from_secs(10);

/// A file of certificates that count beside the platform's.
static BESIDE: OnceCell<PathBuf> = OnceCell::new();

/// Has the certificates of a PEM file accepted beside the platform's, wherever `ca_pem` is not
/// given: as a host language's own variable says. Only the first call in a process counts, and only
/// before the first connection.
pub fn trust_also(file: PathBuf) {
    let _ = BESIDE.set(file);
}

type Verifier = Arc<dyn ServerCertVerifier>;

#[derive(Debug)]
pub(super) struct Trust {
    authorities: Authorities,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Authorities {
    Given(Watched<Verifier>),
    /// With the time when they were read.
    Platform(Mutex<(Instant, Verifier)>),
}

impl Trust {
    pub(super) fn new(given: Option<&Pem>, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let authorities = match given {
            None => Authorities::Platform(Mutex::new((real_now(), platform(&provider)?))),
            Some(pem) => {
                let (file, provider) = (pem.clone(), provider.clone());
                let read = move || verifier(roots(&file)?, &provider);
                Authorities::Given(Watched::new(vec![pem.clone()], read)?)
            }
        };
        Ok(Trust { authorities, provider })
    }

    fn current(&self) -> Verifier {
        match &self.authorities {
            Authorities::Given(watched) => Verifier::clone(&watched.get()),
            Authorities::Platform(known) => lock(known).1.clone(),
        }
    }

    /// The platform's certificates, where they were read some time ago.
    fn read_again(&self) -> Option<Verifier> {
        let Authorities::Platform(known) = &self.authorities else { return None };
        let mut known = lock(known);
        if known.0.elapsed() < READ_AGAIN {
            return None;
        }
        known.0 = real_now();
        known.1 = platform(&self.provider).ok()?;
        Some(known.1.clone())
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.current().verify_server_cert(own, between, name, ocsp, now);
        match &verified {
            // No other authorities give it another name.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => verified,
            Err(Error::InvalidCertificate(_)) => {
                let again = self.read_again();
                again.map_or(verified, |v| v.verify_server_cert(own, between, name, ocsp, now))
            }
            _ => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificates of a file, each of which can be an authority's.
pub(super) fn roots(pem: &Pem) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in pem.certificates()? {
        let wrong = |_| format!("a certificate in {pem:?} cannot be read");
        roots.add(certificate).map_err(wrong)?;
    }
    Ok(roots)
}

fn verifier(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Verifier, String> {
    let builder = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
    let verifier: Verifier = builder.build().map_err(|e| e.to_string())?;
    Ok(verifier)
}

/// The certificates that count beside the platform's, if they can be read.
fn beside() -> Vec<CertificateDer<'static>> {
    let Some(file) = BESIDE.get() else { return Vec::new() };
    Pem::File(file.as_path().into()).certificates().unwrap_or_else(|why| {
        let text = format!("no further certificates are accepted: {why}");
        warn_of_connection(Notice::CertificateFile, &text);
        Vec::new()
    })
}

#[cfg(all(unix, not(target_vendor = "apple")))]
fn platform(provider: &Arc<CryptoProvider>) -> Result<Verifier, String> {
    let given = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
    let given = given.into_iter().find(|name| std::env::var_os(name).is_some());
    let found = rustls_native_certs::load_native_certs();
    // A file that cannot be read now is no system without certificates.
    if let (true, Some(error)) = (found.certs.is_empty(), found.errors.first()) {
        return Err(format!("the certificates of authorities cannot be read: {error}"));
    }
    let mut roots = platform_roots(found.certs, given)?;
    roots.add_parsable_certificates(beside());
    verifier(roots, provider)
}

/// The authorities that the system knows; those of Mozilla's list where it knows none and nobody
/// said which they are.
#[cfg(all(unix, not(target_vendor = "apple")))]
fn platform_roots(
    known: Vec<CertificateDer<'static>>,
    given: Option<&str>,
) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(known);
    match given {
        Some(name) if roots.is_empty() => {
            Err(format!("there is no certificate where the variable {name} points"))
        }
        None if roots.is_empty() => {
            static TOLD: std::sync::Once = std::sync::Once::new();
            TOLD.call_once(|| {
                warn_of_connection(
                    Notice::NoAuthorities,
                    "this system has no certificates of authorities; those of Mozilla's list, \
                     which are part of this library, are used",
                );
            });
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            Ok(roots)
        }
        _ => Ok(roots),
    }
}

#[cfg(not(all(unix, not(target_vendor = "apple"))))]
fn platform(provider: &Arc<CryptoProvider>) -> Result<Verifier, String> {
    let verifier =
        rustls_platform_verifier::Verifier::new_with_extra_roots(beside(), provider.clone());
    let verifier: Verifier = Arc::new(verifier.map_err(|e| e.to_string())?);
    Ok(verifier)
}

#[cfg(all(test, unix, not(target_vendor = "apple")))]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_certificates_has_the_ones_in_here() {
        assert!(platform_roots(Vec::new(), None).unwrap().len() > 100);
        let error = platform_roots(Vec::new(), Some("SSL_CERT_FILE")).unwrap_err();
        assert_eq!(error, "there is no certificate where the variable SSL_CERT_FILE points");
    }
}

//! An authority for certificates, as companies have one of their own.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

use crate::failure::{Context, Result};

const DAY: Duration = Duration::from_secs(86_400);

/// Signs certificates with a key that it made for itself.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both in PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// # Errors
    /// The library cannot make it.
    pub fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate().context("a certificate")?;
        let mut parameters = parameters(&[], name)?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).context("a certificate")?.pem();
        Ok(Authority { pem, issuer: Issuer::new(parameters, key) })
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its private key, in PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for a server of these names, valid for a month.
    ///
    /// # Errors
    /// A name is none.
    pub fn server(&self, names: &[&str]) -> Result<Pair> {
        let now = SystemTime::now();
        self.server_between(names, now - DAY, now + 30 * DAY)
    }

    /// One that is valid between two moments.
    ///
    /// # Errors
    /// A name is none.
    pub fn server_between(
        &self,
        names: &[&str],
        from: SystemTime,
        until: SystemTime,
    ) -> Result<Pair> {
        let mut own = parameters(names, names.first().unwrap_or(&"server"))?;
        (own.not_before, own.not_after) = (from.into(), until.into());
        own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&own)
    }

    /// A certificate for a client.
    ///
    /// # Errors
    /// The library cannot make it.
    pub fn client(&self, name: &str) -> Result<Pair> {
        let mut own = parameters(&[], name)?;
        own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&own)
    }

    fn sign(&self, own: &CertificateParams) -> Result<Pair> {
        let key = KeyPair::generate().context("a certificate")?;
        let certificate = own.signed_by(&key, &self.issuer).context("a certificate")?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

fn parameters(names: &[&str], common_name: &str) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).context("a certificate")?;
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    Ok(parameters)
}

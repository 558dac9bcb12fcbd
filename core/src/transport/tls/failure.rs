//! Why TLS failed, in the words of somebody who has to mend it.

use std::error::Error as _;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(in crate::transport) struct TlsFailure {
    pub(in crate::transport) message: String,
    /// The next attempt would fail the same way.
    pub(in crate::transport) lasting: bool,
}

/// What was wrong with TLS, if that is why the request failed. Whoever refuses a handshake has read
/// nothing of the request.
pub(in crate::transport) fn of(error: &reqwest::Error, has_own: bool) -> Option<TlsFailure> {
    let lasting = |message: String| TlsFailure { message, lasting: true };
    Some(match source(error)? {
        Error::InvalidCertificate(why) => TlsFailure {
            message: format!("the server's certificate is not accepted: {}", certificate(why)),
            lasting: !matches!(
                why,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }
            ),
        },
        Error::NoCertificatesPresented => lasting("the server has no certificate".to_owned()),
        Error::AlertReceived(alert) => lasting(refused(*alert, has_own)?),
        Error::PeerIncompatible(_) => lasting(NOTHING_IN_COMMON.to_owned()),
        Error::InvalidMessage(_) if error.is_connect() => {
            lasting("what answers there does not speak TLS; is its URL one with http:?".to_owned())
        }
        _ => return None,
    })
}

const NOTHING_IN_COMMON: &str =
    "the server speaks no version or no cipher of TLS 1.2 and TLS 1.3 that is known here";

/// The error of TLS among the causes of another.
fn source(error: &reqwest::Error) -> Option<&Error> {
    let mut error: &(dyn std::error::Error + 'static) = error.source()?;
    loop {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // What an I/O error wraps is not its source; that one's source is.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        error = match wrapped {
            Some(inner) => inner,
            None => error.source()?,
        };
    }
}

/// Why the server refused the handshake, where its alert is about that.
fn refused(alert: AlertDescription, has_own: bool) -> Option<String> {
    let why = match alert {
        AlertDescription::CertificateExpired => "it has expired",
        AlertDescription::CertificateRevoked => "it was revoked",
        AlertDescription::UnknownCA => "its issuer is not known there",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateRequired
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => "it is not one for this server",
        AlertDescription::UnsupportedCertificate => "it is of a kind that is not taken there",
        AlertDescription::UnrecognisedName => {
            return Some("the server does not know the name it was asked for".to_owned());
        }
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            return Some(NOTHING_IN_COMMON.to_owned());
        }
        // Older servers say no more where a certificate is missing.
        AlertDescription::HandshakeFailure if !has_own => {
            return Some(format!(
                "the server refused the handshake: it wants a client certificate, or {}",
                NOTHING_IN_COMMON.trim_start_matches("the server ")
            ));
        }
        AlertDescription::HandshakeFailure => return Some(NOTHING_IN_COMMON.to_owned()),
        _ => return None,
    };
    Some(match has_own {
        true => format!("the server does not accept the client certificate: {why}"),
        false => "the server wants a client certificate".to_owned(),
    })
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => "nobody who is trusted here has signed it; where a \
             private authority has, `ca_pem` takes the certificate of that"
            .to_owned(),
        CertificateError::Expired => "it has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("it expired at {}", at(*not_after))
        }
        CertificateError::NotValidYet => "it is not valid yet; is the clock here right?".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => {
            let (time, not_before) = (at(*time), at(*not_before));
            format!("it is valid from {not_before} on, and the clock here says {time}")
        }
        CertificateError::BadSignature => "its issuer has the name of one who is trusted here, \
             and another key"
            .to_owned(),
        CertificateError::Revoked => "it was revoked".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            // As the library has them: `DnsName("example.org")`.
            let names: Vec<_> =
                presented.iter().filter_map(|name| name.split('"').nth(1)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!("it is for {names}, not for {}", expected.to_str())
        }
        CertificateError::NotValidForName => "it is for another name".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not one for servers".to_owned()
        }
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "it is that of an authority (`CA:TRUE`), and no server's".to_owned()
        }
        other => other.to_string(),
    }
}

fn at(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| "a time that cannot be said".to_owned())
}

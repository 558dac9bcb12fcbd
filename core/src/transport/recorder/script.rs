//! What a recorder does to requests instead of delivering them. Pure.

use bytes::Bytes;
use http::{HeaderMap, Method};
use memchr::memmem;

use crate::protocol::MAX_SAFE_INTEGER;
use crate::protocol::answer::Response;
use crate::protocol::headers::PRODUCER_EPOCH;
use crate::reason::Reason;
use crate::transport::request::Request;

/// The script. By default everything is delivered.
#[derive(Default)]
pub(crate) struct Script {
    /// Appends wait for their answers.
    pub(crate) holds: bool,
    /// The requests that find nobody.
    pub(crate) failures: Failures,
    /// Another producer holds every id.
    pub(crate) fences: bool,
    /// Appends that contain this text are refused with this status.
    pub(crate) refusals: Vec<(Vec<u8>, u16)>,
}

/// Which requests fail.
#[derive(Default)]
pub(crate) enum Failures {
    #[default]
    None,
    /// The next ones.
    Next(u64),
    All,
}

/// The status by which servers refuse an append for this reason, if there is one.
pub(crate) fn status_of(reason: Reason) -> Option<u16> {
    match reason {
        Reason::Refused => Some(400),
        Reason::TooLarge => Some(413),
        Reason::Unauthorized => Some(401),
        _ => None,
    }
}

impl Script {
    /// Whether the next request finds nobody.
    pub(super) fn fails(&mut self) -> bool {
        match &mut self.failures {
            Failures::None | Failures::Next(0) => false,
            Failures::Next(left) => {
                *left -= 1;
                true
            }
            Failures::All => true,
        }
    }

    /// The answer to a request that is not carried out.
    pub(super) fn answer(&self, request: &Request) -> Option<Response> {
        if request.method != Method::POST {
            return None;
        }
        let mut headers = HeaderMap::new();
        let epoch = request.headers.get(PRODUCER_EPOCH).filter(|_| self.fences);
        if let Some(epoch) = epoch.and_then(|value| value.to_str().ok()?.parse::<u64>().ok()) {
            headers.insert(PRODUCER_EPOCH, (epoch + 1).min(MAX_SAFE_INTEGER).into());
            return Some(Response { status: 403, headers, body: Bytes::new(), cut: false });
        }
        let has = |text: &[u8]| memmem::find(&request.body, text).is_some();
        let is_refused = |(text, _): &&(Vec<u8>, u16)| !request.body.is_empty() && has(text);
        let (_, status) = self.refusals.iter().find(is_refused)?;
        let body = Bytes::from_static(b"the recorder was told to refuse it");
        Some(Response { status: *status, headers, body, cut: false })
    }
}

//! A server's answer, as plain data. A server is untrusted input: numbers that are not non-negative
//! integers up to 2^53-1 count as malformed, texts are cut and cleaned.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header};

use crate::error::{self, Detail, Error, ErrorKind};
use crate::protocol::MAX_SAFE_INTEGER;
use crate::protocol::headers::*;

/// Whether a status says that there is no stream, as an ingress does for a while during a deploy.
pub(crate) fn is_absence(status: Option<u16>) -> bool {
    matches!(status, Some(404 | 405 | 410 | 501))
}

/// How much of an error body reaches an error text, in characters.
const EXCERPT: usize = 200;

/// The longest offset that is one, in bytes.
pub(crate) const MAX_OFFSET: usize = 4096;

/// An answer: status and headers complete, the body as far as it was to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The body went on beyond the part that was to be kept.
    pub(crate) cut: bool,
}

/// A number in a header: there and good, there and malformed, or not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    Absent,
    Malformed,
    Is(u64),
}

impl Number {
    pub(crate) fn value(self) -> Option<u64> {
        match self {
            Number::Is(value) => Some(value),
            _ => None,
        }
    }
}

/// An answer, reduced to what decisions are made from.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) epoch: Number,
    pub(crate) seq: Number,
    pub(crate) expected_seq: Number,
    received_seq: Number,
    pub(crate) next_offset: Option<Arc<str>>,
    /// Whether it says at all where the stream ends, even with an offset that cannot be asked for.
    pub(crate) has_offset: bool,
    pub(crate) closed: bool,
    pub(crate) up_to_date: bool,
    pub(crate) content_type: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// The stream's content type, if it was asked for to explain a conflict.
    stream_type: Option<String>,
    excerpt: String,
}

impl Answer {
    pub(crate) fn read(response: &Response, now: SystemTime) -> Self {
        let headers = &response.headers;
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
        Answer {
            status: response.status,
            epoch: number(headers, PRODUCER_EPOCH),
            seq: number(headers, PRODUCER_SEQ),
            expected_seq: number(headers, PRODUCER_EXPECTED_SEQ),
            received_seq: number(headers, PRODUCER_RECEIVED_SEQ),
            next_offset: text(STREAM_NEXT_OFFSET).filter(|t| is_offset(t)).map(Into::into),
            has_offset: headers.contains_key(STREAM_NEXT_OFFSET),
            closed: text(STREAM_CLOSED).is_some_and(is_true),
            up_to_date: text(STREAM_UP_TO_DATE).is_some_and(is_true),
            content_type: text(header::CONTENT_TYPE).map(str::to_owned),
            retry_after: text(header::RETRY_AFTER).and_then(|v| retry_after(v, now)),
            stream_type: None,
            excerpt: excerpt(&response.body),
        }
    }

    /// Whether a repeat of the same request may well succeed. 503 proves nothing about storing.
    pub(crate) fn is_transient(&self) -> bool {
        self.is_no_status() || matches!(self.status, 408 | 425 | 429 | 500 | 502..=599)
    }

    /// Whether the request may have been stored in spite of this answer. A 303 after a POST says
    /// that something was done (RFC 9110 15.4.4).
    pub(crate) fn may_be_stored(&self) -> bool {
        self.is_no_status() || matches!(self.status, 200..=299 | 303 | 408 | 500..=599)
    }

    /// Whether its status is none that ends a request: it counts as a 5xx (RFC 9110 15).
    fn is_no_status(&self) -> bool {
        !matches!(self.status, 200..=599)
    }

    /// Whether it is certain that nothing was stored: a server that says when to come back refused
    /// the request.
    pub(crate) fn is_refusal(&self) -> bool {
        !self.may_be_stored() || (self.status == 503 && self.retry_after.is_some())
    }

    /// Whether something in between gave it, as a maintenance page that says 200 to everything: a
    /// success without what a server of streams says with it (PROTOCOL.md 5.1 to 5.4). `ends` is
    /// for a request that only ends the stream.
    pub(crate) fn is_foreign(&self, method: &Method, ends: bool) -> bool {
        match (method, self.status) {
            (&Method::PUT, 200) => !self.has_offset,
            (&Method::POST, 200 | 204) => !self.closed && (ends || !self.has_offset),
            // The protocol's own answer is a 204 without headers. The repeat is told that the
            // stream is gone.
            (&Method::DELETE, 200) => self.is_nobodys(),
            _ => false,
        }
    }

    /// Whether it is a success with nothing in it that only a server of streams would say.
    fn is_nobodys(&self) -> bool {
        let says_nothing = self.epoch == Number::Absent && !self.has_offset && !self.closed;
        matches!(self.status, 200..=299) && says_nothing
    }

    /// Adds the stream's content type, which explains a conflict.
    pub(crate) fn explained_by(self, stream_type: Option<String>) -> Self {
        Answer { stream_type, ..self }
    }

    /// Whether it refuses the request as not fitting the stream; the stream's content type explains
    /// it.
    pub(crate) fn is_misfit(&self) -> bool {
        self.status == 409 && !self.closed && self.expected_seq == Number::Absent
    }

    /// Whether a gateway may have given it for a server that it lost, perhaps after the server had
    /// stored the request. An answer that says when to come back is a refusal; a status that no
    /// server of streams gives says nothing.
    pub(crate) fn is_gateways(&self) -> bool {
        self.is_no_status()
            || matches!(self.status, 200..=299 | 303 | 502 | 504)
            || (self.status == 503 && self.retry_after.is_none())
    }

    /// The error of a write whose `Stream-Seq` was not above the last one's.
    pub(crate) fn sequence_conflict(&self, url: &Arc<str>) -> Error {
        let text = "append failed with status 409: `Stream-Seq` is not above the last one's";
        Error::new(ErrorKind::SequenceConflict, text).with_url(url).with_status(self.status)
    }

    /// The answer as the error a caller sees.
    pub(crate) fn error(&self, doing: &str, url: &Arc<str>) -> Error {
        let status = self.status;
        let kind = match status {
            401 | 403 => ErrorKind::Unauthorized,
            404 => ErrorKind::StreamNotFound,
            405 | 501 => ErrorKind::NotSupported,
            409 if self.closed => ErrorKind::StreamClosed,
            409 if self.gap().is_some() => ErrorKind::SequenceGap,
            409 => ErrorKind::Conflict,
            410 => ErrorKind::StreamGone,
            413 => ErrorKind::TooLarge,
            _ if self.is_transient() => ErrorKind::Transport,
            _ => ErrorKind::Protocol,
        };
        let meaning = match kind {
            ErrorKind::Unauthorized => ": the server does not accept the credentials",
            ErrorKind::StreamNotFound => ": there is no stream at this URL",
            ErrorKind::StreamClosed => ": the stream is closed",
            ErrorKind::StreamGone => ": the stream was deleted",
            ErrorKind::SequenceGap => ": the server does not know the batches before this one",
            _ if self.is_nobodys() => ": no server of streams answers so",
            _ => "",
        };
        let meaning = match &self.stream_type {
            Some(found) => {
                &format!(": the content type of the stream is `{}`", error::shown(found))
            }
            None => meaning,
        };
        let said = match self.excerpt.as_str() {
            "" => String::new(),
            text => format!(", the server said: {text}"),
        };
        let error = Error::new(kind, format!("{doing} failed with status {status}{meaning}{said}"))
            .with_url(url)
            .with_status(status)
            .with_retryable(self.is_transient())
            .with_definite(!self.may_be_stored());
        let detail = match kind {
            ErrorKind::StreamClosed => {
                Some(Detail::StreamClosed { final_offset: self.next_offset.clone() })
            }
            ErrorKind::SequenceGap => self.gap(),
            _ => None,
        };
        match detail {
            Some(detail) => error.with_detail(detail),
            None => error,
        }
    }

    /// The batches that are missing before this one (PROTOCOL.md 5.2.1).
    fn gap(&self) -> Option<Detail> {
        let (expected, received) = (self.expected_seq.value()?, self.received_seq.value()?);
        Some(Detail::SequenceGap { expected, received })
    }
}

/// Whether a read can ask for this offset: a longer one fits into no URL.
fn is_offset(text: &str) -> bool {
    (1..=MAX_OFFSET).contains(&text.len())
}

/// Refuses what a caller gives as an offset and what can be none.
pub(crate) fn check_offset(offset: Option<&str>) -> error::Result<()> {
    let is_one = |offset: &str| is_offset(offset) && !offset.chars().any(char::is_control);
    if offset.is_none_or(is_one) {
        return Ok(());
    }
    let text =
        format!("`offset` is empty, has control characters or is longer than {MAX_OFFSET} bytes");
    Err(Error::option("offset", text))
}

fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}

/// A number that is there and good.
pub(crate) fn number_in(response: &Response, name: HeaderName) -> Option<u64> {
    number(&response.headers, name).value()
}

/// The text of a header that is there and readable.
pub(crate) fn text_in(response: &Response, name: HeaderName) -> Option<Arc<str>> {
    response.headers.get(name)?.to_str().ok().map(Into::into)
}

fn number(headers: &HeaderMap, name: HeaderName) -> Number {
    let Some(value) = headers.get(name) else { return Number::Absent };
    let digits = value.to_str().unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Number::Malformed;
    }
    match digits.parse() {
        Ok(value) if value <= MAX_SAFE_INTEGER => Number::Is(value),
        _ => Number::Malformed,
    }
}

/// `Retry-After`: seconds, or an HTTP date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let digits = value.trim();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        // A number beyond 64 bits is beyond every cap.
        return Some(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT * 4)]);
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(EXCERPT).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let response =
            Response { status, headers: map, body: body.as_bytes().to_vec().into(), cut: false };
        Answer::read(&response, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn numbers_are_strict() {
        for (text, expected) in [
            ("0", Number::Is(0)),
            ("9007199254740991", Number::Is(MAX_SAFE_INTEGER)),
            ("9007199254740992", Number::Malformed),
            ("-1", Number::Malformed),
            ("+1", Number::Malformed),
            ("1.0", Number::Malformed),
            ("", Number::Malformed),
            ("99999999999999999999999", Number::Malformed),
        ] {
            assert_eq!(answer(200, &[("producer-seq", text)], "").seq, expected, "{text}");
        }
        assert_eq!(answer(200, &[], "").seq, Number::Absent);
    }

    #[test]
    fn retry_after_in_both_forms() {
        let after = |v: &str| answer(503, &[("retry-after", v)], "").retry_after;
        assert_eq!(after("3"), Some(Duration::from_secs(3)));
        assert_eq!(after("Thu, 01 Jan 1970 00:00:05 GMT"), Some(Duration::from_secs(5)));
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn errors_say_what_happened_in_clean_text() {
        let url: Arc<str> = "http://h/a".into();
        let e = answer(404, &[], "no\u{1b}[31m such\nstream").error("append", &url);
        assert_eq!(e.kind(), ErrorKind::StreamNotFound);
        assert_eq!(e.url(), Some("http://h/a"));
        assert!(!e.message().contains('\u{1b}') && !e.message().contains('\n'));
        let long = answer(400, &[], &"x".repeat(100_000)).error("append", &url);
        assert!(long.message().len() < 400);
        let e = answer(409, &[("stream-closed", "TRUE"), ("stream-next-offset", "7")], "");
        assert!(matches!(e.error("append", &url).detail(),
            Some(Detail::StreamClosed { final_offset: Some(o) }) if &**o == "7"));
        let headers = [("producer-expected-seq", "3"), ("producer-received-seq", "5")];
        let e = answer(409, &headers, "").error("append", &url);
        assert_eq!(e.kind(), ErrorKind::SequenceGap);
        assert!(matches!(e.detail(), Some(Detail::SequenceGap { expected: 3, received: 5 })));
        assert_eq!(
            answer(409, &headers[..1], "").error("append", &url).kind(),
            ErrorKind::Conflict
        );
        assert!(!answer(502, &[], "").error("append", &url).definite());
        assert!(answer(429, &[], "").error("append", &url).definite());
    }

    /// RFC 9110 section 15: what is no status counts as a 5xx.
    #[test]
    fn a_status_outside_all_classes_counts_as_5xx() {
        let url: Arc<str> = "http://h/a".into();
        for status in [100, 101, 199, 600, 799, 999] {
            let odd = answer(status, &[("retry-after", "1")], "");
            assert!(odd.is_transient() && odd.may_be_stored() && odd.is_gateways(), "{status}");
            assert!(!odd.is_refusal(), "{status}");
            let error = odd.error("append", &url);
            assert!(error.retryable() && !error.definite(), "{status}");
            assert_eq!(error.kind(), ErrorKind::Transport, "{status}");
        }
        let other = answer(303, &[], "");
        assert!(other.may_be_stored() && !other.is_refusal() && !other.is_transient());
        assert!(!other.error("append", &url).definite());
        for status in [300, 302, 399, 400, 499, 501] {
            assert!(!answer(status, &[], "").is_transient(), "{status}");
        }
    }

    #[test]
    fn a_success_must_say_what_a_server_of_streams_says() {
        let page = |status| answer(status, &[("content-type", "text/html")], "maintenance");
        let own = |name| answer(200, &[(name, "true")], "");
        for (method, ends) in [
            (Method::PUT, false),
            (Method::POST, false),
            (Method::POST, true),
            (Method::DELETE, false),
        ] {
            assert!(page(200).is_foreign(&method, ends), "{method} {ends}");
        }
        assert!(page(204).is_foreign(&Method::POST, false));
        assert!(page(204).is_foreign(&Method::POST, true));
        assert!(!page(204).is_foreign(&Method::DELETE, false));
        assert!(!own("stream-next-offset").is_foreign(&Method::PUT, false));
        assert!(!own("stream-next-offset").is_foreign(&Method::POST, false));
        assert!(own("stream-next-offset").is_foreign(&Method::POST, true));
        assert!(!own("stream-closed").is_foreign(&Method::POST, true));
        let long = answer(204, &[("stream-next-offset", &"9".repeat(MAX_OFFSET + 1))], "");
        assert!(long.next_offset.is_none() && !long.is_foreign(&Method::POST, false));
        let error = page(200).error("append", &"http://h/a".into());
        assert!(error.message().contains("no server of streams"), "{error}");
        assert!(!error.definite());
    }
}

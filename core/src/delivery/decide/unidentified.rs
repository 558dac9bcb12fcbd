//! The meaning of an answer to a request without an identity: a server cannot tell its repeat from
//! a second message, so it is repeated only where nothing of it can have been stored. Pure.

use http::Method;

use crate::protocol::answer::Answer;

/// The meaning of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// Nothing is stored, and nothing is decided: again, after a pause.
    Repeat,
    /// It may be stored, or not.
    Unclear,
    /// The server refuses these bytes: one of several messages may be alone to blame.
    Split,
    /// It is refused, and nothing of it is stored.
    Refused,
}

/// The table of answers. `ends` is of a request that carries nothing but the end of the stream.
pub(crate) fn verdict(answer: &Answer, ends: bool) -> Verdict {
    match answer.status {
        200 | 204 if !answer.is_foreign(&Method::POST, ends) => Verdict::Delivered,
        // The stream has ended, by whichever request.
        409 if ends && answer.closed => Verdict::Delivered,
        400 | 413 | 422 => Verdict::Split,
        _ if !answer.is_refusal() => Verdict::Unclear,
        _ if answer.is_transient() => Verdict::Repeat,
        _ => Verdict::Refused,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use http::{HeaderMap, HeaderName};

    use super::*;
    use crate::protocol::answer::Response;

    fn on(status: u16, headers: &[(&'static str, &str)], ends: bool) -> Verdict {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let response = Response { status, headers: map, body: Bytes::new(), cut: false };
        verdict(&Answer::read(&response, SystemTime::UNIX_EPOCH), ends)
    }

    #[test]
    fn what_may_be_stored_is_not_repeated() {
        let offset = [("stream-next-offset", "7")];
        let closed = [("stream-closed", "true")];
        assert_eq!(on(204, &offset, false), Verdict::Delivered);
        assert_eq!(on(200, &[], false), Verdict::Unclear, "a page of something in between");
        for status in [202, 303, 408, 500, 502, 504, 101, 799] {
            assert_eq!(on(status, &[], false), Verdict::Unclear, "{status}");
        }
        for status in [425, 429] {
            assert_eq!(on(status, &[], false), Verdict::Repeat, "{status}");
        }
        assert_eq!(on(503, &[], false), Verdict::Unclear);
        assert_eq!(on(503, &[("retry-after", "1")], false), Verdict::Repeat);
        for status in [400, 413, 422] {
            assert_eq!(on(status, &[], false), Verdict::Split, "{status}");
        }
        for status in [401, 403, 404, 405, 410] {
            assert_eq!(on(status, &[], false), Verdict::Refused, "{status}");
        }
        assert_eq!(on(409, &closed, false), Verdict::Refused);
        assert_eq!(on(409, &closed, true), Verdict::Delivered);
        assert_eq!(on(204, &closed, true), Verdict::Delivered);
    }
}

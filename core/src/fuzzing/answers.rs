//! Answers, and what a session makes of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::delivery::decide::session::{Attempt, Decision, Session};
use crate::error::{Detail, Error};
use crate::fuzzing::{check_text, first_line, parts, split};
use crate::protocol::MAX_SAFE_INTEGER;
use crate::protocol::answer::{Answer, MAX_OFFSET, Number, Response};
use crate::protocol::headers::*;

const EPOCH: u64 = 5000;

/// Answers to the attempts of one session, a rule between them. The first line of each is the
/// status, a sequence number and words about the attempt; header lines follow, an empty line, and
/// the body.
pub fn answers(data: &[u8]) {
    let parts = parts(data);
    let words = first_line(parts.first().copied().unwrap_or_default());
    let has = |word: &str| words.contains(&word);
    let mut session = Session::first(EPOCH, !has("modest"), has("replay"));
    for part in parts.iter().take(16) {
        let words = first_line(part);
        let answer = read_answer(part, words.first().and_then(|word| word.parse().ok()));
        let has = |word: &str| words.contains(&word);
        session.take_seq();
        let last = session.next_seq - 1;
        let seq =
            words.get(1).and_then(|word| word.parse().ok()).map_or(last, |n: u64| n.min(last));
        let attempt = Attempt {
            seq,
            maybe_stored: has("maybe"),
            ordered: has("ordered"),
            acked: session.acked().filter(|acked| !has("early") && *acked < seq),
            end: has("end"),
            ungrown: has("ungrown"),
            renewable: has("renewable"),
        };
        match decide(&mut session, attempt, &answer) {
            Some(next) => session = next,
            None => return,
        }
    }
}

/// Reads an answer and checks what it and its errors say.
fn read_answer(part: &[u8], status: Option<u16>) -> Answer {
    let (head, body) = split(part, b"\n\n");
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n').skip(1).take(64) {
        let (name, value) = split(line, b":");
        let parsed = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii()));
        if let (Ok(name), Ok(value)) = parsed {
            headers.append(name, value);
        }
    }
    let body = Bytes::copy_from_slice(body);
    let response = Response { status: status.unwrap_or(200), headers, body, cut: false };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let answer = Answer::read(&response, now);
    let headers = &response.headers;
    check_number(headers.get(PRODUCER_EPOCH), answer.epoch);
    check_number(headers.get(PRODUCER_SEQ), answer.seq);
    check_number(headers.get(PRODUCER_EXPECTED_SEQ), answer.expected_seq);
    let offset = headers.get(STREAM_NEXT_OFFSET).and_then(|value| value.to_str().ok());
    let offset = offset.filter(|text| !text.is_empty() && text.len() <= MAX_OFFSET);
    assert_eq!(answer.next_offset.as_deref(), offset);
    assert!(answer.retry_after.is_none() || headers.contains_key(http::header::RETRY_AFTER));
    check_error(&answer, &answer.error("append", &Arc::from("http://h/a")));
    check_text(answer.sequence_conflict(&Arc::from("http://h/a")).message());
    let explained = answer.clone().explained_by(answer.content_type.clone());
    check_error(&explained, &explained.error("append", &Arc::from("http://h/a")));
    answer
}

fn check_number(header: Option<&HeaderValue>, number: Number) {
    let Some(header) = header else { return assert_eq!(number, Number::Absent) };
    let text = header.to_str().unwrap_or_default();
    let digits = text.trim_start_matches('0');
    let canonical = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Sixteen digits fit into 64 bits, and 2^53 has as many.
    let value = Some(format!("0{digits}")).filter(|_| canonical && digits.len() <= 16);
    let value = value.and_then(|digits| digits.parse().ok());
    let value = value.filter(|value: &u64| *value <= MAX_SAFE_INTEGER);
    assert_eq!(number, value.map_or(Number::Malformed, Number::Is), "{text:?}");
}

fn check_error(answer: &Answer, error: &Error) {
    check_text(error.message());
    assert_eq!(error.status(), Some(answer.status));
    assert_eq!(error.definite(), !answer.may_be_stored());
    assert_eq!(error.retryable(), answer.is_transient());
    assert!(!(answer.is_refusal() && matches!(answer.status, 200..=299 | 408)));
    match error.detail() {
        None => {}
        Some(Detail::SequenceGap { expected, received }) => {
            assert_eq!(Number::Is(*expected), answer.expected_seq);
            assert!(*received <= MAX_SAFE_INTEGER);
        }
        Some(Detail::StreamClosed { final_offset }) => {
            assert!(answer.closed && *final_offset == answer.next_offset);
        }
        Some(other) => panic!("{other:?}"),
    }
}

/// The session goes on as the answer says; `None` where the producer would end.
fn decide(session: &mut Session, attempt: Attempt, answer: &Answer) -> Option<Session> {
    let (acked, replay) = (session.acked(), session.is_replay());
    let decision = session.on_answer(attempt, answer);
    assert!(session.acked() >= acked, "acknowledgements are never taken back");
    match decision {
        Decision::Delivered { up_to, duplicate } => {
            assert!(up_to >= attempt.seq && session.acked() >= Some(up_to));
            assert!(up_to < session.next_seq, "it was never sent");
            if !attempt.end {
                assert_eq!(answer.epoch, Number::Is(session.epoch), "there is no echo");
                assert!(answer.seq.value().is_some_and(|seq| seq >= up_to), "there is no echo");
                assert_eq!(answer.status, if duplicate { 204 } else { 200 });
                assert!(!replay || up_to == attempt.seq);
                assert!(!duplicate || attempt.maybe_stored || acked.is_some() || replay);
            }
        }
        Decision::Repeat { maybe_stored: false } => assert!(!answer.may_be_stored()),
        Decision::Unechoed => assert!(answer.may_be_stored()),
        Decision::Ungrown => assert!(answer.status == 204 && attempt.ungrown),
        Decision::Repeat { .. } | Decision::Undecided | Decision::Vanished(_) => {}
        Decision::AwaitPredecessor => assert!(answer.status == 409 && attempt.acked.is_some()),
        Decision::NewSession => {
            let next = session.next()?;
            assert!(next.epoch == session.epoch + 1 && next.acked().is_none());
            return Some(next);
        }
        Decision::Claim { current } => {
            assert!(!attempt.maybe_stored && acked.is_none(), "something of ours may be stored");
            let next = session.claim(current, session.epoch + 1, current)?;
            assert!(next.epoch > current && (EPOCH..=MAX_SAFE_INTEGER).contains(&next.epoch));
            return Some(next);
        }
        Decision::Fenced { current } => {
            assert!(answer.status == 403 && answer.epoch == Number::Is(current));
            return None;
        }
        Decision::Split(_) | Decision::Refuse(_) => assert!(!answer.may_be_stored()),
        Decision::Limited | Decision::Fail(_) | Decision::NotAProducerServer => return None,
    }
    Some(session.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::tests::fails;

    /// The checks check: each of these is what they are there to find.
    #[test]
    fn what_breaks_a_promise_is_found() {
        let header = |text| HeaderValue::from_static(text);
        assert!(fails(&|| check_number(Some(&header("+7")), Number::Is(7))));
        assert!(fails(&|| check_number(Some(&header("9007199254740992")), Number::Is(1 << 53))));
    }
}

//! Promises that hold for any bytes from outside: the bodies of the targets in `fuzz/`. Each takes
//! an input and panics where a promise is broken, not only where the code under it panics.
//!
//! Inputs are text where they can be, so that seeds are written by hand and findings read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use crate::delivery::buffer::batch::{Batch, Builder};
use crate::delivery::config::Config;
use crate::delivery::decide::compare::{Acked, Verdict, verdict};
use crate::delivery::decide::session::{Attempt, Decision, Session};
use crate::error::{CUT, Detail, Error, ErrorKind, MAX_TEXT};
use crate::options::{OPTIONS, Options, Scope};
use crate::outbox::control;
use crate::outbox::format::{self, At, Entry, Group, Header};
use crate::outbox::scan::{Tail, scan};
use crate::protocol::answer::{Answer, MAX_OFFSET, Number, Response};
use crate::protocol::framing::Framing;
use crate::protocol::headers::*;
use crate::protocol::key::{self, Key, NoKey};
use crate::protocol::stream_type::StreamType;
use crate::protocol::{MAX_SAFE_INTEGER, json};
use crate::requests::tail::{Found, Page};
use crate::transport::endpoint::Endpoint;

/// A target and its name, which is also that of its file and of its corpus in `fuzz/`.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 7] = [
    ("answers", answers),
    ("framing", framing),
    ("json_keys", json_keys),
    ("looking", looking),
    ("options", options),
    ("outbox", outbox),
    ("urls", urls),
];

/// The salt of an outbox's files.
const SALT: u64 = 7;
/// The line between the parts of an input.
const RULE: &[u8] = b"\n--\n";
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

/// Errors are logged, so their texts are of a line and of a known length.
fn check_text(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.len() <= MAX_TEXT + CUT.len(), "{} bytes", text.len());
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

/// The texts of a body's messages.
fn messages(framing: Framing, data: &[u8]) -> Result<Vec<&[u8]>, String> {
    let index = framing.index(data)?;
    Ok(index.iter().flat_map(|index| index.items(data)).collect())
}

/// A body: what is accepted as an array or as lines of JSON is what `serde_json` accepts as such.
pub fn framing(data: &[u8]) {
    let text = |value: &RawValue| value.get().as_bytes().to_vec();
    let array = match data.trim_ascii() {
        b"" => Ok(Vec::new()),
        _ => serde_json::from_slice::<Vec<&RawValue>>(data)
            .map(|values| values.into_iter().map(text).collect()),
    };
    check_framing(Framing::Array, data, array.ok());
    let lines = data.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| !line.is_empty());
    let lines = lines.map(|line| serde_json::from_slice::<&RawValue>(line).map(text));
    check_framing(Framing::Lines, data, lines.collect::<Result<_, _>>().ok());
    assert!(messages(Framing::None, data).is_ok_and(|messages| messages.is_empty()));
}

fn check_framing(framing: Framing, data: &[u8], expected: Option<Vec<Vec<u8>>>) {
    match (messages(framing, data), expected) {
        (Ok(found), Some(expected)) => {
            assert_eq!(found, expected, "{framing:?}");
            let count = found.len();
            let index = framing.index_up_to(count, data).expect("there are no more");
            let index = index.expect("these have messages");
            assert_eq!(index.count(), count);
            for number in (0..count).rev() {
                assert_eq!(index.get(data, number), Some(found[number]));
            }
            assert_eq!(index.get(data, count), None);
            assert!(count == 0 || framing.index_up_to(count - 1, data).is_err());
        }
        (Err(error), None) => check_text(&error),
        (found, expected) => panic!("{framing:?}: {found:?} where {expected:?} was expected"),
    }
}

/// The name of a field, a line break, and an entity.
pub fn json_keys(data: &[u8]) {
    let (field, text) = split(data, b"\n");
    let field = String::from_utf8_lossy(field);
    let (checked, key) = (json::check(text), key::key_of(text, text, &field));
    let by_parser = json::check_syntax(text);
    assert_eq!(checked.is_ok(), by_parser.is_ok(), "{checked:?}, not {by_parser:?}");
    checked.as_ref().err().iter().for_each(|error| check_text(error));
    key.as_ref().err().iter().for_each(|error| check_text(error));
    assert!(key.is_err() || checked.is_ok(), "a key of what is no JSON");
    match serde_json::from_slice::<Value>(text) {
        Ok(value) => {
            assert_eq!(checked, Ok(()), "refused what is JSON");
            check_key(key.expect("it is JSON"), &value, &field);
        }
        Err(error) => assert!(checked.is_err() || is_beyond_a_value(&error), "{error}"),
    }
    let quoted = json::quote(&field);
    assert_eq!(json::check(quoted.as_bytes()), Ok(()));
    assert_eq!(serde_json::from_str::<String>(&quoted).expect("it was quoted"), field);
}

/// Whether the text is JSON that a `Value` cannot hold: it may be for those who read the stream.
fn is_beyond_a_value(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    ["number out of range", "recursion limit", "surrogate", "hex escape"]
        .iter()
        .any(|reason| text.contains(reason))
}

fn check_key(key: Key, value: &Value, field: &str) {
    let Value::Object(entity) = value else { return assert_eq!(key, Key::NotAnObject) };
    let expected = match entity.get(field) {
        None => Key::None(NoKey::Missing),
        Some(Value::Null) => Key::None(NoKey::Null),
        Some(Value::String(text)) if text.is_empty() => Key::None(NoKey::Empty),
        Some(Value::String(text)) => Key::Text(text.clone()),
        Some(Value::Bool(flag)) => Key::Text(flag.to_string()),
        Some(Value::Number(number)) => return check_number_key(&key, number),
        Some(_) => Key::None(NoKey::NotAScalar),
    };
    assert_eq!(key, expected);
}

/// An integer as it stands in the text: a `Value` rounds those that are long.
fn check_number_key(key: &Key, number: &serde_json::Number) {
    match key {
        Key::Text(text) => {
            let read: serde_json::Number = serde_json::from_str(text).expect("a number");
            let same =
                if number.is_f64() { read.as_f64() == number.as_f64() } else { read == *number };
            assert!(same && !text.contains(['.', 'e', 'E']), "{text} for {number}");
        }
        other => assert!(*other == Key::None(NoKey::NotAnInteger) && number.is_f64(), "{number}"),
    }
}

/// What an outbox may find on its disk, a rule between the records. The first line says which file
/// it is; a record that begins with `!` is there as it stands, any other has its head in front.
pub fn outbox(data: &[u8]) {
    let parts = parts(data);
    let words = first_line(parts.first().copied().unwrap_or_default());
    let mut records = Vec::new();
    for part in parts.iter().skip(1).take(64) {
        match part.strip_prefix(b"!") {
            Some(raw) => records.extend(raw),
            None => {
                let mut record = [&[0; 8][..], part].concat();
                format::seal(&mut record, SALT);
                records.extend(record);
            }
        }
        records.resize(format::padded(records.len()), 0);
    }
    let first = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(1).max(1);
    match words.first() {
        Some(&"control") => check_control(&records),
        _ => check_segment(&records, first),
    }
}

fn check_segment(records: &[u8], first: u64) {
    let bytes = [&[0; format::RECORDS][..], records].concat();
    let contents = scan(&bytes, SALT, first);
    assert!(contents.next >= first && contents.end <= bytes.len());
    assert!(contents.index.is_sorted() && contents.last.is_sorted());
    let (mut at, mut next) = (format::RECORDS, first);
    while at < contents.end {
        if let Some(hole) = contents.holes.iter().find(|hole| hole.offset == at) {
            assert!(hole.first == next && hole.end >= next && hole.resumes >= at);
            (at, next) = (hole.resumes, hole.end);
        }
        let At::Record(record) = format::record_at(&bytes, at, SALT) else { panic!("no record") };
        let group = Group::read(record).expect("it was read");
        assert_eq!((group.position, group.entries().count() as u64), (next, group.count));
        // What is read is what would be written.
        let entries: Vec<_> = group.entries().map(|(_, tag, bytes)| (tag, [bytes])).collect();
        let entries: Vec<_> =
            entries.iter().map(|(tag, parts)| Entry { parts, tag: *tag }).collect();
        let mut again = vec![0; format::group_size(&entries).expect("it was read")];
        let head = format::write_group(SALT, next, &entries, group.last, |at, bytes| {
            again[at..at + bytes.len()].copy_from_slice(bytes);
        });
        again[..8].copy_from_slice(&head.to_le_bytes());
        let At::Record(copy) = format::record_at(&again, 0, SALT) else { panic!("not readable") };
        let copy = Group::read(copy).expect("it was written");
        assert!(copy.entries().eq(group.entries()) && copy.last == group.last);
        (at, next) = (at + record.size, group.end());
    }
    assert_eq!((at, next), (contents.end, contents.next));
    // What is cut off changes nothing of what is before it.
    let cut = scan(&bytes[..contents.end], SALT, first);
    assert!(cut.tail == Tail::Clean && (cut.next, cut.end) == (next, at));
}

fn check_control(records: &[u8]) {
    let size = format::HEADER + records.len();
    let header = |size: usize| Header {
        salt: SALT,
        number: 3,
        extra: 1,
        boot: Some([1; 16]),
        eighths: (size / 8) as u32,
    };
    let bytes = [&header(size).encode_control()[..], records].concat();
    let folder = std::path::Path::new("/outbox");
    for boot in [1, 2] {
        let read = |bytes: &[u8], salvage| {
            control::read([Some(bytes), None], folder, Some([boot; 16]), salvage)
        };
        let salvaged = read(&bytes, true).expect("something can be said of it");
        let known = match read(&bytes, false) {
            Ok(known) => known,
            Err(error) => {
                assert!(error.kind() == ErrorKind::OutboxDamaged && salvaged.is_doubtful);
                check_text(error.message());
                continue;
            }
        };
        assert!(known.end <= size && known.ledger == salvaged.ledger && !salvaged.is_doubtful);
        // A snapshot of it says the same.
        let length = control::image(&header(0), &known.ledger, known.newest, known.synced).len();
        let image = control::image(&header(length), &known.ledger, known.newest, known.synced);
        let again = read(&image, false).expect("it was written");
        assert!(again.ledger.same(&known.ledger), "{:?}, not {:?}", again.ledger, known.ledger);
        assert_eq!((again.newest, again.synced), (known.newest, known.synced));
    }
}

/// An array of messages, their division into batches as bytes, and what was found in the stream.
pub fn looking(data: &[u8]) {
    let parts = parts(data);
    let [own, sizes, found] = [0, 1, 2].map(|n| parts.get(n).copied().unwrap_or_default());
    let Ok(own) = messages(Framing::Array, own) else { return };
    let batches = batches(&own[..own.len().min(24)], sizes);
    for framing in [Framing::Array, Framing::Lines, Framing::None] {
        if let Verdict::Stored(count) = judge(framing, found, &batches) {
            let stored = batches[..count].iter().map(|batch| batch.writes as usize).sum::<usize>();
            let messages = match framing {
                Framing::None => usize::from(!found.is_empty()),
                framing => messages(framing, found).expect("it was compared").len(),
            };
            assert!(stored == messages || matches!(framing, Framing::None));
        }
    }
    let mut stored = Vec::new();
    for (count, batch) in batches.iter().enumerate() {
        stored.extend(batch.payloads().map(|(_, payload)| payload.to_vec()));
        let text = [b"[".as_slice(), &stored.join(&b','), b"]"].concat();
        assert_eq!(judge(Framing::Array, &text, &batches), Verdict::Stored(count + 1));
        // A server may keep values and not their texts.
        if let Ok(Value::Array(mut values)) = serde_json::from_slice::<Value>(&text) {
            let again = serde_json::to_vec(&values).expect("it was read from JSON");
            assert_eq!(judge(Framing::Array, &again, &batches), Verdict::Stored(count + 1));
            values.push("another's".into());
            let longer = serde_json::to_vec(&values).expect("it was read from JSON");
            let more = judge(Framing::Array, &longer, &batches);
            let is_own = own.get(stored.len()).is_some_and(|own| own.starts_with(b"\"another"));
            assert!(is_own || more == Verdict::Undecided, "{more:?}");
        }
    }
}

fn batches(own: &[&[u8]], sizes: &[u8]) -> Vec<Batch> {
    let mut sizes = sizes.iter().map(|byte| usize::from(byte % 4) + 1).chain(std::iter::repeat(1));
    let (mut rest, mut batches) = (own, Vec::new());
    while !rest.is_empty() {
        let (batch, behind) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
        let mut builder = Builder::new(true);
        batch.iter().zip(1..).for_each(|(message, id)| builder.push(id, &[message]));
        batches.extend(builder.seal());
        rest = behind;
    }
    batches
}

fn judge(framing: Framing, body: &[u8], batches: &[Batch]) -> Verdict {
    let page = Page { framing, body: Bytes::copy_from_slice(body) };
    verdict(&Found::Content(vec![page]), true, Acked::default(), batches.iter())
}

/// Lines `option=value`, `header.NAME=value` and `param.NAME=value`.
pub fn options(data: &[u8]) {
    let (options, headers) = options_of(data);
    for scope in [Scope::Stream, Scope::Producer, Scope::State] {
        match Config::new(scope, &options, "id", StreamType::given("text/plain")) {
            Err(error) => {
                let name = check_option(&error);
                assert!(OPTIONS.iter().any(|spec| spec.name == name), "{name} is no option");
                check_text(error.message());
            }
            Ok(config) => {
                let (backoff, random) = (config.retries.backoff, data.len() as f64 / 100.0);
                let pause = backoff.delay(data.len() as u32, random);
                assert!(pause <= backoff.max && pause >= backoff.initial / 2);
                assert!(config.linger.is_zero() || config.delivery_timeout != Some(config.linger));
            }
        }
    }
    let sent = options.header_map().expect("each was checked");
    assert!(headers.iter().all(|name| sent.contains_key(name)));
    assert!(!format!("{options:?}").contains(SECRET), "secrets are not shown");
}

/// The value of every secret; with its space, no name of a header can hold it.
const SECRET: &str = "a s3cret";

/// The options that the lines set, and the names of the headers; each failure names its own.
fn options_of(data: &[u8]) -> (Options, Vec<String>) {
    let mut options = Options::new();
    let mut headers = Vec::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let (name, value) = split(line, b"=");
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        let (named, result) = match name.split_once('.') {
            Some(("header", header)) => ("headers", options.set_header(header, &value)),
            Some(("param", param)) => ("params", options.set_param(param, &value)),
            _ => (&*name, options.set(&name, &value)),
        };
        match (result, name.strip_prefix("header.")) {
            (Err(error), _) => assert_eq!(check_option(&error), named),
            (Ok(()), Some(header)) => headers.push(header.to_owned()),
            (Ok(()), None) => {}
        }
    }
    let url = options.url.take();
    let plain = options.clone();
    options = plain.url(format!("http://u:{SECRET}@h/?token={SECRET}")).header("x-key", SECRET);
    assert!(!format!("{options:?}").contains(SECRET), "secrets are not shown");
    options.url = url;
    (options, headers)
}

/// The option an error is about.
fn check_option(error: &Error) -> &str {
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(!error.message().chars().any(char::is_control), "{:?}", error.message());
    error.option_name().expect("an error about an option names it")
}

/// Lines as for `options`: where a stream is.
pub fn urls(data: &[u8]) {
    let (mut options, _) = options_of(data);
    if options.stream_path.is_some() && options.endpoints.is_none() {
        // The environment is nobody's input here.
        options = options.endpoints("http://h");
    }
    match Endpoint::resolve(&options) {
        Err(error) => {
            let places = ["url", "stream_path", "endpoints", "path_prefix", "params", "headers"];
            let name = check_option(&error);
            assert!(places.contains(&name), "{name} is no place");
        }
        Ok(endpoint) => {
            check_url(&endpoint.url);
            check_url(&endpoint.at_offset("0_1").url);
            check_shown(&endpoint);
            if options.url.is_none() {
                check_below(&endpoint.url, &options);
            }
        }
    }
}

/// A request can be made of it.
fn check_url(url: &Url) {
    assert!(matches!(url.scheme(), "http" | "https") && url.fragment().is_none(), "{url}");
    assert!(url.host_str().is_some_and(|host| !host.is_empty()), "{url}");
    let parsed = url.as_str().parse::<http::Uri>();
    let is_sent = parsed.is_ok_and(|uri| uri.host().is_some());
    assert!(is_sent, "no request can be made of {url}");
}

fn check_shown(endpoint: &Endpoint) {
    let shown = Url::parse(&endpoint.shown).expect("a URL is shown as one");
    assert!(shown.username().is_empty() && shown.password().is_none(), "{shown}");
    assert!(shown.query().is_none() && shown.fragment().is_none(), "{shown}");
    assert_eq!((shown.origin(), shown.path()), (endpoint.url.origin(), endpoint.url.path()));
}

fn check_below(url: &Url, options: &Options) {
    let list = options.endpoints.as_deref().unwrap_or_default();
    let first = list.split(',').map(str::trim).find(|part| !part.is_empty());
    let mut base = Url::parse(first.expect("one was used")).expect("it was taken");
    if matches!(base.path(), "" | "/") {
        let prefix = options.path_prefix.as_deref().unwrap_or("/v1/stream");
        base.set_path(&format!("/{}", prefix.trim_matches('/')));
    }
    let prefix = format!("{}/", base.path().trim_end_matches('/'));
    assert!(url.path().starts_with(&prefix), "{} is not below {prefix}", url.path());
    assert!(url.path().len() > prefix.len(), "{} is no stream below {prefix}", url.path());
}

/// The parts before and behind the first `by`; everything is before, if there is none.
fn split<'a>(data: &'a [u8], by: &[u8]) -> (&'a [u8], &'a [u8]) {
    match data.windows(by.len()).position(|window| window == by) {
        Some(at) => (&data[..at], &data[at + by.len()..]),
        None => (data, b""),
    }
}

fn parts(mut data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while !data.is_empty() {
        let (part, rest) = split(data, RULE);
        parts.push(part);
        data = rest;
    }
    parts
}

fn first_line(part: &[u8]) -> Vec<&str> {
    let line = split(part, b"\n").0;
    std::str::from_utf8(line).unwrap_or_default().split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{Rng, RngExt, SeedableRng};

    use super::*;

    /// Some seconds in all, in a build for tests.
    const MUTATIONS: usize = 10_000;
    /// The most inputs that are kept for each target.
    const MOST_FILES: usize = 120;
    const MOST_BYTES: usize = 300_000 / TARGETS.len();

    /// Words that random bytes would hardly form.
    const WORDS: [&[u8]; 30] = [
        b"\n--\n",
        b"\n\n",
        b"\n",
        b"producer-epoch: 5000",
        b"producer-seq: 0",
        b"stream-closed: true",
        b"retry-after: 1",
        b" maybe",
        b" end",
        b"9007199254740991",
        b"9007199254740992",
        b"18446744073709551616",
        b"-1",
        b"1e400",
        b"\"\\ud800\"",
        b"\\u0000",
        b"[[[[[[[[",
        b"{\"id\":",
        b",",
        b"null",
        b"\xff",
        b"\xe2\x80\xa8",
        b"\x1b[31m",
        b"..",
        b"%2e%2E",
        b"\\",
        b"//",
        b"@",
        b"http://[::1]:1",
        b"stream_path=",
    ];

    fn corpus_of(target: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
    }

    fn kept(target: &str) -> Vec<Vec<u8>> {
        let files = std::fs::read_dir(corpus_of(target)).unwrap();
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// Says what a target failed on.
    struct Input<'a>(&'static str, &'a [u8]);

    impl Drop for Input<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{} failed on b\"{}\"", self.0, self.1.escape_ascii());
            }
        }
    }

    fn mutated(rng: &mut impl Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus.choose(rng).unwrap().clone();
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..=input.len());
            let to = (at + rng.random_range(0..16)).min(input.len());
            let part = match rng.random_range(0..5) {
                0 => Vec::new(),
                1 => vec![rng.random()],
                2 => input[at..to].repeat(2),
                3 => {
                    let other = corpus.choose(rng).unwrap();
                    let from = rng.random_range(0..=other.len());
                    let length = rng.random_range(0..64).min(other.len() - from);
                    other[from..from + length].to_vec()
                }
                _ => WORDS.choose(rng).unwrap().to_vec(),
            };
            // In place of something, or between.
            let to = if rng.random() { to } else { at };
            input.splice(at..to, part);
        }
        input
    }

    #[test]
    fn what_is_kept_and_what_is_near_keeps_every_promise() {
        let given = std::env::var("DURSTREAM_SEED").ok().and_then(|text| text.parse().ok());
        let seed: u64 = given.unwrap_or_else(crate::runtime::chance::random);
        eprintln!("mutations of DURSTREAM_SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for (name, target) in TARGETS {
            let corpus = kept(name);
            let mutations = (0..MUTATIONS).map(|_| mutated(&mut rng, &corpus));
            for input in corpus.iter().cloned().chain(mutations) {
                let input = Input(name, &input);
                target(input.1);
            }
        }
    }

    #[test]
    fn every_target_is_built_and_has_a_small_corpus() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let files = std::fs::read_dir(folder.join("targets")).unwrap();
        let files = files.map(|file| file.unwrap().path().with_extension(""));
        let files: BTreeSet<_> =
            files.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(files, TARGETS.map(|(name, _)| name.to_owned()).into());
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for (name, _) in TARGETS {
            assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
            let corpus = kept(name);
            let bytes = corpus.iter().map(Vec::len).sum::<usize>();
            assert!((1..=MOST_FILES).contains(&corpus.len()), "{name}: {} files", corpus.len());
            assert!(bytes <= MOST_BYTES, "{name}: {bytes} bytes");
        }
    }

    /// The checks check: each of these is what they are there to find.
    #[test]
    fn what_breaks_a_promise_is_found() {
        let fails = |check: &dyn Fn()| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err()
        };
        let header = |text| HeaderValue::from_static(text);
        assert!(fails(&|| check_number(Some(&header("+7")), Number::Is(7))));
        assert!(fails(&|| check_number(Some(&header("9007199254740992")), Number::Is(1 << 53))));
        assert!(fails(&|| check_text("one\ntwo")));
        assert!(fails(&|| check_text(&"x".repeat(2 * MAX_TEXT))));
        assert!(fails(&|| check_framing(Framing::Array, b"[1]", None)));
        assert!(fails(&|| check_framing(Framing::Array, b"[1]", Some(vec![b"2".to_vec()]))));
        assert!(fails(&|| check_key(
            Key::None(NoKey::Missing),
            &serde_json::json!({"id": "a"}),
            "id"
        )));
        let below = |path: &str| {
            let url = Url::parse(&format!("http://h{path}")).unwrap();
            check_below(&url, &Options::new().endpoints("http://h"));
        };
        below("/v1/stream/a");
        assert!(fails(&|| below("/v1/streams/a")) && fails(&|| below("/a")));
        assert!(fails(&|| check_url(&Url::parse("ftp://h/a").unwrap())));
    }
}

//! The streams of a recorder, and the rules of PROTOCOL.md (4 to 5.6) by which they are written and
//! read. They never expire. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::protocol::answer::Response;
use crate::protocol::framing::Framing;
use crate::protocol::headers::*;
use crate::protocol::json;
use crate::protocol::stream_type::DEFAULT_CONTENT_TYPE;
use crate::transport::request::Request;

/// The headers that are part of what a stream is created with, beside its type.
const LIFETIME: [HeaderName; 2] = [STREAM_TTL, STREAM_EXPIRES_AT];

/// The streams, by the paths of their URLs.
#[derive(Default)]
pub(super) struct Server {
    streams: BTreeMap<String, Stored>,
}

/// A stream.
struct Stored {
    content_type: HeaderValue,
    lifetime: HeaderMap,
    /// The messages of a JSON stream; else what each append added. Offsets count them.
    pieces: Vec<Bytes>,
    /// How many of them are cleared from view.
    cleared: usize,
    closed: bool,
    /// Epoch and last sequence number by producer id.
    producers: BTreeMap<Vec<u8>, (u64, u64)>,
    /// The last `Stream-Seq`.
    stream_seq: Vec<u8>,
}

/// The content of a stream.
pub(crate) struct Content {
    pub(crate) content_type: String,
    /// As a read gives it: an array on a JSON stream, else the bytes.
    pub(crate) body: Bytes,
    /// The offset behind it.
    pub(crate) offset: Arc<str>,
    pub(crate) closed: bool,
}

/// What goes on, or else the answer that ends it.
type Answered<T> = Result<T, Box<Response>>;

/// A producer's id, epoch and sequence number.
type Tuple = (Vec<u8>, u64, u64);

fn response(status: u16) -> Response {
    Response { status, headers: HeaderMap::new(), body: Bytes::new(), cut: false }
}

fn refused(status: u16, why: &'static str) -> Response {
    Response { body: Bytes::from_static(why.as_bytes()), ..response(status) }
}

fn says_true(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

fn essence(content_type: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(content_type.as_bytes());
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The tuple of a request that has one.
fn tuple(headers: &HeaderMap) -> Answered<Option<Tuple>> {
    let number = |name: HeaderName| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let id = headers.get(PRODUCER_ID).map(|id| id.as_bytes().to_vec());
    let there = [PRODUCER_ID, PRODUCER_EPOCH, PRODUCER_SEQ].map(|n| headers.contains_key(n));
    match (id, number(PRODUCER_EPOCH), number(PRODUCER_SEQ)) {
        (Some(id), Some(epoch), Some(seq)) => Ok(Some((id, epoch, seq))),
        _ if there == [false; 3] => Ok(None),
        _ => Err(refused(400, "a producer has an id, an epoch and a sequence number").into()),
    }
}

impl Server {
    pub(super) fn answer(&mut self, request: &Request) -> Response {
        let key = request.endpoint.url.path();
        if request.method == Method::PUT {
            return self.create(key, request);
        }
        if request.method == Method::DELETE {
            return response(if self.streams.remove(key).is_some() { 204 } else { 404 });
        }
        match self.streams.get_mut(key) {
            None => refused(404, "there is no such stream"),
            Some(stream) if request.method == Method::POST => {
                stream.append(request).unwrap_or_else(|refusal| *refusal)
            }
            Some(stream) => stream.read(request),
        }
    }

    pub(super) fn content(&self, key: &str) -> Option<Content> {
        let stream = self.streams.get(key)?;
        Some(Content {
            content_type: String::from_utf8_lossy(stream.content_type.as_bytes()).into_owned(),
            body: stream.body(stream.cleared),
            offset: stream.tail().into(),
            closed: stream.closed,
        })
    }

    pub(super) fn clear(&mut self) {
        self.streams.values_mut().for_each(|stream| stream.cleared = stream.pieces.len());
    }

    fn create(&mut self, key: &str, request: &Request) -> Response {
        if request.headers.contains_key(STREAM_FORKED_FROM) {
            return refused(501, "a recorder makes no forks");
        }
        let mut wanted = Stored::new(&request.headers);
        if let Some(known) = self.streams.get(key) {
            let is_same = essence(&known.content_type) == essence(&wanted.content_type)
                && known.lifetime == wanted.lifetime
                && known.closed == wanted.closed;
            return if is_same { known.shown(200) } else { known.shown(409) };
        }
        let first = match request.body.is_empty() {
            true => Ok(Vec::new()),
            false => wanted.messages(&request.body),
        };
        match first {
            Ok(messages) => wanted.pieces = messages,
            Err(refusal) => return *refusal,
        }
        let answer = wanted.shown(201);
        self.streams.insert(key.to_owned(), wanted);
        answer
    }
}

impl Stored {
    fn new(headers: &HeaderMap) -> Self {
        let default = HeaderValue::from_static(DEFAULT_CONTENT_TYPE);
        let known = LIFETIME
            .into_iter()
            .filter_map(|name| headers.get(&name).map(|value| (name.clone(), value.clone())));
        Stored {
            content_type: headers.get(header::CONTENT_TYPE).cloned().unwrap_or(default),
            lifetime: known.collect(),
            pieces: Vec::new(),
            cleared: 0,
            closed: says_true(headers, &STREAM_CLOSED),
            producers: BTreeMap::new(),
            stream_seq: Vec::new(),
        }
    }

    fn is_json(&self) -> bool {
        self.content_type.to_str().is_ok_and(json::is_json)
    }

    fn tail(&self) -> String {
        format!("{:016}", self.pieces.len())
    }

    /// An answer with what a stream says of itself.
    fn shown(&self, status: u16) -> Response {
        let mut answer = response(status);
        answer.headers.extend(self.lifetime.clone());
        answer.headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        self.ending(answer)
    }

    /// An answer with where the stream ends.
    fn ending(&self, mut answer: Response) -> Response {
        let tail = HeaderValue::from_str(&self.tail()).expect("digits are a header's value");
        answer.headers.insert(STREAM_NEXT_OFFSET, tail);
        if self.closed {
            answer.headers.insert(STREAM_CLOSED, HeaderValue::from_static("true"));
        }
        answer
    }

    /// The messages of a body: an array is its elements (PROTOCOL.md 7.1).
    fn messages(&self, body: &Bytes) -> Answered<Vec<Bytes>> {
        if !self.is_json() {
            return Ok(vec![body.clone()]);
        }
        if !body.trim_ascii_start().starts_with(b"[") {
            json::check(body).map_err(|_| refused(400, "the body is no JSON"))?;
            return Ok(vec![body.slice_ref(body.trim_ascii())]);
        }
        let index = Framing::Array.index(body).ok().flatten();
        let index = index.ok_or_else(|| refused(400, "the body is no JSON"))?;
        Ok(index.items(body).map(|message| body.slice_ref(message)).collect())
    }

    /// Appends, or ends the stream, or both (PROTOCOL.md 5.2 to 5.3).
    fn append(&mut self, request: &Request) -> Answered<Response> {
        let headers = &request.headers;
        let (ends, tuple) = (says_true(headers, &STREAM_CLOSED), tuple(headers)?);
        let mut messages = Vec::new();
        if !request.body.is_empty() {
            let own = headers.get(header::CONTENT_TYPE).map(essence);
            if own != Some(essence(&self.content_type)) {
                return Err(refused(409, "the stream has another content type").into());
            }
            messages = self.messages(&request.body)?;
        }
        if messages.is_empty() && !ends {
            return Err(refused(400, "there is nothing to append").into());
        }
        if let Some(tuple) = &tuple
            && self.is_repeat(tuple)?
        {
            return Ok(self.echo(204, tuple));
        }
        if self.closed {
            let is_plain_end = messages.is_empty() && tuple.is_none();
            let status = if is_plain_end { 204 } else { 409 };
            return Ok(self.ending(response(status)));
        }
        if let Some(seq) = headers.get(STREAM_SEQ) {
            if *seq.as_bytes() <= *self.stream_seq {
                return Err(refused(409, "the `Stream-Seq` is not above the last one").into());
            }
            self.stream_seq = seq.as_bytes().to_vec();
        }
        let status = if tuple.is_some() && !messages.is_empty() { 200 } else { 204 };
        self.pieces.extend(messages);
        self.closed |= ends;
        let Some(tuple) = tuple else { return Ok(self.ending(response(status))) };
        self.producers.insert(tuple.0.clone(), (tuple.1, tuple.2));
        Ok(self.echo(status, &tuple))
    }

    /// Whether the stream has what a producer sends already (PROTOCOL.md 5.2.1).
    fn is_repeat(&self, (id, epoch, seq): &Tuple) -> Answered<bool> {
        let number = |status, name: HeaderName, number: u64| {
            let mut answer = self.ending(response(status));
            answer.headers.insert(name, number.into());
            answer
        };
        let expected = match self.producers.get(id) {
            Some((known, _)) if epoch < known => {
                return Err(number(403, PRODUCER_EPOCH, *known).into());
            }
            Some((known, last)) if epoch == known => last + 1,
            Some(_) if *seq > 0 => return Err(refused(400, "a new epoch begins at 0").into()),
            _ => 0,
        };
        if *seq > expected {
            let mut gap = number(409, PRODUCER_EXPECTED_SEQ, expected);
            gap.headers.insert(PRODUCER_RECEIVED_SEQ, (*seq).into());
            // The end of the stream is not what is wrong.
            gap.headers.remove(STREAM_CLOSED);
            return Err(gap.into());
        }
        Ok(*seq < expected)
    }

    fn echo(&self, status: u16, (id, epoch, seq): &Tuple) -> Response {
        let highest = self.producers.get(id).map_or(*seq, |(_, last)| *last);
        let mut answer = self.ending(response(status));
        answer.headers.insert(PRODUCER_EPOCH, (*epoch).into());
        answer.headers.insert(PRODUCER_SEQ, highest.into());
        answer
    }

    /// HEAD and GET; a read goes to the present end (PROTOCOL.md 5.5 and 5.6).
    fn read(&self, request: &Request) -> Response {
        let mut answer = self.shown(200);
        if request.method != Method::GET {
            return answer;
        }
        let mut query = request.endpoint.url.query_pairs();
        let offset = query.find(|(name, _)| name == "offset").map(|(_, value)| value);
        let from = match offset.as_deref() {
            None | Some("-1") => Some(0),
            Some("now") => Some(self.pieces.len()),
            Some(offset) => offset.parse().ok().filter(|from| *from <= self.pieces.len()),
        };
        let Some(from) = from else { return refused(400, "the offset is none of this stream") };
        answer.headers.insert(STREAM_UP_TO_DATE, HeaderValue::from_static("true"));
        answer.body = self.body(from);
        answer
    }

    /// The content from a piece on.
    fn body(&self, from: usize) -> Bytes {
        let pieces = self.pieces.get(from..).unwrap_or_default();
        match self.is_json() {
            true => [b"[".as_slice(), &pieces.join(&b','), b"]"].concat().into(),
            false => pieces.concat().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::options::Options;
    use crate::transport::endpoint::Endpoint;

    fn request(method: Method, headers: &[(&'static str, &str)], body: &'static str) -> Request {
        let options = Options::new().url("http://h/s?offset=-1");
        let endpoint = Arc::new(Endpoint::resolve(&options).unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in [&[("content-type", "application/json")], headers].concat() {
            map.insert(name, value.parse().unwrap());
        }
        let plain = Request::new(method, endpoint, Duration::from_secs(1));
        Request { headers: Arc::new(map), body: Bytes::from_static(body.as_bytes()), ..plain }
    }

    /// The status of an answer, and a header of it.
    fn told(answer: &Response, name: &str) -> (u16, String) {
        let value = answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (answer.status, value.unwrap_or_default())
    }

    fn append(server: &mut Server, seq: &str, epoch: &str, body: &'static str) -> Response {
        let tuple = [("producer-id", "p"), ("producer-epoch", epoch), ("producer-seq", seq)];
        server.answer(&request(Method::POST, &tuple, body))
    }

    fn created() -> Server {
        let mut server = Server::default();
        assert_eq!(server.answer(&request(Method::PUT, &[], "")).status, 201);
        server
    }

    #[test]
    fn producers_are_told_what_servers_tell_them() {
        let mut server = created();
        assert_eq!(told(&append(&mut server, "1", "5", "[1]"), "producer-expected-seq").1, "0");
        assert_eq!(append(&mut server, "0", "5", "[1,2]").status, 200);
        assert_eq!(told(&append(&mut server, "1", "5", "[3]"), "producer-seq"), (200, "1".into()));
        assert_eq!(told(&append(&mut server, "0", "5", "[9]"), "producer-seq"), (204, "1".into()));
        assert_eq!(
            told(&append(&mut server, "0", "4", "[9]"), "producer-epoch"),
            (403, "5".into())
        );
        assert_eq!(append(&mut server, "1", "6", "[9]").status, 400);
        let gap = append(&mut server, "3", "5", "[9]");
        assert_eq!(told(&gap, "producer-expected-seq"), (409, "2".into()));
        assert_eq!(told(&gap, "producer-received-seq").1, "3");
        assert_eq!(append(&mut server, "0", "6", "4").status, 200);
        assert_eq!(&server.answer(&request(Method::GET, &[], "")).body[..], b"[1,2,3,4]");
    }

    #[test]
    fn a_stream_is_created_once_ends_once_and_is_deleted_once() {
        let mut server = created();
        let put =
            |server: &mut Server, headers: &[_]| server.answer(&request(Method::PUT, headers, ""));
        assert_eq!(put(&mut server, &[]).status, 200);
        assert_eq!(put(&mut server, &[("content-type", "text/plain")]).status, 409);
        assert_eq!(put(&mut server, &[("stream-ttl", "5")]).status, 409);
        let post = |server: &mut Server, headers: &[_], body| {
            server.answer(&request(Method::POST, headers, body))
        };
        for (headers, body, status) in [
            (&[("content-type", "text/plain")][..], "1", 409),
            (&[], "", 400),
            (&[], "[]", 400),
            (&[], "[1", 400),
            (&[("producer-id", "p")], "1", 400),
            (&[("stream-seq", "b")], "1", 204),
            (&[("stream-seq", "b")], "1", 409),
        ] {
            assert_eq!(post(&mut server, headers, body).status, status, "{headers:?} {body}");
        }
        let end = [("stream-closed", "true")];
        assert_eq!(told(&post(&mut server, &end, "2"), "stream-closed"), (204, "true".into()));
        assert_eq!(post(&mut server, &end, "").status, 204);
        assert_eq!(told(&post(&mut server, &[], "3"), "stream-closed"), (409, "true".into()));
        for (method, status) in [(Method::DELETE, 204), (Method::DELETE, 404), (Method::GET, 404)] {
            assert_eq!(server.answer(&request(method, &[], "")).status, status);
        }
    }
}

//! HTTP/1.1 as far as a relay needs it: where a message begins, where it ends, what its head says.

use std::io::{self, BufRead};

/// Longer heads are refused: neither a client nor a server of ours sends them.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Longest line between two chunks.
const MAX_LINE_BYTES: usize = 1024;

/// The head of a request or an answer.
#[derive(Debug)]
pub(super) struct Head {
    /// As it arrived, the empty line included.
    pub(super) raw: Vec<u8>,
    first: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Head {
    /// Reads a head; `None` where the other side is done.
    pub(super) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut raw = Vec::new();
        loop {
            let line = raw.len();
            reader.read_until(b'\n', &mut raw)?;
            match &raw[line..] {
                [] if raw.is_empty() => return Ok(None),
                b"\r\n" | b"\n" if line == 0 => raw.clear(), // tolerated before a request
                b"\r\n" | b"\n" => break,
                rest if !rest.ends_with(b"\n") => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ if raw.len() > MAX_HEAD_BYTES => return Err(wrong("the head is too long")),
                _ => {}
            }
        }
        let text = String::from_utf8_lossy(&raw);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        let pair = |line: &str| {
            line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        };
        let headers = lines.filter_map(pair).collect();
        Ok(Some(Self { raw, first, headers }))
    }

    /// The value of a header; names match in any case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let matching = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        matching.map(|(_, value)| value.as_str())
    }

    fn says(&self, name: &str, word: &str) -> bool {
        self.header(name)
            .is_some_and(|value| value.split(',').any(|w| w.trim().eq_ignore_ascii_case(word)))
    }

    fn word(&self, index: usize) -> &str {
        self.first.split(' ').nth(index).unwrap_or_default()
    }

    /// A request's method.
    pub(super) fn method(&self) -> &str {
        self.word(0)
    }

    /// A request's path with its query.
    pub(super) fn target(&self) -> &str {
        self.word(1)
    }

    /// An answer's status.
    pub(super) fn status(&self) -> io::Result<u16> {
        self.word(1).parse().map_err(|_| wrong("not an HTTP answer"))
    }

    /// Whether the connection ends with this message.
    pub(super) fn is_last(&self) -> bool {
        self.says("connection", "close")
            || (self.first.contains("HTTP/1.0") && !self.says("connection", "keep-alive"))
    }

    /// Whether the client waits to be asked for the body.
    pub(super) fn expects_continue(&self) -> bool {
        self.says("expect", "100-continue")
    }

    /// The head as it arrived, without one header.
    pub(super) fn without(&self, name: &str) -> Vec<u8> {
        let is_it = |line: &&[u8]| {
            let name_there = line.split(|byte| *byte == b':').next().unwrap_or_default();
            name_there.eq_ignore_ascii_case(name.as_bytes())
        };
        let lines = self.raw.split_inclusive(|byte| *byte == b'\n');
        lines.filter(|line| !is_it(line)).collect::<Vec<_>>().concat()
    }

    /// What follows a request's head.
    pub(super) fn request_body(&self) -> io::Result<Body> {
        Ok(self.framed()?.unwrap_or(Body::Length(0)))
    }

    /// What follows an answer's head.
    pub(super) fn answer_body(&self, method: &str) -> io::Result<Body> {
        if method == "HEAD" || has_no_body(self.status()?) {
            return Ok(Body::Length(0));
        }
        Ok(self.framed()?.unwrap_or(Body::UntilEnd))
    }

    /// The length of the body, where it is announced.
    pub(super) fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    fn framed(&self) -> io::Result<Option<Body>> {
        if self.says("transfer-encoding", "chunked") {
            return Ok(Some(Body::Size(Vec::new())));
        }
        if self.header("content-length").is_none() {
            return Ok(None);
        }
        let length = self.length().ok_or_else(|| wrong("Content-Length is not a number"))?;
        Ok(Some(Body::Length(length)))
    }
}

/// Whether answers of this status never have a body.
pub(super) fn has_no_body(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

/// How much of a body went by, and its beginning.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) bytes: u64,
    pub(super) kept: Vec<u8>,
    pub(super) keep: usize,
}

impl Tally {
    pub(super) fn keeping(keep: usize) -> Self {
        Self { keep, ..Self::default() }
    }

    fn add(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        let room = self.keep - self.kept.len();
        self.kept.extend_from_slice(&data[..data.len().min(room)]);
    }
}

/// What is still to come of a body.
#[derive(Debug)]
pub(super) enum Body {
    /// So many bytes more.
    Length(u64),
    /// All until the connection ends.
    UntilEnd,
    /// Chunked: within the line that holds a chunk's size.
    Size(Vec<u8>),
    /// Chunked: so many bytes more of this chunk.
    Data(u64),
    /// Chunked: the line break after a chunk.
    Break,
    /// Chunked: the lines after the last chunk; so many bytes of the present one were seen.
    Trailer(usize),
}

impl Body {
    /// Whether all of it went by.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Body::Length(0))
    }

    /// Whether it ends with the connection.
    pub(super) fn is_unframed(&self) -> bool {
        matches!(self, Body::UntilEnd)
    }

    /// Hands the raw bytes of the body on, in the pieces in which they arrive, until its end or
    /// until `limit` bytes of data went by. An `UntilEnd` body is done when the connection ends.
    pub(super) fn pump(
        &mut self,
        reader: &mut impl BufRead,
        limit: u64,
        tally: &mut Tally,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        while !self.is_done() {
            let input = match reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if input.is_empty() {
                if self.is_unframed() {
                    return Ok(());
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let taken = self.take(input, limit, tally)?;
            if taken == 0 {
                return Ok(());
            }
            sink(&input[..taken])?;
            reader.consume(taken);
        }
        Ok(())
    }

    /// How much of `input` belongs to the body, within the limit.
    fn take(&mut self, input: &[u8], limit: u64, tally: &mut Tally) -> io::Result<usize> {
        let mut taken = 0;
        while taken < input.len() && !self.is_done() {
            let rest = &input[taken..];
            let most = |left: u64, tally: &Tally| {
                usize::try_from(left.min(limit.saturating_sub(tally.bytes)))
                    .map_or(rest.len(), |most| most.min(rest.len()))
            };
            let (used, next) = match self {
                Body::Length(left) => {
                    let used = most(*left, tally);
                    tally.add(&rest[..used]);
                    (used, Body::Length(*left - used as u64))
                }
                Body::UntilEnd => {
                    let used = most(u64::MAX, tally);
                    tally.add(&rest[..used]);
                    (used, Body::UntilEnd)
                }
                Body::Data(left) => {
                    let used = most(*left, tally);
                    tally.add(&rest[..used]);
                    let left = *left - used as u64;
                    (used, if left == 0 { Body::Break } else { Body::Data(left) })
                }
                Body::Size(line) => {
                    line.push(rest[0]);
                    (1, size_line(std::mem::take(line))?)
                }
                Body::Break if rest[0] == b'\n' => (1, Body::Size(Vec::new())),
                Body::Break if rest[0] == b'\r' => (1, Body::Break),
                Body::Break => return Err(wrong("a chunk is longer than it says")),
                Body::Trailer(0) if rest[0] == b'\n' => (1, Body::Length(0)),
                Body::Trailer(seen) => match rest[0] {
                    b'\n' => (1, Body::Trailer(0)),
                    b'\r' => (1, Body::Trailer(*seen)),
                    _ => (1, Body::Trailer(*seen + 1)),
                },
            };
            *self = next;
            if used == 0 {
                break;
            }
            taken += used;
        }
        Ok(taken)
    }
}

fn size_line(line: Vec<u8>) -> io::Result<Body> {
    if line.len() > MAX_LINE_BYTES {
        return Err(wrong("a chunk's first line is too long"));
    }
    if !line.ends_with(b"\n") {
        return Ok(Body::Size(line));
    }
    let text = String::from_utf8_lossy(&line);
    let digits = text.split(';').next().unwrap_or_default().trim();
    match u64::from_str_radix(digits, 16) {
        Ok(0) => Ok(Body::Trailer(0)),
        Ok(size) => Ok(Body::Data(size)),
        Err(_) => Err(wrong("a chunk's size is not a number")),
    }
}

fn wrong(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// The raw bytes and the data that belong to a body, read through a buffer of `grain` bytes.
    fn pumped(mut body: Body, text: &[u8], grain: usize, limit: u64) -> (Vec<u8>, Tally, Body) {
        let (mut raw, mut tally) = (Vec::new(), Tally::keeping(5));
        let mut reader = BufReader::with_capacity(grain, text);
        body.pump(&mut reader, limit, &mut tally, |piece| {
            raw.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
        (raw, tally, body)
    }

    #[test]
    fn chunks_end_where_they_say() {
        let text = b"4;a=b\r\nabcd\r\n2\r\nef\r\n0\r\nT: x\r\n\r\nGET";
        for grain in 1..text.len() {
            let (raw, tally, body) = pumped(Body::Size(Vec::new()), text, grain, u64::MAX);
            assert_eq!(raw, text[..text.len() - 3]);
            assert_eq!((tally.bytes, &tally.kept[..]), (6, &b"abcde"[..]));
            assert!(body.is_done());
        }
    }

    #[test]
    fn a_limit_counts_data_alone() {
        let chunked = b"4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n";
        let (raw, tally, body) = pumped(Body::Size(Vec::new()), chunked, 64, 5);
        assert_eq!((raw.as_slice(), tally.bytes), (&b"4\r\nabcd\r\n2\r\ne"[..], 5));
        assert!(!body.is_done());
        let (raw, ..) = pumped(Body::Length(4), b"abcdef", 3, 2);
        assert_eq!(raw, b"ab");
        let (raw, ..) = pumped(Body::Length(4), b"abcdef", 3, u64::MAX);
        assert_eq!(raw, b"abcd");
        let (raw, ..) = pumped(Body::UntilEnd, b"abcdef", 4, u64::MAX);
        assert_eq!(raw, b"abcdef");
    }

    #[test]
    fn heads_say_what_follows() {
        let read = |text: &str| Head::read(&mut text.as_bytes()).unwrap().unwrap();
        let head = read("POST /a?b=c HTTP/1.1\r\nExpect: 100-continue\r\nX:  y \r\n\r\nrest");
        assert_eq!((head.method(), head.target(), head.header("x")), ("POST", "/a?b=c", Some("y")));
        assert!(head.expects_continue() && !head.is_last());
        assert!(head.request_body().unwrap().is_done());
        assert_eq!(head.without("EXPECT"), b"POST /a?b=c HTTP/1.1\r\nX:  y \r\n\r\n");
        let head = read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: Close\r\n\r\n");
        assert!(head.is_last() && head.answer_body("HEAD").unwrap().is_done());
        assert!(matches!(head.answer_body("GET").unwrap(), Body::Length(3)));
        assert!(read("HTTP/1.1 200 OK\r\n\r\n").answer_body("GET").unwrap().is_unframed());
        assert!(read("HTTP/1.1 204 No\r\n\r\n").answer_body("GET").unwrap().is_done());
        assert!(Head::read(&mut &b""[..]).unwrap().is_none());
        assert!(Head::read(&mut &b"GET / HTTP/1.1\r\nHo"[..]).is_err());
    }

    #[test]
    fn what_is_no_body_is_refused() {
        for text in ["xyz\r\n", "2\r\n[]]\r\n", "2\r\n[]"] {
            let mut body = Body::Size(Vec::new());
            let (mut reader, mut tally) = (text.as_bytes(), Tally::default());
            let pumped = body.pump(&mut reader, u64::MAX, &mut tally, |_| Ok(()));
            assert!(pumped.is_err(), "{text:?} was taken");
        }
    }
}

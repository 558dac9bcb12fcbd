//! Where the messages of a body are, without a list of them. Pure.
//!
//! A list takes 16 bytes for each message, and a message takes as few as two bytes of the body. An
//! index keeps the place of a message now and then, and scans the text again for those between.

use std::fmt;
use std::iter::FusedIterator;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far apart the marks of an index are at least, in bytes. A mark takes 8 bytes, so an index
/// takes at most a 32nd of the body, and a message is found within this much text.
const STRIDE: u32 = 256;

/// How a body is divided into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Division {
    /// The elements of one JSON array.
    Elements,
    /// One message a line.
    Lines,
}

/// The place of one message. Bodies and the numbers of their messages stay below 2^32: the largest
/// `max_read_bytes` is 2^31.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    number: u32,
    at: u32,
}

impl Mark {
    /// The mark of no message.
    const NONE: Mark = Mark { number: u32::MAX, at: u32::MAX };

    fn of(number: usize, at: usize) -> Self {
        let short = |n| u32::try_from(n).expect("`max_read_bytes` is below 4 GiB");
        Mark { number: short(number), at: short(at) }
    }

    /// As one word, which threads change as a whole.
    fn packed(self) -> u64 {
        u64::from(self.number) << 32 | u64::from(self.at)
    }

    fn unpacked(word: u64) -> Self {
        Mark { number: (word >> 32) as u32, at: word as u32 }
    }
}

/// Where the messages of one body are. The body was found valid and is given anew to every call.
pub(crate) struct Index {
    division: Division,
    count: usize,
    marks: Vec<Mark>,
    /// The message behind the last one that was asked for: most callers ask in order.
    next: AtomicU64,
}

impl Index {
    pub(crate) fn new(division: Division) -> Self {
        let next = AtomicU64::new(Mark::NONE.packed());
        Index { division, count: 0, marks: Vec::new(), next }
    }

    /// Takes note of one more message, which begins here.
    pub(crate) fn push(&mut self, at: usize) {
        let mark = Mark::of(self.count, at);
        if self.marks.last().is_none_or(|last| mark.at - last.at >= STRIDE) {
            self.marks.push(mark);
        }
        self.count += 1;
    }

    /// The index of a body that has no further messages.
    pub(crate) fn complete(mut self) -> Self {
        self.marks.shrink_to_fit();
        self
    }

    pub(crate) fn division(&self) -> Division {
        self.division
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// One message.
    pub(crate) fn get<'a>(&self, data: &'a [u8], number: usize) -> Option<&'a [u8]> {
        if number >= self.count {
            return None;
        }
        let known = Mark::unpacked(self.next.load(Ordering::Relaxed));
        let mark = match known.number as usize == number {
            true => known,
            false => {
                let behind = self.marks.partition_point(|mark| mark.number as usize <= number);
                *self.marks.get(behind.checked_sub(1)?)?
            }
        };
        let mut items = self.items_from(data, mark);
        let item = items.nth(number - mark.number as usize)?;
        self.next.store(Mark::of(number + 1, items.at).packed(), Ordering::Relaxed);
        Some(item)
    }

    /// All messages, in order.
    pub(crate) fn items<'a>(&self, data: &'a [u8]) -> Items<'a> {
        let first = Mark { number: 0, ..self.marks.first().copied().unwrap_or(Mark::NONE) };
        self.items_from(data, first)
    }

    fn items_from<'a>(&self, data: &'a [u8], mark: Mark) -> Items<'a> {
        let left = self.count - mark.number as usize;
        Items { data, division: self.division, at: mark.at as usize, left }
    }
}

/// Two indexes are equal if they divide one body alike.
impl PartialEq for Index {
    fn eq(&self, other: &Self) -> bool {
        (self.division, self.count) == (other.division, other.count)
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({} {:?})", self.count, self.division)
    }
}

/// The messages of a chunk in order, each in its own text, unchanged. Each message is found in the
/// chunk's bytes when it is asked for.
#[derive(Clone)]
pub struct Items<'a> {
    data: &'a [u8],
    division: Division,
    /// Where the next message begins, or what divides it from the last one.
    at: usize,
    left: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let item = match self.division {
            Division::Elements => element(self.data, self.at),
            Division::Lines => line(self.data, self.at),
        };
        self.at = item.end;
        self.data.get(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Items<'_> {}

impl FusedIterator for Items<'_> {}

impl fmt::Debug for Items<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Items({} left)", self.left)
    }
}

/// The first element of an array from here on.
fn element(data: &[u8], from: usize) -> Range<usize> {
    let rest = data.get(from..).unwrap_or_default();
    let divides = |byte: &u8| matches!(byte, b',' | b' ' | b'\t' | b'\n' | b'\r');
    let skipped = rest.iter().take_while(|byte| divides(byte)).count();
    let start = from + skipped;
    start..start + value_length(&rest[skipped..])
}

/// How long the JSON value is that begins here.
fn value_length(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at += closing_quote(&text[at..]),
            b'[' | b'{' => depth += 1,
            b',' | b' ' | b'\t' | b'\n' | b'\r' | b']' | b'}' if depth == 0 => break,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    at.min(text.len())
}

/// Where the string ends that begins here.
fn closing_quote(text: &[u8]) -> usize {
    let mut escaped = false;
    let closes = |byte: &u8| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    };
    text.iter().skip(1).position(closes).map_or(text.len(), |n| n + 1)
}

/// The first line from here on that is not empty, without the white space around it.
fn line(data: &[u8], from: usize) -> Range<usize> {
    let rest = data.get(from..).unwrap_or_default();
    let skipped = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let line = rest[skipped..].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let start = from + skipped;
    start..start + line.trim_ascii_end().len()
}

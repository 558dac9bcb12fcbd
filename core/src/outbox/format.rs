//! The bytes of an outbox: headers and records. Pure; `core/docs/adr/outbox.md` has it byte by byte.
//!
//! All numbers are little-endian. A record begins at a multiple of eight with its head: the length
//! and the checksum, which are stored last and at once. A head of zeros is the end.

use std::ops::Range;
use std::sync::Arc;

use crate::outbox::ledger::{Base, Sent, SentFlags, Session};

/// The version of the format. An older library refuses a newer one by name.
pub(crate) const VERSION: u32 = 1;
/// What a header takes, of a segment and of a control file.
pub(crate) const HEADER: usize = 64;
/// In a segment: the position behind the last write, stored behind each; for what a process left.
pub(crate) const MARK: usize = HEADER;
/// Where a segment's records begin.
pub(crate) const RECORDS: usize = MARK + 8;
/// What a record has before its fields.
pub(crate) const HEAD: usize = 8;
/// What a record of writes has before its entries.
const GROUP: usize = 24;
/// What an entry has before its bytes: the length, and the tag where there is one.
const ENTRY: usize = 4;
const TAG: usize = 8;
/// In an entry's length: there is a tag.
const HAS_TAG: u32 = 1 << 31;
/// In a group's flags: its last entry is the stream's last message.
const LAST: u32 = 1;

const SEGMENT: [u8; 8] = *b"dstream1";
const CONTROL: [u8; 8] = *b"dsctrl_1";

/// The number of a machine's start; `None` where the system tells none.
pub(crate) type Boot = Option<[u8; 16]>;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// A size, up to the next multiple of eight.
pub(crate) const fn padded(size: usize) -> usize {
    size.next_multiple_of(8)
}

/// What a checksum takes at least to be fast: below that, processors have no instructions for it.
const FAST: usize = 128;
/// Up to here a record is put together before it is written, so that it is fast.
const SHORT: usize = 256;

/// The fields of a short record between what else its checksum is taken of: zeros, the file's salt (what
/// another file left behind does not pass), the fields, and the length.
struct Text {
    bytes: [u8; SHORT],
    fields: Range<usize>,
}

impl Text {
    const SALT: usize = 8;
    const LENGTH: usize = 4;

    /// `None` where so many bytes of fields are not short.
    #[inline]
    fn new(salt: u64, size: usize) -> Option<Self> {
        let fields =
            SHORT.checked_sub(size + Self::SALT + Self::LENGTH)? + Self::SALT..SHORT - Self::LENGTH;
        let mut bytes = [0; SHORT];
        // A checksum that begins at nothing is the same behind zeros; the usual one begins at nothing where
        // the first four bytes are inverted.
        let salt = salt ^ u64::from(u32::MAX);
        bytes[fields.start - Self::SALT..fields.start].copy_from_slice(&salt.to_le_bytes());
        bytes[fields.end..].copy_from_slice(&((HEAD + size) as u32).to_le_bytes());
        Some(Text { bytes, fields })
    }

    #[inline]
    fn fields(&mut self) -> &mut [u8] {
        &mut self.bytes[self.fields.clone()]
    }

    /// Of a whole number of the blocks that are fast.
    #[inline]
    fn checksum(&self) -> u32 {
        let from = ((self.fields.start - Self::SALT) & !15).min(SHORT - FAST);
        let mut hasher = crc32fast::Hasher::new_with_initial(u32::MAX);
        hasher.update(&self.bytes[from..]);
        hasher.finalize()
    }
}

/// The checksum of a record's fields.
fn checksum(salt: u64, fields: &[u8]) -> u32 {
    if let Some(mut text) = Text::new(salt, fields.len()) {
        text.fields().copy_from_slice(fields);
        return text.checksum();
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(fields);
    hasher.update(&((HEAD + fields.len()) as u32).to_le_bytes());
    hasher.finalize()
}

/// The head of a record: never zero.
fn head(length: u32, crc: u32) -> u64 {
    u64::from(length) | u64::from(crc) << 32
}

/// What is wrong with a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Nothing was written: all of it is zero.
    Blank,
    /// Made by a library that knows more.
    Newer(u32),
    Wrong(&'static str),
}

/// The header of a segment or of a control file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Of the checksums in this file.
    pub(crate) salt: u64,
    /// A segment's number, a control file's generation.
    pub(crate) number: u64,
    /// A segment's first position; the mode of a control file.
    pub(crate) extra: u64,
    /// The machine's start in which it was made.
    pub(crate) boot: Boot,
    /// The size of the file, in units of eight bytes.
    pub(crate) eighths: u32,
}

impl Header {
    /// Whether a file has the size that it was made with.
    pub(crate) fn fits(&self, size: usize) -> bool {
        size as u64 == u64::from(self.eighths) * 8
    }

    fn encode(&self, magic: [u8; 8]) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&magic);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(self.boot.is_some()).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.salt.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.number.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.extra.to_le_bytes());
        bytes[40..56].copy_from_slice(&self.boot.unwrap_or_default());
        bytes[56..60].copy_from_slice(&self.eighths.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], magic: [u8; 8]) -> Result<Self, BadHeader> {
        let bytes =
            bytes.get(..HEADER).ok_or(BadHeader::Wrong("the file is shorter than its header"))?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(BadHeader::Blank);
        }
        let wrong = BadHeader::Wrong("its header does not match its checksum");
        let number = |at| u64_at(bytes, at).ok_or(wrong.clone());
        if u32_at(bytes, 60) != Some(crc32fast::hash(&bytes[..60])) {
            return Err(wrong);
        }
        if bytes[..8] != magic {
            return Err(BadHeader::Wrong("its header is another file's"));
        }
        match u32_at(bytes, 8) {
            Some(VERSION) => {}
            Some(newer) if newer > VERSION => return Err(BadHeader::Newer(newer)),
            _ => return Err(BadHeader::Wrong("its version is none")),
        }
        let boot = bytes[40..56].try_into().map_err(|_| wrong.clone())?;
        let has_boot = u32_at(bytes, 12) == Some(1);
        Ok(Header {
            salt: number(16)?,
            number: number(24)?,
            extra: number(32)?,
            boot: has_boot.then_some(boot),
            eighths: u32_at(bytes, 56).ok_or(wrong)?,
        })
    }

    pub(crate) fn encode_segment(&self) -> [u8; HEADER] {
        self.encode(SEGMENT)
    }

    pub(crate) fn encode_control(&self) -> [u8; HEADER] {
        self.encode(CONTROL)
    }

    pub(crate) fn decode_segment(bytes: &[u8]) -> Result<Self, BadHeader> {
        Header::decode(bytes, SEGMENT)
    }

    pub(crate) fn decode_control(bytes: &[u8]) -> Result<Self, BadHeader> {
        Header::decode(bytes, CONTROL)
    }
}

/// One write as it is stored.
pub(crate) struct Entry<'a> {
    pub(crate) parts: &'a [&'a [u8]],
    pub(crate) tag: u64,
}

impl Entry<'_> {
    pub(crate) fn size(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// What it takes in a record.
    fn stored(&self) -> usize {
        ENTRY + if self.tag == 0 { 0 } else { TAG } + self.size()
    }
}

/// What a group takes in a segment; `None` where it is more than a record holds.
pub(crate) fn group_size(entries: &[Entry<'_>]) -> Option<usize> {
    let mut size = GROUP as u64;
    for entry in entries {
        let bytes = entry.size() as u64;
        if bytes >= u64::from(HAS_TAG) {
            return None;
        }
        size += entry.stored() as u64;
    }
    (size < u64::from(u32::MAX - 8)).then_some(padded(size as usize))
}

/// Hands the bytes of a group's record to `write`, each with its place in the record, and gives
/// the head, which is to be stored at its beginning once all of them are there.
pub(crate) fn write_group(
    salt: u64,
    position: u64,
    entries: &[Entry<'_>],
    last: bool,
    mut write: impl FnMut(usize, &[u8]),
) -> u64 {
    let size = entries.iter().map(Entry::stored).sum::<usize>() + GROUP - HEAD;
    if let Some(mut text) = Text::new(salt, size) {
        let fields = text.fields();
        let mut at = 0;
        each_field(position, entries, last, |bytes| {
            fields[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        });
        write(HEAD, fields);
        return head((HEAD + size) as u32, text.checksum());
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    let mut at = HEAD;
    each_field(position, entries, last, |bytes| {
        hasher.update(bytes);
        write(at, bytes);
        at += bytes.len();
    });
    let length = at as u32;
    hasher.update(&length.to_le_bytes());
    head(length, hasher.finalize())
}

#[inline]
fn each_field(position: u64, entries: &[Entry<'_>], last: bool, mut put: impl FnMut(&[u8])) {
    let mut start = [0; GROUP - HEAD];
    start[..8].copy_from_slice(&position.to_le_bytes());
    start[8..12].copy_from_slice(&(entries.len() as u32).to_le_bytes());
    start[12..].copy_from_slice(&u32::from(last).to_le_bytes());
    put(&start);
    for entry in entries {
        let has_tag = entry.tag != 0;
        let length = entry.size() as u32 | if has_tag { HAS_TAG } else { 0 };
        put(&length.to_le_bytes());
        if has_tag {
            put(&entry.tag.to_le_bytes());
        }
        entry.parts.iter().for_each(|part| put(part));
    }
}

/// Puts the head in front of a record's fields, behind the room for it.
pub(crate) fn seal(record: &mut [u8], salt: u64) {
    let (start, fields) = record.split_at_mut(HEAD);
    let head = head((HEAD + fields.len()) as u32, checksum(salt, fields));
    start.copy_from_slice(&head.to_le_bytes());
}

/// A record whose checksum is right: its fields, and what it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    fields: &'a [u8],
    pub(crate) size: usize,
}

/// What is at a place where a record may begin.
pub(crate) enum At<'a> {
    /// Eight zeros, or the end of the file.
    End,
    Record(Record<'a>),
    Wrong(&'static str),
}

/// Reads what is at `at`.
pub(crate) fn record_at(bytes: &[u8], at: usize, salt: u64) -> At<'_> {
    match u64_at(bytes, at) {
        None | Some(0) => return At::End,
        Some(_) => {}
    }
    let length = u32_at(bytes, at).unwrap_or_default() as usize;
    if length <= HEAD {
        return At::Wrong("a record has an impossible length");
    }
    let Some(record) = at.checked_add(length).and_then(|end| bytes.get(at..end)) else {
        return At::Wrong("a record is longer than its file");
    };
    let fields = &record[HEAD..];
    if u32_at(record, 4) != Some(checksum(salt, fields)) {
        return At::Wrong("a record does not match its checksum");
    }
    At::Record(Record { fields, size: padded(length) })
}

/// A group of writes, which are stored together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) position: u64,
    pub(crate) count: u64,
    pub(crate) last: bool,
    /// How much its writes are together.
    pub(crate) bytes: usize,
    entries: &'a [u8],
}

/// The mark of a segment: see [`MARK`].
pub(crate) fn mark(bytes: &[u8]) -> u64 {
    u64_at(bytes, MARK).unwrap_or_default()
}

/// The fields of a group at a place that may be none: a cheap look before its checksum is read.
pub(crate) fn position_at(bytes: &[u8], at: usize) -> Option<u64> {
    u64_at(bytes, at.checked_add(HEAD)?)
}

impl<'a> Group<'a> {
    /// `None` where the record is no group: its checksum is right all the same.
    pub(crate) fn read(record: Record<'a>) -> Option<Self> {
        let (position, count) = (u64_at(record.fields, 0)?, u32_at(record.fields, 8)?);
        let flags = u32_at(record.fields, 12)?;
        let mut group = Group {
            position,
            count: count.into(),
            last: flags & LAST != 0,
            bytes: 0,
            entries: record.fields.get(GROUP - HEAD..)?,
        };
        let (mut found, mut size) = (0, 0);
        for (_, tag, bytes) in group.entries() {
            found += 1;
            group.bytes += bytes.len();
            size += entry_size(tag, bytes);
        }
        let is_whole = found == group.count && found > 0 && size == group.entries.len();
        let fits = position > 0 && position.checked_add(group.count).is_some();
        (is_whole && fits).then_some(group)
    }

    pub(crate) fn end(&self) -> u64 {
        self.position + self.count
    }

    /// The position, tag and bytes of each entry.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, u64, &'a [u8])> + use<'a> {
        let mut rest = self.entries;
        let mut position = self.position;
        std::iter::from_fn(move || {
            let word = u32_at(rest, 0)?;
            let has_tag = word & HAS_TAG != 0;
            let tag = if has_tag { u64_at(rest, ENTRY)? } else { 0 };
            let start = if has_tag { ENTRY + TAG } else { ENTRY };
            let end = start.checked_add((word & !HAS_TAG) as usize)?;
            let bytes = rest.get(start..end)?;
            rest = &rest[end..];
            position = position.checked_add(1)?;
            Some((position - 1, tag, bytes))
        })
    }
}

fn entry_size(tag: u64, bytes: &[u8]) -> usize {
    ENTRY + if tag == 0 { 0 } else { TAG } + bytes.len()
}

/// A record of a control file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Control {
    /// The begin of a snapshot: everything before this position is settled; the newest segment and
    /// its first position (0 before there is one); the tuple that was used last; from where a look
    /// reads.
    State {
        settled_to: u64,
        newest: u64,
        newest_first: u64,
        session: Option<Session>,
        base: Option<Base>,
    },
    /// A batch and its tuple, and the positions that it has not lost to later ones.
    Sent {
        sent: Arc<Sent>,
        from: u64,
        end: u64,
    },
    Unsent {
        first: u64,
        count: u64,
        in_doubt: bool,
    },
    Settled {
        first: u64,
        count: u64,
        /// From where a look reads from here on, if that changed: nobody knows, or the place.
        base: Option<Option<Base>>,
    },
    /// A tuple without writes: a request that only ends the stream.
    Tuple(Session),
    /// Everything before this position was made durable, and this file up to an offset.
    Synced {
        position: u64,
        offset: u64,
    },
    /// A segment was made.
    Segment {
        number: u64,
        first: u64,
    },
    /// The end of a snapshot.
    Begin,
    /// The other file has this generation; with `durable`, it was synced.
    Moved {
        generation: u64,
        durable: bool,
    },
}

/// What is acknowledged behind a base, and its offset.
fn base_fields(base: Option<&Base>) -> ([u64; 2], &str) {
    base.map_or(([0; 2], ""), |base| ([base.messages, base.bytes], &base.offset))
}

impl Control {
    /// The record, with its head in front.
    pub(crate) fn encode(&self, salt: u64) -> Vec<u8> {
        let mut out = vec![0; HEAD];
        let mut put = |kind: u64, numbers: &[u64]| {
            [kind].iter().chain(numbers).for_each(|number| out.extend(number.to_le_bytes()));
        };
        match self {
            Control::State { settled_to, newest, newest_first, session, base } => {
                let tuple = session.map_or([0; 4], |Session { epoch, seq, flags }| {
                    [1, epoch, seq, flags.to_bits()]
                });
                let [known, epoch, seq, flags] = tuple;
                let (behind, offset) = base_fields(base.as_ref());
                let [messages, bytes] = behind;
                let numbers = [known, epoch, seq, flags, messages, bytes];
                put(1, &[&[*settled_to, *newest, *newest_first][..], &numbers].concat());
                out.extend(offset.bytes());
            }
            Control::Sent { sent, from, end } => {
                let flags = sent.flags.to_bits();
                put(2, &[sent.first, sent.count, sent.epoch, sent.seq, flags, *from, *end]);
            }
            Control::Unsent { first, count, in_doubt } => {
                put(3, &[*first, *count, u64::from(*in_doubt)]);
            }
            Control::Settled { first, count, base } => {
                let ([messages, bytes], offset) =
                    base_fields(base.as_ref().and_then(Option::as_ref));
                put(4, &[*first, *count, u64::from(base.is_some()), messages, bytes]);
                out.extend(offset.bytes());
            }
            Control::Synced { position, offset } => put(5, &[*position, *offset]),
            Control::Segment { number, first } => put(6, &[*number, *first]),
            Control::Begin => put(7, &[]),
            Control::Moved { generation, durable } => put(8, &[*generation, u64::from(*durable)]),
            Control::Tuple(Session { epoch, seq, flags }) => {
                put(9, &[*epoch, *seq, flags.to_bits()]);
            }
        }
        seal(&mut out, salt);
        out
    }

    /// `None` where the record has a kind or fields that are none.
    pub(crate) fn read(record: Record<'_>) -> Option<Self> {
        let fields = record.fields;
        let number = |at: usize| u64_at(fields, 8 + at * 8);
        let range = |first: u64, count: u64| {
            (first > 0 && count > 0 && first.checked_add(count).is_some()).then_some(())
        };
        // Two numbers and a text; where that is empty, nobody knows.
        let base = |at: usize| {
            let offset = std::str::from_utf8(fields.get(8 * (at + 3)..)?).ok()?;
            let base =
                Base { offset: offset.into(), messages: number(at)?, bytes: number(at + 1)? };
            Some((!offset.is_empty()).then_some(base))
        };
        let session = |at: usize| {
            let (epoch, seq, bits) = (number(at)?, number(at + 1)?, number(at + 2)?);
            seq.checked_add(1)?;
            Some(Session { epoch, seq, flags: SentFlags::from_bits(bits) })
        };
        let read = match u64_at(fields, 0)? {
            1 => Control::State {
                settled_to: number(0).filter(|first| *first > 0)?,
                newest: number(1)?,
                newest_first: number(2)?,
                session: match number(3)? {
                    0 => None,
                    _ => Some(session(4)?),
                },
                base: base(7)?,
            },
            2 => {
                let sent = Sent {
                    first: number(0)?,
                    count: number(1)?,
                    epoch: number(2)?,
                    seq: number(3)?,
                    flags: SentFlags::from_bits(number(4)?),
                };
                let (from, end) = (number(5)?, number(6)?);
                range(sent.first, sent.count)?;
                range(from, end.checked_sub(from)?)?;
                sent.seq.checked_add(1)?;
                Control::Sent { sent: Arc::new(sent), from, end }
            }
            3 => {
                Control::Unsent { first: number(0)?, count: number(1)?, in_doubt: number(2)? == 1 }
            }
            4 => Control::Settled {
                first: number(0)?,
                count: number(1)?,
                base: match number(2)? {
                    0 => None,
                    _ => Some(base(3)?),
                },
            },
            5 => Control::Synced { position: number(0)?, offset: number(1)? },
            6 => Control::Segment { number: number(0)?, first: number(1)? },
            7 => Control::Begin,
            8 => Control::Moved { generation: number(0)?, durable: number(1)? == 1 },
            9 => Control::Tuple(session(0)?),
            _ => return None,
        };
        if let Control::Unsent { first, count, .. } | Control::Settled { first, count, .. } = read {
            range(first, count)?;
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A short record takes another way, and has no other checksum.
    #[test]
    fn the_checksum_is_the_usual_one_at_every_length() {
        for size in 1..2 * SHORT {
            let salt = 0x0123_4567_89ab_cdef_u64.rotate_left(size as u32);
            let bytes: Vec<u8> = (0..size).map(|n| (n * n / 3) as u8).collect();
            let entries = [Entry { parts: &[&bytes], tag: size as u64 % 3 }];
            let mut record = vec![0; group_size(&entries).unwrap()];
            let mut length = 0;
            let head = write_group(salt, 7, &entries, false, |at, bytes| {
                record[at..at + bytes.len()].copy_from_slice(bytes);
                length = at + bytes.len();
            });
            let text = [&salt.to_le_bytes(), &record[HEAD..length], &(length as u32).to_le_bytes()];
            assert_eq!(head, super::head(length as u32, crc32fast::hash(&text.concat())));
            seal(&mut record[..length], salt);
            assert_eq!(record[..HEAD], head.to_le_bytes());
        }
    }
}

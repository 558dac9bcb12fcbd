//! Batches: consecutive writes in the bytes of one request, of which some make up a group that stays
//! whole. Pure.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// A write's place within a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Where its last byte ends, framing not counted.
    end: u32,
    /// Whether the next write is of the same group: the two are never parted.
    is_joined: bool,
}

/// Bytes accounted per sealed batch beyond its writes.
pub(crate) const BATCH_OVERHEAD: u64 = 256;

/// The most room that a builder makes at once for writes still to come.
const MOST_PREPARED: usize = 1 << 20;

/// Bytes accounted per write beyond its own: its place and the separator.
pub(crate) const OVERHEAD: u64 = size_of::<Place>() as u64 + 1;

/// A number of the host's own that its callbacks receive with the write, 0 for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) number: u64,
    /// The holder that gave it: no other holder of the producer is shown it.
    pub(crate) holder: u32,
}

impl Tag {
    /// The bytes it counts against the buffer.
    pub(crate) fn cost(self) -> usize {
        if self.number == 0 { 0 } else { size_of::<Tagged>() }
    }
}

/// A write that has a tag, by its place in the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tagged {
    write: u32,
    holder: u32,
    number: u64,
}

/// The tags of a batch's writes: nothing where no write has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tags(Vec<Tagged>);

impl Tags {
    pub(crate) fn cost(&self) -> u64 {
        size_of_val(self.0.as_slice()) as u64
    }

    /// A holder's tags, one for each of the batch's writes; none if it gave none.
    pub(crate) fn of(&self, holder: u32, writes: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        for tagged in self.0.iter().filter(|tagged| tagged.holder == holder) {
            numbers.resize(writes as usize, 0);
            numbers[tagged.write as usize] = tagged.number;
        }
        numbers
    }

    /// The tags of the writes in a part, by their places there.
    fn part(&self, writes: Range<u64>) -> Self {
        let place = |tagged: &Tagged| u64::from(tagged.write);
        let from = self.0.partition_point(|tagged| place(tagged) < writes.start);
        let to = self.0.partition_point(|tagged| place(tagged) < writes.end);
        let moved = |tagged: &Tagged| Tagged {
            write: tagged.write - writes.start as u32, // one below it was found there
            ..*tagged
        };
        Tags(self.0[from..to].iter().map(moved).collect())
    }
}

/// An open batch that writes are copied into.
#[derive(Debug)]
pub(crate) struct Builder {
    json: bool,
    first_id: u64,
    body: Vec<u8>,
    places: Vec<Place>,
    tags: Vec<Tagged>,
    /// How many bytes and writes the last sealed batch had.
    last: (usize, usize),
}

impl Builder {
    pub(crate) fn new(json: bool) -> Self {
        let (body, places, tags) = (Vec::new(), Vec::new(), Vec::new());
        Builder { json, first_id: 0, body, places, tags, last: (0, 0) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether it is framed as JSON.
    pub(crate) fn is_framed(&self) -> bool {
        self.json
    }

    /// The id of the first write, if there is one.
    pub(crate) fn first_id(&self) -> u64 {
        self.first_id
    }

    /// The id that it goes on with, if it has a write.
    pub(crate) fn next_id(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.first_id + self.items())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// As many bytes as it has, or would have, framed as JSON.
    pub(crate) fn framed_bytes(&self) -> usize {
        self.body.len() + if self.json { 0 } else { self.places.len() }
    }

    pub(crate) fn items(&self) -> u64 {
        self.places.len() as u64
    }

    /// Appends a write, given in parts, under the next id.
    pub(crate) fn push(&mut self, id: u64, parts: &[&[u8]]) {
        if self.places.is_empty() {
            self.first_id = id;
            self.prepare();
        }
        if self.json {
            self.body.push(if self.places.is_empty() { b'[' } else { b',' });
        }
        parts.iter().for_each(|part| self.body.extend_from_slice(part));
        let end = u32::try_from(self.body.len()).expect("batches are sealed far below 4 GiB");
        self.places.push(Place { end, is_joined: false });
    }

    /// Joins the write that was pushed last to the next one, as one group.
    pub(crate) fn join(&mut self) {
        self.places.iter_mut().last().into_iter().for_each(|last| last.is_joined = true);
    }

    /// Tags the write that was pushed last.
    pub(crate) fn tag(&mut self, tag: Tag) {
        if tag.number != 0 {
            let write = (self.places.len() - 1) as u32; // fewer than bytes
            self.tags.push(Tagged { write, holder: tag.holder, number: tag.number });
        }
    }

    /// Writes are concatenated from here on, those that are there as well.
    pub(crate) fn unframe(&mut self) {
        if std::mem::take(&mut self.json) {
            unframe(&mut self.body, &mut self.places);
        }
    }

    /// Every write's bytes, without framing, of an open batch that is framed as JSON.
    pub(crate) fn framed(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.places.iter().map(|place| place.end as usize));
        starts.zip(&self.places).map(|(start, place)| &self.body[start + 1..place.end as usize])
    }

    /// Makes room for an eighth more than the last batch had: growing would copy it several times.
    /// Not before there is a write: a producer with nothing to send holds nothing.
    fn prepare(&mut self) {
        let (bytes, writes) = self.last;
        self.body.reserve_exact((bytes + bytes / 8).min(MOST_PREPARED));
        self.places.reserve_exact((writes + writes / 8).min(MOST_PREPARED / size_of::<Place>()));
    }

    /// Seals the open batch, leaving an empty builder; `None` if there is no write.
    pub(crate) fn seal(&mut self) -> Option<Batch> {
        if self.is_empty() {
            return None;
        }
        let mut body = std::mem::take(&mut self.body);
        let mut places = std::mem::take(&mut self.places);
        let tags = Tags(std::mem::take(&mut self.tags));
        if self.json {
            body.push(b']');
        }
        self.last = (body.len(), places.len());
        fit(&mut body);
        fit(&mut places);
        let batch = Batch {
            json: self.json,
            first_id: self.first_id,
            writes: places.len() as u64,
            places,
            body: body.into(),
            stream_seq: None,
            tags,
        };
        Some(batch)
    }
}

/// Takes the framing of a JSON array out of bytes that writes lie in.
fn unframe(body: &mut Vec<u8>, places: &mut [Place]) {
    let (mut from, mut to) = (0, 0);
    for place in places {
        let end = place.end as usize;
        body.copy_within(from + 1..end, to);
        to += end - from - 1;
        from = end;
        place.end = to as u32; // no more than it was
    }
    body.truncate(to);
}

/// Gives room back where a buffer has much more than it uses.
fn fit<T>(buffer: &mut Vec<T>) {
    if buffer.capacity() - buffer.len() > buffer.len() / 8 {
        buffer.shrink_to_fit();
    }
}

/// A sealed batch: its bytes never change again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Batch {
    json: bool,
    pub(crate) first_id: u64,
    pub(crate) writes: u64,
    places: Vec<Place>,
    pub(crate) body: Bytes,
    /// `Stream-Seq` of a write that came with one, which travels alone (PROTOCOL.md 5.2).
    pub(crate) stream_seq: Option<Arc<str>>,
    pub(crate) tags: Tags,
}

impl Batch {
    /// A batch without writes that ends the stream, behind every write before `next_id`.
    pub(crate) fn end(json: bool, next_id: u64) -> Self {
        let (places, body, tags) = (Vec::new(), Bytes::new(), Tags::default());
        Batch { json, first_id: next_id, writes: 0, places, body, stream_seq: None, tags }
    }

    /// Writes that are settled without having been read.
    pub(crate) fn unread(first_id: u64, writes: u64) -> Self {
        Batch { writes, ..Batch::end(false, first_id) }
    }

    /// Whether it is framed as JSON.
    pub(crate) fn is_framed(&self) -> bool {
        self.json
    }

    /// Whether it only ends the stream.
    pub(crate) fn is_end(&self) -> bool {
        self.writes == 0
    }

    #[cfg(test)]
    fn last_id(&self) -> u64 {
        self.first_id + self.writes - 1
    }

    /// How many groups there are, a write of no group being one of its own.
    pub(crate) fn group_count(&self) -> usize {
        self.places.iter().filter(|place| !place.is_joined).count()
    }

    /// The bytes that the batch counts against the buffer.
    pub(crate) fn cost(&self) -> u64 {
        if self.is_end() {
            return 0;
        }
        let seq = self.stream_seq.as_ref().map_or(0, |seq| seq.len() as u64);
        self.payload_bytes() + seq + self.tags.cost() + self.writes * OVERHEAD + BATCH_OVERHEAD
    }

    /// The bytes of its writes, without framing.
    pub(crate) fn payload_bytes(&self) -> u64 {
        let framed = self.places.last().map_or(0, |place| u64::from(place.end));
        framed - if self.json { self.writes } else { 0 }
    }

    /// The bytes of write `n`, without framing.
    fn payload(&self, n: usize) -> Bytes {
        let separator = usize::from(self.json);
        let start = if n == 0 { 0 } else { self.places[n - 1].end as usize };
        self.body.slice(start + separator..self.places[n].end as usize)
    }

    /// Every write as (id, bytes).
    pub(crate) fn payloads(&self) -> impl Iterator<Item = (u64, Bytes)> + '_ {
        (self.first_id..).zip((0..self.places.len()).map(|n| self.payload(n)))
    }

    /// Takes the framing of a JSON array out of a batch that was not sent yet.
    pub(crate) fn unframe(&mut self) {
        if std::mem::take(&mut self.json) {
            let mut body = Vec::from(std::mem::take(&mut self.body));
            unframe(&mut body, &mut self.places);
            self.body = body.into();
        }
    }

    /// Two batches of about half the writes each, in order; `None` for a single group.
    pub(crate) fn split(&self) -> Option<(Batch, Batch)> {
        let half = self.places.len() / 2;
        let is_cut = |at: &usize| *at > 0 && !self.places[at - 1].is_joined;
        let below = (1..=half).rev().find(is_cut);
        let above = (half..self.places.len()).find(is_cut);
        let cut = match (below, above) {
            (Some(below), Some(above)) if above - half < half - below => above,
            (Some(below), _) => below,
            (None, above) => above?,
        };
        Some((self.part(0, cut), self.part(cut, self.places.len())))
    }

    fn part(&self, from: usize, to: usize) -> Batch {
        let start = if from == 0 { 0 } else { self.places[from - 1].end };
        let moved = |place: &Place| Place { end: place.end - start, ..*place };
        let places: Vec<Place> = self.places[from..to].iter().map(moved).collect();
        let bytes = self.body.slice(start as usize..self.places[to - 1].end as usize);
        let body = if self.json {
            let mut framed = Vec::with_capacity(bytes.len() + 1);
            framed.push(b'[');
            framed.extend_from_slice(&bytes[1..]);
            framed.push(b']');
            framed.into()
        } else {
            bytes
        };
        Batch {
            json: self.json,
            first_id: self.first_id + from as u64,
            writes: places.len() as u64,
            places,
            body,
            stream_seq: None,
            tags: self.tags.part(from as u64..to as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(json: bool, writes: &[(String, Tag)]) -> Batch {
        let mut builder = Builder::new(json);
        for (n, (write, tag)) in writes.iter().enumerate() {
            builder.push(10 + n as u64, &[&write.as_bytes()[..1], &write.as_bytes()[1..]]);
            builder.tag(*tag);
        }
        builder.seal().unwrap()
    }

    /// No tag, or one of two holders'.
    fn tags() -> impl Strategy<Value = Tag> {
        let given = (1..=u64::MAX, 0u32..2).prop_map(|(number, holder)| Tag { number, holder });
        prop_oneof![Just(Tag::default()), given]
    }

    #[test]
    fn framing() {
        let writes = ["1", "[2,3]"].map(|write| (write.to_owned(), Tag::default()));
        assert_eq!(batch(true, &writes).body, "[1,[2,3]]");
        assert_eq!(batch(false, &writes).body, "1[2,3]");
        assert!(Builder::new(true).seal().is_none());
    }

    #[test]
    fn what_was_framed_too_soon_loses_its_frame() {
        let writes = ["1", "", "[2,3]"].map(|write| (write.to_owned(), Tag::default()));
        let (mut builder, writes) = (Builder::new(true), &writes);
        for (n, (write, _)) in writes.iter().enumerate() {
            builder.push(1 + n as u64, &[write.as_bytes()]);
        }
        assert!(builder.framed().eq(writes.iter().map(|(write, _)| write.as_bytes())));
        builder.unframe();
        builder.push(4, &[b"4"]);
        let open = builder.seal().unwrap();
        assert_eq!(open.body, "1[2,3]4");
        let mut sealed = Builder::new(true);
        writes.iter().zip(1..).for_each(|((write, _), id)| sealed.push(id, &[write.as_bytes()]));
        let mut sealed = sealed.seal().unwrap();
        let (before, cost) = (sealed.payloads().collect::<Vec<_>>(), sealed.cost());
        sealed.unframe();
        assert_eq!((&sealed.body[..], sealed.cost()), (&b"1[2,3]"[..], cost));
        assert_eq!(sealed.payloads().collect::<Vec<_>>(), before);
    }

    #[test]
    fn a_group_is_not_parted() {
        let mut builder = Builder::new(true);
        // Groups of 1, 3, 1 and 2 writes.
        for (id, is_joined) in [false, true, true, false, false, true, false].iter().enumerate() {
            builder.push(1 + id as u64, &[b"0"]);
            if *is_joined {
                builder.join();
            }
        }
        let whole = builder.seal().unwrap();
        assert_eq!((whole.writes, whole.group_count()), (7, 4));
        let sizes = |batch: &Batch| batch.split().map(|(one, two)| [one.writes, two.writes]);
        let (front, back) = whole.split().unwrap();
        assert_eq!(sizes(&whole), Some([4, 3]));
        assert_eq!((sizes(&front), sizes(&back)), (Some([1, 3]), Some([1, 2])));
        let (_, group) = front.split().unwrap();
        assert_eq!(
            (group.split(), group.group_count(), &group.body[..]),
            (None, 1, &b"[0,0,0]"[..])
        );
        let middle = Batch { places: whole.places[1..].to_vec(), ..whole };
        assert_eq!(sizes(&middle), Some([3, 3]));
    }

    #[test]
    fn what_has_no_tag_costs_nothing_for_tags() {
        let mut builder = Builder::new(true);
        for id in 1..=100 {
            builder.push(id, &[b"1"]);
            builder.tag(Tag::default());
        }
        let batch = builder.seal().unwrap();
        assert_eq!((batch.tags.0.capacity(), builder.tags.capacity()), (0, 0));
        assert_eq!(batch.cost(), 100 * (1 + OVERHEAD) + BATCH_OVERHEAD);
        assert!(batch.tags.of(0, 100).is_empty());
    }

    proptest! {
        #[test]
        fn splitting_keeps_every_write(
            json: bool,
            writes in prop::collection::vec(("[0-9]{1,5}", tags()), 1..40),
        ) {
            let whole = batch(json, &writes);
            let sizes = |(write, tag): &(String, Tag)| (write.len() + tag.cost()) as u64 + OVERHEAD;
            let cost = writes.iter().map(sizes).sum::<u64>() + BATCH_OVERHEAD;
            prop_assert_eq!(whole.cost(), cost);
            let mut parts = vec![whole.clone()];
            while let Some(at) = parts.iter().position(|p| p.group_count() > 1) {
                let (left, right) = parts[at].split().unwrap();
                prop_assert_eq!(left.last_id() + 1, right.first_id);
                prop_assert_eq!(left.cost() + right.cost(), parts[at].cost() + BATCH_OVERHEAD);
                parts.splice(at..=at, [left, right]);
            }
            let expected: Vec<(u64, Bytes)> = whole.payloads().collect();
            let found: Vec<(u64, Bytes)> = parts.iter().flat_map(|p| p.payloads()).collect();
            prop_assert_eq!(&expected, &found);
            for (part, (write, tag)) in parts.iter().zip(&writes) {
                let own = if tag.number == 0 { Vec::new() } else { vec![tag.number] };
                prop_assert_eq!(part.tags.of(tag.holder, 1), own);
                prop_assert!(part.tags.of(1 - tag.holder, 1).is_empty());
                let framed = if json { format!("[{write}]") } else { write.clone() };
                prop_assert_eq!(&part.body[..], framed.as_bytes());
            }
            for holder in 0..2 {
                let own = |(_, tag): &(String, Tag)| (tag.holder == holder).then_some(tag.number);
                let own: Vec<u64> = writes.iter().map(|write| own(write).unwrap_or(0)).collect();
                let given = whole.tags.of(holder, whole.writes);
                let none = own.iter().all(|number| *number == 0);
                prop_assert_eq!(given, if none { Vec::new() } else { own });
            }
        }
    }
}

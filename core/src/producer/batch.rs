//! Batches: consecutive groups of writes in the bytes of one request. Pure.

use std::sync::Arc;

use bytes::Bytes;

/// The end of a group within a batch, and how many writes it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    /// Where its last byte ends, framing not counted.
    end: u32,
    writes: u32,
}

/// What is accounted per write beyond its bytes: the group's entry and the separator.
pub(crate) const OVERHEAD: u64 = size_of::<Group>() as u64 + 1;

/// An open batch that writes are copied into.
#[derive(Debug)]
pub(crate) struct Builder {
    json: bool,
    first_id: u64,
    writes: u64,
    body: Vec<u8>,
    groups: Vec<Group>,
}

impl Builder {
    pub(crate) fn new(json: bool) -> Self {
        Builder { json, first_id: 0, writes: 0, body: Vec::new(), groups: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    pub(crate) fn items(&self) -> u64 {
        self.writes
    }

    /// Appends a group of one write, given in parts, under the next id.
    pub(crate) fn push(&mut self, id: u64, parts: &[&[u8]]) {
        if self.groups.is_empty() {
            self.first_id = id;
        }
        if self.json {
            self.body.push(if self.groups.is_empty() { b'[' } else { b',' });
        }
        parts.iter().for_each(|part| self.body.extend_from_slice(part));
        self.writes += 1;
        let end = u32::try_from(self.body.len()).expect("batches are sealed far below 4 GiB");
        self.groups.push(Group { end, writes: 1 });
    }

    /// Seals what there is, leaving an empty builder; `None` if there is nothing.
    pub(crate) fn seal(&mut self) -> Option<Batch> {
        if self.is_empty() {
            return None;
        }
        // The next one is likely as large: growing would copy it several times.
        let next = (Vec::with_capacity(self.body.len()), Vec::with_capacity(self.groups.len()));
        let mut body = std::mem::replace(&mut self.body, next.0);
        let groups = std::mem::replace(&mut self.groups, next.1);
        if self.json {
            body.push(b']');
        }
        let batch = Batch {
            json: self.json,
            first_id: self.first_id,
            writes: std::mem::take(&mut self.writes),
            groups,
            body: body.into(),
            stream_seq: None,
        };
        Some(batch)
    }
}

/// A sealed batch: its bytes never change again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Batch {
    json: bool,
    pub(crate) first_id: u64,
    pub(crate) writes: u64,
    groups: Vec<Group>,
    pub(crate) body: Bytes,
    /// `Stream-Seq` of a write that came with one, which travels alone (PROTOCOL.md 5.2).
    pub(crate) stream_seq: Option<Arc<str>>,
}

impl Batch {
    /// No writes: what ends the stream alone, behind every write before `next_id`.
    pub(crate) fn end(json: bool, next_id: u64) -> Self {
        let (groups, body) = (Vec::new(), Bytes::new());
        Batch { json, first_id: next_id, writes: 0, groups, body, stream_seq: None }
    }

    /// Whether it only ends the stream.
    pub(crate) fn is_end(&self) -> bool {
        self.writes == 0
    }

    #[cfg(test)]
    fn last_id(&self) -> u64 {
        self.first_id + self.writes - 1
    }

    pub(crate) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// What the batch counts against the buffer.
    pub(crate) fn cost(&self) -> u64 {
        let framed = self.groups.last().map_or(0, |group| u64::from(group.end));
        let separators = if self.json { self.groups.len() as u64 } else { 0 };
        let seq = self.stream_seq.as_ref().map_or(0, |seq| seq.len() as u64);
        framed - separators + seq + self.writes * OVERHEAD
    }

    /// The bytes of group `n`, without framing.
    fn payload(&self, n: usize) -> Bytes {
        let separator = usize::from(self.json);
        let start = if n == 0 { 0 } else { self.groups[n - 1].end as usize };
        self.body.slice(start + separator..self.groups[n].end as usize)
    }

    /// Every group as (first id, bytes).
    pub(crate) fn payloads(&self) -> impl Iterator<Item = (u64, Bytes)> + '_ {
        let mut id = self.first_id;
        (0..self.groups.len()).map(move |n| {
            let first = id;
            id += u64::from(self.groups[n].writes);
            (first, self.payload(n))
        })
    }

    /// Two batches of half the groups each, in order; `None` for a single group.
    pub(crate) fn split(&self) -> Option<(Batch, Batch)> {
        let half = self.groups.len() / 2;
        (half > 0).then(|| (self.part(0, half), self.part(half, self.groups.len())))
    }

    fn part(&self, from: usize, to: usize) -> Batch {
        let skipped: u64 = self.groups[..from].iter().map(|g| u64::from(g.writes)).sum();
        let start = if from == 0 { 0 } else { self.groups[from - 1].end };
        let groups: Vec<Group> =
            self.groups[from..to].iter().map(|g| Group { end: g.end - start, ..*g }).collect();
        let bytes = self.body.slice(start as usize..self.groups[to - 1].end as usize);
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
            first_id: self.first_id + skipped,
            writes: groups.iter().map(|g| u64::from(g.writes)).sum(),
            groups,
            body,
            stream_seq: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(json: bool, writes: &[String]) -> Batch {
        let mut builder = Builder::new(json);
        for (n, write) in writes.iter().enumerate() {
            builder.push(10 + n as u64, &[&write.as_bytes()[..1], &write.as_bytes()[1..]]);
        }
        builder.seal().unwrap()
    }

    #[test]
    fn framing() {
        let writes = ["1".to_owned(), "[2,3]".to_owned()];
        assert_eq!(batch(true, &writes).body, "[1,[2,3]]");
        assert_eq!(batch(false, &writes).body, "1[2,3]");
        assert!(Builder::new(true).seal().is_none());
    }

    proptest! {
        #[test]
        fn splitting_keeps_every_write(
            json: bool,
            writes in prop::collection::vec("[0-9]{1,5}", 1..40),
        ) {
            let whole = batch(json, &writes);
            let mut parts = vec![whole.clone()];
            while let Some(at) = parts.iter().position(|p| p.group_count() > 1) {
                let (left, right) = parts[at].split().unwrap();
                prop_assert_eq!(left.last_id() + 1, right.first_id);
                prop_assert_eq!(left.cost() + right.cost(), parts[at].cost());
                parts.splice(at..=at, [left, right]);
            }
            let expected: Vec<(u64, Bytes)> = whole.payloads().collect();
            let found: Vec<(u64, Bytes)> = parts.iter().flat_map(|p| p.payloads()).collect();
            prop_assert_eq!(&expected, &found);
            for (part, write) in parts.iter().zip(&writes) {
                let framed = if json { format!("[{write}]") } else { write.clone() };
                prop_assert_eq!(&part.body[..], framed.as_bytes());
            }
        }
    }
}

//! The one auditor of streams. What was read back is matched with what was written, write by write;
//! from where each is follows what was lost, doubled or moved. Pure.
//!
//! [`ledger`] compares with a list of what was to be written, [`outcomes`] with what each producer
//! said became of its writes.

pub mod ledger;
pub mod outcomes;

/// Where the writes of one writer are in a stream.
pub struct Places(Vec<Vec<usize>>);

impl Places {
    /// Nothing was found yet of so many writes.
    pub fn of(writes: usize) -> Self {
        Self(vec![Vec::new(); writes])
    }

    /// A write was found at a place of the stream, behind those found before. Whether there is
    /// such a write.
    pub fn found(&mut self, write: usize, place: usize) -> bool {
        self.0.get_mut(write).map(|places| places.push(place)).is_some()
    }

    /// How often each write is there, in the order of the calls.
    pub fn copies(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(Vec::len)
    }

    /// The writes that are not there.
    pub fn lost(&self) -> impl Iterator<Item = usize> {
        self.copies().enumerate().filter(|(_, copies)| *copies == 0).map(|(write, _)| write)
    }

    /// The fewest writes that would have to move to give the order of the calls, where the first
    /// copy of each counts.
    pub fn out_of_order(&self) -> usize {
        self.out_of_order_by(|copies| copies.first())
    }

    /// The fewest writes that would have to move, whichever copies count: a write that is there
    /// twice was repeated together with what followed it, so both the first and the last copies
    /// are in the order of the calls.
    pub fn out_of_order_by_any(&self) -> usize {
        self.out_of_order().max(self.out_of_order_by(|copies| copies.last()))
    }

    fn out_of_order_by(&self, copy: impl Fn(&Vec<usize>) -> Option<&usize>) -> usize {
        let places: Vec<usize> = self.0.iter().filter_map(|copies| copy(copies).copied()).collect();
        out_of_order(&places)
    }
}

/// The fewest numbers that would have to move to make the others ascend.
fn out_of_order(numbers: &[usize]) -> usize {
    numbers.len() - longest(numbers)
}

/// The length of the longest ascending subsequence.
fn longest(numbers: &[usize]) -> usize {
    // ends[n] is the smallest number an ascent of length n + 1 can end with.
    let mut ends: Vec<usize> = Vec::new();
    for number in numbers {
        let place = ends.partition_point(|end| end < number);
        if place == ends.len() {
            ends.push(*number);
        } else {
            ends[place] = *number;
        }
    }
    ends.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(writes: usize, stream: &[usize]) -> Places {
        let mut places = Places::of(writes);
        for (place, write) in stream.iter().enumerate() {
            assert!(places.found(*write, place));
        }
        places
    }

    #[test]
    fn what_is_lost_doubled_or_moved_follows_from_the_places() {
        let found = places(4, &[1, 0, 3, 3]);
        assert_eq!(found.copies().collect::<Vec<_>>(), [1, 1, 0, 2]);
        assert_eq!(found.lost().collect::<Vec<_>>(), [2]);
        assert_eq!((found.out_of_order(), found.out_of_order_by_any()), (1, 1));
        let repeated = places(3, &[0, 1, 2, 1]);
        assert_eq!((repeated.out_of_order(), repeated.out_of_order_by_any()), (0, 1));
        assert!(!Places::of(3).found(3, 0));
    }

    #[test]
    fn what_would_have_to_move_is_counted() {
        for (numbers, expected) in [
            (&[][..], 0),
            (&[4, 7, 9], 0),
            (&[7, 4, 9], 1),
            (&[4, 5, 6, 1], 1),
            (&[3, 2, 1], 2),
            (&[4, 4], 1),
        ] {
            assert_eq!(out_of_order(numbers), expected, "{numbers:?}");
        }
    }
}

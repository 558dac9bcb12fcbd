//! How far a sequence is from being in order.

/// The fewest numbers that would have to move to make the others ascend.
pub fn out_of_order(numbers: &[usize]) -> usize {
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

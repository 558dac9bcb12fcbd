//! Producers of one stream and one id, as one: no two series have one name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::stats::{Measured, Stats};

/// One for each stream and id, of producers in the order in which they were opened.
pub(crate) fn merged(producers: Vec<Measured>) -> Vec<Measured> {
    let mut all: BTreeMap<(Arc<str>, String), Measured> = BTreeMap::new();
    for one in producers {
        let identity = (one.stream.clone(), one.producer_id.clone());
        match all.remove(&identity) {
            Some(earlier) => all.insert(identity, both(earlier, one)),
            None => all.insert(identity, one),
        };
    }
    all.into_values().collect()
}

/// What two of them show together. The state is the later one's.
fn both(earlier: Measured, later: Measured) -> Measured {
    let numbers = |one: &Measured| Stats::of(one.counts, None).entries();
    let sums =
        numbers(&earlier).into_iter().zip(numbers(&later)).map(|((name, one), (_, other))| {
            match name {
                "oldest_pending_ms" => one.max(other),
                "since_acknowledgement_ms" => one.min(other),
                _ => one + other,
            }
        });
    let mut counts = earlier.counts;
    counts.set(sums);
    let meters = match (earlier.meters, later.meters) {
        (Some(mut one), Some(other)) => {
            one.merge(&other);
            Some(one)
        }
        (one, other) => one.or(other),
    };
    Measured { counts, meters, ..later }
}

//! Compares what a service meant to write with what is in its stream.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::Places;
use crate::failure::{Context, Result};

/// How many events of each kind are shown to a person.
const SHOWN: usize = 3;

/// Counts of what is wrong, and the first few events of each kind.
#[derive(Debug, Default, PartialEq)]
pub struct Audit {
    /// How many events are in the ledger.
    pub written: usize,
    /// How many are in the stream.
    pub stored: usize,
    /// In the ledger, not in the stream.
    pub lost: Finding,
    /// In the stream more often than in the ledger.
    pub doubled: Finding,
    /// The fewest events that would have to move to give the ledger's order.
    pub out_of_order: usize,
    /// In the stream, never in the ledger.
    pub foreign: Finding,
    /// Keys whose last state is not the one the ledger leads to.
    pub wrong_state: Finding,
}

/// Events of which one thing is wrong.
#[derive(Debug, Default, PartialEq)]
pub struct Finding {
    /// How many.
    pub count: usize,
    /// The first few, to show.
    pub first: Vec<String>,
}

impl Finding {
    fn add(&mut self, what: impl ToString) {
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push(what.to_string());
        }
    }
}

impl Audit {
    /// Compares a stream with what was to be written, in its order.
    pub fn new(ledger: &[Value], stream: &[Value]) -> Self {
        let mut audit = Self { written: ledger.len(), stored: stream.len(), ..Self::default() };
        // What is equal may be any of those: the first that is not found yet, at last the last.
        let mut equal: HashMap<&Value, (usize, Vec<usize>)> = HashMap::new();
        for (write, event) in ledger.iter().enumerate() {
            equal.entry(event).or_default().1.push(write);
        }
        let mut places = Places::of(ledger.len());
        for (place, event) in stream.iter().enumerate() {
            let Some((found, writes)) = equal.get_mut(event) else {
                audit.foreign.add(event);
                continue;
            };
            if *found >= writes.len() {
                audit.doubled.add(event);
            }
            places.found(writes[(*found).min(writes.len() - 1)], place);
            *found += 1;
        }
        places.lost().for_each(|write| audit.lost.add(&ledger[write]));
        audit.out_of_order = places.out_of_order();
        audit.compare_states(&last_states(ledger), &last_states(stream));
        audit
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        let findings = [&self.lost, &self.doubled, &self.foreign, &self.wrong_state];
        self.out_of_order == 0 && findings.iter().all(|finding| finding.count == 0)
    }

    fn compare_states(&mut self, expected: &States<'_>, found: &States<'_>) {
        let show = |state: Option<&&Value>| state.map_or("absent".into(), ToString::to_string);
        let only_found = found.keys().filter(|key| !expected.contains_key(*key));
        for key in expected.keys().chain(only_found) {
            let (wanted, got) = (expected.get(key), found.get(key));
            if wanted != got {
                self.wrong_state.add(format!(
                    "{} {}: {}, not {}",
                    key.0,
                    key.1,
                    show(got),
                    show(wanted)
                ));
            }
        }
    }
}

type States<'a> = BTreeMap<(&'a str, &'a str), &'a Value>;

/// What a reader of the events holds in the end: the last value per type and key that is not deleted.
fn last_states(events: &[Value]) -> States<'_> {
    let mut states = States::new();
    for event in events {
        let (Some(kind), Some(key)) = (event["type"].as_str(), event["key"].as_str()) else {
            continue; // no change event; it counts as foreign already
        };
        if event["headers"]["operation"] == "delete" {
            states.remove(&(kind, key));
        } else {
            states.insert((kind, key), &event["value"]);
        }
    }
    states
}

/// One event per line.
pub fn parse_ledger(text: &str) -> Result<Vec<Value>> {
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| {
            serde_json::from_str(line).context(format!("line {} of the ledger", index + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn upsert(number: usize, status: &str) -> Value {
        let key = format!("ship_{number:06}");
        json!({
            "type": "shipment",
            "key": key,
            "value": { "id": key, "status": status },
            "headers": { "operation": "upsert" }
        })
    }

    fn delete(number: usize) -> Value {
        let key = format!("ship_{number:06}");
        json!({ "type": "shipment", "key": key, "headers": { "operation": "delete" } })
    }

    /// What a service with four shipments writes.
    fn ledger() -> Vec<Value> {
        let mut events = Vec::new();
        for status in ["created", "in_transit", "delivered"] {
            events.extend((1..=4).map(|number| upsert(number, status)));
        }
        events.extend([delete(2), delete(4)]);
        events
    }

    fn counts(audit: &Audit) -> [usize; 5] {
        let count = |finding: &Finding| finding.count;
        [
            count(&audit.lost),
            count(&audit.doubled),
            audit.out_of_order,
            count(&audit.foreign),
            count(&audit.wrong_state),
        ]
    }

    /// The audit of a stream that was the ledger before `damage`.
    fn audit_after(damage: impl FnOnce(&mut Vec<Value>)) -> Audit {
        let mut stream = ledger();
        damage(&mut stream);
        Audit::new(&ledger(), &stream)
    }

    #[test]
    fn a_faithful_stream_is_clean() {
        let audit = audit_after(|_| ());
        assert!(audit.is_clean());
        assert_eq!((audit.written, audit.stored), (14, 14));
    }

    #[test]
    fn the_order_of_members_does_not_matter() {
        let text = r#"{"headers":{"operation":"delete"},"key":"ship_000002","type":"shipment"}"#;
        let audit = audit_after(|stream| stream[12] = serde_json::from_str(text).unwrap());
        assert!(audit.is_clean());
    }

    #[test]
    fn a_lost_event_is_found_and_shown() {
        let audit = audit_after(|stream| drop(stream.remove(5)));
        assert_eq!(counts(&audit), [1, 0, 0, 0, 0]);
        assert!(audit.lost.first[0].contains("in_transit"), "{:?}", audit.lost);
        assert!(!audit.is_clean());
    }

    #[test]
    fn a_lost_run_is_lost_and_leaves_old_states() {
        let audit = audit_after(|stream| stream.truncate(8));
        assert_eq!(counts(&audit), [6, 0, 0, 0, 4]);
        assert_eq!(audit.lost.first.len(), SHOWN);
    }

    #[test]
    fn an_empty_stream_has_lost_everything() {
        assert_eq!(counts(&audit_after(Vec::clear)), [14, 0, 0, 0, 2]);
    }

    #[test]
    fn a_doubled_event_is_found() {
        let audit = audit_after(|stream| stream.insert(3, stream[2].clone()));
        assert_eq!(counts(&audit), [0, 1, 0, 0, 0]);
        assert!(!audit.is_clean());
    }

    #[test]
    fn a_doubled_run_also_leaves_wrong_states() {
        let audit = audit_after(|stream| stream.extend_from_within(8..12));
        assert_eq!(counts(&audit), [0, 4, 0, 0, 2]);
    }

    #[test]
    fn swapped_events_are_out_of_order() {
        assert_eq!(counts(&audit_after(|stream| stream.swap(0, 1))), [0, 0, 1, 0, 0]);
        // Shipment 2 is deleted and then delivered: it is there in the end.
        assert_eq!(counts(&audit_after(|stream| stream.swap(9, 12))), [0, 0, 2, 0, 1]);
        let late = audit_after(|stream| stream.rotate_left(1));
        assert_eq!(counts(&late), [0, 0, 1, 0, 1]);
    }

    #[test]
    fn a_foreign_event_is_neither_lost_nor_doubled() {
        let audit = audit_after(|stream| stream.insert(0, upsert(9, "created")));
        assert_eq!(counts(&audit), [0, 0, 0, 1, 1]);
        assert_eq!(counts(&audit_after(|stream| stream.push(json!(7)))), [0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_changed_event_is_lost_and_foreign() {
        let audit = audit_after(|stream| stream[8]["value"]["status"] = json!("Delivered"));
        assert_eq!(counts(&audit), [1, 0, 0, 1, 1]);
        assert!(audit.wrong_state.first[0].starts_with("shipment ship_000001: "));
    }

    #[test]
    fn an_event_written_twice_may_be_there_twice() {
        let twice = vec![upsert(1, "created"), upsert(1, "created")];
        assert!(Audit::new(&twice, &twice).is_clean());
        assert_eq!(counts(&Audit::new(&twice, &twice[..1])), [1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_ledger_is_one_event_per_line() {
        assert_eq!(parse_ledger("1\n{}\n").unwrap(), [json!(1), json!({})]);
        let failure = parse_ledger("1\n{\n").unwrap_err().to_string();
        assert!(failure.starts_with("line 2 of the ledger: "), "{failure}");
    }
}

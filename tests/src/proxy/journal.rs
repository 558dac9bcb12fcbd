//! What went through, within bounds.

use std::collections::VecDeque;
use std::time::Instant;

use serde_json::{Map, Value, json};

/// An answer's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// All headers, in order.
    pub headers: Vec<(String, String)>,
}

/// One request, or one connection that was refused before there was a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// From 1 in the order of arrival.
    pub number: u64,
    /// When its head had arrived, in microseconds since the proxy started.
    pub arrived_us: u64,
    /// The client's connection, from 1 in the order of arrival.
    pub connection: u64,
    /// The method; empty for a refused connection.
    pub method: String,
    /// The path with its query.
    pub target: String,
    /// All headers, in order.
    pub headers: Vec<(String, String)>,
    /// How much of the body was read so far, without its transfer coding.
    pub body_bytes: u64,
    /// The body so far, up to the cap.
    pub body: Vec<u8>,
    /// The rules that fired: number and fault.
    pub rules: Vec<(u64, &'static str)>,
    /// What the server answered.
    pub server_answer: Option<Answer>,
    /// What the client was answered: none if the head did not get through in full.
    pub answer: Option<Answer>,
    /// When the answer's head went to the client, in microseconds since the proxy started.
    pub answered_us: Option<u64>,
    /// What went wrong without a rule.
    pub error: Option<String>,
}

impl Entry {
    /// The value of a request header; names match in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let matching = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        matching.map(|(_, value)| value.as_str())
    }

    /// As JSON: a body that is no text comes as `body_hex`; a header that occurs again is joined
    /// with a comma; names are in lower case.
    pub fn to_json(&self) -> Value {
        let answer = |answer: &Option<Answer>| {
            answer.as_ref().map(|a| json!({ "status": a.status, "headers": object(&a.headers) }))
        };
        let rule = |(id, fault): &(u64, &str)| json!({ "rule": id, "fault": fault });
        let mut out = json!({
            "number": self.number,
            "arrived_us": self.arrived_us,
            "connection": self.connection,
            "method": self.method,
            "target": self.target,
            "headers": object(&self.headers),
            "body_bytes": self.body_bytes,
            "rules": self.rules.iter().map(rule).collect::<Vec<_>>(),
            "server_answer": answer(&self.server_answer),
            "answer": answer(&self.answer),
            "answered_us": self.answered_us,
            "error": self.error,
        });
        match std::str::from_utf8(&self.body) {
            Ok(text) => out["body"] = json!(text),
            Err(_) => out["body_hex"] = json!(hex(&self.body)),
        }
        out
    }

    fn weight(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.body.len() + self.target.len() + headers.sum::<usize>()
    }
}

fn object(headers: &[(String, String)]) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, value) in headers {
        let joined = match object.get(&name.to_ascii_lowercase()).and_then(Value::as_str) {
            Some(before) => format!("{before}, {value}"),
            None => value.clone(),
        };
        object.insert(name.to_ascii_lowercase(), joined.into());
    }
    object
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The entries there are; the oldest go first when there are too many.
#[derive(Debug)]
pub(super) struct Journal {
    entries: VecDeque<Entry>,
    started: Instant,
    next: u64,
    weight: usize,
    max_entries: usize,
    max_bytes: usize,
}

impl Journal {
    pub(super) fn new(max_entries: usize, max_bytes: usize) -> Self {
        let (entries, started) = (VecDeque::new(), Instant::now());
        Self { entries, started, next: 1, weight: 0, max_entries, max_bytes }
    }

    /// Takes an entry and returns its number.
    pub(super) fn push(&mut self, mut entry: Entry) -> u64 {
        entry.number = self.next;
        entry.arrived_us = self.now();
        self.next += 1;
        self.weight += entry.weight();
        self.entries.push_back(entry);
        self.shrink();
        self.next - 1
    }

    /// Changes an entry, if it is still there.
    pub(super) fn change(&mut self, number: u64, change: impl FnOnce(&mut Entry)) {
        let Some(first) = self.entries.front().map(|entry| entry.number) else { return };
        let index = number.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            self.weight -= entry.weight();
            change(entry);
            self.weight += entry.weight();
            self.shrink();
        }
    }

    /// What the client is answered now.
    pub(super) fn answer(&mut self, number: u64, answer: Answer) {
        let now = self.now();
        self.change(number, |entry| {
            entry.answer = Some(answer);
            entry.answered_us = Some(now);
        });
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn shrink(&mut self) {
        while self.entries.len() > self.max_entries || self.weight > self.max_bytes {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.weight -= oldest.weight();
        }
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.weight = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let mut journal = Journal::new(2, 100);
        let numbers: Vec<_> = (0..3).map(|_| journal.push(Entry::default())).collect();
        assert_eq!(numbers, [1, 2, 3]);
        journal.change(1, |_| panic!("it is gone"));
        journal.change(3, |entry| entry.body = vec![0; 60]);
        journal.change(2, |entry| entry.body = vec![0; 60]);
        let left: Vec<_> = journal.entries().iter().map(|entry| entry.number).collect();
        assert_eq!(left, [3]);
        journal.clear();
        assert_eq!(journal.push(Entry::default()), 4);
    }

    #[test]
    fn json_shows_what_is_no_text() {
        let header = |value: &str| ("Via".to_owned(), value.to_owned());
        let headers = vec![header("a"), header("b")];
        let entry = Entry { headers, body: vec![0xff, 1], ..Entry::default() };
        let json = entry.to_json();
        assert_eq!((&json["headers"]["via"], &json["body_hex"]), (&json!("a, b"), &json!("ff01")));
        assert!(json["answer"].is_null() && json["body"].is_null());
    }
}

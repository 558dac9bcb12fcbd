//! What was measured, part by part, kept as JSON below the target directory: a part that is measured again
//! takes the place of what there was of it, and the report is made of what there is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::contestant::Id;
use crate::summary::Spread;
use durstream_tests::failure::{Context, Result};
use durstream_tests::tree::Tree;

/// One thing measured: of whom, where, and the numbers, one per round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// A contestant's name, or what else it is about.
    pub(crate) of: String,
    /// The kind of messages, where there are some.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    /// Under which circumstances: `bytes`, `rate`, `streams`.
    #[serde(default)]
    pub(crate) at: BTreeMap<String, f64>,
    #[serde(default)]
    pub(crate) values: BTreeMap<String, Vec<f64>>,
    /// Why it is not complete, or wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<String>,
}

impl Point {
    pub(crate) fn new(of: impl Into<String>) -> Self {
        Self { of: of.into(), ..Self::default() }
    }

    pub(crate) fn of(id: Id, kind: &str) -> Self {
        Self { of: id.name().to_owned(), kind: kind.to_owned(), ..Self::default() }
    }

    pub(crate) fn at(mut self, name: &str, value: impl Number) -> Self {
        self.at.insert(name.to_owned(), value.number());
        self
    }

    pub(crate) fn add(&mut self, name: &str, value: f64) {
        self.values.entry(name.to_owned()).or_default().push(value);
    }

    pub(crate) fn with(mut self, name: &str, value: f64) -> Self {
        self.add(name, value);
        self
    }

    pub(crate) fn is(&self, name: &str, value: impl Number) -> bool {
        self.at.get(name).is_some_and(|own| (own - value.number()).abs() < 1e-9)
    }

    /// A number's rounds in one.
    pub(crate) fn spread(&self, name: &str) -> Option<Spread> {
        Spread::of(self.values.get(name)?.iter().copied())
    }

    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        self.spread(name).map(|spread| spread.median)
    }

    /// A number beside another point's, round by round.
    pub(crate) fn ratio(&self, other: &Self, name: &str) -> Option<Spread> {
        Spread::of_ratios(self.values.get(name)?, other.values.get(name)?)
    }

    pub(crate) fn id(&self) -> Option<Id> {
        Id::named(&self.of)
    }
}

/// What a circumstance is told as.
pub(crate) trait Number {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for usize {
    fn number(self) -> f64 {
        self as f64
    }
}

/// Under which circumstances a part was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// Seconds since 1970.
    pub(crate) at: u64,
    pub(crate) commit: String,
    pub(crate) machine: String,
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) quick: bool,
    pub(crate) took_seconds: f64,
    /// The part of the machine that other programs used, before it began.
    pub(crate) busy_before: Option<f64>,
    /// One line for each contestant that could not take part.
    pub(crate) missing: Vec<String>,
}

/// One part of the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) made: Made,
    pub(crate) points: Vec<Point>,
}

/// All parts there are, by name.
#[derive(Debug, Default)]
pub(crate) struct Store(BTreeMap<String, Measured>);

const FOLDER: &str = "bench/report";

impl Store {
    /// What earlier runs left.
    pub(crate) fn load(tree: &Tree, parts: &[&str]) -> Result<Self> {
        let mut store = Self::default();
        for part in parts {
            let file = file(tree, part)?;
            if let Ok(text) = std::fs::read(&file) {
                // One that another version of this program left is as good as none.
                if let Ok(measured) = serde_json::from_slice(&text) {
                    store.put(part, measured);
                }
            }
        }
        Ok(store)
    }

    /// Puts a part in the place of what there was of it.
    pub(crate) fn put(&mut self, part: &str, measured: Measured) {
        self.0.insert(part.to_owned(), measured);
    }

    pub(crate) fn save(&self, tree: &Tree, part: &str) -> Result {
        let Some(measured) = self.0.get(part) else { return Ok(()) };
        let (file, text) = (file(tree, part)?, serde_json::to_string_pretty(measured));
        std::fs::write(&file, text.context(part)? + "\n").context(file.display())
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = (&str, &Measured)> {
        self.0.iter().map(|(name, measured)| (name.as_str(), measured))
    }

    pub(crate) fn points(&self, part: &str) -> &[Point] {
        self.0.get(part).map_or(&[], |measured| &measured.points)
    }

    /// The one of somebody under some circumstances.
    pub(crate) fn one(
        &self,
        part: &str,
        of: &str,
        kind: &str,
        at: &[(&str, f64)],
    ) -> Option<&Point> {
        self.points(part).iter().find(|point| {
            point.of == of
                && point.kind == kind
                && at.iter().all(|(name, value)| point.is(name, *value))
        })
    }
}

fn file(tree: &Tree, part: &str) -> Result<PathBuf> {
    Ok(tree.directory(FOLDER)?.join(format!("{part}.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(of: &str, value: f64) -> Measured {
        let point = Point::new(of).at("bytes", 100usize).with("rate", value);
        Measured { points: vec![point], ..Measured::default() }
    }

    #[test]
    fn a_part_measured_again_takes_the_place_of_the_older_one_alone() {
        let target = std::env::temp_dir().join(format!("durstream-store-{}", std::process::id()));
        let tree = Tree { root: target.clone(), target };
        let mut store = Store::default();
        store.put("one", measured("rust", 1.0));
        store.put("two", measured("rust", 2.0));
        store.save(&tree, "one").unwrap();
        store.save(&tree, "two").unwrap();
        let mut later = Store::load(&tree, &["one", "two", "three"]).unwrap();
        later.put("one", measured("c", 3.0));
        assert_eq!(later.parts().count(), 2);
        assert_eq!(later.one("one", "rust", "", &[]), None);
        let rate = |part, of| later.one(part, of, "", &[("bytes", 100.0)])?.median("rate");
        assert_eq!((rate("one", "c"), rate("two", "rust")), (Some(3.0), Some(2.0)));
        assert_eq!(later.one("one", "c", "", &[("bytes", 20.0)]), None);
        std::fs::remove_dir_all(&tree.target).unwrap();
    }

    #[test]
    fn rounds_are_divided_one_by_one() {
        let mut ours = Point::new("rust").with("rate", 9.0);
        ours.add("rate", 3.0);
        let mut theirs = Point::new("ceiling").with("rate", 3.0);
        theirs.add("rate", 1.0);
        assert_eq!(ours.ratio(&theirs, "rate").map(|ratio| ratio.low), Some(3.0));
        assert_eq!(ours.ratio(&theirs, "cpu"), None);
    }
}

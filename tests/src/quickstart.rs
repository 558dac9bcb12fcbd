//! The programs of the pages: the quick starts of the READMEs, with what each writes, and those of `docs/`.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::failure::{Context, Result};
use crate::markdown;
use crate::readback::read_stream;
use crate::tree::Tree;

/// What a quick start is written in, as its fence says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// ```` ```c ````
    C,
    /// ```` ```cpp ````
    Cpp,
    /// ```` ```python ````
    Python,
    /// ```` ```js ````
    Js,
}

impl Language {
    fn fence(self) -> &'static str {
        match self {
            Language::C => "c",
            Language::Cpp => "cpp",
            Language::Python => "python",
            Language::Js => "js",
        }
    }

    fn of_fence(fence: &str) -> Option<Self> {
        [Self::C, Self::Cpp, Self::Python, Self::Js]
            .into_iter()
            .find(|known| known.fence() == fence)
    }
}

/// A program in a README.
pub struct QuickStart {
    /// The README, from the root.
    pub readme: &'static str,
    /// What it is written in.
    pub language: Language,
    /// Which block of its language it is, of so many.
    place: (usize, usize),
    stream: &'static str,
    events: fn() -> Vec<Value>,
}

/// Those that are run with what is built here.
pub const QUICK_STARTS: [QuickStart; 6] = [
    shipment(Language::C, "/readme/c"),
    shipment(Language::Cpp, "/readme/cpp"),
    shipment(Language::Python, "/readme/python"),
    shipment(Language::Js, "/readme/node"),
    QuickStart {
        readme: "ffi-c/README.md",
        language: Language::C,
        place: (0, 1),
        stream: "/first",
        events: || vec![json!({ "type": "order.created", "orderId": "123" })],
    },
    QuickStart {
        readme: "ffi-c/README.md",
        language: Language::Cpp,
        place: (0, 1),
        stream: "/readme/shipments",
        events: shipment_123_events,
    },
];

const fn shipment(language: Language, stream: &'static str) -> QuickStart {
    let (readme, place) = ("README.md", (0, 1));
    QuickStart { readme, language, place, stream, events: shipment_events }
}

/// The project's own quick starts publish the same in each language.
fn shipment_events() -> Vec<Value> {
    vec![
        json!({ "type": "shipment", "key": "ship_123",
            "value": { "id": "ship_123", "status": "in_transit" },
            "headers": { "operation": "upsert" } }),
        json!({ "type": "shipment", "key": "ship_123", "headers": { "operation": "delete" } }),
    ]
}

fn shipment_123_events() -> Vec<Value> {
    let headers = |operation: &str| json!({ "operation": operation, "txid": "tx-1" });
    vec![
        json!({ "type": "shipment", "key": "123", "value": { "id": 123, "status": "in_transit" },
            "headers": { "operation": "upsert" } }),
        json!({ "type": "shipment", "key": "123", "value": { "id": 123, "status": "delivered" },
            "headers": headers("update") }),
        json!({ "type": "shipment", "key": "124", "headers": headers("delete") }),
    ]
}

impl QuickStart {
    /// What its steps are called.
    pub fn title(&self) -> String {
        format!("quick start: {}, {} {}", self.readme, self.language.fence(), self.place.0 + 1)
    }

    /// The program.
    ///
    /// # Errors
    /// If the README has another number of blocks of its language.
    pub fn block(&self, tree: &Tree) -> Result<String> {
        let readme = tree.root.join(self.readme);
        let text = std::fs::read_to_string(&readme).context(readme.display())?;
        block(&text, self.language.fence(), self.place).context(self.readme)
    }

    /// Looks whether the program has written what it says.
    ///
    /// # Errors
    /// If anything else is in the stream.
    pub fn arrived(&self, server: SocketAddr) -> Result {
        let found = read_stream(server, self.stream)?;
        if found == (self.events)() {
            Ok(())
        } else {
            Err(format!("{} holds {found:?}", self.stream).into())
        }
    }
}

/// A block of a language, of so many.
fn block(text: &str, language: &str, (nth, count): (usize, usize)) -> Result<String> {
    let blocks = markdown::blocks(text).into_iter();
    let mut of_it: Vec<_> = blocks.filter(|block| block.language == language).collect();
    if of_it.len() != count {
        let text = format!("there are {} ```{language} blocks and not {count}", of_it.len());
        return Err(text.into());
    }
    Ok(of_it.swap_remove(nth).text)
}

/// A program of a page below `docs/`, which checks itself.
pub struct Program {
    /// What its steps are called.
    pub title: String,
    /// What it is written in.
    pub language: Language,
    /// It, with the server's URL in place of the one that the page shows.
    pub text: String,
}

/// What some of them leave in a stream, where they cannot look themselves: how many messages.
const LEFT: [(&str, usize); 5] = [
    ("/ends/python", 1),
    ("/ends/node", 1),
    ("/ends/c", 1),
    ("/many", 1000),
    ("/migrated/clicks", 2),
];

/// Looks whether the programs have left what they should.
///
/// # Errors
/// If a stream holds another number of messages.
pub fn left(server: SocketAddr) -> Result {
    for (stream, expected) in LEFT {
        let found = read_stream(server, stream)?.len();
        if found != expected {
            return Err(format!("{stream} holds {found} messages and not {expected}").into());
        }
    }
    Ok(())
}

/// Where the pages' servers listen.
const SHOWN: &str = "http://localhost:4437";

/// Those of the pages below `docs/` that are run with what is built here. Those in Rust are doctests; those
/// for Node of the page on migrating need other packages and are run by `tests/interop`; those of the page on
/// ends of processes are run by `tests/ends`.
///
/// # Errors
/// If a page cannot be read, or there is none.
pub fn programs(tree: &Tree, server: SocketAddr) -> Result<Vec<Program>> {
    let mut found = Vec::new();
    for page in markdown::pages(&tree.root.join("docs"))? {
        if page.ends_with("shutdown.md") {
            continue;
        }
        let text = std::fs::read_to_string(&page).context(page.display())?;
        let shown = page.strip_prefix(&tree.root).unwrap_or(&page).display();
        for block in markdown::blocks(&text) {
            let Some(language) = Language::of_fence(&block.language) else { continue };
            if language == Language::Js && page.ends_with("migrating.md") {
                continue;
            }
            let title = format!("{shown}:{}, {}", block.line, language.fence());
            let text = block.text.replace(SHOWN, &format!("http://{server}"));
            found.push(Program { title, language, text });
        }
    }
    if found.is_empty() {
        return Err("no page below docs/ has a program".into());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_and_counted() {
        let text =
            "a\n```c\nint x;\n```\nb\n```cpp\nint y;\nint z;\n```\n```js\n1\n```\n```js\n2\n```\n";
        assert_eq!(block(text, "c", (0, 1)).ok().as_deref(), Some("int x;\n"));
        assert_eq!(block(text, "cpp", (0, 1)).ok().as_deref(), Some("int y;\nint z;\n"));
        assert_eq!(block(text, "js", (1, 2)).ok().as_deref(), Some("2\n"));
        assert!(block(text, "js", (0, 1)).is_err() && block(text, "python", (0, 1)).is_err());
    }
}

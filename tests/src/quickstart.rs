//! The quick starts of the READMEs: where each stands, and what it writes.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::failure::{Context, Result};
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
}

/// A program in a README, the only block of its language there.
pub struct QuickStart {
    /// The README, from the root.
    pub readme: &'static str,
    /// What it is written in.
    pub language: Language,
    stream: &'static str,
    events: fn() -> Vec<Value>,
}

/// Those that are run with what is built here.
pub const QUICK_STARTS: [QuickStart; 5] = [
    shipment(Language::C, "/readme/c"),
    shipment(Language::Cpp, "/readme/cpp"),
    shipment(Language::Python, "/readme/python"),
    shipment(Language::Js, "/readme/node"),
    QuickStart {
        readme: "ffi-c/README.md",
        language: Language::C,
        stream: "/first",
        events: || vec![json!({ "type": "order.created", "orderId": "123" })],
    },
];

const fn shipment(language: Language, stream: &'static str) -> QuickStart {
    QuickStart { readme: "README.md", language, stream, events: shipment_events }
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

impl QuickStart {
    /// What its steps are called.
    pub fn title(&self) -> String {
        format!("quick start: {}, {}", self.readme, self.language.fence())
    }

    /// The program.
    ///
    /// # Errors
    /// If the README has not exactly one block of its language.
    pub fn block(&self, tree: &Tree) -> Result<String> {
        let readme = tree.root.join(self.readme);
        let text = std::fs::read_to_string(&readme).context(readme.display())?;
        Ok(block(&text, self.language.fence()).context(self.readme)?.to_owned())
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

/// The one block of a language.
fn block<'a>(text: &'a str, language: &str) -> Result<&'a str> {
    let fence = format!("\n```{language}\n");
    let mut parts = text.split(fence.as_str()).skip(1);
    let (Some(block), None) = (parts.next(), parts.next()) else {
        return Err(format!("there is not exactly one ```{language} block").into());
    };
    let end = block.find("\n```").ok_or("a block without an end")?;
    Ok(&block[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_block_of_each_language() {
        let text =
            "a\n```c\nint x;\n```\nb\n```cpp\nint y;\nint z;\n```\n```js\n1\n```\n```js\n2\n```\n";
        assert_eq!(block(text, "c").ok(), Some("int x;\n"));
        assert_eq!(block(text, "cpp").ok(), Some("int y;\nint z;\n"));
        assert!(block(text, "js").is_err() && block(text, "python").is_err());
    }
}

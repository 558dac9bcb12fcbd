//! The examples of every way of writing: what each prints is what its streams hold, and what they
//! hold is the same in every language.

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::failure::{Context, Result};
use crate::readback::read_bytes;
use serde_json::Value;

use crate::process::Guarded;
use crate::runner::Suite;

/// What the streams hold in the end, in the order in which they are shown.
const STREAMS: [(&str, &str); 5] = [
    (
        "events",
        r#"[{"type":"order.created","orderId":"123"},{"type":"order.paid","orderId":"123"}]"#,
    ),
    ("tokens", TOKENS),
    ("ending", r#"[{"type":"stream.complete"}]"#),
    (
        "logs",
        "{\"level\":\"info\",\"msg\":\"started\"}\n{\"level\":\"error\",\"msg\":\"failed\"}\n",
    ),
    ("import", r#"[{"row":1},{"row":2},{"row":3},{"row":4},{"row":5}]"#),
];
/// Twenty times over.
const TOKENS: &str = "To be, or not to be. ";
const TIMES: usize = 20;

/// Runs an example with streams of its own, and reads them back.
pub fn run(suite: &mut Suite<'_>, title: &str, mut command: Command, limit: Duration) {
    let prefix = format!("/writing/{}", title.replace(' ', "-"));
    suite.surround(&mut command);
    command.env("WRITING_STREAM_PREFIX", &prefix);
    let address = suite.address();
    suite.step(title, |_| judge(&printed(&mut command, limit)?, address?, &prefix));
}

fn printed(command: &mut Command, limit: Duration) -> Result<String> {
    let mut program = Guarded::spawn(command.stdout(Stdio::piped()))?;
    // Far less than a pipe holds: it never waits for its reader.
    let mut output = program.output().ok_or("no pipe")?;
    let status = program.wait(Some(limit), || ())?;
    let mut text = String::new();
    output.read_to_string(&mut text).context("its output")?;
    if status.success() { Ok(text) } else { Err(format!("{status}, after {text:?}").into()) }
}

fn judge(printed: &str, address: SocketAddr, prefix: &str) -> Result {
    let mut expected = String::new();
    for (name, content) in STREAMS {
        let times = if name == "tokens" { TIMES } else { 1 };
        let path = format!("{prefix}/{name}");
        let found = String::from_utf8(read_bytes(address, &path)?).context(&path)?;
        if meaning(&found) != meaning(&content.repeat(times)) {
            return Err(format!("{path} holds {found:?}").into());
        }
        expected += &format!("{name}: {found}\n");
    }
    if printed == expected { Ok(()) } else { Err(format!("it printed {printed:?}").into()) }
}

/// Its lines: JSON is written with spaces or without, and its fields in any order.
fn meaning(content: &str) -> Vec<Value> {
    let lines = content.split('\n');
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| line.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_or_hangs_is_told() {
        let shell = |script: &str, ms| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            printed(&mut command, Duration::from_millis(ms))
        };
        assert_eq!(shell("echo events: 1", 60_000).ok().as_deref(), Some("events: 1\n"));
        assert!(shell("echo x; exit 3", 60_000).is_err());
        assert!(shell("sleep 60", 100).is_err());
    }
}

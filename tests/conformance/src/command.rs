//! The adapters' commands: which fields each takes, and which its result may be asked for.
//!
//! A field that is not listed is a mistake in a case, never something to ignore.

pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [&'static str],
    pub(crate) results: &'static [&'static str],
}

impl Command {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|command| command.name == name)
    }

    /// Commands about a stream are about the case's own unless they say otherwise.
    pub(crate) fn takes_path(&self) -> bool {
        self.fields.contains(&"path")
    }
}

const fn command(
    name: &'static str,
    fields: &'static [&'static str],
    results: &'static [&'static str],
) -> Command {
    Command { name, fields, results }
}

const COMMANDS: &[Command] = &[
    command(
        "create",
        &["path", "contentType", "ttlSeconds", "expiresAt", "headers", "params", "closed", "data"],
        &["status", "offset"],
    ),
    command("connect", &["path", "headers", "params"], &["status", "offset"]),
    command(
        "append",
        &["path", "data", "binary", "seq", "headers", "params", "streamOptions"],
        &["status", "offset", "duplicate", "headersSent", "paramsSent"],
    ),
    command(
        "append-stream",
        &["path", "items", "headers", "params", "streamOptions"],
        &["delivered", "duplicates", "uncertain"],
    ),
    command(
        "head",
        &["path", "headers", "params"],
        &["status", "offset", "contentType", "ttlSeconds", "expiresAt", "streamClosed"],
    ),
    command(
        "read",
        &["path", "offset", "live", "timeoutMs", "maxChunks", "headers", "params"],
        &["status", DATA, "offset", "upToDate", "streamClosed", "headersSent", "paramsSent"],
    ),
    command("delete", &["path", "headers", "params"], &["status"]),
    command(
        "close",
        &["path", "data", "contentType", "headers", "params", "streamOptions"],
        &["finalOffset"],
    ),
    command(
        "idempotent-append",
        &["path", "data", "producerId", "epoch", "autoClaim", "headers"],
        &["status", "offset", "duplicate"],
    ),
    command(
        "idempotent-append-batch",
        &["path", "items", "producerId", "epoch", "autoClaim", "maxInFlight", "headers"],
        &["status"],
    ),
    command(
        "idempotent-close",
        &["path", "data", "producerId", "epoch", "autoClaim", "headers"],
        &["status", "finalOffset"],
    ),
    command("idempotent-detach", &["path", "producerId", "epoch", "headers"], &["status"]),
    command("producer-open", &["as", "path", "producerId", "options", "headers", "params"], &[]),
    command("producer-append", &["producer", "items"], &["accepted", "refused"]),
    command("producer-flush", &["producer"], &["delivered", "duplicates", "uncertain"]),
    command("producer-close", &["producer", "data"], &["finalOffset"]),
    command("producer-detach", &["producer"], &["delivered", "duplicates", "uncertain"]),
    command("producer-outcomes", &["producer"], &["outcomes"]),
    command("validate", &["target"], &[]),
    command("set-dynamic-header", &["name", "valueType", "initialValue"], &[]),
    command("set-dynamic-param", &["name", "valueType"], &[]),
    command("clear-dynamic", &[], &[]),
];

/// What a `read` found, its chunks put together; the runner makes it of `chunks`.
pub(crate) const DATA: &str = "data";

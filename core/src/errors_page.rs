//! `docs/errors.md`: what each code, status, reason and state means, whether the write is stored,
//! and what to do. A new one does not compile before it is explained here.

use crate::delivery::buffer::lifecycle::Lifecycle;
use crate::error::ErrorKind;
use crate::outcome::Status;
use crate::reason::Reason;
use crate::runtime::notice::Notice;

const NO: &str = "no";
const ASK: &str = "`definite` says";
const OUTCOME: &str = "no where `cancelled` or `rejected`, perhaps where `delivery-unknown`";

/// Whether the data is stored, and what to do.
fn of_kind(kind: ErrorKind) -> (&'static str, &'static str) {
    use ErrorKind::*;
    match kind {
        InvalidArgument => (NO, "Correct the option or argument that the error names."),
        Validation => (NO, "Mend the value: the issues say what is wrong, and where."),
        TooLarge => (
            NO,
            "Write less at once, or raise `max_write_bytes`; what the server takes is its own limit.",
        ),
        BufferFull => (
            NO,
            "Wait for `ready()` before the next write, or raise `max_buffer_bytes`. The server is slower than \
             the program, or out of reach: `last_error` says.",
        ),
        ProducerClosed => (NO, "Open another producer; this one was closed or stopped."),
        StaleEpoch => (
            ASK,
            "Give each writer an id of its own, or set `shared`. `restart()` takes the id back.",
        ),
        SequenceGap => (NO, "Two programs may use one id and epoch: see `STALE_EPOCH`."),
        SequenceConflict => (
            NO,
            "Another writer was ahead with its `Stream-Seq`; look at the stream before writing again.",
        ),
        StreamClosed => (ASK, "The stream takes no more: write to another one."),
        StreamNotFound => (ASK, "Create the stream, or look at its URL."),
        StreamGone => (
            ASK,
            "With `gone`, use another URL. With `offset-gone`, read from the earliest offset that is kept.",
        ),
        StreamExists => (NO, "Create it with what it has, or connect to it."),
        Conflict => (ASK, "Mostly another content type: connect with the one that the stream has."),
        Unauthorized => (ASK, "Look at the headers; tokens that expire come from a function."),
        NotSupported => (
            ASK,
            "With `would-deadlock`, do not wait within a callback. With `producer-limit`, use fewer producer ids. Else \
             the server does not do this.",
        ),
        Protocol => (
            ASK,
            "Something that is no durable-streams server answers: look at the URL and at proxies.",
        ),
        Transport => (
            ASK,
            "Look at the URL, the server and the network. It was repeated as often as the options say.",
        ),
        Timeout => (
            "perhaps: what was accepted goes on",
            "Wait again, or look at the cause: the failure that the producer is in.",
        ),
        Delivery => ("some writes are not", "Look at the cause, and at `on_error` for each write."),
        Forked => (NO, "Open another handle in the child."),
        OutboxInUse => (
            NO,
            "Give each process a `producer_id` or an `outbox_dir` of its own, set `shared` in all of them, or end the process that the error names.",
        ),
        OutboxDamaged => (
            NO,
            "Keep a copy of the folder. `outbox_recovery` as `salvage` delivers what can be read, and counts the rest.",
        ),
        OutboxFailed => (
            NO,
            "Look at the folder and its disk: the error has the system's words. What was accepted is still there.",
        ),
        Internal => (ASK, "Report it, with the text: it is a mistake of this library."),
    }
}

/// Whether the write is stored, and what to do.
fn of_reason(reason: Reason) -> (&'static str, &'static str) {
    use Reason::*;
    match reason {
        InvalidEntity => (NO, "Name a collection of the schema."),
        InvalidKey => (NO, "Give the entity its primary key, as text, integer or boolean."),
        InvalidValue => (NO, "Mend the value: the issues say what is wrong, and where."),
        SerializationFailed => {
            (NO, "Give a value that JSON can say, or text that is JSON already.")
        }
        TooLarge => (NO, "Write less at once, or raise `max_write_bytes`."),
        BufferCountExceeded => (NO, "Wait for `ready()`, or raise `max_buffer_items`."),
        BufferBytesExceeded => {
            (NO, "Wait for `ready()`, or raise `max_buffer_bytes` or the budget.")
        }
        ProducerStopping => (NO, "Write before the close, or with another producer."),
        ProducerStopped => (
            OUTCOME,
            "Flush before the producer is stopped, or give the end of the process more time.",
        ),
        ProducerFailed => (OUTCOME, "Look at the error: the producer ended with it."),
        Refused => (NO, "Look at the status and the text of the server's answer."),
        Unauthorized => (NO, "Look at the headers; tokens that expire come from a function."),
        NotFound => (NO, "Create the stream, or look at its URL."),
        Conflict => (NO, "Use the content type that the stream has."),
        SequenceConflict => {
            (NO, "Another writer was ahead: look at the stream before writing again.")
        }
        Expired => (OUTCOME, "Look at the outage, or raise `delivery_timeout_ms`."),
        Fenced => (OUTCOME, "Give each writer an id of its own, or set `shared`."),
        StreamClosed => (OUTCOME, "The stream takes no more: write to another one."),
        Gone => (OUTCOME, "The stream was deleted: create another one."),
        RetryExhausted => (
            "perhaps",
            "The server forgot, and nothing else tells. Look at the stream, or set `on_uncertain` to `resend` where twice is harmless.",
        ),
        ProducerLimit => (NO, "Use fewer producer ids on this stream."),
        WouldDeadlock => ("not said: a call that waits was not done", "Wait outside of callbacks."),
        OffsetGone => {
            ("not said: it is about a read", "Read from the earliest offset that is kept.")
        }
        OutboxFull => (
            NO,
            "Wait for `ready()`, raise `outbox_max_bytes`, or make room on the disk of the outbox.",
        ),
        InvalidHeaders => (NO, "Mend the event's headers, `txid` or `timestamp`."),
    }
}

/// What it means, whether the write is stored, and what to do.
fn of_status(status: Status) -> [&'static str; 3] {
    match status {
        Status::Delivered => [
            "In the stream, in the order of the calls.",
            "yes; once, unless `maybe_duplicate`",
            "Nothing.",
        ],
        Status::DeliveryUnknown => [
            "It was sent, and nothing decided whether it was stored.",
            "perhaps",
            "Look at the stream, or write it again where twice is harmless.",
        ],
        Status::Rejected => ["Refused for good.", NO, "See the reason."],
        Status::Cancelled => {
            ["Given up before anybody refused it.", NO, "Write it again, if it is still wanted."]
        }
        Status::Kept => [
            "It stays in the outbox.",
            "not as far as is known; it will be",
            "Open the producer again, or `restart()` it where it was fenced: it is delivered then.",
        ],
        Status::Forgotten => [
            "It ended so long ago that its outcome is no longer kept.",
            "not said",
            "Ask sooner, or use `on_error`.",
        ],
    }
}

/// What it means, and what to do.
fn of_state(state: Lifecycle) -> [&'static str; 2] {
    match state {
        Lifecycle::Connecting => ["Nothing was acknowledged yet.", "Nothing: write."],
        Lifecycle::Ready => ["Writes go through.", "Nothing: write."],
        Lifecycle::Backoff => [
            "The first contact failed; it is tried again. Writes are kept until `delivery_timeout_ms`.",
            "Look at `last_error` if it lasts.",
        ],
        Lifecycle::Reconnecting => [
            "Contact was lost; it is tried again. Writes are kept until `delivery_timeout_ms`.",
            "Look at `last_error` if it lasts.",
        ],
        Lifecycle::Stopping => {
            ["No new writes; the accepted ones are being delivered.", "Wait for the close."]
        }
        Lifecycle::Stopped => ["Everything is settled.", "Open another producer to write on."],
        Lifecycle::Failed => [
            "It ended for a reason that will not go away, which `last_error` has.",
            "Mend that, and open another producer.",
        ],
        Lifecycle::Fenced => [
            "Another producer with the same id took over.",
            "Give each writer an id of its own, or set `shared`; `restart()` takes the id back.",
        ],
    }
}

/// What to do.
fn of_notice(notice: Notice) -> &'static str {
    use Notice::*;
    match notice {
        Unreachable => {
            "See that the server runs, that the URL has its host and port, and that nothing on the way (a firewall, a \
             container's network) is closed. It is tried again until `delivery_timeout_ms`."
        }
        NoAddress => {
            "See that the URL has the right name, and that this machine has a name server that knows it (`getent hosts NAME`)."
        }
        Proxy => {
            "See that `proxy`, or the variables `HTTPS_PROXY` and `HTTP_PROXY`, name the right one, with its user and \
             password; `proxy` as `none`, or `NO_PROXY`, leads past it: [networks](networks.md)."
        }
        Tls => {
            "The line says what is wrong with whose certificate. Renew that, name the authority with `ca_pem`, or put the \
             clock right: [networks](networks.md). But for the clock it is not tried again."
        }
        Slow => {
            "Nothing, where it is rare: writes wait. Else look at the server and its disk, at the network, and at the name \
             server. Nothing is sent anew before `request_timeout_ms`."
        }
        Failing => {
            "Look at the server's own log, and at what stands before it. It is tried again until `delivery_timeout_ms`: \
             [outages](outages.md)."
        }
        SessionLost => {
            "Mostly nothing: what is in doubt is [looked up in the stream](delivery.md#a-server-that-forgot), and what is missing \
             is sent again. Some [servers](servers.md) forget in every crash, also with a disk. Then look at two counters: \
             writes under `unknown` may be missing, those under `uncertain` may be there twice."
        }
        ClockJump => {
            "Nothing, after a pause that was meant. Else look for what stops the process: a debugger, a container that is \
             frozen, a processor that is far too busy."
        }
        StillPending => {
            "The line names the streams, and why. Give the end of the process more time, or an `outbox_dir`, which keeps them \
             for the next one: [shutdown](shutdown.md)."
        }
        CallbackFailed => "Mend the callback. Nothing else was disturbed.",
        LinesDropped => {
            "Look at the function for the log, or at what reads standard error. Delivery does not wait for it."
        }
        StreamCreatedAgain => "Nothing, if that was meant; else raise `ttl_seconds`.",
        TraceContext => "Mend what the program gives as `traceparent`. Events go without it.",
        CertificateFile => "Put a file of PEM there. Until then the one before is used.",
        NoAuthorities => {
            "Install the system's certificates (`ca-certificates`), or name a file with `SSL_CERT_FILE`."
        }
    }
}

fn page() -> String {
    let mut page = String::from(
        "# Errors, outcomes and states\n\n\
         Generated from the core's tables; a test keeps it so (`DURSTREAM_REWRITE=1 cargo test -p durstream-core \
         errors_page` rewrites it).\n\n\
         Codes, names and numbers are the same in every language. In C a code is `DURSTREAM_` and the code. Each error \
         says `retryable` (the same call may succeed later) and `definite` (the data is certainly *not* in the stream).\n\n\
         ## Errors\n\n\
         | code | class | what it means | stored? | what to do |\n|---|---|---|---|---|\n",
    );
    for kind in ErrorKind::ALL {
        let (stored, todo) = of_kind(*kind);
        let (code, class, meaning) = (kind.code(), kind.class_name(), kind.meaning().trim());
        page += &format!("| `{code}` | `{class}` | {meaning} | {stored} | {todo} |\n");
    }
    page += "\n## Outcomes of writes\n\n\
             | status | what it means | stored? | what to do |\n|---|---|---|---|\n";
    use Status::*;
    for status in [Delivered, DeliveryUnknown, Rejected, Cancelled, Kept, Forgotten] {
        page += &format!("| `{}` | {} |\n", status.as_str(), of_status(status).join(" | "));
    }
    page += "\n## Reasons\n\n\
             Of an outcome, and of a call that was turned away.\n\n\
             | reason | what it means | stored? | what to do |\n|---|---|---|---|\n";
    for reason in Reason::ALL {
        let (stored, todo) = of_reason(*reason);
        let (name, meaning) = (reason.as_str(), reason.meaning().trim());
        page += &format!("| `{name}` | {meaning} | {stored} | {todo} |\n");
    }
    page += "\n## States of a producer\n\n\
             | state | what it means | what to do |\n|---|---|---|\n";
    use Lifecycle::*;
    for state in [Connecting, Ready, Backoff, Reconnecting, Stopping, Stopped, Failed, Fenced] {
        page += &format!("| `{}` | {} |\n", state.as_str(), of_state(state).join(" | "));
    }
    page += "\n## Lines of the log\n\n\
             Each error and warning in the log ends in a word in brackets. It is the code of an [error](#errors), a \
             [reason](#reasons), or one of these:\n\n\
             | word | what it means | what to do |\n|---|---|---|\n";
    for notice in Notice::ALL {
        let (word, meaning) = (notice.word(), notice.meaning().trim());
        page += &format!("| `{word}` | {meaning} | {} |\n", of_notice(*notice));
    }
    page
}

#[test]
fn the_page_of_errors_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
    if std::env::var_os("DURSTREAM_REWRITE").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page());
}

//! What an event says beside its entity: its operation, its headers, and whose entity it is
//! (STATE-PROTOCOL.md 4 and 5).

use std::borrow::Cow;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::delivery::engine::accept::WriteOptions;
use crate::error::{Error, Result, shown};
use crate::protocol::json;
use crate::protocol::trace::{TRACEPARENT, TRACESTATE, is_traceparent, is_tracestate};

/// The headers that the protocol gives a meaning, and that are not to be had as further ones.
const RESERVED: [&str; 5] = ["operation", "control", "txid", "timestamp", "offset"];

/// What a change does to its entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The entity's whole new state, whether there was one before or not.
    Upsert,
    /// An entity that there was not before.
    Insert,
    /// The whole new state of an entity that there was before.
    Update,
    /// The entity is gone.
    Delete,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Operation; 4] =
        [Operation::Upsert, Operation::Insert, Operation::Update, Operation::Delete];

    /// The name on the wire and in every language, e.g. `upsert`.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Upsert => "upsert",
            Operation::Insert => "insert",
            Operation::Update => "update",
            Operation::Delete => "delete",
        }
    }

    /// The operation of a name.
    ///
    /// # Errors
    /// `InvalidArgument` (`operation`): there is none.
    pub fn from_name(name: &str) -> Result<Operation> {
        named(name, Operation::ALL, Operation::as_str, "operation")
    }

    /// The end of an event that has no headers beside its operation.
    fn plain_end(self) -> &'static str {
        match self {
            Operation::Upsert => ",\"headers\":{\"operation\":\"upsert\"}}",
            Operation::Insert => ",\"headers\":{\"operation\":\"insert\"}}",
            Operation::Update => ",\"headers\":{\"operation\":\"update\"}}",
            Operation::Delete => ",\"headers\":{\"operation\":\"delete\"}}",
        }
    }
}

/// The one of all that has a name.
fn named<T: Copy, const N: usize>(
    name: &str,
    all: [T; N],
    name_of: fn(T) -> &'static str,
    what: &'static str,
) -> Result<T> {
    all.into_iter().find(|one| name_of(*one) == name).ok_or_else(|| {
        let names = all.map(name_of).join(", ");
        Error::option(what, format!("`{what}` takes one of {names}, not `{}`", shown(name)))
    })
}

/// A message about the stream in place of an entity (STATE-PROTOCOL.md 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The changes from here to `SnapshotEnd` are the whole state.
    SnapshotStart,
    /// The whole state has been written.
    SnapshotEnd,
    /// Readers forget what they have, and begin again.
    Reset,
}

impl Control {
    /// Every control message.
    pub const ALL: [Control; 3] = [Control::SnapshotStart, Control::SnapshotEnd, Control::Reset];

    /// The name on the wire and in every language, e.g. `snapshot-start`.
    pub fn as_str(self) -> &'static str {
        match self {
            Control::SnapshotStart => "snapshot-start",
            Control::SnapshotEnd => "snapshot-end",
            Control::Reset => "reset",
        }
    }

    /// The control message of a name.
    ///
    /// # Errors
    /// `InvalidArgument` (`control`): there is none.
    pub fn from_name(name: &str) -> Result<Control> {
        named(name, Control::ALL, Control::as_str, "control")
    }
}

/// When a change happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamp<'a> {
    /// When the write is made, to the millisecond.
    Now,
    /// At a time in RFC 3339, which reaches the stream as it is.
    At(&'a str),
}

impl<'a> From<&'a str> for Timestamp<'a> {
    /// `now`, or a time.
    fn from(text: &'a str) -> Self {
        match text {
            "now" => Timestamp::Now,
            time => Timestamp::At(time),
        }
    }
}

/// What a change says beside its entity, and how it is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventOptions<'a> {
    /// The transaction that the change belongs to. A reader that made the change before, such as a
    /// browser that shows it at once, waits for it (`awaitTxId`).
    pub txid: Option<&'a str>,
    /// When the change happened; none unless told or the option `timestamps` is set.
    pub timestamp: Option<Timestamp<'a>>,
    /// Further headers, by name. The names of the protocol's own are refused, and with
    /// `operations` set to `strict` all are.
    pub headers: &'a [(&'a str, &'a str)],
    /// The key where the entity does not hold it. One that it holds has to be the same.
    pub key: Option<&'a str>,
    /// The entity's state before an update or a delete, as JSON text.
    pub old_value: Option<&'a [u8]>,
    /// The context of the trace that the call belongs to, as W3C Trace Context writes it. Events carry
    /// it where the option `trace` is set; one that is none is left out, and logged once.
    pub traceparent: Option<&'a str>,
    /// What tracing systems keep beside the `traceparent`.
    pub tracestate: Option<&'a str>,
    /// The tag, and whether the call waits for room.
    pub write: WriteOptions,
}

impl From<WriteOptions> for EventOptions<'_> {
    fn from(write: WriteOptions) -> Self {
        EventOptions { write, ..EventOptions::default() }
    }
}

/// Where the operation's word begins in the end of an event. `upsert`, `insert` and `update` have as many
/// letters.
pub(super) const WORD_AT: usize = ",\"headers\":{\"operation\":\"".len();

/// Puts another operation's word in the place of one with as many letters.
pub(super) fn set_word(bytes: &mut [u8], at: usize, operation: Operation) {
    let word = operation.as_str().as_bytes();
    bytes[at..at + word.len()].copy_from_slice(word);
}

/// What a producer puts into each event, and what it takes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// A timestamp for each event that is given none.
    pub(super) timestamps: bool,
    /// Nothing but what the protocol's published schema knows.
    pub(super) strict: bool,
    /// Events carry the context of their trace.
    pub(super) trace: bool,
}

/// The context of a change's trace: where it is told, or among the headers.
fn context<'a>(options: &EventOptions<'a>) -> (Option<&'a str>, Option<&'a str>) {
    let header = |name| options.headers.iter().find(|(own, _)| *own == name).map(|(_, text)| *text);
    let parent = options.traceparent.or_else(|| header(TRACEPARENT));
    (parent, options.tracestate.or_else(|| header(TRACESTATE)))
}

/// The `traceparent` of a change that is none, for the log.
pub(super) fn unfit_context<'a>(options: &EventOptions<'a>, rules: Rules) -> Option<&'a str> {
    let (parent, _) = if rules.trace { context(options) } else { (None, None) };
    parent.filter(|parent| !is_traceparent(parent))
}

/// The end of an event: its headers. The error goes on from "the event".
pub(super) fn end(
    operation: Operation,
    options: &EventOptions<'_>,
    rules: Rules,
    now: impl FnOnce() -> SystemTime,
) -> std::result::Result<Cow<'static, str>, String> {
    let timestamp = options.timestamp.or(rules.timestamps.then_some(Timestamp::Now));
    let plain = options.txid.is_none() && timestamp.is_none() && options.headers.is_empty();
    if plain && (options.traceparent.is_none() || !rules.trace) {
        return Ok(Cow::Borrowed(operation.plain_end()));
    }
    let mut end = String::with_capacity(128);
    end += ",\"headers\":{\"operation\":\"";
    end += operation.as_str();
    end.push('"');
    if let Some(txid) = options.txid {
        if txid.is_empty() {
            return Err("has an empty `txid`".to_owned());
        }
        end += ",\"txid\":";
        json::quote_to(&mut end, txid);
    }
    match timestamp {
        None => {}
        Some(Timestamp::Now) => {
            end += ",\"timestamp\":\"";
            end += &written(now());
            end.push('"');
        }
        Some(Timestamp::At(time)) => {
            if OffsetDateTime::parse(time, &Rfc3339).is_err() {
                return Err(format!(
                    "has a `timestamp` that is no RFC 3339 time: `{}`",
                    shown(time)
                ));
            }
            end += ",\"timestamp\":\"";
            end += time;
            end.push('"');
        }
    }
    for (n, (name, value)) in options.headers.iter().enumerate() {
        if rules.trace && [TRACEPARENT, TRACESTATE].contains(name) {
            continue;
        }
        check_header(name, &options.headers[..n], rules)?;
        end.push(',');
        json::quote_to(&mut end, name);
        end.push(':');
        json::quote_to(&mut end, value);
    }
    if rules.trace && !rules.strict {
        put_context(&mut end, options);
    }
    end += "}}";
    Ok(Cow::Owned(end))
}

/// Adds the context of a trace to headers: nothing of a `traceparent` that is none.
fn put_context(end: &mut String, options: &EventOptions<'_>) {
    let (parent, state) = context(options);
    let Some(parent) = parent.filter(|parent| is_traceparent(parent)) else { return };
    for (name, value) in
        [(TRACEPARENT, Some(parent)), (TRACESTATE, state.filter(|s| is_tracestate(s)))]
    {
        let Some(value) = value else { continue };
        *end += ",\"";
        *end += name;
        *end += "\":";
        json::quote_to(end, value);
    }
}

fn check_header(
    name: &str,
    before: &[(&str, &str)],
    rules: Rules,
) -> std::result::Result<(), String> {
    if name.is_empty() {
        return Err("has a header without a name".to_owned());
    }
    let own = shown(name);
    if RESERVED.contains(&name) {
        return Err(format!("has a header `{own}`, which is the protocol's own"));
    }
    if rules.strict {
        return Err(format!(
            "has a header `{own}`, which the protocol does not know: with strict operations there \
             are none but `txid` and `timestamp`"
        ));
    }
    match before.iter().any(|(other, _)| *other == name) {
        true => Err(format!("has two headers `{own}`")),
        false => Ok(()),
    }
}

/// A time in RFC 3339, to the millisecond. A clock outside the years it can write is at the nearest.
fn written(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let time = time.replace_millisecond(time.millisecond()).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}

/// A control message whole.
pub(super) fn control(control: Control, offset: Option<&str>) -> String {
    let mut message = format!("{{\"headers\":{{\"control\":\"{}\"", control.as_str());
    if let Some(offset) = offset {
        message += ",\"offset\":";
        json::quote_to(&mut message, offset);
    }
    message += "}}";
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RULES: Rules = Rules { timestamps: false, strict: false, trace: false };

    fn said(
        operation: Operation,
        options: EventOptions<'_>,
        rules: Rules,
    ) -> std::result::Result<String, String> {
        let now = || SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 5_999_999);
        end(operation, &options, rules, now).map(Cow::into_owned)
    }

    #[test]
    fn headers_come_in_one_order() {
        let update = Operation::Update;
        let options = EventOptions {
            txid: Some("t\"1"),
            timestamp: Some(Timestamp::At("2026-02-28T10:00:00.5+02:00")),
            headers: &[("from", "a"), ("é", "")],
            ..EventOptions::default()
        };
        let expected = r#","headers":{"operation":"update","txid":"t\"1","timestamp":"2026-02-28T10:00:00.5+02:00","from":"a","é":""}}"#;
        assert_eq!(said(update, options, RULES).as_deref(), Ok(expected));
        let bare = said(Operation::Delete, EventOptions::default(), RULES);
        assert_eq!(bare.as_deref(), Ok(r#","headers":{"operation":"delete"}}"#));
    }

    #[test]
    fn a_producer_with_timestamps_gives_each_event_its_time() {
        let rules = Rules { timestamps: true, ..RULES };
        let insert = Operation::Insert;
        let expected =
            r#","headers":{"operation":"insert","timestamp":"2023-11-14T22:13:20.005Z"}}"#;
        assert_eq!(said(insert, EventOptions::default(), rules).as_deref(), Ok(expected));
        let given = Some(Timestamp::At("2026-02-28T10:00:00Z"));
        let own = EventOptions { timestamp: given, ..EventOptions::default() };
        assert!(said(insert, own, rules).unwrap().contains("2026-02-28T10:00:00Z"));
    }

    #[test]
    fn a_plain_end_is_what_would_be_built() {
        for operation in Operation::ALL {
            let with = EventOptions { txid: Some("t"), ..EventOptions::default() };
            let built = said(operation, with, RULES).unwrap().replace(",\"txid\":\"t\"", "");
            assert_eq!(built, operation.plain_end());
        }
    }

    #[test]
    fn what_the_protocol_does_not_allow_is_refused() {
        let txid = EventOptions { txid: Some(""), ..EventOptions::default() };
        assert_eq!(said(Operation::Delete, txid, RULES).unwrap_err(), "has an empty `txid`");
        for no_time in ["", "now", "2026-02-30T10:00:00Z", "2026-02-28", "2026-02-28T10:00:00"] {
            let timestamp = Some(Timestamp::At(no_time));
            let options = EventOptions { timestamp, ..EventOptions::default() };
            let error = said(Operation::Delete, options, RULES).unwrap_err();
            assert!(error.contains("no RFC 3339 time"), "{no_time}: {error}");
        }
        let refusal = |headers: &[(&str, &str)], rules| {
            said(Operation::Delete, EventOptions { headers, ..EventOptions::default() }, rules)
                .err()
        };
        for own in RESERVED {
            assert!(refusal(&[(own, "x")], RULES).unwrap().contains("protocol's own"), "{own}");
        }
        assert_eq!(refusal(&[("a", "1"), ("a", "2")], RULES).unwrap(), "has two headers `a`");
        assert_eq!(refusal(&[("", "1")], RULES).unwrap(), "has a header without a name");
        assert_eq!(refusal(&[("a", "1")], RULES), None);
        let strict = Rules { strict: true, ..RULES };
        assert!(refusal(&[("a", "1")], strict).unwrap().contains("strict operations"));
    }

    #[test]
    fn the_context_of_a_trace_is_a_header_and_what_is_none_is_left_out() {
        const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let rules = Rules { trace: true, ..RULES };
        let told = |parent, state, headers| EventOptions {
            traceparent: parent,
            tracestate: state,
            headers,
            ..EventOptions::default()
        };
        let with = |more: &str| Ok(format!(r#","headers":{{"operation":"insert"{more}}}}}"#));
        let both = format!(r#","traceparent":"{PARENT}","tracestate":"a=\"1\"""#);
        let said = |options, rules| said(Operation::Insert, options, rules);
        let state = Some("a=\"1\"");
        assert_eq!(said(told(Some(PARENT), state, &[]), rules), with(&both));
        let headers = [("traceparent", PARENT), ("x", "1"), ("tracestate", "a=\"1\"")];
        assert_eq!(said(told(None, None, &headers), rules), with(&format!(r#","x":"1"{both}"#)));
        let other = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let twice = said(told(Some(other), None, &headers), rules).unwrap();
        assert!(twice.contains(other) && !twice.contains(PARENT), "{twice}");
        for (parent, state) in [(Some("00-none"), state), (None, state)] {
            assert_eq!(said(told(parent, state, &[]), rules), with(""));
        }
        assert_eq!(said(told(Some(PARENT), Some("\n"), &[]), rules), {
            with(&format!(r#","traceparent":"{PARENT}""#))
        });
        let strict = Rules { strict: true, ..rules };
        assert_eq!(said(told(Some(PARENT), state, &[]), strict), with(""));
        assert_eq!(said(told(None, None, &headers[..1]), strict), with(""));
        // Without the option they are headers like others, and what is told beside them is not looked at.
        assert_eq!(said(told(Some(PARENT), state, &[]), RULES), with(""));
        let as_header = said(told(None, None, &[("traceparent", "x")]), RULES);
        assert_eq!(as_header, with(r#","traceparent":"x""#));
        assert_eq!(unfit_context(&told(Some("x"), None, &[]), rules), Some("x"));
        assert_eq!(unfit_context(&told(Some("x"), None, &[]), RULES), None);
        assert_eq!(unfit_context(&told(Some(PARENT), None, &[]), rules), None);
    }

    #[test]
    fn control_messages() {
        assert_eq!(control(Control::Reset, None), r#"{"headers":{"control":"reset"}}"#);
        let with = control(Control::SnapshotStart, Some("1_\"2"));
        assert_eq!(with, r#"{"headers":{"control":"snapshot-start","offset":"1_\"2"}}"#);
        for control in Control::ALL {
            assert_eq!(Control::from_name(control.as_str()).unwrap(), control);
        }
        let error = Control::from_name("snapshot").unwrap_err();
        let text = "`control` takes one of snapshot-start, snapshot-end, reset, not `snapshot`";
        assert_eq!((error.option_name(), error.message()), (Some("control"), text));
        for operation in Operation::ALL {
            assert_eq!(Operation::from_name(operation.as_str()).unwrap(), operation);
        }
        assert_eq!(Timestamp::from("now"), Timestamp::Now);
    }
}

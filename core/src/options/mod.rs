//! The options table: every option's name, type, default, range, unit and meaning, once.
//!
//! The typed builder, the parser the bindings use, the checks, their error texts and the
//! reference page (`docs/options.md`) all come from it.

use std::collections::BTreeMap;
use std::str::FromStr;

use http::{HeaderMap, HeaderName};

use crate::error::{Error, Result, shown, start};
use crate::options::headers::{HeaderFn, HeaderFunction, header_name, parse_header};
use crate::protocol::MAX_SAFE_INTEGER;

pub(crate) mod headers;

/// The type of an option and its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionKind {
    /// A whole number within an inclusive range.
    Number {
        /// The smallest value.
        min: u64,
        /// The largest value.
        max: u64,
    },
    /// A decimal number of at least 1.
    Factor,
    /// `true` or `false`.
    Flag,
    /// Text.
    Text,
    /// One of a few words.
    Choice(&'static [&'static str]),
}

/// Which constructors take an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// `DurableStream`: create and connect.
    Stream,
    /// `IdempotentProducer`.
    Producer,
    /// `create_durable_stream`.
    State,
}

impl Scope {
    fn noun(self) -> &'static str {
        match self {
            Scope::Stream => "a stream",
            Scope::Producer => "a producer",
            Scope::State => "a state producer",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct OptionSpec {
    /// The name in snake case; each binding spells it in its own way.
    pub name: &'static str,
    /// Its type and range.
    pub kind: OptionKind,
    /// The default, as text; empty for none.
    pub default: &'static str,
    /// The constructors that take it.
    pub scopes: &'static [Scope],
    /// The meaning, unit included.
    pub meaning: &'static str,
}

const ALL: &[Scope] = &[Scope::Stream, Scope::Producer, Scope::State];
const WRITERS: &[Scope] = &[Scope::Producer, Scope::State];
const PLACES: &[Scope] = &[Scope::Stream, Scope::State];
const STREAM: &[Scope] = &[Scope::Stream];
const STATE: &[Scope] = &[Scope::State];

/// The host's own variables. They are no option: what they lead to is compared, not they.
#[derive(Clone, Default)]
struct Variables(Option<Vec<(String, String)>>);

impl PartialEq for Variables {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

const BYTES: u64 = 1 << 31;
const DAY_MS: u64 = 86_400_000;
macro_rules! options {
    (@type number) => { u64 };
    (@type factor) => { f64 };
    (@type flag) => { bool };
    (@type text) => { String };
    (@type choice) => { String };
    (@kind number, $min:expr, $max:expr) => { OptionKind::Number { min: $min, max: $max } };
    (@kind factor) => { OptionKind::Factor };
    (@kind flag) => { OptionKind::Flag };
    (@kind text) => { OptionKind::Text };
    (@kind choice, $($word:literal),*) => { OptionKind::Choice(&[$($word),*]) };
    ($($type:ident $name:ident $(($($arg:expr),*))? = $default:literal, $scopes:ident, $meaning:literal;)*) => {
        /// The table.
        pub const OPTIONS: &[OptionSpec] = &[$(OptionSpec {
            name: stringify!($name),
            kind: options!(@kind $type $(, $($arg),*)?),
            default: $default,
            scopes: $scopes,
            meaning: $meaning,
        },)*];

        /// Options for a stream or producer: a typed builder, or [`set`](Options::set) by name.
        #[derive(Clone, Default, PartialEq)]
        pub struct Options {
            $(pub(crate) $name: Option<options!(@type $type)>,)*
            headers: Vec<(String, String)>,
            header_fns: Vec<HeaderFunction>,
            pub(crate) params: Vec<(String, String)>,
            variables: Variables,
        }

        impl Options {
            $(
                #[doc = $meaning]
                pub fn $name(mut self, value: impl Into<options!(@type $type)>) -> Self {
                    self.$name = Some(value.into());
                    self
                }
            )*

            /// Sets an option by its name from text. For the bindings.
            ///
            /// # Errors
            /// `InvalidArgument` naming the option: it is unknown, or does not take this value.
            pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
                match name {
                    $(stringify!($name) => {
                        self.$name = Some(Value::parse(find(stringify!($name)), value)?);
                    })*
                    _ => return Err(unknown(name)),
                }
                Ok(())
            }

            /// The options that are set, by name.
            pub(crate) fn given(&self) -> BTreeMap<&'static str, serde_json::Value> {
                let mut given = BTreeMap::new();
                $(if let Some(value) = &self.$name {
                    given.insert(stringify!($name), value.clone().into());
                })*
                given
            }

            /// Visits each option that is set: its row, and whether it takes its value.
            fn each_set(&self, mut visit: impl FnMut(&'static OptionSpec, Result<()>) -> Result<()>) -> Result<()> {
                $(if let Some(value) = &self.$name {
                    let spec = find(stringify!($name));
                    visit(spec, value.check(spec))?;
                })*
                Ok(())
            }
        }
    };
}

options! {
    text url = "", PLACES, "The stream's full URL (http or https). Either this or `stream_path`.";
    text stream_path = "", PLACES, "The stream's path below a base URL, e.g. `/shipments`.";
    text endpoints = "", PLACES, "Base URLs of one service, separated by commas: tried in turn, and where redirects may lead; default `DURABLE_STREAMS_URL`, then `services__streams__http__0`.";
    text path_prefix = "/v1/stream", PLACES, "The path of a base URL that has none, before `stream_path`.";
    text ca_pem = "", PLACES, "Certificates of the authorities whose signature a server has to have, in PEM: the text, or the path of a file, which is read again when it was replaced. In place of the platform's, which are those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where these are set.";
    text client_cert_pem = "", PLACES, "The certificate that is shown to servers which want one, with those between it and its authority, in PEM: the text, or the path of a file, which is read again when it was replaced.";
    text client_key_pem = "", PLACES, "The private key of `client_cert_pem`, not encrypted, in PEM: the text, or the path of a file. Without it the key has to be in `client_cert_pem`.";
    text tls_server_name = "", PLACES, "The host name that servers are asked for in TLS and that their certificates have to have, where it is not the URL's: for one that is reached by address or through a tunnel. Not through a proxy.";
    text proxy = "", PLACES, "The proxy of all requests, as a URL, with user and password if it wants them; or `none`. Without it `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say which, as for curl.";
    number max_connections(1, 256) = "16", PLACES, "How many connections to one host there are at most, for all streams of the process that are reached in the same way (certificates, proxy and this limit); further requests wait for one.";
    text content_type = "", STREAM, "The stream's content type, set at creation (default `application/octet-stream`). A handle that is connected without it asks the server, once, before something is appended.";
    number ttl_seconds(0, MAX_SAFE_INTEGER) = "", PLACES, "Lifetime in seconds since the last read or write, set at creation (PROTOCOL.md 5.1). If it runs out while a writer of the stream is idle, the next write creates the stream again, with a warning.";
    text expires_at = "", PLACES, "RFC 3339 time at which the stream expires, set at creation; not with `ttl_seconds`.";
    flag closed = "false", STREAM, "Create the stream already ended: its first content is all it will ever have (PROTOCOL.md 5.1).";
    text fork_from = "", STREAM, "Create the stream as a fork: the path of its source's URL on the same server (PROTOCOL.md 4.2).";
    text fork_offset = "", STREAM, "Where the fork leaves its source: an offset of the source; default its tail.";
    number fork_sub_offset(0, MAX_SAFE_INTEGER) = "", STREAM, "Messages (JSON) or bytes beyond `fork_offset` that the fork still inherits.";
    flag idempotent = "true", STREAM, "Appends carry a random identity, so that the server recognises repeats: they are repeated through any failure and never doubled. Off, they carry none and go out one request at a time; they are repeated, up to `max_retries` times, only after refusals that stored nothing (no connection, 425, 429, 503 with `Retry-After`), and any other failure is an error, not definite where the message may be stored.";
    text producer_id = "", STATE, "The stable identity for deduplication: 1 to 256 visible ASCII characters.";
    number epoch(0, MAX_SAFE_INTEGER - (1 << 20)) = "", WRITERS, "A fixed first epoch, to replay a job with the same cuts; the caller then owns the identity and `auto_claim` is off unless set. Batches are then cut by size, `linger_ms` (5 seconds unless set) and by waiting (flush, close, a receipt). A write the server refuses moves the producer to the next epoch.";
    flag auto_claim = "true", WRITERS, "Take the id over when the server knows a newer epoch before this producer's first acknowledgement.";
    flag shared = "false", WRITERS, "Add a random suffix to the producer id, so that several workers write side by side.";
    number linger_ms(0, 600_000) = "0", WRITERS, "How long an idle producer waits for more writes before it sends, in milliseconds. At 0 too, a batch that is not full and that no caller waits for is held for one millisecond behind another request.";
    number max_batch_bytes(1, BYTES) = "1048576", WRITERS, "Upper bound for the body of one request, in bytes; a larger single write goes alone.";
    number max_batch_items(1, 10_000_000) = "100000", WRITERS, "Upper bound for the writes in one request.";
    number max_in_flight(1, 64) = "5", WRITERS, "How many requests may be under way at once.";
    number max_write_bytes(1, BYTES) = "33554432", WRITERS, "Upper bound for one write, in bytes.";
    number max_buffer_bytes(1, 1 << 40) = "67108864", WRITERS, "Upper bound for everything accepted and not settled, in bytes, overhead included.";
    number max_buffer_items(0, 1 << 40) = "0", WRITERS, "Upper bound for the number of writes accepted and not settled; 0 is none.";
    number max_block_ms(0, DAY_MS) = "60000", WRITERS, "How long a blocking append waits for room in a full buffer, in milliseconds.";
    number delivery_timeout_ms(0, 30 * DAY_MS) = "120000", WRITERS, "How long a write may take from call to outcome, in milliseconds; 0 is without limit, and the default where there is an outbox, in which the time counts from when a write is read into memory.";
    text outbox_dir = "", WRITERS, "A folder in which accepted writes are kept until they are settled: what the process had accepted is delivered when the producer is opened again, whatever ended it. Each stream and producer id has a folder of its own below it. Not together with `epoch`.";
    number outbox_max_bytes(1, 1 << 50) = "1073741824", WRITERS, "Upper bound for everything accepted and not settled where there is an outbox, in bytes, overhead included. `max_buffer_bytes` then bounds what of it is held in memory before it is sent.";
    choice outbox_sync("process", "batch", "write") = "process", WRITERS, "What of the outbox survives: `process`, the death of the process; `batch`, the death of the machine for everything that was sent; `write`, that of the machine for everything accepted: a call then returns once its write is on disk.";
    choice outbox_recovery("refuse", "salvage") = "refuse", WRITERS, "What to do with an outbox whose files are damaged: `refuse` to open, or `salvage` what is readable and report the rest.";
    number request_timeout_ms(1, DAY_MS) = "10000", ALL, "How long one attempt may go without progress, in milliseconds.";
    number max_retries(0, 1_000) = "8", STREAM, "How often create, head, read, delete and close repeat a request after a transient failure; appends have `delivery_timeout_ms`, unless they are not `idempotent`.";
    number max_read_bytes(1, BYTES) = "134217728", STREAM, "Upper bound for the body of one answer to a read, in bytes; one read takes about twice that in memory at most. Some servers answer with all of a stream at once: a longer stream needs a larger bound.";
    number retry_initial_delay_ms(1, DAY_MS) = "100", ALL, "Pause before the first repeat, in milliseconds. Given alone, it moves the default of `retry_max_delay_ms` up to itself.";
    number retry_max_delay_ms(1, DAY_MS) = "5000", ALL, "Longest pause between repeats, in milliseconds; not below a given `retry_initial_delay_ms`. Given alone, it moves the default of that down to itself.";
    factor retry_multiplier = "2", ALL, "Factor from one pause to the next, at least 1.";
    number retry_after_max_ms(0, DAY_MS) = "60000", ALL, "Longest `Retry-After` that is honoured, in milliseconds.";
    choice on_uncertain("resend", "report") = "", WRITERS, "What to do where only the server could know whether a write is stored, and it forgot: `resend` (may double, flagged) or `report` (`delivery-unknown`). Default: resend for state producers and where there is an outbox, report otherwise.";
    flag timestamps = "false", STATE, "Give each event that has no timestamp of its own the time of the call, in RFC 3339 to the millisecond.";
    choice operations("upsert", "strict") = "upsert", STATE, "What an upsert becomes: `upsert`, which readers of the reference libraries take although the protocol's published schema does not; or `strict`, by which every event passes that schema: `insert` for the first upsert of a key that this producer makes, or makes behind a `reset`, `update` after it, and no headers but `txid` and `timestamp`.";
    number max_tracked_keys(0, 100_000_000) = "1000000", STATE, "How many keys a producer with `operations` set to `strict` remembers having written, 16 bytes each; a key that it could not remember counts as known.";
    flag trace = "false", STATE, "Events carry the context of the trace that their call belongs to, in the headers `traceparent` and `tracestate`, unless `operations` is `strict`; a request carries that of the first of its events that has one. In Python and Node it is OpenTelemetry's own context, elsewhere it is given with the change.";
    flag strict = "false", STATE, "Raise for a refused upsert or delete, in place of a rejected receipt.";
}

/// The row of an option.
fn find(name: &'static str) -> &'static OptionSpec {
    OPTIONS.iter().find(|spec| spec.name == name).expect("the macro wrote both")
}

fn unknown(name: &str) -> Error {
    let near = nearest(name, OPTIONS.iter().map(|spec| spec.name));
    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let text = format!("there is no option `{}`{hint}", shown(name));
    Error::option(name.to_owned(), text)
}

/// What of a name is compared with those that are known, in bytes.
const LONGEST_NAME: usize = 64;
/// A part of a name that is shorter than this is in too many.
const TELLING: usize = 5;

/// The name that somebody may have meant who gave one that is not known: it differs in its spelling, or
/// one has the other in it (`delivery_timeout`).
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let squeeze = |s: &str| s.to_ascii_lowercase().replace(['_', '-'], "");
    let given = squeeze(start(name, LONGEST_NAME));
    let distance = |known: &str| {
        let known = squeeze(known);
        let (short, long) =
            if known.len() < given.len() { (&known, &given) } else { (&given, &known) };
        let is_near = short == long || short.len() >= TELLING && long.contains(&**short);
        is_near.then(|| long.len() - short.len())
    };
    known.into_iter().filter_map(|known| Some((distance(known)?, known))).min().map(|near| near.1)
}

fn wrong(spec: &'static OptionSpec, value: &str) -> Error {
    let takes = match spec.kind {
        OptionKind::Number { min, max } => format!("a whole number from {min} to {max}"),
        OptionKind::Factor => "a number of at least 1".to_owned(),
        OptionKind::Flag => "true or false".to_owned(),
        OptionKind::Text => "text".to_owned(),
        OptionKind::Choice(words) => format!("one of {}", words.join(", ")),
    };
    let value: String = value.chars().take(60).collect();
    Error::option(spec.name, format!("`{}` takes {takes}, not `{}`", spec.name, shown(&value)))
}

/// A value that an option can have, from its text and back.
trait Value: FromStr + ToString {
    fn is_taken_by(&self, kind: OptionKind) -> bool;

    fn check(&self, spec: &'static OptionSpec) -> Result<()> {
        match self.is_taken_by(spec.kind) {
            true => Ok(()),
            false => Err(wrong(spec, &self.to_string())),
        }
    }

    fn parse(spec: &'static OptionSpec, text: &str) -> Result<Self> {
        let value = Self::from_str(text).ok().filter(|value| value.is_taken_by(spec.kind));
        value.ok_or_else(|| wrong(spec, text))
    }
}

impl Value for u64 {
    fn is_taken_by(&self, kind: OptionKind) -> bool {
        matches!(kind, OptionKind::Number { min, max } if (min..=max).contains(self))
    }
}

impl Value for f64 {
    fn is_taken_by(&self, _: OptionKind) -> bool {
        self.is_finite() && *self >= 1.0
    }
}

impl Value for bool {
    fn is_taken_by(&self, _: OptionKind) -> bool {
        true
    }
}

impl Value for String {
    fn is_taken_by(&self, kind: OptionKind) -> bool {
        !matches!(kind, OptionKind::Choice(words) if !words.contains(&self.as_str()))
    }
}

fn check_param(name: &str) -> Result<()> {
    match name {
        "" => Err(Error::option("params", "a query parameter needs a name")),
        "offset" | "live" | "cursor" => {
            let text = format!("query parameter `{name}` is set by the library itself");
            Err(Error::option("params", text))
        }
        _ => Ok(()),
    }
}

impl Options {
    /// Options with every default.
    pub fn new() -> Self {
        Options::default()
    }

    /// Adds a header to every request. Checked when the options are used.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a header to every request, checked at once. For the bindings.
    ///
    /// # Errors
    /// `InvalidArgument` (`headers`): the name is no header or reserved, or the value has control
    /// characters.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<()> {
        parse_header(name, value)?;
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Adds a header whose value a function gives, once per request: a token that expires, say. The
    /// value is kept for the repeats of the request; after 401 or 403 the function is called again.
    /// While there is no value, writes wait as in an outage. Checked when the options are used.
    pub fn header_fn(mut self, name: impl Into<String>, function: HeaderFn) -> Self {
        self.header_fns.push(HeaderFunction { name: name.into(), function });
        self
    }

    /// Adds a header whose value a function gives, checked at once. For the bindings.
    ///
    /// # Errors
    /// `InvalidArgument` (`headers`): not a header name, or a reserved one.
    pub fn set_header_fn(&mut self, name: &str, function: HeaderFn) -> Result<()> {
        header_name(name)?;
        self.header_fns.push(HeaderFunction { name: name.to_owned(), function });
        Ok(())
    }

    /// Adds a query parameter to every request's URL. Checked when the options are used.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push((name.into(), value.into()));
        self
    }

    /// Adds a query parameter to every request's URL, checked at once. For the bindings.
    ///
    /// # Errors
    /// `InvalidArgument` (`params`): the name is empty, or one of the protocol's own.
    pub fn set_param(&mut self, name: &str, value: &str) -> Result<()> {
        check_param(name)?;
        self.params.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Has these looked at in place of the process's variables. For bindings whose hosts have an
    /// environment of their own, as worker threads and test runners do.
    #[doc(hidden)]
    pub fn set_variables(&mut self, variables: Vec<(String, String)>) {
        self.variables = Variables(Some(variables));
    }

    pub(crate) fn variables(&self) -> Option<&[(String, String)]> {
        self.variables.0.as_deref()
    }

    /// These options, with a stream's limits where they set none themselves.
    pub(crate) fn or_limits_of(mut self, stream: &Options) -> Self {
        self.request_timeout_ms = self.request_timeout_ms.or(stream.request_timeout_ms);
        self.retry_initial_delay_ms = self.retry_initial_delay_ms.or(stream.retry_initial_delay_ms);
        self.retry_max_delay_ms = self.retry_max_delay_ms.or(stream.retry_max_delay_ms);
        self.retry_multiplier = self.retry_multiplier.or(stream.retry_multiplier);
        self.retry_after_max_ms = self.retry_after_max_ms.or(stream.retry_after_max_ms);
        self
    }

    /// These options without those that find the stream, and without those that matter only to its
    /// creation.
    pub(crate) fn without_place(self) -> Self {
        Options {
            url: None,
            stream_path: None,
            path_prefix: None,
            content_type: None,
            ttl_seconds: None,
            expires_at: None,
            closed: None,
            fork_from: None,
            fork_offset: None,
            fork_sub_offset: None,
            ..self
        }
    }

    /// The headers whose values are functions.
    pub(crate) fn header_functions(&self) -> Result<Vec<(HeaderName, HeaderFn)>> {
        let functions = self.header_fns.iter();
        functions.map(|h| Ok((header_name(&h.name)?, h.function.clone()))).collect()
    }

    pub(crate) fn header_map(&self) -> Result<HeaderMap> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            let (name, value) = parse_header(name, value)?;
            map.insert(name, value);
        }
        Ok(map)
    }

    /// Refuses values out of range and options of another constructor, which the builder let
    /// through.
    pub(crate) fn check(&self, scope: Scope) -> Result<()> {
        self.header_map()?;
        self.header_functions()?;
        self.params.iter().try_for_each(|(name, _)| check_param(name))?;
        if let (Some(initial), Some(max)) = (self.retry_initial_delay_ms, self.retry_max_delay_ms)
            && max < initial
        {
            let text = format!("`retry_max_delay_ms` is below the first pause of {initial} ms");
            return Err(Error::option("retry_max_delay_ms", text));
        }
        self.each_set(|spec, is_taken| {
            if !spec.scopes.contains(&scope) {
                let own: Vec<&str> = spec.scopes.iter().map(|scope| scope.noun()).collect();
                let (name, own, other) = (spec.name, own.join(" or "), scope.noun());
                let text = format!("`{name}` is an option of {own}, not of {other}");
                return Err(Error::option(name, text));
            }
            is_taken
        })
    }

    pub(crate) fn number(&self, name: &'static str, value: Option<u64>) -> u64 {
        value.unwrap_or_else(|| find(name).default.parse().expect("the table's default is one"))
    }

    pub(crate) fn factor(&self) -> f64 {
        let default = || find("retry_multiplier").default.parse();
        self.retry_multiplier.map_or_else(default, Ok).expect("the table's default is one")
    }
}

impl std::fmt::Debug for Options {
    /// Names only: URLs and header values hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut names = f.debug_set();
        let _ = self.each_set(|spec, _| {
            names.entry(&spec.name);
            Ok(())
        });
        names.entries(self.headers.iter().map(|(name, _)| name));
        names.entries(self.header_fns.iter().map(|h| &h.name)).finish()
    }
}

/// The reference page, in Markdown.
#[cfg(test)]
fn reference() -> String {
    let mut page = String::from(
        "# Options\n\nGenerated from the table in `core/src/options.rs`; a test keeps it so \
         (`DURSTREAM_REWRITE=1 cargo test -p durstream-core` rewrites it).\n\n\
         | option | takes | default | for | meaning |\n|---|---|---|---|---|\n",
    );
    for spec in OPTIONS {
        let takes = match spec.kind {
            OptionKind::Number { min, max } => format!("{min} to {max}"),
            OptionKind::Factor => "1 or more".into(),
            OptionKind::Flag => "true, false".into(),
            OptionKind::Text => "text".into(),
            OptionKind::Choice(words) => words.join(", "),
        };
        let scopes: Vec<_> = spec.scopes.iter().map(|s| format!("{s:?}").to_lowercase()).collect();
        let default = if spec.default.is_empty() { "" } else { &format!("`{}`", spec.default) };
        page += &format!(
            "| `{}` | {takes} | {default} | {} | {} |\n",
            spec.name,
            scopes.join(", "),
            spec.meaning
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_option() {
        for spec in OPTIONS.iter().filter(|spec| !spec.default.is_empty()) {
            Options::new().set(spec.name, spec.default).unwrap();
        }
    }

    #[test]
    fn wrong_values_name_the_option() {
        let mut options = Options::new();
        for (name, value) in [
            ("linger_ms", "-1"),
            ("linger_ms", "600001"),
            ("max_in_flight", "0"),
            ("auto_claim", "yes"),
            ("on_uncertain", "maybe"),
            ("retry_multiplier", "NaN"),
            ("epoch", "9007199254740992"),
        ] {
            let error = options.set(name, value).unwrap_err();
            assert_eq!(error.option_name(), Some(name), "{error}");
        }
        let unknown = options.set("lingerMs", "1").unwrap_err();
        assert_eq!(unknown.option_name(), Some("lingerMs"));
        assert!(unknown.message().contains("`linger_ms`"));
    }

    #[test]
    fn a_name_that_is_not_known_is_led_to_the_nearest() {
        for (given, meant) in [
            ("lingerMs", Some("linger_ms")),
            ("delivery_timeout", Some("delivery_timeout_ms")),
            ("linger", Some("linger_ms")),
            ("retries", Some("max_retries")),
            ("maxBufferBytesTotal", Some("max_buffer_bytes")),
            ("outbox", Some("outbox_dir")),
            ("ms", None),
            ("", None),
            ("\u{fc}rl", None),
            ("compression", None),
        ] {
            assert_eq!(nearest(given, OPTIONS.iter().map(|spec| spec.name)), meant, "{given}");
        }
    }

    #[test]
    fn the_builder_is_checked_too() {
        let error = Options::new().max_in_flight(65u64).check(Scope::Producer).unwrap_err();
        assert_eq!(error.option_name(), Some("max_in_flight"));
        let error = Options::new().ttl_seconds(1u64).check(Scope::Producer).unwrap_err();
        assert_eq!(error.option_name(), Some("ttl_seconds"));
    }

    /// Each constructor refuses them: a stream, a producer, a state producer.
    #[test]
    fn retry_options_are_checked_in_the_builder_too() {
        let day = 86_400_001u64;
        let wrong: Vec<(&str, Options)> = [
            [0, day, u64::MAX]
                .map(|ms| ("retry_initial_delay_ms", Options::new().retry_initial_delay_ms(ms))),
            [0, day, u64::MAX]
                .map(|ms| ("retry_max_delay_ms", Options::new().retry_max_delay_ms(ms))),
            [f64::NAN, 0.999_999, -2.0]
                .map(|by| ("retry_multiplier", Options::new().retry_multiplier(by))),
            [0.0, f64::INFINITY, f64::NEG_INFINITY]
                .map(|by| ("retry_multiplier", Options::new().retry_multiplier(by))),
        ]
        .concat();
        for (name, options) in wrong {
            for scope in [Scope::Stream, Scope::Producer, Scope::State] {
                let error = options.check(scope).unwrap_err();
                assert_eq!(error.option_name(), Some(name), "{options:?} {scope:?}");
            }
        }
        for times in [1_001, u64::MAX] {
            let error = Options::new().max_retries(times).check(Scope::Stream).unwrap_err();
            assert_eq!(error.option_name(), Some("max_retries"), "{times}");
        }
        Options::new().max_retries(0u64).retry_multiplier(1e300).check(Scope::Stream).unwrap();
    }

    #[test]
    fn pauses_do_not_shrink() {
        let given = |initial, max| {
            let options = Options::new().retry_initial_delay_ms(initial).retry_max_delay_ms(max);
            options.check(Scope::Stream)
        };
        let error = given(1000u64, 500u64).unwrap_err();
        assert_eq!(error.option_name(), Some("retry_max_delay_ms"));
        given(500, 500).unwrap();
    }

    #[test]
    fn headers_are_checked() {
        let mut options = Options::new();
        for (name, value) in [
            ("Producer-Epoch", "1"),
            ("Stream-Seq", "1"),
            ("content-type", "x"),
            ("x", "a\r\nb: c"),
            ("", "x"),
            ("a b", "x"),
        ] {
            assert!(options.set_header(name, value).is_err(), "{name}: {value}");
        }
        options.set_header("Authorization", "Bearer ünï").unwrap();
    }

    #[test]
    fn params_leave_the_protocols_own_alone() {
        let mut options = Options::new();
        for name in ["", "offset", "live", "cursor"] {
            let error = options.set_param(name, "1").unwrap_err();
            assert_eq!(error.option_name(), Some("params"), "{name}");
        }
        options.set_param("tenant", "a b").unwrap();
        assert!(Options::new().param("live", "sse").check(Scope::State).is_err());
    }

    #[test]
    fn the_reference_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/options.md");
        if std::env::var_os("DURSTREAM_REWRITE").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), reference());
    }
}

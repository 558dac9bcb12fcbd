//! The address of a stream: its URL from options and environment, and the part of it that may be
//! shown.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use url::{Host, Url, form_urlencoded};

use crate::error::{Error, Result};
use crate::options::Options;
use crate::protocol::answer::MAX_OFFSET;
use crate::runtime::alike::Alike;
use crate::runtime::fork::uncut;
use crate::transport::connect::Connect;
use crate::transport::header_values::HeaderFns;
use crate::transport::recorder::hosts::{self, Recorder};
use crate::transport::route::Route;

const BASE_VARIABLES: [&str; 2] = ["DURABLE_STREAMS_URL", "services__streams__http__0"];
const SECRET_VARIABLES: [&str; 2] = ["STREAMS_SECRET", "DURABLE_STREAMS_SECRET"];
const DEFAULT_PREFIX: &str = "/v1/stream";
/// The longest URL: no request can be made of one beyond 64 KiB, and a read adds its offset.
const MAX_URL: usize = 48 * 1024;
/// The most that a read adds: its offset, each byte of it escaped.
const OFFSET_ROOM: usize = "&offset=".len() + 3 * MAX_OFFSET;

/// The variables that are looked at where options do not say.
pub const VARIABLES: [&str; 4] =
    [BASE_VARIABLES[0], BASE_VARIABLES[1], SECRET_VARIABLES[0], SECRET_VARIABLES[1]];

/// A variable of the host's: of the process, unless the host has an environment of its own.
fn variable(options: &Options, name: &str) -> Option<String> {
    let value = match options.variables() {
        Some(own) => own.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()),
        None => uncut(|| std::env::var(name)).ok(),
    };
    value.filter(|value| !value.is_empty())
}

/// The variable that says where the server is, and what of it may be shown.
pub(crate) fn base_variable(options: &Options) -> Option<(&'static str, String)> {
    let known = BASE_VARIABLES.into_iter().find_map(|name| Some((name, variable(options, name)?)));
    known.map(|(name, list)| (name, shown_bases(&list)))
}

/// A list of base URLs for people: without user info and query.
pub(crate) fn shown_bases(list: &str) -> String {
    let bases = bases(list).unwrap_or_default();
    bases.iter().map(|url| shown(url).to_string()).collect::<Vec<_>>().join(", ")
}

/// The variable that holds the secret.
pub(crate) fn secret_variable(options: &Options) -> Option<&'static str> {
    SECRET_VARIABLES.into_iter().find(|name| variable(options, name).is_some())
}

static HEADERS: Alike<HeaderMap> = Alike::new();
static CONNECTS: Alike<Connect> = Alike::new();

/// A stream's address and the headers every request to it carries.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: Arc<Url>,
    /// The identity of the stream: its URL without user info and `params`, which may differ from
    /// caller to caller.
    pub(crate) stream: Arc<str>,
    /// The URL for error texts: without user info and query, where secrets may be.
    pub(crate) shown: Arc<str>,
    pub(crate) headers: Arc<HeaderMap>,
    /// Headers whose values are functions; they win over the fixed ones.
    pub(crate) functions: Option<Arc<HeaderFns>>,
    /// Where requests really go.
    pub(crate) route: Arc<Route>,
    /// How the hosts there are reached.
    pub(crate) connect: Arc<Connect>,
    /// The recorder that stands where the server is, in a test.
    pub(crate) recorder: Option<Arc<Recorder>>,
}

impl Endpoint {
    /// Finds the stream from `url`, or from `stream_path` below a base.
    pub(crate) fn resolve(options: &Options) -> Result<Self> {
        let urls = match (&options.url, &options.stream_path) {
            (Some(_), Some(_)) => {
                return Err(Error::option("url", "give either `url` or `stream_path`, not both"));
            }
            (Some(url), None) => vec![parse("url", url)?],
            (None, Some(path)) => below_bases(path, options)?,
            (None, None) => {
                return Err(Error::option(
                    "url",
                    "the stream is not named: give `url` or `stream_path`",
                ));
            }
        };
        let trusted = match &options.endpoints {
            Some(list) => bases(list)?.iter().map(Url::origin).collect(),
            None => Box::default(),
        };
        let recorder = hosts::find(&urls)?;
        let (url, shown) = (urls[0].clone(), shown(&urls[0]));
        let stream = without_user_info(&url);
        // Thousands of streams may be open: what is the same is held once.
        let stream = match stream.as_str() == &*shown {
            true => shown.clone(),
            false => stream.as_str().into(),
        };
        let plain = |mut url: Url| {
            url.set_query(None);
            Arc::new(url)
        };
        let route = Arc::new(Route::new(urls.into_iter().map(plain).collect(), trusted));
        let url = with_params(url, &route, &options.params)?;
        let same = route.urls().first().filter(|known| ***known == url).cloned();
        let url = same.unwrap_or_else(|| Arc::new(url));
        let mut headers = options.header_map()?;
        let functions = options.header_functions()?;
        let authorized = headers.contains_key(header::AUTHORIZATION)
            || functions.iter().any(|(name, _)| name == header::AUTHORIZATION)
            || !url.username().is_empty();
        let secret = SECRET_VARIABLES
            .iter()
            .find_map(|name| variable(options, name).map(|found| (name, found)));
        if let (false, Some((name, secret))) = (authorized, secret) {
            let mut value = HeaderValue::from_str(&format!("Bearer {secret}")).map_err(|_| {
                let text = format!("the secret in `{name}` cannot be sent as a header");
                Error::option("headers", text)
            })?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let (headers, functions) = (HEADERS.one(headers), HeaderFns::new(functions));
        let connect = CONNECTS.one(uncut(|| Connect::of(options))?);
        Ok(Endpoint { url, stream, shown, headers, functions, route, connect, recorder })
    }

    /// This stream with a producer's own headers and parameters on top.
    pub(crate) fn with_own(&self, options: &Options) -> Result<Self> {
        let mut endpoint = self.clone();
        let known = self.functions.iter().flat_map(|functions| functions.list());
        let mut functions: Vec<_> = known.cloned().collect();
        let mut headers = HeaderMap::clone(&endpoint.headers);
        for (name, value) in &options.header_map()? {
            headers.insert(name.clone(), value.clone());
            functions.retain(|(known, _)| known != name);
        }
        endpoint.headers = HEADERS.one(headers);
        let own = options.header_functions()?;
        functions.retain(|(name, _)| own.iter().all(|(own, _)| own != name));
        functions.extend(own);
        endpoint.functions = HeaderFns::new(functions);
        if !options.params.is_empty() {
            let url = Url::clone(&endpoint.url);
            endpoint.url = Arc::new(with_params(url, &endpoint.route, &options.params)?);
        }
        Ok(endpoint)
    }

    /// Whether requests go to the same addresses.
    pub(crate) fn is_at(&self, other: &Endpoint) -> bool {
        self.url == other.url && self.route.urls() == other.route.urls()
    }

    /// The stream's URL under each endpoint, for people: without user info and query.
    pub(crate) fn shown_urls(&self) -> impl Iterator<Item = String> {
        self.route.urls().iter().map(|url| shown(url).as_ref().to_owned())
    }

    /// Whether its credentials leave this machine unencrypted.
    pub(crate) fn shows_credentials(&self) -> bool {
        let is_authorization = |(name, _): &(HeaderName, _)| name == header::AUTHORIZATION;
        let mut functions = self.functions.iter().flat_map(|functions| functions.list());
        let has_any = self.headers.contains_key(header::AUTHORIZATION)
            || functions.any(is_authorization)
            || !self.url.username().is_empty();
        let is_local = match self.url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => true,
        };
        has_any && self.url.scheme() == "http" && !is_local && self.recorder.is_none()
    }

    /// The address of a read from `offset` on (PROTOCOL.md 5.6).
    pub(crate) fn at_offset(&self, offset: &str) -> Self {
        let mut endpoint = self.clone();
        Arc::make_mut(&mut endpoint.url).query_pairs_mut().append_pair("offset", offset);
        endpoint
    }
}

/// Whether a request can be made of an unchecked URL; a read's URL includes its offset.
pub(crate) fn can_be_asked(url: &Url, method: &Method) -> bool {
    let room = if method == Method::GET { OFFSET_ROOM } else { 0 };
    url.as_str().len() <= MAX_URL + room && url.as_str().parse::<http::Uri>().is_ok()
}

/// Refuses a URL of which no request could be made, with the longest offset too. The text shows
/// nothing of the URL: it may hold secrets.
fn check_url(option: &'static str, url: &Url) -> Result<()> {
    let length = url.as_str().len();
    if length > MAX_URL {
        let text = format!(
            "the URL is {length} bytes long with `{option}`: {MAX_URL} at most can be sent"
        );
        return Err(Error::option(option, text));
    }
    // HTTP's own parser: it is stricter about hosts than URLs are.
    let uri = url.as_str().parse::<http::Uri>();
    uri.map(drop).map_err(|wrong| {
        Error::option(option, format!("no request can be made of the URL with `{option}`: {wrong}"))
    })
}

/// The URL with the caller's parameters, checked as it is used: with each address of the route.
fn with_params(mut url: Url, route: &Route, params: &[(String, String)]) -> Result<Url> {
    if !params.is_empty() {
        let own = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let own = own.replace('+', "%20"); // read alike by servers that decode forms and by others
        let query = url.query().filter(|query| !query.is_empty());
        let query = query.map_or_else(|| own.clone(), |known| format!("{known}&{own}"));
        url.set_query(Some(&query));
    }
    for known in route.urls() {
        let mut used = Url::clone(known);
        used.set_query(url.query());
        check_url(if params.is_empty() { "endpoints" } else { "params" }, &used)?;
    }
    Ok(url)
}

fn shown(url: &Url) -> Arc<str> {
    let mut shown = without_user_info(url);
    shown.set_query(None);
    shown.as_str().into()
}

fn without_user_info(url: &Url) -> Url {
    let mut url = url.clone();
    // These fail only for URLs without a host, which `parse` refuses.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

fn parse(option: &'static str, text: &str) -> Result<Url> {
    let wrong = |why: &str| {
        // The text itself may hold a password, so it is not repeated.
        Error::option(option, format!("`{option}` is not an http or https URL: {why}"))
    };
    let mut url = Url::parse(text.trim()).map_err(|e| wrong(&e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it begins with neither `http://` nor `https://`"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("it has no host"));
    }
    url.set_fragment(None);
    check_url(option, &url)?;
    Ok(url)
}

/// The base URLs of a list.
fn bases(list: &str) -> Result<Vec<Url>> {
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| parse("endpoints", part)).collect()
}

fn below_bases(path: &str, options: &Options) -> Result<Vec<Url>> {
    check_path("stream_path", path)?;
    if path.trim_matches('/').is_empty() {
        return Err(Error::option("stream_path", "`stream_path` is empty"));
    }
    let prefix = options.path_prefix.as_deref().unwrap_or(DEFAULT_PREFIX);
    check_path("path_prefix", prefix)?;
    let list = options
        .endpoints
        .clone()
        .or_else(|| BASE_VARIABLES.iter().find_map(|name| variable(options, name)));
    let bases = bases(list.as_deref().unwrap_or_default())?;
    if bases.is_empty() {
        return Err(Error::option(
            "url",
            format!(
                "there is no server for `stream_path`: set `url` or `endpoints`, or the environment \
                 variable {} or {}",
                BASE_VARIABLES[0], BASE_VARIABLES[1]
            ),
        ));
    }
    bases.into_iter().map(|base| below(base, path, prefix)).collect()
}

/// Refuses a path that leaves its place, or that a parser, a proxy or a server may read differently
/// once it has undone the escapes.
fn check_path(option: &'static str, path: &str) -> Result<()> {
    let wrong = |why: &str| Err(Error::option(option, format!("`{option}` {why}")));
    if path.len() > MAX_URL {
        return wrong(&format!("is {} bytes long: {MAX_URL} at most can be sent", path.len()));
    }
    let plain = unescaped(path);
    if path.contains(char::is_whitespace) || plain.contains(char::is_control) {
        return wrong("has white space or control characters");
    }
    let is_dots = |part: &str| part == "." || part == "..";
    if path.contains(['?', '#']) || plain.contains('\\') || plain.split('/').any(is_dots) {
        return wrong(
            "has to be a plain path, without `?`, `#`, `\\`, `.` or `..`, escaped or not",
        );
    }
    Ok(())
}

/// A path with its percent escapes undone, once.
fn unescaped(path: &str) -> String {
    let (mut plain, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|digits| *first == b'%' && is_hex(digits));
        let byte = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &behind[2..];
            }
            None => {
                plain.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn is_hex(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_hexdigit)
}

fn below(mut url: Url, path: &str, prefix: &str) -> Result<Url> {
    let root = match (url.path().trim_end_matches('/'), prefix.trim_matches('/')) {
        ("", "") => "/".to_owned(),
        ("", prefix) => format!("/{prefix}/"),
        (own, _) => format!("{own}/"), // unchanged
    };
    url.set_path(&root);
    let above = url.path().to_owned();
    url.set_path(&format!("{root}{}", path.trim_start_matches('/')));
    // In case the checks above missed something: the URL that is used is below the prefix.
    if url.path().strip_prefix(&above).is_none_or(str::is_empty) {
        let text = "`stream_path` leads out of the path prefix";
        return Err(Error::option("stream_path", text));
    }
    check_url("stream_path", &url)?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With variables of the host's own: those of the process are not looked at.
    fn url(mut options: Options, env: &[(&str, &str)]) -> Result<Endpoint> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        options.set_variables(env.iter().map(owned).collect());
        Endpoint::resolve(&options)
    }

    #[test]
    fn paths_go_below_the_base() {
        let base =
            [("DURABLE_STREAMS_URL", "http://h:1"), ("services__streams__http__0", "http://x")];
        for (path, env, expected) in [
            ("/shipments", &base[..1], "http://h:1/v1/stream/shipments"),
            ("shipments", &base[1..], "http://x/v1/stream/shipments"),
            ("/a/b", &[("DURABLE_STREAMS_URL", "http://h/own/")][..], "http://h/own/a/b"),
            ("/a/b", &[("DURABLE_STREAMS_URL", "http://h//own//")][..], "http://h//own/a/b"),
        ] {
            assert_eq!(url(Options::new().stream_path(path), env).unwrap().url.as_str(), expected);
        }
        let own = Options::new().stream_path("/a").endpoints("http://e").path_prefix("/");
        assert_eq!(url(own, &base).unwrap().url.as_str(), "http://e/a");
    }

    fn below_prefix(path: &str, prefix: &str) -> Options {
        Options::new().stream_path(path).endpoints("http://h").path_prefix(prefix)
    }

    #[test]
    fn a_path_stays_below_its_prefix_or_is_refused() {
        for bad in [
            "/a/%2e%2e/b",
            "/%2e%2e/%2e%2e/admin",
            "/%2E./%2e%2E/admin",
            "/%2e/a",
            "..\\..\\admin",
            "a\\..\\..\\..\\admin",
            "a\\b",
            "a%5cb",
            "a%5C..%5C..%5cb",
            "/a/.%2e/..%2f/b",
            "a%2f..%2f..%2fb",
            "..",
            "a/..",
            "a/./b",
            "/%00/a",
            "/a%0d%0ab",
            "/a%7f",
            "/a%c2%85b",
            "/a\tb",
            "/a\u{85}b",
            "/a b",
            "/a?b",
            "/a#b",
        ] {
            let error = url(below_prefix(bad, "/p/q"), &[]).map(drop).unwrap_err();
            assert_eq!(error.option_name(), Some("stream_path"), "{bad}");
            let error = url(below_prefix("a", bad), &[]).map(drop).unwrap_err();
            assert_eq!(error.option_name(), Some("path_prefix"), "{bad}");
        }
        for (good, expected) in [
            ("//evil.example/x", "evil.example/x"),
            ("/a//b", "a//b"),
            ("a;b", "a;b"),
            ("/é", "%C3%A9"),
            ("/a%20b%3Fc%", "a%20b%3Fc%"),
            ("/...", "..."),
            ("/a..b/.c", "a..b/.c"),
            ("/%252e%252e/a", "%252e%252e/a"), // a name, however odd
            ("http://evil/x", "http://evil/x"),
            ("@evil/x", "@evil/x"),
        ] {
            for (prefix, root) in [("/p/q", "/p/q/"), ("/", "/"), ("", "/"), ("//é/", "/%C3%A9/")]
            {
                let found = url(below_prefix(good, prefix), &[]).unwrap();
                assert_eq!(found.url.as_str(), format!("http://h{root}{expected}"), "{prefix}");
            }
        }
        // A base with a path of its own is the caller's, and what a URL's parser makes of it.
        let own = Options::new().stream_path("a").endpoints("http://h/b/%2e%2e/c//d?k=v");
        assert_eq!(url(own, &[]).unwrap().url.as_str(), "http://h/c//d/a?k=v");
    }

    #[test]
    fn parameters_join_the_query() {
        let stream = Options::new().url("http://h/a?key=1").param("tenant", "ü & co");
        let endpoint = url(stream, &[]).unwrap();
        assert_eq!(endpoint.url.as_str(), "http://h/a?key=1&tenant=%C3%BC%20%26%20co");
        let own = endpoint.with_own(&Options::new().param("job", "7")).unwrap();
        let read = own.at_offset("0_1");
        assert!(read.url.as_str().ends_with("&job=7&offset=0_1"));
        assert_eq!(&*read.shown, "http://h/a");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = url(Options::new().stream_path("/a"), &[]).unwrap_err();
        assert!(error.message().contains("DURABLE_STREAMS_URL"));
        assert_eq!(url(Options::new(), &[]).unwrap_err().option_name(), Some("url"));
        for bad in ["", "nonsense", "ftp://h/a", "http://", "/relative"] {
            let error = url(Options::new().url(bad), &[]).unwrap_err();
            assert_eq!(error.option_name(), Some("url"), "{bad}");
        }
        for bad in ["", "/", "/a/../b", "/a?b", "/a b"] {
            let error =
                url(Options::new().stream_path(bad).endpoints("http://h"), &[]).unwrap_err();
            assert_eq!(error.option_name(), Some("stream_path"), "{bad}");
        }
    }

    #[test]
    fn what_no_request_can_be_made_of_is_refused() {
        let long = "x".repeat(70_000);
        let half = "x".repeat(30_000);
        let stream = |path: &str| Options::new().url(format!("http://h/{path}"));
        for (name, options) in [
            ("url", stream(&long)),
            ("params", stream(&half).param("tenant", &half)),
            ("stream_path", Options::new().stream_path(&long).endpoints("http://h")),
            (
                "stream_path",
                Options::new().stream_path(&half).endpoints(format!("http://h,http://h/{half}")),
            ),
            ("endpoints", Options::new().stream_path("a").endpoints(format!("http://h/{long}"))),
            // The parameters of the first go to the second as well.
            (
                "endpoints",
                Options::new()
                    .stream_path("a")
                    .endpoints(format!("http://h?{half},http://h/{half}")),
            ),
            (
                "params",
                Options::new()
                    .stream_path("a")
                    .endpoints(format!("http://h,http://h/{half}"))
                    .param("tenant", &half),
            ),
            ("path_prefix", below_prefix("a", &long)),
        ] {
            let error = url(options, &[]).map(|endpoint| endpoint.shown.len()).unwrap_err();
            assert_eq!(error.option_name(), Some(name), "{}", error.message());
            assert!(error.message().len() < 200);
        }
        for host in ["a`b", "a\"b", "a{b", "a}b", "s3cret`:1"] {
            let at = format!("http://{host}/x");
            for (name, options) in [
                ("url", Options::new().url(&at)),
                ("endpoints", Options::new().stream_path("a").endpoints(format!("http://h,{at}"))),
                ("endpoints", Options::new().url("http://h/a").endpoints(&at)),
            ] {
                let error = url(options, &[]).map(drop).unwrap_err();
                assert_eq!(error.option_name(), Some(name), "{host}: {error}");
                assert!(!error.message().contains(host), "{error}");
            }
        }
        // User info goes into a header.
        let user = "http://u!$&'()*+,;=-._~%:p\"<>`{}|^[]%40%@h/a";
        assert!(url(Options::new().url(user), &[]).is_ok());
        let endpoint = url(stream(&half), &[]).unwrap();
        let error = endpoint.with_own(&Options::new().param("job", &half)).map(drop).unwrap_err();
        assert_eq!(error.option_name(), Some("params"));
        // What is allowed can be sent, with the longest offset there is.
        let longest = "x".repeat(MAX_URL - "http://h/".len());
        let read = url(stream(&longest), &[]).unwrap().at_offset(&"é".repeat(2048));
        assert!(read.url.as_str().parse::<http::Uri>().is_ok());
    }

    #[test]
    fn secrets_are_sent_but_not_shown() {
        let env = [("STREAMS_SECRET", "s3cret")];
        let endpoint = url(Options::new().url("http://u:s3cret@h/a?token=s3cret"), &env).unwrap();
        assert_eq!(&*endpoint.shown, "http://h/a");
        assert!(!endpoint.headers.contains_key("authorization"));
        let endpoint = url(Options::new().url("http://h/a"), &env).unwrap();
        assert_eq!(endpoint.headers["authorization"], "Bearer s3cret");
        let own = Options::new().url("http://h/a").header("Authorization", "Basic x");
        assert_eq!(url(own, &env).unwrap().headers["authorization"], "Basic x");
    }
}

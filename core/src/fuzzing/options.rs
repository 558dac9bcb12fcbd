//! Options, and the URLs that they make.

use url::Url;

use crate::delivery::config::Config;
use crate::error::{Error, ErrorKind};
use crate::fuzzing::{check_text, split};
use crate::options::{OPTIONS, Options, Scope};
use crate::protocol::stream_type::StreamType;
use crate::transport::endpoint::Endpoint;

/// Lines `option=value`, `header.NAME=value` and `param.NAME=value`.
pub fn options(data: &[u8]) {
    let (options, headers) = options_of(data);
    for scope in [Scope::Stream, Scope::Producer, Scope::State] {
        match Config::new(scope, &options, "id", StreamType::given("text/plain")) {
            Err(error) => {
                let name = check_option(&error);
                assert!(OPTIONS.iter().any(|spec| spec.name == name), "{name} is no option");
                check_text(error.message());
            }
            Ok(config) => {
                let (backoff, random) = (config.retries.backoff, data.len() as f64 / 100.0);
                let pause = backoff.delay(data.len() as u32, random);
                assert!(pause <= backoff.max && pause >= backoff.initial / 2);
                assert!(config.linger.is_zero() || config.delivery_timeout != Some(config.linger));
            }
        }
    }
    let sent = options.header_map().expect("each was checked");
    assert!(headers.iter().all(|name| sent.contains_key(name)));
    assert!(!format!("{options:?}").contains(SECRET), "secrets are not shown");
}

/// The value of every secret; with its space, no name of a header can hold it.
const SECRET: &str = "a s3cret";

/// The options that the lines set, and the names of the headers; each failure names its own.
fn options_of(data: &[u8]) -> (Options, Vec<String>) {
    let mut options = Options::new();
    let mut headers = Vec::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let (name, value) = split(line, b"=");
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        let (named, result) = match name.split_once('.') {
            Some(("header", header)) => ("headers", options.set_header(header, &value)),
            Some(("param", param)) => ("params", options.set_param(param, &value)),
            _ => (&*name, options.set(&name, &value)),
        };
        match (result, name.strip_prefix("header.")) {
            (Err(error), _) => assert_eq!(check_option(&error), named),
            (Ok(()), Some(header)) => headers.push(header.to_owned()),
            (Ok(()), None) => {}
        }
    }
    let url = options.url.take();
    let plain = options.clone();
    options = plain.url(format!("http://u:{SECRET}@h/?token={SECRET}")).header("x-key", SECRET);
    assert!(!format!("{options:?}").contains(SECRET), "secrets are not shown");
    options.url = url;
    (options, headers)
}

/// The option an error is about.
fn check_option(error: &Error) -> &str {
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(!error.message().chars().any(char::is_control), "{:?}", error.message());
    error.option_name().expect("an error about an option names it")
}

/// Lines as for `options`: where a stream is.
pub fn urls(data: &[u8]) {
    let (mut options, _) = options_of(data);
    if options.stream_path.is_some() && options.endpoints.is_none() {
        // The environment is nobody's input here.
        options = options.endpoints("http://h");
    }
    match Endpoint::resolve(&options) {
        Err(error) => {
            let places = ["url", "stream_path", "endpoints", "path_prefix", "params", "headers"];
            let name = check_option(&error);
            assert!(places.contains(&name), "{name} is no place");
        }
        Ok(endpoint) => {
            check_url(&endpoint.url);
            check_url(&endpoint.at_offset("0_1").url);
            check_shown(&endpoint);
            if options.url.is_none() {
                check_below(&endpoint.url, &options);
            }
        }
    }
}

/// A request can be made of it.
fn check_url(url: &Url) {
    assert!(matches!(url.scheme(), "http" | "https") && url.fragment().is_none(), "{url}");
    assert!(url.host_str().is_some_and(|host| !host.is_empty()), "{url}");
    let parsed = url.as_str().parse::<http::Uri>();
    let is_sent = parsed.is_ok_and(|uri| uri.host().is_some());
    assert!(is_sent, "no request can be made of {url}");
}

fn check_shown(endpoint: &Endpoint) {
    let shown = Url::parse(&endpoint.shown).expect("a URL is shown as one");
    assert!(shown.username().is_empty() && shown.password().is_none(), "{shown}");
    assert!(shown.query().is_none() && shown.fragment().is_none(), "{shown}");
    assert_eq!((shown.origin(), shown.path()), (endpoint.url.origin(), endpoint.url.path()));
}

fn check_below(url: &Url, options: &Options) {
    let list = options.endpoints.as_deref().unwrap_or_default();
    let first = list.split(',').map(str::trim).find(|part| !part.is_empty());
    let mut base = Url::parse(first.expect("one was used")).expect("it was taken");
    if matches!(base.path(), "" | "/") {
        let prefix = options.path_prefix.as_deref().unwrap_or("/v1/stream");
        base.set_path(&format!("/{}", prefix.trim_matches('/')));
    }
    let prefix = format!("{}/", base.path().trim_end_matches('/'));
    assert!(url.path().starts_with(&prefix), "{} is not below {prefix}", url.path());
    assert!(url.path().len() > prefix.len(), "{} is no stream below {prefix}", url.path());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::tests::fails;

    /// The checks check: each of these is what they are there to find.
    #[test]
    fn what_breaks_a_promise_is_found() {
        let below = |path: &str| {
            let url = Url::parse(&format!("http://h{path}")).unwrap();
            check_below(&url, &Options::new().endpoints("http://h"));
        };
        below("/v1/stream/a");
        assert!(fails(&|| below("/v1/streams/a")) && fails(&|| below("/a")));
        assert!(fails(&|| check_url(&Url::parse("ftp://h/a").unwrap())));
    }
}

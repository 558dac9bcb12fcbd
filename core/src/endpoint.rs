//! Where a stream is: its URL from options and environment, and what may be shown of it.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use url::{Url, form_urlencoded};

use crate::error::{Error, Result};
use crate::options::Options;
use crate::runtime::fork::uncut;
use crate::transport::asking::HeaderFns;
use crate::transport::routing::Route;

const BASE_VARIABLES: [&str; 2] = ["DURABLE_STREAMS_URL", "services__streams__http__0"];
const SECRET_VARIABLES: [&str; 2] = ["STREAMS_SECRET", "DURABLE_STREAMS_SECRET"];
const DEFAULT_PREFIX: &str = "/v1/stream";
/// The longest URL: no request can be made of one beyond 64 KiB, and a read adds its offset.
const MAX_URL: usize = 48 * 1024;

/// A stream's address and the headers every request to it carries.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: Url,
    /// The URL for error texts: without user info and query, where secrets may be.
    pub(crate) shown: Arc<str>,
    pub(crate) headers: HeaderMap,
    /// Headers whose values are asked for; they win over the fixed ones.
    pub(crate) functions: Option<Arc<HeaderFns>>,
    /// Where requests really go.
    pub(crate) route: Arc<Route>,
}

impl Endpoint {
    /// Finds the stream from `url`, or from `stream_path` below a base.
    pub(crate) fn resolve(options: &Options) -> Result<Self> {
        Self::resolve_in(options, |name| {
            uncut(|| std::env::var(name)).ok().filter(|v| !v.is_empty())
        })
    }

    fn resolve_in(options: &Options, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let named = if options.url.is_some() { "url" } else { "stream_path" };
        let urls = match (&options.url, &options.stream_path) {
            (Some(_), Some(_)) => {
                return Err(Error::option("url", "give either `url` or `stream_path`, not both"));
            }
            (Some(url), None) => vec![parse("url", url)?],
            (None, Some(path)) => below_bases(path, options, &env)?,
            (None, None) => {
                return Err(Error::option("url", "no stream: give `url` or `stream_path`"));
            }
        };
        let trusted = match &options.endpoints {
            Some(list) => bases(list)?.iter().map(Url::origin).collect(),
            None => Vec::new(),
        };
        for url in &urls {
            check_length(named, url)?;
            with_params(url.clone(), &options.params)?;
        }
        let url = with_params(urls[0].clone(), &options.params)?;
        let plain = |mut url: Url| {
            url.set_query(None);
            url
        };
        let route = Arc::new(Route::new(urls.into_iter().map(plain).collect(), trusted));
        let mut headers = options.header_map()?;
        let functions = options.header_functions()?;
        let authorized = headers.contains_key(header::AUTHORIZATION)
            || functions.iter().any(|(name, _)| name == header::AUTHORIZATION)
            || !url.username().is_empty();
        if let (false, Some(secret)) = (authorized, SECRET_VARIABLES.iter().find_map(|n| env(n))) {
            let mut value = HeaderValue::from_str(&format!("Bearer {secret}")).map_err(|_| {
                Error::option("headers", "the secret in the environment cannot be sent")
            })?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let shown = shown(&url);
        Ok(Endpoint { url, shown, headers, functions: HeaderFns::new(functions), route })
    }

    /// The same stream with a producer's own headers and parameters on top.
    pub(crate) fn with_own(&self, options: &Options) -> Result<Self> {
        let mut endpoint = self.clone();
        let known = self.functions.iter().flat_map(|functions| functions.list());
        let mut functions: Vec<_> = known.cloned().collect();
        for (name, value) in &options.header_map()? {
            endpoint.headers.insert(name.clone(), value.clone());
            functions.retain(|(known, _)| known != name);
        }
        let own = options.header_functions()?;
        functions.retain(|(name, _)| own.iter().all(|(own, _)| own != name));
        functions.extend(own);
        endpoint.functions = HeaderFns::new(functions);
        endpoint.url = with_params(endpoint.url, &options.params)?;
        Ok(endpoint)
    }

    /// The address of a read from `offset` on (PROTOCOL.md 5.6).
    pub(crate) fn at_offset(&self, offset: &str) -> Self {
        let mut endpoint = self.clone();
        endpoint.url.query_pairs_mut().append_pair("offset", offset);
        endpoint
    }
}

fn check_length(option: &'static str, url: &Url) -> Result<()> {
    let length = url.as_str().len();
    if length <= MAX_URL {
        return Ok(());
    }
    let text =
        format!("the URL is {length} bytes long with `{option}`: {MAX_URL} at most can be sent");
    Err(Error::option(option, text))
}

fn with_params(mut url: Url, params: &[(String, String)]) -> Result<Url> {
    if !params.is_empty() {
        let own = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let own = own.replace('+', "%20"); // understood by those who decode forms, and the others
        let query = url.query().filter(|query| !query.is_empty());
        let query = query.map_or_else(|| own.clone(), |known| format!("{known}&{own}"));
        url.set_query(Some(&query));
        check_length("params", &url)?;
    }
    Ok(url)
}

fn shown(url: &Url) -> Arc<str> {
    let mut shown = url.clone();
    // These fail only for URLs without a host, which `parse` refuses.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.as_str().into()
}

fn parse(option: &'static str, text: &str) -> Result<Url> {
    let wrong = |why: &str| {
        // The text itself may hold a password, so it is not repeated.
        Error::option(option, format!("`{option}` is not an http or https URL: {why}"))
    };
    let mut url = Url::parse(text.trim()).map_err(|e| wrong(&e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(&format!("its scheme is `{}`", url.scheme())));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("it has no host"));
    }
    url.set_fragment(None);
    Ok(url)
}

/// The base URLs of a list.
fn bases(list: &str) -> Result<Vec<Url>> {
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| parse("endpoints", part)).collect()
}

fn below_bases(
    path: &str,
    options: &Options,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Url>> {
    if path.trim_matches('/').is_empty() {
        return Err(Error::option("stream_path", "`stream_path` is empty"));
    }
    if path.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Error::option(
            "stream_path",
            "`stream_path` has white space or control characters",
        ));
    }
    if path.contains(['?', '#']) || path.split('/').any(|part| part == "." || part == "..") {
        return Err(Error::option(
            "stream_path",
            "`stream_path` is a plain path: no `?`, `#`, `.` or `..`",
        ));
    }
    let list = options.endpoints.clone().or_else(|| BASE_VARIABLES.iter().find_map(|n| env(n)));
    let bases = bases(list.as_deref().unwrap_or_default())?;
    if bases.is_empty() {
        return Err(Error::option(
            "url",
            format!(
                "no server for stream path `{path}`: set `url` or `endpoints`, or the environment \
                 variable {} or {}",
                BASE_VARIABLES[0], BASE_VARIABLES[1]
            ),
        ));
    }
    Ok(bases.into_iter().map(|base| below(base, path, options)).collect())
}

fn below(mut url: Url, path: &str, options: &Options) -> Url {
    let prefix = match url.path() {
        "" | "/" => options.path_prefix.as_deref().unwrap_or(DEFAULT_PREFIX).to_owned(),
        own => own.to_owned(),
    };
    let joined = format!("/{}/{}", prefix.trim_matches('/'), path.trim_start_matches('/'));
    url.set_path(joined.strip_prefix("//").map_or(joined.as_str(), |rest| rest));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(options: Options, env: &[(&str, &str)]) -> Result<Endpoint> {
        Endpoint::resolve_in(&options, |name| {
            env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn paths_go_below_the_base() {
        let base =
            [("DURABLE_STREAMS_URL", "http://h:1"), ("services__streams__http__0", "http://x")];
        for (path, env, expected) in [
            ("/shipments", &base[..1], "http://h:1/v1/stream/shipments"),
            ("shipments", &base[1..], "http://x/v1/stream/shipments"),
            ("/a/b", &[("DURABLE_STREAMS_URL", "http://h/own/")][..], "http://h/own/a/b"),
        ] {
            assert_eq!(url(Options::new().stream_path(path), env).unwrap().url.as_str(), expected);
        }
        let own = Options::new().stream_path("/a").endpoints("http://e").path_prefix("/");
        assert_eq!(url(own, &base).unwrap().url.as_str(), "http://e/a");
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
                Options::new().stream_path("a").endpoints(format!("http://h,http://h/{long}")),
            ),
        ] {
            let error = url(options, &[]).map(|endpoint| endpoint.shown.len()).unwrap_err();
            assert_eq!(error.option_name(), Some(name), "{}", error.message());
            assert!(error.message().len() < 200);
        }
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
        let env = [("STREAMS_SECRET", "s3")];
        let endpoint = url(Options::new().url("http://u:pw@h/a?token=t"), &env).unwrap();
        assert_eq!(&*endpoint.shown, "http://h/a");
        assert!(!endpoint.headers.contains_key("authorization"));
        let endpoint = url(Options::new().url("http://h/a"), &env).unwrap();
        assert_eq!(endpoint.headers["authorization"], "Bearer s3");
        let own = Options::new().url("http://h/a").header("Authorization", "Basic x");
        assert_eq!(url(own, &env).unwrap().headers["authorization"], "Basic x");
    }
}

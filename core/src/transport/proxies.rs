//! The proxy that requests to a host go through: the one that is given, or the environment's, as
//! curl reads it. Decided here and not by reqwest, so that an error can name the proxy.

use std::fmt;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use url::{Position, Url};

use crate::error::{Error, Result};

/// What the option says.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) enum Choice {
    #[default]
    Environment,
    /// None, whatever the environment says.
    None,
    Given(Arc<str>),
}

impl Choice {
    pub(super) fn of(option: Option<&str>) -> Result<Self> {
        let Some(text) = option.map(str::trim) else { return Ok(Choice::Environment) };
        if text == "none" {
            return Ok(Choice::None);
        }
        Proxy::parse(text).map_err(|why| Error::option("proxy", format!("`proxy` {why}")))?;
        Ok(Choice::Given(text.into()))
    }
}

/// What may be shown of the option's value.
pub(super) fn shown(option: &str) -> String {
    match Choice::of(Some(option)) {
        Ok(Choice::Given(url)) => Proxy::parse(&url).map_or_else(|why| why, |proxy| proxy.shown()),
        _ => "none".to_owned(),
    }
}

/// Its URL may hold a password.
impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Choice::Environment => "Environment",
            Choice::None => "None",
            Choice::Given(_) => "Given",
        })
    }
}

/// The environment's proxies.
pub(super) struct Proxies {
    http: Option<Variable>,
    https: Option<Variable>,
    excepted: String,
    /// What the system says where no variable does: on macOS and Windows.
    system: Matcher,
}

/// A variable that names a proxy.
struct Variable {
    name: &'static str,
    value: String,
}

impl Proxies {
    /// Reads the environment.
    pub(super) fn of_environment() -> Self {
        Self::of_variables(|name| std::env::var(name).ok(), Matcher::from_system())
    }

    fn of_variables(get: impl Fn(&str) -> Option<String>, system: Matcher) -> Self {
        let get = |name: &str| get(name).filter(|value| !value.trim().is_empty());
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| Some(Variable { name, value: get(name)? }))
        };
        // In a CGI program a client sets this one, by a header `Proxy`.
        let upper = if get("REQUEST_METHOD").is_some() { "http_proxy" } else { "HTTP_PROXY" };
        let excepted = get("no_proxy").or_else(|| get("NO_PROXY")).unwrap_or_default();
        Proxies {
            http: first(&["http_proxy", upper, "all_proxy", "ALL_PROXY"]),
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            excepted,
            system,
        }
    }

    /// The proxy for a host, if it has one.
    pub(super) fn of(&self, origin: &str, choice: &Choice) -> Result<Option<Proxy>, String> {
        let host = Url::parse(origin).map_err(|e| e.to_string())?;
        let variable = match choice {
            Choice::None => return Ok(None),
            Choice::Given(url) => return Proxy::parse(url).map(Some),
            Choice::Environment if host.scheme() == "https" => &self.https,
            Choice::Environment => &self.http,
        };
        let uri = origin.parse().map_err(|_| format!("no proxy can be found for {origin}"))?;
        let Some(variable) = variable else {
            return Ok(self.system.intercept(&uri).map(Proxy));
        };
        // To no proxy there are no exceptions, and a star excepts addresses, too.
        let Some(excepted) = excepted(&self.excepted, &host) else { return Ok(None) };
        let matches = Matcher::builder().all("http://proxy").no(excepted).build();
        if matches.intercept(&uri).is_none() {
            return Ok(None);
        }
        let wrong = |why| format!("the variable {} {why}", variable.name);
        Proxy::parse(&variable.value).map(Some).map_err(wrong)
    }
}

/// The part of a list of exceptions that is about a host's port, in words that the matcher knows;
/// nothing if it excepts every host.
fn excepted(list: &str, host: &Url) -> Option<String> {
    let mut parts = Vec::new();
    for part in list.split([',', ' ', '\t']).filter(|part| !part.is_empty()) {
        if part == "*" {
            return None;
        }
        let part = part.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(part);
        // An address of six has colons of its own.
        let (name, port) = match part.rsplit_once(':') {
            Some((name, port)) if name.ends_with(']') || !name.contains(':') => (name, Some(port)),
            _ => (part, None),
        };
        let own = host.port_or_known_default().map(|port| port.to_string());
        if port.is_none() || port == own.as_deref() {
            parts.push(name.trim_start_matches('[').trim_end_matches(']'));
        }
    }
    Some(parts.join(","))
}

#[derive(Debug)]
pub(super) struct Proxy(Intercept);

impl Proxy {
    /// A proxy by its URL; without a scheme it is one with `http:`.
    ///
    /// # Errors
    /// What is wrong. The URL itself may hold a password, so it is not repeated.
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&full).map_err(|why| format!("is no URL of a proxy: {why}"))?;
        match url.scheme() {
            "http" | "https" => {}
            "socks4" | "socks4a" | "socks5" | "socks5h" => {
                return Err("is a SOCKS proxy: only http: and https: ones can be used".to_owned());
            }
            _ => {
                return Err("is no URL of a proxy: it begins with neither `http://` nor \
                             `https://`"
                    .to_owned());
            }
        }
        let parsed = Matcher::builder().all(&url[..Position::AfterPort]).build();
        let any = http::Uri::from_static("http://host");
        let unusable = "is no URL of a proxy: it cannot be asked for";
        parsed.intercept(&any).map(Proxy).ok_or_else(|| unusable.to_owned())
    }

    /// Its address, without credentials.
    pub(super) fn shown(&self) -> String {
        self.0.uri().to_string().trim_end_matches('/').to_owned()
    }

    pub(super) fn has_credentials(&self) -> bool {
        self.0.basic_auth().is_some()
    }

    pub(super) fn has_tls(&self) -> bool {
        self.0.uri().scheme_str() == Some("https")
    }

    pub(super) fn for_reqwest(&self) -> Result<reqwest::Proxy, String> {
        let wrong = |error: reqwest::Error| format!("the proxy: {error}");
        let proxy = reqwest::Proxy::all(self.0.uri().to_string()).map_err(wrong)?;
        Ok(match self.0.basic_auth() {
            Some(credentials) => proxy.custom_http_auth(credentials.clone()),
            None => proxy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The proxy of a host with these variables.
    fn found(variables: &[(&str, &str)], origin: &str) -> Result<Option<String>, String> {
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let proxies = Proxies::of_variables(get, Matcher::builder().build());
        Ok(proxies.of(origin, &Choice::Environment)?.map(|proxy| proxy.shown()))
    }

    #[test]
    fn each_scheme_has_its_variables() {
        let all =
            [("ALL_PROXY", "http://all:1"), ("https_proxy", "low:2"), ("HTTPS_PROXY", "up:3")];
        assert_eq!(found(&all, "http://h").unwrap().unwrap(), "http://all:1");
        assert_eq!(found(&all, "https://h").unwrap().unwrap(), "http://low:2");
        assert_eq!(found(&all[2..], "https://h").unwrap().unwrap(), "http://up:3");
        assert_eq!(found(&all[2..], "http://h").unwrap(), None);
        assert_eq!(found(&[("HTTP_PROXY", "")], "http://h").unwrap(), None);
        let emptied =
            [("http_proxy", ""), ("HTTP_PROXY", "p:1"), ("no_proxy", " "), ("NO_PROXY", "i")];
        assert_eq!(found(&emptied, "http://h").unwrap().unwrap(), "http://p:1");
        assert_eq!(found(&emptied, "http://i").unwrap(), None);
        // A client of a CGI program could set it.
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil")];
        assert_eq!(found(&cgi, "http://h").unwrap(), None);
    }

    #[test]
    fn exceptions_are_names_addresses_networks_and_ports() {
        let is_excepted = |list: &str, origin: &str| {
            found(&[("all_proxy", "http://p"), ("NO_PROXY", list)], origin).unwrap().is_none()
        };
        for (list, origin) in [
            ("*", "http://h"),
            ("x, *", "https://192.0.2.1"),
            ("example.org", "http://example.org:81"),
            ("example.org", "https://a.example.org"),
            (".example.org", "https://a.example.org"),
            ("*.example.org", "https://a.example.org"),
            ("example.org:443", "https://example.org"),
            ("a,b , example.org:81", "http://example.org:81"),
            ("a example.org", "http://example.org"),
            ("192.0.2.0/24", "http://192.0.2.7:9"),
            ("192.0.2.7:9", "http://192.0.2.7:9"),
            ("::1", "http://[::1]:9"),
            ("[::1]", "http://[::1]:9"),
            ("[::1]:9", "http://[::1]:9"),
            ("fe80::/10", "http://[fe80::1]"),
        ] {
            assert!(is_excepted(list, origin), "{list} {origin}");
        }
        for (list, origin) in [
            ("", "http://h"),
            ("example.org", "http://notexample.org"),
            ("a.example.org", "http://example.org"),
            ("example.org:81", "http://example.org"),
            ("192.0.2.0/24", "http://192.0.3.7"),
            ("192.0.2.7:8", "http://192.0.2.7:9"),
            ("[::1]:8", "http://[::1]:9"),
        ] {
            assert!(!is_excepted(list, origin), "{list} {origin}");
        }
    }

    #[test]
    fn a_proxy_that_is_none_is_named_and_its_password_is_not() {
        for bad in ["htp://u:s3cret@p:1", "socks5://u:s3cret@p", "http://u:s3cret@", "u:s3cret@p:x"]
        {
            let error = found(&[("HTTP_PROXY", bad)], "http://h").unwrap_err();
            assert!(error.starts_with("the variable HTTP_PROXY is"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
            let error = Choice::of(Some(bad)).unwrap_err();
            assert_eq!(error.option_name(), Some("proxy"));
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        let given = Choice::of(Some("http://u:s3cret@p:1")).unwrap();
        assert!(!format!("{given:?}").contains("s3cret"));
    }

    #[test]
    fn credentials_are_unescaped() {
        for (url, expected) in [
            ("http://Aladdin:open%20sesame@p", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("Aladdin:%40%3A%2F@p:8080", "QWxhZGRpbjpAOi8="),
            ("http://%C3%BC:p@p", "w7w6cA=="),
            ("http://Aladdin@p", "QWxhZGRpbjo="),
        ] {
            let proxy = Proxy::parse(url).unwrap();
            assert_eq!(proxy.0.basic_auth().unwrap(), &format!("Basic {expected}"), "{url}");
        }
    }
}

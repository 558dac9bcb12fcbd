//! Finding the server that takes a request: redirects are followed, and lost servers left.

use std::sync::Arc;

use crate::runtime::chance::Chance;
use crate::transport::hedge;
use crate::transport::request::{Request, Sending, Transport};
use crate::transport::way::{Leg, Way};

/// A transport that finds the server which takes a request.
pub(crate) struct Redirects<T> {
    inner: Arc<T>,
    chance: Chance,
}

impl<T: Transport> Redirects<T> {
    pub(crate) fn new(inner: T, chance: Chance) -> Self {
        Redirects { inner: Arc::new(inner), chance }
    }
}

impl<T: Transport> Transport for Redirects<T> {
    fn send(&self, request: Request) -> Sending {
        let (route, chance) = (request.endpoint.route.clone(), self.chance.clone());
        let way = Way { inner: self.inner.clone(), route };
        Box::pin(async move {
            let start = way.start(&request);
            match hedge::may_be(&request) {
                true => hedge::send(&way, request, start, &chance).await,
                false => way.walk(request, Leg::from(start)).await,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::time::Duration;

    use bytes::Bytes;
    use http::header::LOCATION;
    use http::{HeaderMap, Method};
    use url::Url;

    use super::*;
    use crate::options::Options;
    use crate::protocol::answer::Response;
    use crate::runtime::threads::lock;
    use crate::transport::endpoint::{Endpoint, can_be_asked};
    use crate::transport::request::SendError;
    use crate::transport::way::HOPS;

    /// Hosts that answer, with 204 or the status named, and those that point elsewhere; what is not
    /// named refuses connections.
    #[derive(Default)]
    struct Hosts {
        answers: HashMap<&'static str, Option<&'static str>>,
        asked: Mutex<Vec<String>>,
    }

    impl Transport for Hosts {
        fn send(&self, request: Request) -> Sending {
            let url = request.endpoint.url.as_str().to_owned();
            let host = request.endpoint.url.host_str().unwrap().to_owned();
            lock(&self.asked).push(url);
            let mut headers = HeaderMap::new();
            let result = match self.answers.get(host.as_str()) {
                None => Err(SendError::unreachable("refused")),
                Some(location) => {
                    let status = location.map_or(204, |location| match location.parse() {
                        Ok(status) => status,
                        Err(_) => {
                            headers.insert(LOCATION, location.parse().unwrap());
                            307
                        }
                    });
                    Ok(Response { status, headers, body: Bytes::new(), cut: false })
                }
            };
            Box::pin(async move { result })
        }
    }

    struct Setting {
        routing: Redirects<Hosts>,
        endpoint: Arc<Endpoint>,
    }

    impl Setting {
        fn new(options: Options, answers: &[(&'static str, Option<&'static str>)]) -> Self {
            let answers = answers.iter().copied().collect();
            let routing =
                Redirects::new(Hosts { answers, asked: Mutex::default() }, Chance::seeded(0));
            Setting { routing, endpoint: Arc::new(Endpoint::resolve(&options).unwrap()) }
        }

        async fn send(&self) -> Result<u16, SendError> {
            self.send_a(Method::POST).await
        }

        async fn send_a(&self, method: Method) -> Result<u16, SendError> {
            let request = Request::new(method, self.endpoint.clone(), Duration::from_secs(1));
            self.routing.send(request).await.map(|response| response.status)
        }

        fn asked(&self) -> Vec<String> {
            std::mem::take(&mut *lock(&self.routing.inner.asked))
        }
    }

    fn cluster() -> Options {
        Options::new()
            .stream_path("b/s")
            .endpoints("http://a, http://b/, http://c")
            .path_prefix("/")
    }

    #[tokio::test]
    async fn the_leader_is_followed_remembered_and_dropped() {
        let leads = [("a", Some("http://c/b/s")), ("c", None)];
        let mut setting = Setting::new(cluster().param("k", "v"), &leads);
        for _ in 0..2 {
            assert_eq!(setting.send().await.unwrap(), 204);
        }
        assert_eq!(setting.asked(), ["http://a/b/s?k=v", "http://c/b/s?k=v", "http://c/b/s?k=v"]);

        let inner = Arc::get_mut(&mut setting.routing.inner).unwrap();
        inner.answers = [("b", None)].into();
        assert!(setting.send().await.is_err(), "the leader is gone");
        assert!(setting.send().await.is_err(), "and so is the first of the list");
        assert_eq!(setting.send().await.unwrap(), 204);
        let hosts: Vec<_> = setting.asked().iter().map(|url| url[7..8].to_owned()).collect();
        assert_eq!(hosts, ["c", "a", "b"]);
    }

    #[tokio::test]
    async fn a_leader_that_denies_is_one_no_more() {
        let leads = [("a", Some("http://c/b/s")), ("c", Some("404")), ("b", None)];
        let setting = Setting::new(cluster(), &leads);
        assert_eq!(setting.send().await.unwrap(), 404);
        assert_eq!(setting.send().await.unwrap(), 404);
        let hosts: Vec<_> = setting.asked().iter().map(|url| url[7..8].to_owned()).collect();
        assert_eq!(hosts, ["a", "c", "a", "c"], "asked anew, and of the list nobody is dropped");
    }

    #[tokio::test]
    async fn where_reads_are_sent_says_nothing_about_writes() {
        let setting = Setting::new(cluster(), &[("a", Some("http://c/b/s")), ("c", None)]);
        assert_eq!(setting.send_a(Method::GET).await.unwrap(), 204);
        assert_eq!(setting.asked(), ["http://a/b/s", "http://c/b/s"]);
        assert_eq!(setting.send().await.unwrap(), 204);
        assert_eq!(setting.asked(), ["http://a/b/s", "http://c/b/s"]);
    }

    #[tokio::test]
    async fn credentials_go_nowhere_else() {
        for location in
            ["http://evil/b/s", "https://a/b/s", "ftp://a/b/s", "http://a:81/b/s", "//evil"]
        {
            let setting = Setting::new(cluster(), &[("a", Some(location)), ("evil", None)]);
            assert_eq!(setting.send().await.unwrap(), 307, "{location}");
            assert_eq!(setting.asked().len(), 1, "{location}");
        }
        let one = Options::new().url("http://u:pw@a/s").endpoints("http://trusted");
        let setting = Setting::new(one, &[("a", Some("http://trusted/s")), ("trusted", None)]);
        assert_eq!(setting.send().await.unwrap(), 204);
        assert_eq!(setting.asked()[1], "http://u:pw@trusted/s");
    }

    #[tokio::test]
    async fn circles_end() {
        let circle = [("a", Some("http://b/b/s")), ("b", Some("http://a/b/s"))];
        let setting = Setting::new(cluster(), &circle);
        let error = setting.send().await.unwrap_err();
        assert!(!error.sent && error.message.contains("redirected"));
        assert_eq!(setting.asked().len(), HOPS);
    }

    #[tokio::test]
    async fn what_no_request_can_be_made_of_is_not_followed() {
        let long: &'static str = format!("http://b/{}", "x".repeat(50_000)).leak();
        let list = "http://a, http://b, http://c";
        let options = Options::new().stream_path("b/s").endpoints(list).path_prefix("/");
        let setting = Setting::new(options, &[("a", Some(long)), ("b", None)]);
        assert_eq!(setting.send().await.unwrap(), 307);
        assert_eq!(setting.asked().len(), 1);
        // A host that URLs may have and HTTP does not.
        assert!(!can_be_asked(&Url::parse("http://a`b/s").unwrap(), &Method::POST));
        // A read's offset is part of what it is sent on with.
        let read = format!("http://a/s?offset={}", "%".repeat(12_000));
        let near = format!("http://a/{}?offset={}", "x".repeat(40_000), "%".repeat(12_000));
        let (read, near) = (Url::parse(&read).unwrap(), Url::parse(&near).unwrap());
        assert!(can_be_asked(&read, &Method::GET) && can_be_asked(&near, &Method::GET));
        assert!(!can_be_asked(&near, &Method::POST));
    }

    /// Each half could be asked for: the leader without these parameters, they at the endpoint.
    #[tokio::test]
    async fn a_leader_is_not_asked_with_parameters_that_do_not_fit() {
        let half: &'static str = "x".repeat(30_000).leak();
        let leader: &'static str = format!("http://b/{half}?short").leak();
        let stream = Options::new().url(format!("http://a/s?{half}")).endpoints("http://b");
        let setting = Setting::new(stream, &[("a", Some(leader)), ("b", None)]);
        for _ in 0..2 {
            assert_eq!(setting.send().await.unwrap(), 204);
            let asked = setting.asked();
            assert!(asked.iter().all(|url| url.len() < 50_000), "sent to the leader with both");
            assert_eq!(asked.len(), 2);
        }
    }
}

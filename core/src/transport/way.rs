//! The way of one attempt: from where it begins, along redirects, to an answer that is none.

use std::borrow::Borrow;
use std::sync::{Arc, Mutex};

use http::header::LOCATION;
use url::{Origin, Url};

use crate::protocol::answer::Response;
use crate::runtime::threads::lock;
use crate::transport::endpoint::{Endpoint, can_be_asked};
use crate::transport::request::{Request, SendError, Transport};
use crate::transport::route::Route;

/// How often one request is sent on before its redirects count as an answer.
pub(super) const HOPS: usize = 5;

/// Where one attempt begins, where it is, and which server is not worth asking.
pub(super) struct Leg {
    at: Mutex<Url>,
    not_to: Option<Origin>,
}

impl Leg {
    pub(super) fn from(start: Url) -> Self {
        Leg { at: Mutex::new(start), not_to: None }
    }

    pub(super) fn but_not_to(self, origin: Option<Origin>) -> Self {
        Leg { not_to: origin, ..self }
    }

    /// The server that is asked now.
    pub(super) fn at(&self) -> Url {
        lock(&self.at).clone()
    }
}

/// How requests for one stream travel.
pub(super) struct Way<T> {
    pub(super) inner: Arc<T>,
    pub(super) route: Arc<Route>,
}

impl<T: Transport> Way<T> {
    /// Where a request begins.
    pub(super) fn start(&self, request: &Request) -> Url {
        let query = request.endpoint.url.query();
        let with_query = |mut url: Url| {
            url.set_query(query);
            url
        };
        let url = with_query(self.route.target());
        // The leader's URL with the parameters of this request: nothing has checked them together.
        if url != *request.endpoint.url
            && !can_be_asked(&url, &request.method)
            && self.route.depose(&url)
        {
            return with_query(self.route.target());
        }
        url
    }

    /// One attempt, from its beginning to an answer that is no redirect.
    pub(super) async fn walk(
        &self,
        mut request: Request,
        leg: impl Borrow<Leg>,
    ) -> Result<Response, SendError> {
        let (route, leg) = (&self.route, leg.borrow());
        for _ in 0..HOPS {
            let url = leg.at();
            if url != *request.endpoint.url {
                let moved =
                    Endpoint { url: Arc::new(url.clone()), ..Endpoint::clone(&request.endpoint) };
                request.endpoint = Arc::new(moved);
            }
            let result = self.inner.send(request.clone()).await;
            match &result {
                _ if !route.has_others() => {}
                Ok(_) => route.note_heard(&url),
                Err(failure) if failure.sent || failure.unreachable => {
                    route.note_silent(&url.origin());
                }
                Err(_) => {} // given up before it left
            }
            let goes = |next: &Url| route.may_follow(next) && can_be_asked(next, &request.method);
            match redirect(&url, &result).filter(goes) {
                Some(next) => {
                    request.departure.came_to_nothing();
                    if leg.not_to.as_ref() == Some(&next.origin()) {
                        return Err(SendError::unsent("redirected to a server that is silent"));
                    }
                    request.progress.made();
                    route.follow(&next, &request.method);
                    *lock(&leg.at) = next;
                }
                None => {
                    if is_lost(&result) {
                        route.leave(&url);
                    } else if result.as_ref().is_ok_and(is_denied) {
                        route.depose(&url);
                    }
                    return result;
                }
            }
        }
        // The servers redirect in circles: an answer as good as "not now".
        route.leave(&leg.at());
        let message = format!("redirected more than {HOPS} times");
        Err(SendError::unsent(message))
    }
}

/// Whether another server may do better: there was no answer, or one that says so.
fn is_lost(result: &Result<Response, SendError>) -> bool {
    result.as_ref().map_or(true, |response| matches!(response.status, 502..=504))
}

/// Whether the server says that it knows nothing of the stream, or nothing of writing.
pub(super) fn is_denied(response: &Response) -> bool {
    matches!(response.status, 404 | 405 | 410 | 501)
}

/// Where a 307 or 308 points: the two that keep method and body.
fn redirect(from: &Url, result: &Result<Response, SendError>) -> Option<Url> {
    let response = result.as_ref().ok()?;
    if !matches!(response.status, 307 | 308) {
        return None;
    }
    let mut next = from.join(response.headers.get(LOCATION)?.to_str().ok()?).ok()?;
    next.set_fragment(None);
    if next.query().is_none() {
        next.set_query(from.query());
    }
    // User info is the caller's to give.
    let _ = next.set_username(from.username());
    let _ = next.set_password(from.password());
    matches!(next.scheme(), "http" | "https").then_some(next)
}

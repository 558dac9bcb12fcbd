//! The route of the requests for one stream: several addresses, a leader they point to, and the
//! redirects that may be followed.

use std::sync::Mutex;

use http::Method;
use url::{Origin, Url};

use crate::runtime::fork::uncut;
use crate::runtime::threads::lock;

/// The addresses of one stream, and which of them is in use.
#[derive(Debug)]
pub(crate) struct Route {
    /// The stream's URL under each endpoint, in the order given, without query.
    urls: Vec<Url>,
    /// Where else redirects may lead.
    trusted: Vec<Origin>,
    place: Mutex<Place>,
}

#[derive(Debug, Default)]
struct Place {
    /// The index of the URL in use.
    current: usize,
    /// Where the servers last redirected to.
    leader: Option<Url>,
    /// Whether a server ever redirected.
    moved: bool,
}

impl Route {
    pub(crate) fn new(urls: Vec<Url>, trusted: Vec<Origin>) -> Self {
        Route { urls, trusted, place: Mutex::default() }
    }

    /// Whether one address alone has answered for the stream, as far as is known.
    pub(crate) fn is_sole(&self) -> bool {
        self.urls.len() == 1 && !self.place(|place| place.moved)
    }

    /// A handle that came through `fork` has the parent's place: no fork meets it locked.
    fn place<T>(&self, work: impl FnOnce(&mut Place) -> T) -> T {
        uncut(|| work(&mut lock(&self.place)))
    }

    /// The stream's URL under each endpoint, without query.
    pub(crate) fn urls(&self) -> &[Url] {
        &self.urls
    }

    pub(super) fn target(&self) -> Url {
        self.place(|place| place.leader.clone().unwrap_or_else(|| self.urls[place.current].clone()))
    }

    pub(super) fn may_follow(&self, url: &Url) -> bool {
        let origin = url.origin();
        self.trusted.contains(&origin) || self.urls.iter().any(|own| own.origin() == origin)
    }

    /// Another server takes this kind of request. The one that takes the writes is remembered; a
    /// read may be answered by another.
    pub(super) fn follow(&self, next: &Url, method: &Method) {
        self.place(|place| {
            place.moved = true;
            if method == Method::POST {
                place.leader = Some(without_query(next));
            }
        });
    }

    /// The server in use does not answer: back to the list, and on in it.
    pub(super) fn leave(&self, failed: &Url) {
        if self.depose(failed) {
            return;
        }
        self.place(|place| {
            if place.leader.is_none() && self.urls[place.current] == without_query(failed) {
                place.current = (place.current + 1) % self.urls.len();
            }
        });
    }

    /// Back to the list if the stream's leader was asked; whether it was.
    pub(super) fn depose(&self, asked: &Url) -> bool {
        let asked = without_query(asked);
        self.place(|place| place.leader.take_if(|leader| *leader == asked).is_some())
    }
}

fn without_query(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url
}

//! Where the requests for one stream go: several addresses, a leader they point to, and what may be
//! followed.

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
    /// Which of the URLs is used.
    current: usize,
    /// Where these sent us last.
    leader: Option<Url>,
    /// Whether they ever sent us anywhere.
    moved: bool,
}

impl Route {
    pub(crate) fn new(urls: Vec<Url>, trusted: Vec<Origin>) -> Self {
        Route { urls, trusted, place: Mutex::default() }
    }

    /// Whether one address alone has answered for the stream, as far as we know.
    pub(crate) fn is_sole(&self) -> bool {
        self.urls.len() == 1 && !self.place(|place| place.moved)
    }

    /// A handle that came through `fork` has the parent's: no fork meets it locked.
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

    /// Somebody else takes this kind of request. Who takes the writes is remembered; who answers
    /// a read need not be the one.
    pub(super) fn follow(&self, next: &Url, method: &Method) {
        self.place(|place| {
            place.moved = true;
            if method == Method::POST {
                place.leader = Some(without_query(next));
            }
        });
    }

    /// What was used does not answer: back to the list, and on in it.
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

    /// Back to the list, where the stream's leader was asked; whether it was.
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

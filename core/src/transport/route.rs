//! The route of the requests for one stream: several addresses, a leader they point to, and the
//! redirects that may be followed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use tokio::time::Instant;
use url::{Origin, Url};

use crate::runtime::fork::uncut;
use crate::runtime::threads::lock;

/// How long a server may make no progress before another one is asked, at most, and as a part of
/// the time after which its request is given up.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_PART: u32 = 4;
/// The same for a server that has just been silent.
const LITTLE_PATIENCE_PART: u32 = 4;
/// How long a silence is remembered.
const REMEMBERED: Duration = Duration::from_secs(30);

/// The addresses of one stream, and which of them is in use.
#[derive(Debug)]
pub(crate) struct Route {
    /// The stream's URL under each endpoint, in the order given, without query.
    urls: Box<[Arc<Url>]>,
    /// Where else redirects may lead.
    trusted: Box<[Origin]>,
    /// Whether these are more than one server.
    has_others: bool,
    pub(crate) seen: Seen,
    /// `None` until something has happened: a stream with one server never has any.
    place: Mutex<Option<Box<Place>>>,
}

/// When a stream was last known to be there, which a handle and its producers learn together.
#[derive(Debug, Default)]
pub(crate) struct Seen(AtomicU64);

impl Seen {
    /// It is there now, in Unix milliseconds.
    pub(crate) fn note(&self, now: u64) {
        self.0.fetch_max(now, Ordering::Relaxed);
    }

    /// How long that is ago; `None` if it was never known to be there.
    pub(crate) fn ago(&self, now: u64) -> Option<Duration> {
        let last = Some(self.0.load(Ordering::Relaxed)).filter(|last| *last > 0)?;
        Some(Duration::from_millis(now.saturating_sub(last)))
    }
}

#[derive(Debug, Default)]
struct Place {
    /// The index of the URL in use.
    current: usize,
    /// Where the servers last redirected to.
    leader: Option<Url>,
    /// Whether a server ever redirected.
    moved: bool,
    /// Servers that did not answer of late, and when that was noticed.
    silent: Vec<(Origin, Instant)>,
    /// How often a server that seemed silent was only slow, since one really was.
    slow: u32,
    /// Until when a request has the turn to ask the others for all.
    turn: Option<Instant>,
    /// How often a server was found that answers in the place of a silent one.
    moves: u64,
}

impl Route {
    pub(crate) fn new(urls: Box<[Arc<Url>]>, trusted: Box<[Origin]>) -> Self {
        let mut origins = urls.iter().map(|url| url.origin()).chain(trusted.iter().cloned());
        let first = origins.next();
        let has_others = origins.any(|origin| Some(&origin) != first.as_ref());
        Route { urls, trusted, has_others, seen: Seen::default(), place: Mutex::default() }
    }

    /// Whether one address alone has answered for the stream, as far as is known.
    pub(crate) fn is_sole(&self) -> bool {
        self.urls.len() == 1 && !self.known(|place| place.moved)
    }

    /// A handle that came through `fork` has the parent's place: no fork meets it locked.
    fn place<T>(&self, work: impl FnOnce(&mut Place) -> T) -> T {
        uncut(|| work(lock(&self.place).get_or_insert_default()))
    }

    /// What is known of the place; by default nothing is.
    fn known<T: Default>(&self, look: impl FnOnce(&Place) -> T) -> T {
        uncut(|| lock(&self.place).as_deref().map(look).unwrap_or_default())
    }

    /// The stream's URL under each endpoint, without query.
    pub(crate) fn urls(&self) -> &[Arc<Url>] {
        &self.urls
    }

    pub(super) fn target(&self) -> Url {
        let (leader, current) = self.known(|place| (place.leader.clone(), place.current));
        leader.unwrap_or_else(|| Url::clone(&self.urls[current]))
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
        if self.depose(failed) || self.urls.len() == 1 {
            return;
        }
        self.place(|place| {
            if place.leader.is_none() && *self.urls[place.current] == without_query(failed) {
                place.current = (place.current + 1) % self.urls.len();
            }
        });
    }

    /// Whether there is another server to ask.
    pub(super) fn has_others(&self) -> bool {
        self.has_others
    }

    /// The servers of the list beside one, in the order to ask them.
    pub(super) fn others_than(&self, not_there: &Origin) -> Vec<Url> {
        let from = self.known(|place| place.current);
        let (before, behind) = self.urls.split_at(from);
        let others = behind.iter().chain(before).filter(|url| url.origin() != *not_there);
        others.map(|url| Url::clone(url)).collect()
    }

    /// How long a server may make no progress before another one is asked as well. One that was only
    /// slow, again and again, is given more.
    pub(super) fn patience(&self, server: &Origin, timeout: Duration) -> Duration {
        let usual = PATIENCE.min(timeout / PATIENCE_PART);
        self.place(|place| {
            let is_recent = |(_, at): &(Origin, Instant)| at.elapsed() < REMEMBERED;
            place.silent.retain(is_recent);
            match place.silent.iter().any(|(known, _)| known == server) {
                true => usual / LITTLE_PATIENCE_PART,
                false => (usual * 2u32.pow(place.slow)).min(timeout),
            }
        })
    }

    /// A server answered.
    pub(super) fn note_heard(&self, asked: &Url) {
        self.place(|place| {
            if !place.silent.is_empty() {
                let origin = asked.origin();
                place.silent.retain(|(known, _)| *known != origin);
            }
        });
    }

    /// A server did not.
    pub(super) fn note_silent(&self, server: &Origin) {
        self.place(|place| {
            place.silent.retain(|(known, _)| known != server);
            place.silent.push((server.clone(), Instant::now()));
        });
    }

    /// A server that seemed silent answered after all, before any other.
    pub(super) fn was_only_slow(&self) {
        self.place(|place| place.slow = (place.slow + 1).min(8));
    }

    /// Another server answered in the place of a silent one.
    pub(super) fn found(&self, url: &Url, method: &Method) {
        let url = without_query(url);
        self.place(|place| {
            place.slow = 0;
            if method == Method::POST {
                place.moves += 1;
                place.current =
                    self.urls.iter().position(|own| **own == url).unwrap_or(place.current);
                place.leader = Some(url).filter(|url| *url != *self.urls[place.current]);
            }
        });
    }

    /// How often another server was found.
    pub(super) fn moves(&self) -> u64 {
        self.known(|place| place.moves)
    }

    /// The turn to ask the others, for a while, unless another request has it. A process that was forked off gets it when the while is over.
    pub(super) fn take_turn(&self, lasts: Duration) -> Option<Turn<'_>> {
        let now = Instant::now();
        self.place(|place| {
            let is_free = place.turn.is_none_or(|until| now >= until);
            if is_free {
                place.turn = Some(now + lasts);
            }
            is_free.then(|| Turn(self))
        })
    }

    pub(super) fn keep_turn(&self, lasts: Duration) {
        self.place(|place| place.turn = Some(Instant::now() + lasts));
    }

    fn end_turn(&self) {
        self.place(|place| place.turn = None);
    }

    /// Back to the list if the stream's leader was asked; whether it was.
    pub(super) fn depose(&self, asked: &Url) -> bool {
        let asked = without_query(asked);
        self.known(|place| place.leader.as_ref() == Some(&asked))
            && self.place(|place| place.leader.take_if(|leader| *leader == asked).is_some())
    }
}

/// The turn, which ends with this.
pub(super) struct Turn<'a>(&'a Route);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.end_turn();
    }
}

fn without_query(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url
}

//! Looking host names up, each on a short-lived thread of its own: a slow name holds up no other,
//! and several requests for one name wait for one lookup.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;
use url::Url;

use crate::runtime::fork;
use crate::runtime::threads::{lock, spawn};
use crate::transport::peer::Peer;

type Found = Result<Vec<SocketAddr>, String>;

/// The lookups under way, and the waits for each.
#[derive(Clone, Default)]
pub(crate) struct Names(Arc<Mutex<HashMap<String, Vec<oneshot::Sender<Found>>>>>);

/// The names of a host that goes by another one in TLS.
pub(crate) struct Renamed {
    names: Names,
    /// The name in TLS, and the host.
    other: Option<(Arc<str>, String)>,
    /// Which address comes first.
    turn: Arc<AtomicUsize>,
}

/// A name that leads to no address.
#[derive(Debug)]
struct NoAddress(String);

impl std::fmt::Display for NoAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoAddress {}

/// Whether a request failed since a name led to no address.
pub(super) fn is_reason(error: &dyn std::error::Error) -> bool {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.into_iter().any(|error| error.is::<NoAddress>())
}

impl Resolve for Renamed {
    fn resolve(&self, name: Name) -> Resolving {
        let name = match &self.other {
            Some((other, host)) if name.as_str().eq_ignore_ascii_case(other) => host,
            _ => name.as_str(),
        };
        let found = self.names.look_up(name.to_owned(), |name| {
            (name, 0).to_socket_addrs().map(Iterator::collect).map_err(|error| error.to_string())
        });
        let turn = self.turn.load(Ordering::Relaxed);
        Box::pin(async move {
            let given_up = |_| Err("the lookup was given up".to_owned());
            let mut found = found.await.unwrap_or_else(given_up).map_err(NoAddress)?;
            let first = turn % found.len().max(1);
            found.rotate_left(first);
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl Names {
    /// The names that requests to a host use.
    pub(super) fn renamed(&self, peer: &Peer, turn: Arc<AtomicUsize>) -> Renamed {
        let host = Url::parse(&peer.origin).ok().and_then(|url| Some(url.host_str()?.to_owned()));
        // An address of six stands in brackets.
        let host = host.map(|host| host.trim_matches(['[', ']']).to_owned());
        Renamed { names: self.clone(), other: peer.connect.server_name.clone().zip(host), turn }
    }

    fn look_up(
        &self,
        name: String,
        resolve: impl FnOnce(&str) -> Found + Send + 'static,
    ) -> oneshot::Receiver<Found> {
        let (answer, found) = oneshot::channel();
        let mut under_way = lock(&self.0);
        if let Some(waiting) = under_way.get_mut(&name) {
            waiting.push(answer);
            return found;
        }
        under_way.insert(name.clone(), vec![answer]);
        drop(under_way);
        let (names, own) = (self.clone(), name.clone());
        let thread = spawn("durstream-dns", move || {
            let found = fork::uncut_at_first(|| resolve(&own));
            names.tell(&own, &found);
        });
        // If no thread can be started, the error says so; the next attempt tries again.
        if let Err(error) = thread {
            self.tell(&name, &Err(format!("no thread to look the name up on: {error}")));
        }
        found
    }

    fn tell(&self, name: &str, found: &Found) {
        let waiting = lock(&self.0).remove(name).unwrap_or_default();
        waiting.into_iter().for_each(|waiting| drop(waiting.send(found.clone())));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_name_that_takes_long_is_asked_for_once_and_holds_up_no_other() {
        let names = Names::default();
        let (go, wait) = mpsc::channel::<()>();
        let slow = names.look_up("slow".into(), move |_| {
            wait.recv().unwrap();
            Ok(vec!["192.0.2.1:0".parse().unwrap()])
        });
        let same = names.look_up("slow".into(), |_| panic!("it is asked for already"));
        let other = names.look_up("other".into(), |_| Err("unknown".into()));
        assert_eq!(other.await.unwrap(), Err("unknown".into()));
        go.send(()).unwrap();
        let expected = Ok(vec!["192.0.2.1:0".parse().unwrap()]);
        assert_eq!((slow.await.unwrap(), same.await.unwrap()), (expected.clone(), expected));
        let again = names.look_up("slow".into(), |_| Err("asked anew".into()));
        assert_eq!(again.await.unwrap(), Err("asked anew".into()));
    }
}

//! Looking host names up, each on a short-lived thread of its own: a slow name holds up no other,
//! and several requests for one name wait for one lookup.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;

use crate::runtime::fork;
use crate::runtime::threads::{lock, spawn};

type Found = Result<Vec<SocketAddr>, String>;

/// The lookups under way, and the waits for each.
#[derive(Clone, Default)]
pub(crate) struct Names(Arc<Mutex<HashMap<String, Vec<oneshot::Sender<Found>>>>>);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.look_up(name.as_str().to_owned(), |name| {
            (name, 0).to_socket_addrs().map(Iterator::collect).map_err(|error| error.to_string())
        });
        Box::pin(async move {
            let found = found.await.unwrap_or_else(|_| Err("the lookup was given up".into()))?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl Names {
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

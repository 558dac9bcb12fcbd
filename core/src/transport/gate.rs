//! One gate per host. While nothing listens there, one request at a time tries, and thousands of
//! producers do not; at the limit of connections, requests wait for a free one.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::runtime::threads::lock;
use crate::transport::contact::Contact;
use crate::transport::request::SendError;

/// Connections to one host at the same time.
pub(crate) const MAX_CONNECTIONS: usize = 256;
/// How long a gate stays closed: after the first failed connection, and at most.
const CLOSED: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(1));

/// The gates of every host that was ever asked.
#[derive(Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Arc<Gate>>>);

impl Gates {
    pub(crate) fn of(&self, origin: &str) -> Arc<Gate> {
        let mut gates = lock(&self.0);
        if let Some(gate) = gates.get(origin) {
            return gate.clone();
        }
        gates.entry(origin.to_owned()).or_insert_with(|| Arc::new(Gate::new(origin))).clone()
    }
}

/// The gate of one host.
pub(crate) struct Gate {
    pub(super) contact: Contact,
    connections: Arc<Semaphore>,
    /// The connection numbers in no use; the lowest, whose connection is the warmest, goes first.
    free: Mutex<BTreeSet<usize>>,
    door: Mutex<Door>,
    /// Counts the attempts that ended, for the requests that wait for one.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct Door {
    /// Failed connections in a row.
    failures: u32,
    closed_until: Option<Instant>,
    /// A request is trying.
    probing: bool,
    why: Option<SendError>,
}

/// What to do about a request.
enum Turn {
    Go,
    WaitUntil(Instant),
    WaitForProbe,
}

impl Gate {
    fn new(origin: &str) -> Self {
        Gate {
            contact: Contact::new(origin),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            free: Mutex::new((0..MAX_CONNECTIONS).collect()),
            door: Mutex::default(),
            ended: watch::channel(0).0,
        }
    }

    /// Waits until the gate opens, or until this request may try.
    ///
    /// # Errors
    /// Another request just tried, and nothing listens.
    pub(crate) async fn enter(self: &Arc<Self>) -> Result<Passage, SendError> {
        let permit = self.connections.clone().acquire_owned().await;
        loop {
            let mut ended = self.ended.subscribe();
            match self.turn() {
                Turn::Go => {
                    let lane = lock(&self.free).pop_first().expect("a number for each permit");
                    let gate = self.clone();
                    return Ok(Passage { gate, lane, _permit: permit.ok(), told: false });
                }
                Turn::WaitUntil(at) => tokio::time::sleep_until(at).await,
                Turn::WaitForProbe => {
                    // An attempt that takes long, for a large body say, is not waited for.
                    let told = tokio::time::timeout(CLOSED.1, ended.changed()).await.is_ok();
                    let mut door = lock(&self.door);
                    if !told {
                        door.probing = false;
                    } else if door.closed_until.is_some() {
                        let why = door.why.clone();
                        return Err(why.unwrap_or_else(|| SendError::unreachable("unreachable")));
                    }
                }
            }
        }
    }

    fn turn(&self) -> Turn {
        let mut door = lock(&self.door);
        match door.closed_until {
            None => Turn::Go,
            Some(_) if door.probing => Turn::WaitForProbe,
            Some(until) if Instant::now() < until => Turn::WaitUntil(until),
            Some(_) => {
                door.probing = true;
                Turn::Go
            }
        }
    }

    fn tell(&self, failure: Option<&SendError>) {
        {
            let mut door = lock(&self.door);
            door.probing = false;
            match failure {
                None => *door = Door::default(),
                Some(why) => {
                    let pause = CLOSED.0 * 2u32.saturating_pow(door.failures.min(16));
                    door.failures += 1;
                    door.closed_until = Some(Instant::now() + pause.min(CLOSED.1));
                    door.why = Some(why.clone());
                }
            }
        }
        self.ended.send_modify(|count| *count += 1);
    }
}

/// A request that went through the gate, and the connection it may use.
pub(crate) struct Passage {
    gate: Arc<Gate>,
    /// Which of the connections.
    lane: usize,
    _permit: Option<OwnedSemaphorePermit>,
    told: bool,
}

impl Passage {
    /// The number of the connection it may use; no other request has it meanwhile.
    pub(crate) fn lane(&self) -> usize {
        self.lane
    }

    /// The host is there: it answered, or at least took the connection.
    pub(crate) fn open(mut self) {
        self.told = true;
        self.gate.tell(None);
    }

    /// Nothing listens at the host.
    pub(crate) fn close(mut self, why: &SendError) {
        self.told = true;
        self.gate.tell(Some(why));
    }
}

/// A request that is given up says nothing about the host; the next one tries.
impl Drop for Passage {
    fn drop(&mut self) {
        lock(&self.gate.free).insert(self.lane);
        if !self.told {
            lock(&self.gate.door).probing = false;
            self.gate.ended.send_modify(|count| *count += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn gate() -> Arc<Gate> {
        Gates::default().of("http://h")
    }

    #[test]
    fn each_host_has_its_own() {
        let gates = Gates::default();
        let of =
            |url: &str| gates.of(&url::Url::parse(url).unwrap().origin().ascii_serialization());
        assert!(Arc::ptr_eq(&of("http://h/a"), &of("http://h:80/b?c")));
        assert!(!Arc::ptr_eq(&of("http://h/a"), &of("https://h/a")));
    }

    #[tokio::test(start_paused = true)]
    async fn one_tries_for_all_while_nobody_listens() {
        let gate = gate();
        let tried = Arc::new(AtomicUsize::new(0));
        gate.enter().await.unwrap().close(&SendError::unreachable("refused"));
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (gate, tried) = (gate.clone(), tried.clone());
            waiting.spawn(async move {
                let passage = match gate.enter().await {
                    Ok(passage) => passage,
                    Err(error) => return error.message,
                };
                tried.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
                passage.close(&SendError::unreachable("refused again"));
                "tried".to_owned()
            });
        }
        let results = waiting.join_all().await;
        assert_eq!(tried.load(Ordering::Relaxed), 1);
        assert_eq!(results.iter().filter(|text| *text == "refused again").count(), 99);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_opens_it_for_everybody() {
        let gate = gate();
        gate.enter().await.unwrap().close(&SendError::unreachable("refused"));
        let probe = gate.enter().await.unwrap();
        let (first, second) = (gate.clone(), gate.clone());
        let others = tokio::join!(
            async move { first.enter().await.is_ok() },
            async move { second.enter().await.is_ok() },
            async move { probe.open() },
        );
        assert_eq!(others, (true, true, ()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_is_followed_by_another() {
        let gate = gate();
        gate.enter().await.unwrap().close(&SendError::unreachable("refused"));
        drop(gate.enter().await.unwrap());
        gate.enter().await.unwrap().open();
        gate.enter().await.unwrap().open();
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_for_ever_holds_nobody_up() {
        let gate = gate();
        gate.enter().await.unwrap().close(&SendError::unreachable("refused"));
        let _hanging = gate.enter().await.unwrap();
        let other = tokio::time::timeout(CLOSED.1 * 3, gate.enter());
        assert!(other.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_closed_for_a_bounded_time() {
        let gate = gate();
        for _ in 0..50 {
            let before = Instant::now();
            gate.enter().await.unwrap().close(&SendError::unreachable("refused"));
            assert!(before.elapsed() <= CLOSED.1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_two_have_one_connection_and_the_lowest_goes_first() {
        let gate = gate();
        let (first, second) = (gate.enter().await.unwrap(), gate.enter().await.unwrap());
        assert_eq!((first.lane(), second.lane()), (0, 1));
        first.open();
        assert_eq!(gate.enter().await.unwrap().lane(), 0);
        drop(second);
        gate.enter().await.unwrap().close(&SendError::unreachable("refused"));
        assert_eq!(gate.enter().await.unwrap().lane(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_counted() {
        let gate = gate();
        let mut held = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            held.push(gate.enter().await.unwrap());
        }
        let more = tokio::time::timeout(Duration::from_secs(1), gate.enter());
        assert!(more.await.is_err());
        held.pop();
        assert!(gate.enter().await.is_ok());
    }
}

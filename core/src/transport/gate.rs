//! One gate per host. While nothing listens there, one request at a time tries, and thousands of
//! producers do not; at the limit of connections, requests wait for a free one.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::protocol::answer::Response;
use crate::runtime::chance::Chance;
use crate::runtime::threads::lock;
use crate::transport::contact::Contact;
use crate::transport::peer::Peer;
use crate::transport::progress::Progress;
use crate::transport::request::{SendError, Sending};

/// How long a gate stays closed: after the first failed connection, and at most. Between half of it and
/// all, so that processes which lost a server together do not try together.
const CLOSED: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Over how long the requests that waited for a host are spread once it is back: half as long as it was
/// known to be away, and at most this. Otherwise all processes that lost it would send all they have at
/// once. The pause before the attempt that found it spreads them too.
const SPREAD: Duration = Duration::from_secs(5);
/// Requests that come so soon behind its return waited for it elsewhere.
const SOON: Duration = Duration::from_millis(100);

/// How long nothing comes of a request before that is told.
const SLOW: Duration = Duration::from_millis(750);

/// The gates of every host that was ever asked, for each way to reach it.
pub(crate) struct Gates {
    by_peer: Mutex<HashMap<Peer, Arc<Gate>>>,
    chance: Chance,
}

impl Gates {
    pub(crate) fn new(chance: Chance) -> Self {
        Gates { by_peer: Mutex::default(), chance }
    }

    fn of(&self, peer: &Peer) -> Arc<Gate> {
        let mut gates = lock(&self.by_peer);
        if let Some(gate) = gates.get(peer) {
            return gate.clone();
        }
        let gate = Arc::new(Gate::new(peer, self.chance.clone()));
        gates.entry(peer.clone()).or_insert(gate).clone()
    }

    /// Has an exchange with a host, on one of its connections, once the gate lets it through. Where
    /// it is `hurried`, an answer is expected at once.
    pub(crate) fn pass<E>(
        &self,
        peer: &Peer,
        hurried: Option<Progress>,
        exchange: impl FnOnce(usize) -> E + Send + 'static,
    ) -> Sending
    where
        E: Future<Output = Result<Response, SendError>> + Send,
    {
        let gate = self.of(peer);
        Box::pin(async move {
            let passage = gate.enter().await?;
            let result = gate.attend(hurried, exchange(passage.lane())).await;
            match &result {
                Err(failure) if failure.unreachable => {
                    gate.contact.failed(failure);
                    passage.close(failure);
                    return result;
                }
                Err(failure) if failure.sent => gate.contact.failed(failure),
                Err(_) => {} // given up before it left
                Ok(Response { status: status @ 500.., .. }) => gate.contact.answered_with(*status),
                Ok(_) => gate.contact.answered(),
            }
            passage.open();
            result
        })
    }
}

/// The gate of one host.
pub(crate) struct Gate {
    contact: Contact,
    connections: Arc<Semaphore>,
    /// The connection numbers in no use; the lowest, whose connection is the warmest, goes first.
    free: Mutex<BTreeSet<usize>>,
    door: Mutex<Door>,
    /// Counts the attempts that ended, for the requests that wait for one.
    ended: watch::Sender<u64>,
    /// Counts those that found nobody, for the requests that wait for a connection: to tell them of
    /// each end would cost the square.
    closed: watch::Sender<u64>,
    chance: Chance,
}

#[derive(Default)]
struct Door {
    /// Failed connections in a row.
    failures: u32,
    closed_until: Option<Instant>,
    /// When nobody listened for the first time, and for the last time.
    lost: Option<(Instant, Instant)>,
    /// When the host was back, and over how long requests are spread from then on.
    back: Option<(Instant, Duration)>,
    /// A request is trying.
    probing: bool,
    why: Option<SendError>,
}

impl Door {
    /// Why it is closed, if it is.
    fn why(&self) -> Option<SendError> {
        self.closed_until?;
        Some(self.why.clone().unwrap_or_else(|| SendError::unreachable("unreachable")))
    }
}

/// What to do about a request.
enum Turn {
    Go,
    /// The others wait for what becomes of it.
    Try,
    /// Later than the others that waited, or earlier.
    Spread(Duration),
    WaitUntil(Instant),
    WaitForProbe,
}

impl Gate {
    fn new(peer: &Peer, chance: Chance) -> Self {
        let connections = peer.connect.max_connections;
        Gate {
            contact: Contact::new(&peer.origin),
            connections: Arc::new(Semaphore::new(connections)),
            free: Mutex::new((0..connections).collect()),
            door: Mutex::default(),
            ended: watch::channel(0).0,
            closed: watch::channel(0).0,
            chance,
        }
    }

    /// Waits until the gate opens, or until this request may try.
    ///
    /// # Errors
    /// Another request just tried, and nothing listens.
    pub(crate) async fn enter(self: &Arc<Self>) -> Result<Passage, SendError> {
        let mut came = Some(Instant::now());
        let mut permit = self.connection().await?;
        loop {
            let mut ended = self.ended.subscribe();
            match self.turn(came) {
                // Without the connection, which the others need to be told the same.
                Turn::Spread(pause) => {
                    drop(permit);
                    tokio::time::sleep(pause).await;
                    came = None;
                    permit = self.connection().await?;
                }
                Turn::Go | Turn::Try => {
                    let lane = lock(&self.free).pop_first().expect("a number for each permit");
                    let gate = self.clone();
                    return Ok(Passage { gate, lane, _permit: permit, told: false });
                }
                Turn::WaitUntil(at) => tokio::time::sleep_until(at).await,
                Turn::WaitForProbe => {
                    // An attempt that takes long, for a large body say, is not waited for.
                    let told = tokio::time::timeout(CLOSED.1, ended.changed()).await.is_ok();
                    let mut door = lock(&self.door);
                    if !told {
                        door.probing = false;
                    } else if let Some(why) = door.why() {
                        return Err(why);
                    }
                }
            }
        }
    }

    /// Waits for a free connection, or until somebody who has one finds nobody at the host.
    async fn connection(&self) -> Result<Option<OwnedSemaphorePermit>, SendError> {
        let mut closed = self.closed.subscribe();
        let free = self.connections.clone().acquire_owned();
        tokio::pin!(free);
        loop {
            tokio::select! {
                biased; // who was told lets its connection go: it may be free for that reason
                _ = closed.changed() => {
                    if let Some(why) = lock(&self.door).why() {
                        return Err(why);
                    }
                }
                permit = &mut free => return Ok(permit.ok()),
            }
        }
    }

    /// What a request does next that came at a time; `None` for one that had its pause.
    fn turn(&self, came: Option<Instant>) -> Turn {
        let mut door = lock(&self.door);
        match door.closed_until {
            None => match (door.back, came) {
                (Some((back, over)), Some(came)) if came < back + SOON.min(over) => {
                    Turn::Spread(over.mul_f64(self.chance.fraction()))
                }
                _ => Turn::Go,
            },
            Some(_) if door.probing => Turn::WaitForProbe,
            Some(until) if Instant::now() < until => Turn::WaitUntil(until),
            Some(_) => {
                door.probing = true;
                Turn::Try
            }
        }
    }

    /// Tells of an exchange that makes no progress, once.
    async fn attend<T>(&self, hurried: Option<Progress>, exchange: impl Future<Output = T>) -> T {
        let Some(progress) = hurried else { return exchange.await };
        tokio::pin!(exchange);
        let mut until = Instant::now() + SLOW;
        loop {
            tokio::select! {
                biased;
                result = &mut exchange => return result,
                () = tokio::time::sleep_until(until) => {}
            }
            until = progress.last() + SLOW;
            if until <= Instant::now() {
                self.contact.is_slow(SLOW);
                return exchange.await;
            }
        }
    }

    fn tell(&self, failure: Option<&SendError>) {
        {
            let mut door = lock(&self.door);
            door.probing = false;
            match failure {
                None => {
                    let now = Instant::now();
                    let over = |(first, last): (Instant, Instant)| ((last - first) / 2).min(SPREAD);
                    let back = door.lost.map(|lost| (now, over(lost))).or(door.back);
                    *door = Door { back, ..Door::default() };
                }
                Some(why) => {
                    let step = CLOSED.0 * 2u32.saturating_pow(door.failures.min(16));
                    let pause = step.min(CLOSED.1).mul_f64(0.5 + self.chance.fraction() / 2.0);
                    let now = Instant::now();
                    door.failures += 1;
                    door.lost = Some((door.lost.map_or(now, |(first, _)| first), now));
                    door.closed_until = Some(now + pause);
                    door.why = Some(why.clone());
                }
            }
        }
        self.ended.send_modify(|count| *count += 1);
        if failure.is_some() {
            self.closed.send_modify(|count| *count += 1);
        }
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
    use crate::options::Options;
    use crate::transport::endpoint::Endpoint;

    fn gate() -> Arc<Gate> {
        Gates::new(Chance::System).of(&peer("http://h"))
    }

    fn peer(url: &str) -> Peer {
        Peer::of(&Endpoint::resolve(&Options::new().url(url)).unwrap())
    }

    #[test]
    fn each_host_has_its_own() {
        let gates = Gates::new(Chance::System);
        let of = |url: &str| gates.of(&peer(url));
        assert!(Arc::ptr_eq(&of("http://h/a"), &of("http://h:80/b?c")));
        assert!(!Arc::ptr_eq(&of("http://h/a"), &of("https://h/a")));
        let other = Options::new().url("http://h/a").proxy("none");
        let other = gates.of(&Peer::of(&Endpoint::resolve(&other).unwrap()));
        assert!(!Arc::ptr_eq(&of("http://h/a"), &other));
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
        for _ in 0..16 {
            held.push(gate.enter().await.unwrap());
        }
        let more = tokio::time::timeout(Duration::from_secs(1), gate.enter());
        assert!(more.await.is_err());
        held.pop();
        assert!(gate.enter().await.is_ok());
    }
}

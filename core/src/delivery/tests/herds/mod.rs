//! What one process does well, thousands of them must not do together: a server or a leader is away,
//! and then back with a capacity. `DURSTREAM_HERD=10000x10` has so many processes and streams of each;
//! `DURSTREAM_REWRITE=1` draws `docs/pictures/herds.svg`.

mod plot;
mod server;

use std::collections::HashMap;

use rand::RngExt;
use tokio::time::Instant;

use crate::delivery::tests::herds::server::{Asked, Manner, OfProcess, Server};
use crate::delivery::tests::*;
use crate::transport::gate::Gates;

/// Of the capacity, how much is asked for before the outage and during it. A request that fails is
/// repeated up to four times in its first second: more than half would be beyond the bound by that alone.
const LOAD: f64 = 0.4;
/// How long the capacity needs for a request of each stream.
const ALL: f64 = 3.0;
/// Before the server goes away.
const WELL: Duration = Duration::from_secs(5);
/// The longest pause that a producer makes by itself (`retry_max_delay_ms`).
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How many processes, and how many streams each of them has.
fn size() -> (usize, usize) {
    let given = std::env::var("DURSTREAM_HERD").ok();
    let parts = given.as_deref().and_then(|text| text.split_once('x'));
    let number = |text: &str| text.parse().expect("DURSTREAM_HERD=10000x10");
    parts.map_or((40, 10), |(processes, streams)| (number(processes), number(streams)))
}

/// What came of one outage.
struct Herd {
    away: Duration,
    capacity: f64,
    /// From the first second on.
    asked: Vec<Asked>,
    /// How many streams had something to send when the server was back.
    backlog: usize,
    /// How long it took from then until each stream had nothing left.
    emptied: Vec<Duration>,
}

/// Writes to streams at random, as so many processes would together, until the time is over.
async fn keep_writing(engines: &[Arc<Engine>], rate: f64, until: Instant) {
    let mut random: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(7);
    let mut next = Instant::now();
    while next < until {
        tokio::time::sleep_until(next).await;
        let chosen = random.random_range(0..engines.len());
        engines[chosen].accept(&[b"1"]).unwrap();
        let pause: f64 = random.random();
        next += Duration::from_secs_f64(2.0 * pause / rate);
    }
}

/// A process, with chance and gates of its own.
fn process(number: usize, server: &Arc<Server>) -> Arc<Runtime> {
    let gates = Gates::new(Chance::seeded(number as u64 + 7_000_000));
    let transport = OfProcess { number, gates, server: server.clone() };
    network::simulated(Arc::new(transport), Chance::seeded(number as u64))
}

fn herd(manner: Manner, away: Duration) -> Herd {
    let (processes, streams) = size();
    let capacity = (processes * streams) as f64 / ALL;
    in_virtual_time(async {
        let server = Server::new(manner, capacity);
        let open = |number: usize| {
            let runtime = process(number, &server);
            (0..streams)
                .map(|_| start(&runtime, Options::new().delivery_timeout_ms(0u64), None))
                .collect::<Vec<_>>()
        };
        let engines: Vec<_> = (0..processes).flat_map(open).collect();
        keep_writing(&engines, LOAD * capacity, server.began + WELL).await;
        server.set_away(true);
        keep_writing(&engines, LOAD * capacity, server.began + WELL + away).await;
        server.set_away(false);
        let back = Instant::now();
        let waiting: Vec<_> = engines.iter().filter(|one| one.stats().pending > 0).collect();
        let flushes: Vec<_> = waiting.iter().map(|engine| engine.flush()).collect();
        let emptied = flushes.into_iter().map(|flush| async move {
            flush.await.unwrap();
            back.elapsed()
        });
        let mut tasks: tokio::task::JoinSet<_> = emptied.collect();
        let mut emptied = Vec::new();
        while let Some(one) = tasks.join_next().await {
            emptied.push(one.unwrap());
        }
        let undelivered = engines.iter().filter(|engine| {
            let stats = engine.stats();
            stats.delivered != stats.accepted
        });
        assert_eq!(undelivered.count(), 0);
        Herd { away, capacity, asked: server.asked(), backlog: waiting.len(), emptied }
    })
}

impl Herd {
    /// How many requests there were in a second.
    fn in_second(&self, from: Duration) -> f64 {
        let within = |asked: &&Asked| asked.at >= from && asked.at < from + Duration::from_secs(1);
        self.asked.iter().filter(within).count() as f64
    }

    /// When the server was back.
    fn back(&self) -> Duration {
        WELL + self.away
    }

    /// How long the capacity needs, once the clients know that the server is back: a pause is no
    /// longer than the outage was by then.
    fn allowed(&self) -> Duration {
        let served = self.asked.iter().filter(|asked| asked.at >= self.back() && asked.is_served);
        let work = Duration::from_secs_f64(served.count() as f64 / self.capacity);
        work.max(self.away.min(LONGEST_PAUSE))
    }

    /// Tells what came of it, and what of that is out of bounds.
    fn misses(&self, name: &str) -> Vec<String> {
        let seconds = |from: Duration, count: u64| {
            let each = (0..count).map(|n| self.in_second(from + Duration::from_secs(n)));
            each.fold(0.0, f64::max) / self.capacity
        };
        let (while_away, behind) = (seconds(WELL, self.away.as_secs()), seconds(self.back(), 1));
        let last = self.emptied.iter().max().copied().unwrap_or_default();
        let took = last.as_secs_f64() / self.allowed().as_secs_f64();
        println!(
            "{name}, away {} s: at most {while_away:.2} of the capacity while away, {behind:.2} in the \
             second behind, {} queues empty after {last:.2?} ({took:.2} of what is allowed)",
            self.away.as_secs(),
            self.backlog,
        );
        let away = self.away.as_secs();
        let miss = |what: &str| format!("{name}, away {away} s: {what}");
        let bounds = [
            (while_away <= 2.0, "too many requests while it is away"),
            (behind <= 2.0, "too many requests in the second behind"),
            (took <= 1.5, "it takes too long"),
        ];
        bounds.iter().filter(|(holds, _)| !holds).map(|(_, what)| miss(what)).collect()
    }
}

/// The outage of the picture, in seconds.
const DRAWN: u64 = 30;

const MANNERS: [(&str, Manner); 3] = [
    ("nobody listens", Manner::Silent),
    ("503, then 429", Manner::Busy),
    ("503, then 429, with Retry-After", Manner::Asking(1)),
];

#[test]
fn a_server_that_is_back_is_not_overrun() {
    let (mut misses, mut drawn) = (Vec::new(), Vec::new());
    for (name, manner) in MANNERS {
        // The longest one is the most work by far where each stream goes on asking.
        let is_short = manner != Manner::Silent && std::env::var_os("DURSTREAM_HERD").is_none();
        for away in if is_short { &[1, 30][..] } else { &[1, 30, 300] } {
            let away = *away;
            let herd = herd(manner, Duration::from_secs(away));
            misses.extend(herd.misses(name));
            if away == DRAWN {
                drawn.push((name, herd));
            }
        }
    }
    if std::env::var_os("DURSTREAM_REWRITE").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pictures/herds.svg");
        std::fs::write(file, plot::draw(&drawn)).unwrap();
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

/// All of them began to wait in the same moment, and soon none is in step with another.
#[test]
fn no_two_processes_stay_in_step() {
    const ROUNDS: usize = 13;
    let late = ("asked to wait for long", Manner::Asking(30));
    for (name, manner) in MANNERS.into_iter().chain([late]) {
        let asked = in_virtual_time(async {
            let server = Server::new(manner, 1.0);
            server.set_away(true);
            let open = |number: usize| {
                let own = Options::new().delivery_timeout_ms(0u64);
                start(&process(number, &server), own, None)
            };
            let engines: Vec<_> = (0..size().0).map(open).collect();
            for engine in &engines {
                engine.accept(&[b"1"]).unwrap();
            }
            tokio::time::sleep(Duration::from_secs(700)).await;
            server.asked()
        });
        let mut rounds: HashMap<usize, Vec<u128>> = HashMap::new();
        for one in asked {
            rounds.entry(one.process).or_default().push(one.at.as_millis());
        }
        // Three in a row: once may be chance.
        let mut steps: Vec<&[u128]> = rounds.values().map(|own| &own[ROUNDS - 3..ROUNDS]).collect();
        let count = steps.len();
        steps.sort_unstable();
        steps.dedup();
        assert_eq!(steps.len(), count, "{name}");
    }
}

//! The lives of one writer: opened on the same outbox again and again, and killed.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use super::judge::{self, Accepted};
use super::languages::{Language, Life, Place, Said};
use crate::stage::Stage;
use durstream_tests::audit::outcomes::Verdict;
use durstream_tests::failure::{Context, Result};
use durstream_tests::http;
use durstream_tests::numbered::Kind;
use durstream_tests::proxy::{Entry, Proxy, RuleId};
use durstream_tests::random::Random;
use durstream_tests::readback;
use durstream_tests::server::{Durability, Server};
use durstream_tests::signals;

const STREAM_PATH: &str = "/faults/killed";
const WRITER: &str = "a";
/// How long a writer may take to open, to have something in flight, and to deliver what is left.
const LIMIT: Duration = Duration::from_secs(30);
const END_LIMIT: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(1);
/// What the life that is not killed writes.
const LAST_WRITES: usize = 60;
const NEVER: usize = usize::MAX >> 16;
/// The names of what the proxy holds back.
const ANSWERS: &str = "answers";
const REQUESTS: &str = "requests";

/// When a writer is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// While it opens, or shortly after.
    Opening,
    /// At some time.
    Any,
    /// While a batch is in flight that the server has.
    Answers,
    /// While a batch is in flight that the server gets in its next life, or after it.
    Requests,
    /// While the server is dead.
    Outage,
    /// While a batch is in flight, and the server is killed with it.
    Both,
}

const OF_WRITERS: [Moment; 6] = [
    Moment::Answers,
    Moment::Requests,
    Moment::Opening,
    Moment::Answers,
    Moment::Requests,
    Moment::Any,
];
const OF_BOTH: [Moment; 2] = [Moment::Outage, Moment::Both];

/// What the lives of a writer came to.
#[derive(Default)]
pub(crate) struct CameTo {
    pub(crate) kills: usize,
    /// Of these, those while something was in flight, and those before the outbox was open.
    pub(crate) in_flight: usize,
    pub(crate) opening: usize,
    pub(crate) server_kills: usize,
    /// How many writes were found in the outbox, over all lives.
    pub(crate) recovered: u64,
    /// Which may be there twice, as the producers say; and those of them that a session's first batch
    /// in doubt explains.
    pub(crate) flagged: u64,
    pub(crate) excused: u64,
    pub(crate) parted: usize,
    pub(crate) verdict: Verdict,
    pub(crate) problems: Vec<String>,
}

/// Runs all lives of a writer and compares the stream with what it had accepted.
pub(crate) fn run(
    stage: &Stage<'_>,
    language: Language,
    kind: Kind,
    durability: Durability,
    kills: usize,
) -> Result<CameTo> {
    let server = stage.server(durability)?;
    let proxy = stage.proxy(server.address())?;
    let place = Place {
        tree: stage.tree,
        language,
        kind,
        url: proxy.url(),
        stream_path: STREAM_PATH,
        outbox: stage.folder.join("outbox"),
        writer: WRITER,
        log: stage.folder.join("writer.err"),
    };
    let path = format!("/v1/stream{STREAM_PATH}");
    let json = [("Content-Type", kind.content_type())];
    let created = http::send(server.address(), "PUT", &path, &json, b"")?;
    if created.status != 201 {
        return Err(format!("PUT {path} answered {}", created.status).into());
    }
    let log = stage.folder.join("lives.log");
    let mut lives = Lives {
        place,
        server,
        proxy,
        random: Random::new(stage.seed),
        durability,
        accepted: Accepted::default(),
        came_to: CameTo::default(),
        to_open: Duration::from_millis(50),
        was_early: false,
        late: None,
        log: File::create(&log).context(log.display())?,
    };
    for _ in 0..kills {
        lives.one()?;
    }
    lives.last()?;
    lives.judged(kind)
}

struct Lives<'a> {
    place: Place<'a>,
    server: Server,
    proxy: Proxy,
    random: Random,
    durability: Durability,
    accepted: Accepted,
    came_to: CameTo,
    /// How long the writer takes until its outbox is open.
    to_open: Duration,
    /// The writer before was killed before the server had acknowledged anything of it.
    was_early: bool,
    /// Requests of a dead writer that the server gets when so much time has passed since the next
    /// one was open; before, where that is none.
    late: Option<Option<Duration>>,
    /// A line for each life, for those who look for what went wrong.
    log: File,
}

impl Lives<'_> {
    /// A life, and its end.
    fn one(&mut self) -> Result {
        let moment = self.moment();
        let (first, late) = (self.accepted.next(), self.late);
        write!(self.log, "{moment:?} from {first}, late {late:?}: ").context("the log")?;
        self.proxy.clear_log();
        let mut life = Life::start(&self.place, self.accepted.next(), NEVER)?;
        if moment == Moment::Opening {
            let most = self.to_open.as_millis() as u64 * 5 / 4;
            self.pause(0..most.max(2))?;
            return self.killed(life, None);
        }
        self.wait_until_open(&mut life)?;
        if moment == Moment::Any {
            self.pause(1..200)?;
            return self.killed(life, None);
        }
        // A server that forgets may take the first batch of a session anew, and those behind it of which
        // none is sure: so they are flagged where a life before had sent them.
        self.wait_until_answered(&mut life, if self.was_early { 2 } else { 1 })?;
        match moment {
            Moment::Outage => {
                self.server.kill();
                self.pause(1..60)?;
                let killed = self.killed(life, None);
                self.came_to.server_kills += 1;
                self.server.restart()?;
                killed
            }
            Moment::Requests => {
                let rule = self.hold(REQUESTS, "forward")?;
                self.wait_until_held(&mut life, REQUESTS)?;
                let late = self.random.coin().then(|| self.random.within(0..80));
                self.late = Some(late.map(Duration::from_millis));
                self.killed(life, Some((rule, REQUESTS)))
            }
            _ => {
                let rule = self.hold(ANSWERS, "answer")?;
                self.wait_until_held(&mut life, ANSWERS)?;
                if moment == Moment::Both {
                    self.server.kill();
                    self.came_to.server_kills += 1;
                }
                let killed = self.killed(life, Some((rule, ANSWERS)));
                self.proxy.release(ANSWERS);
                if moment == Moment::Both {
                    self.server.restart()?;
                }
                killed
            }
        }
    }

    fn moment(&mut self) -> Moment {
        if self.was_early {
            return Moment::Answers;
        }
        let keeps = self.durability == Durability::Disk;
        let with_server = keeps && self.came_to.kills % 4 == 3;
        if with_server { self.random.one_of(&OF_BOTH) } else { self.random.one_of(&OF_WRITERS) }
    }

    fn pause(&mut self, ms: std::ops::Range<u64>) -> Result {
        std::thread::sleep(Duration::from_millis(self.random.within(ms)));
        signals::check()
    }

    /// Until its outbox is open; what an earlier life sent reaches the server around then.
    fn wait_until_open(&mut self, life: &mut Life) -> Result {
        let late = self.late.take();
        if late == Some(None) {
            self.proxy.release(REQUESTS);
        }
        self.wait(life, "an open outbox", |said| said.opened.is_some())?;
        self.to_open = life.started.elapsed();
        if let Some(Some(after)) = late {
            std::thread::sleep(after);
            self.proxy.release(REQUESTS);
        }
        Ok(())
    }

    /// How many batches of this life the server has acknowledged.
    fn answered(&self) -> usize {
        let is_answer = |entry: &&Entry| {
            let status = entry.answer.as_ref().map(|answer| answer.status);
            entry.method == "POST" && status.is_some_and(|status| matches!(status, 200 | 204))
        };
        self.proxy.log().iter().filter(is_answer).count()
    }

    fn wait_until_answered(&self, life: &mut Life, times: usize) -> Result {
        self.wait(life, "an answer", |_| self.answered() >= times)
    }

    /// What is sent from now on is held back.
    fn hold(&self, name: &str, before: &str) -> Result<RuleId> {
        self.proxy.add_json(&json!({
            "fault": "hold", "name": name, "before": before, "method": "POST", "times": 0,
        }))
    }

    /// Until a batch is in flight, and a little longer.
    fn wait_until_held(&mut self, life: &mut Life, name: &str) -> Result {
        let started = Instant::now();
        while self.proxy.held(name) == 0 {
            life.look()?;
            if started.elapsed() > LIMIT {
                return Err("nothing was in flight".into());
            }
            std::thread::sleep(TICK);
        }
        self.pause(0..40)
    }

    fn wait(&self, life: &mut Life, what: &str, holds: impl Fn(&Said) -> bool) -> Result {
        while !holds(&life.look()?) {
            if life.started.elapsed() > LIMIT {
                return Err(format!("it has not got {what} after {} s", LIMIT.as_secs()).into());
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// Kills it, and notes what it had accepted.
    fn killed(&mut self, life: Life, held: Option<(RuleId, &str)>) -> Result {
        self.came_to.kills += 1;
        if let Some((_, name)) = held {
            self.came_to.in_flight += usize::from(self.proxy.held(name) > 0);
        }
        let said = life.kill()?;
        if let Some((rule, _)) = held {
            self.proxy.remove(rule);
        }
        self.came_to.opening += usize::from(said.opened.is_none());
        self.note(&said)?;
        if said.opened.is_some() {
            self.accepted.was_killed();
            self.was_early = self.answered() == 0;
        }
        Ok(())
    }

    fn note(&mut self, said: &Said) -> Result {
        if let Some(line) = &said.nonsense {
            return Err(format!("the writer said {line:?}").into());
        }
        let Said { opened, last, flagged, .. } = said;
        writeln!(self.log, "found {opened:?}, up to {last:?}, flagged {flagged}")
            .context("the log")?;
        self.came_to.recovered += said.opened.unwrap_or_default();
        self.came_to.flagged += said.flagged;
        self.came_to.excused += if self.was_early { said.flagged } else { 0 };
        if let Some(last) = said.last {
            self.accepted.up_to(last);
        }
        Ok(())
    }

    /// The life that ends by itself, when all is delivered.
    fn last(&mut self) -> Result {
        let first = self.accepted.next();
        let life = Life::start(&self.place, first, first + LAST_WRITES)?;
        if self.late.is_some() {
            std::thread::sleep(self.to_open);
            self.proxy.release(REQUESTS);
        }
        let said = life.finish(END_LIMIT)?;
        self.note(&said)?;
        let written = (self.accepted.next() - first) as u64;
        let found = said.opened.unwrap_or_default() + written;
        if said.ended != Some((found, found)) {
            let problem = format!("{found} to deliver, and it says {:?}", said.ended);
            self.came_to.problems.push(problem);
        }
        Ok(())
    }

    fn judged(self, kind: Kind) -> Result<CameTo> {
        let pages = readback::read_pages(self.server.address(), STREAM_PATH)?;
        let stream = judge::records(kind, &pages)?;
        let mut came_to = self.came_to;
        let copies = judge::copies(&stream);
        // A server that was killed has forgotten its producers. What it then has twice is flagged, and a
        // batch or two in a thousand kills.
        let is_rare = self.durability == Durability::Disk && copies.len() < 2;
        if !is_rare {
            let named = copies.iter().map(|run| format!("there twice: {run:?}"));
            came_to.problems.extend(named);
        }
        came_to.verdict = self.accepted.judge(WRITER, &stream);
        came_to.parted = judge::parted(&stream);
        Ok(came_to)
    }
}

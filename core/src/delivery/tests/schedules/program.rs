//! The program that a schedule describes, as it runs, and what has to be true of it.

use std::ops::Range;
use std::sync::Mutex;

use crate::delivery::buffer::batch::Tag;
use crate::delivery::callbacks::{Callbacks, Delivery, Failure};
use crate::delivery::closing::{CloseWith, close};
use crate::delivery::engine::accept::{Checked, Full, WriteOptions};
use crate::delivery::tests::schedules::schedule::{Identity, Kind, Schedule, Step};
use crate::delivery::tests::schedules::{Broken, Run, broken};
use crate::delivery::tests::*;
use crate::runtime::pending::Pending;
use crate::transport::redirects::Redirects;

/// What no schedule needs: somebody asks in a loop.
const MOST_REQUESTS: usize = 2_000;
/// Texts from here on are not the producer's own, or are the last message of its stream.
pub(super) const OTHERS: u64 = 800_000;
/// What is no JSON value has them twice.
const BROKEN: u64 = 700_000;
const LASTS: u64 = 900_000;

/// The report of a write that a callback received.
#[derive(Debug, Clone)]
struct Told {
    id: u64,
    tag: u64,
    delivered: bool,
}

/// A write that was accepted.
struct Write {
    text: String,
    tag: u64,
}

/// Most writes have a tag, some have none.
fn tag_of(id: u64) -> u64 {
    if id.is_multiple_of(3) { 0 } else { id << 32 }
}

/// Callbacks that note their reports.
fn note(told: &Arc<Mutex<Vec<Told>>>, chance: &Chance) -> Callbacks {
    let (failures, deliveries) = (told.clone(), told.clone());
    let (on_failure, on_success) = (chance.clone(), chance.clone());
    let on_error = move |failure: Failure| {
        on_failure.note(|| format!("{failure:?}"));
        let Failure { id, tag, .. } = failure;
        lock(&failures).push(Told { id, tag, delivered: false });
    };
    let on_delivery = move |delivery: Delivery| {
        on_success.note(|| format!("{delivery:?}"));
        let Delivery { first_id, count, tags, .. } = delivery;
        let tag = |n: u64| tags.get(n as usize).copied().unwrap_or(0);
        let told = |n: u64| Told { id: first_id + n, tag: tag(n), delivered: true };
        lock(&deliveries).extend((0..count).map(told));
    };
    let (on_error, on_delivery) = (Some(Arc::new(on_error) as _), Some(Arc::new(on_delivery) as _));
    Callbacks { on_error, on_delivery, ..Callbacks::default() }
}

/// A result that comes, after no end of requests.
pub(super) async fn in_time<T>(
    server: &Scripted,
    mut pending: Pending<T>,
    what: &str,
) -> Result<crate::Result<T>, Broken> {
    for _ in 0..60 {
        if let Ok(result) = tokio::time::timeout(Duration::from_secs(10), &mut pending).await {
            return Ok(result);
        }
        let seen = &lock(&server.model).seen;
        if seen.len() > MOST_REQUESTS {
            return broken("asks for ever", format!("{what}: {:?}", &seen[seen.len() - 3..]));
        }
    }
    broken("stuck", what)
}

impl Schedule {
    pub(super) fn run(&self) -> Run {
        in_virtual_time(async {
            let server = Scripted::seeded(self.seed, self.faults.clone());
            {
                let mut model = lock(&server.model);
                (model.poison, model.mute) = (self.poison.then_some("13"), self.mute);
                model.full = self.identity == Identity::TooMany;
                model.content_type = (self.kind == Kind::UnknownText).then_some("text/plain");
                model.tells_late = self.tells_late;
                model.sync_takes = Duration::from_millis(self.sync_takes);
                model.live((self.ttl > 0).then(|| Duration::from_millis(self.ttl)));
            }
            let mut program = Program::start(self, server.clone());
            (program.run().await, server.chance.journal())
        })
    }
}

struct Program<'a> {
    schedule: &'a Schedule,
    server: Scripted,
    engine: Arc<Engine>,
    rivals: Vec<Arc<Engine>>,
    /// By its id, from 1.
    writes: Vec<Write>,
    /// The groups among them, by their places.
    groups: Vec<Range<usize>>,
    next: u64,
    lasts: u64,
    told: Arc<Mutex<Vec<Told>>>,
}

impl<'a> Program<'a> {
    fn start(schedule: &'a Schedule, server: Scripted) -> Self {
        let stream = if schedule.cluster { cluster() } else { model() };
        let tail = schedule.knows_tail.then_some("0");
        // One server at each of several addresses: the next is asked where one is slow.
        let transport: Arc<dyn Transport> = match schedule.cluster {
            true => Arc::new(Redirects::new(server.clone(), server.chance.clone())),
            false => Arc::new(server.clone()),
        };
        let runtime = network::simulated(transport, server.chance.clone());
        let content_type = match schedule.kind {
            Kind::Json => StreamType::given("application/json"),
            Kind::UnknownJson | Kind::UnknownText => StreamType::default(),
        };
        let config = Config::new(Scope::Producer, &schedule.options(), "p", content_type).unwrap();
        let ttl = (schedule.ttl > 0).then(|| Duration::from_millis(schedule.ttl));
        let config = Config {
            opened_at: tail.map(Into::into),
            awaited: schedule.identity.is_appends(),
            identified: schedule.identity != Identity::No,
            create: ttl.map(|ttl| Create { ttl: Some(ttl), ..Create::default() }),
            ..config
        };
        let endpoint = Endpoint::resolve(&stream).unwrap();
        let engine = Engine::start_on(runtime, endpoint, config, None, None);
        let told = Arc::default();
        if schedule.callbacks {
            engine.listeners.add(0, note(&told, &server.chance));
        }
        let (rivals, writes, groups) = (Vec::new(), Vec::new(), Vec::new());
        Program { schedule, server, engine, rivals, writes, groups, next: 1, lasts: 0, told }
    }

    async fn run(&mut self) -> Result<(), Broken> {
        for step in &self.schedule.steps {
            self.take(step).await?;
            self.check_accounts()?;
        }
        self.end().await?;
        self.check().await
    }

    async fn take(&mut self, step: &Step) -> Result<(), Broken> {
        let engine = &self.engine;
        match step {
            Step::Write => self.write(false)?,
            Step::WriteBroken => self.write(true)?,
            Step::Group(writes) => self.group(*writes)?,
            Step::WriteInOrder => self.write_in_order(),
            Step::Pause(ms) => sleep(*ms).await,
            Step::Flush => drop(self.in_time(engine.flush(), "a flush").await?),
            Step::DropFlush => drop(engine.flush()),
            Step::Restart => drop(self.in_time(engine.restart(), "a restart").await?),
            Step::DropRestart => drop(engine.restart()),
            Step::Close(message) => self.close(*message).await?,
            Step::DropClose => drop(close(engine, self.last(None))),
            Step::Rival => {
                let rival = self.rival();
                let text = (OTHERS + self.rivals.len() as u64).to_string();
                rival.accept(&[&self.bytes(&text)]).expect("a new one takes a write");
                self.rivals.push(rival);
            }
            Step::Forget => lock(&self.server.model).forget(),
            Step::Crash => lock(&self.server.model).crash(),
            Step::Delete => lock(&self.server.model).delete(),
            Step::Stop(true) => engine.stop_now(),
            Step::Stop(false) => engine.begin_stop(),
        }
        Ok(())
    }

    /// Refused calls take no number: the next one tries the same text again.
    fn write(&mut self, broken_json: bool) -> Result<(), Broken> {
        let text = match broken_json {
            true => format!("{0},{0}", BROKEN + self.next),
            false => self.next.to_string(),
        };
        let id = self.writes.len() as u64 + 1;
        let options = WriteOptions { tag: tag_of(id), block: false };
        let bytes = self.bytes(&text);
        let checked = self.engine.check_message(&bytes);
        let accept = |checked| self.engine.accept_message(&bytes, checked, options);
        let accepted = checked.and_then(accept);
        let Ok(accepted) = accepted else { return Ok(()) };
        self.next += 1;
        self.writes.push(Write { text, tag: options.tag });
        if accepted == id { Ok(()) } else { broken("numbers", format!("{accepted}, not {id}")) }
    }

    fn group(&mut self, writes: u64) -> Result<(), Broken> {
        let texts: Vec<String> =
            (self.next..).take(writes as usize).map(|n| n.to_string()).collect();
        let bytes: Vec<Vec<u8>> = texts.iter().map(|text| self.bytes(text)).collect();
        let first = self.writes.len() as u64 + 1;
        let tags = (first..).map(|id| Tag { number: tag_of(id), holder: 0 });
        let group: Vec<_> = bytes.iter().map(Vec::as_slice).zip(tags).collect();
        let checked: crate::Result<Vec<_>> =
            bytes.iter().map(|own| self.engine.check_message(own)).collect();
        let Ok(checked) = checked else { return Ok(()) };
        let Ok(accepted) = self.engine.accept_group(&group, checked[0], Full::Refused) else {
            return Ok(());
        };
        self.next += writes;
        self.groups.push(self.writes.len()..self.writes.len() + texts.len());
        let tags = group.iter().map(|(_, tag)| tag.number);
        let writes: Vec<_> = texts.into_iter().zip(tags).collect();
        self.writes.extend(writes.into_iter().map(|(text, tag)| Write { text, tag }));
        if accepted == first {
            Ok(())
        } else {
            broken("numbers", format!("{accepted}, not {first}"))
        }
    }

    fn write_in_order(&mut self) {
        let text = self.next.to_string();
        let seq = format!("{:06}", self.next);
        if self.engine.accept_awaited(&self.bytes(&text), Checked::Whole, Some(&seq)).is_ok() {
            self.next += 1;
            self.writes.push(Write { text, tag: 0 });
        }
    }

    /// An end alone carries no identity behind appends.
    fn last(&self, message: Option<&str>) -> CloseWith {
        match message {
            None if self.schedule.identity.is_appends() => CloseWith::Unidentified,
            message => CloseWith::of(message.map(|text| self.bytes(text)).as_deref()),
        }
    }

    /// Of text, the server tells messages by the spaces between them.
    fn bytes(&self, text: &str) -> Vec<u8> {
        let end = if self.schedule.kind == Kind::UnknownText { " " } else { "" };
        format!("{text}{end}").into()
    }

    fn rival(&self) -> Arc<Engine> {
        let content_type = lock(&self.server.model).content_type();
        let (options, content_type) = (Options::new(), StreamType::given(content_type));
        let config = Config::new(Scope::Producer, &options, "p", content_type).unwrap();
        let endpoint = Endpoint::resolve(&model()).unwrap();
        Engine::start_on(runtime(&self.server), endpoint, config, None, None)
    }

    async fn close(&mut self, message: bool) -> Result<(), Broken> {
        self.lasts += 1;
        let text = (LASTS + self.lasts).to_string();
        let last = self.last(message.then_some(&text));
        let ended = self.in_time(close(&self.engine, last), "a close").await?;
        let is_closed = {
            let model = lock(&self.server.model);
            model.closed || model.was_closed
        };
        if ended.is_ok() && !is_closed {
            return broken("closes", "a close that succeeded closed nothing");
        }
        if self.engine.stats().accepted > self.writes.len() as u64 {
            self.writes.push(Write { text, tag: 0 }); // a write of its own
        }
        Ok(())
    }

    async fn in_time<T>(
        &self,
        pending: Pending<T>,
        what: &str,
    ) -> Result<crate::Result<T>, Broken> {
        in_time(&self.server, pending, what).await
    }

    /// Waits for everything that is still to happen.
    async fn end(&mut self) -> Result<(), Broken> {
        drop(self.in_time(self.engine.flush(), "the last flush").await?);
        for rival in &self.rivals {
            drop(self.in_time(rival.flush(), "a rival's flush").await?);
        }
        self.check_accounts()?;
        self.engine.begin_stop();
        let ended = tokio::time::timeout(Duration::from_secs(600), self.engine.ended()).await;
        if ended.is_err() {
            return broken("ends", "it does not");
        }
        self.server.quiet().await;
        Ok(())
    }

    fn check_accounts(&self) -> Result<(), Broken> {
        let s = self.engine.stats();
        let settled = s.delivered + s.rejected + s.cancelled + s.unknown;
        if s.accepted != settled + s.pending || s.accepted != self.writes.len() as u64 {
            return broken("accounts", format!("{} writes, {s:?}", self.writes.len()));
        }
        let undelivered: u64 = s.undelivered.iter().sum();
        if undelivered != settled - s.delivered || s.batch_writes.sum != s.delivered {
            return broken("measures", format!("{s:?}"));
        }
        match self.engine.config.max_buffer_items {
            limit if limit > 0 && s.pending > limit + 1 => broken("bounded", format!("{s:?}")),
            _ => Ok(()),
        }
    }

    async fn check(&self) -> Result<(), Broken> {
        let stored = self.stored();
        let (mut settled, mut late) = (Vec::new(), Vec::new());
        for (id, write) in (1..).zip(&self.writes) {
            let waiting = self.engine.wait(id);
            let Ok(outcome) = tokio::time::timeout(Duration::from_secs(60), waiting).await else {
                return broken("settles", format!("{id} does not"));
            };
            let outcome = outcome.expect("its id is known");
            // One whose end nobody knew may still come to a server that forgot its session, or never
            // had one.
            let may_come = self.schedule.forgets || !self.schedule.identity.is_taken();
            if may_come && outcome.status == Status::DeliveryUnknown {
                late.push(&write.text);
            }
            self.check_outcome(&write.text, &outcome, &stored)?;
            settled.push(outcome);
        }
        let s = self.engine.stats();
        let count = |status| settled.iter().filter(|outcome| outcome.status == status).count();
        for (status, counted) in [
            (Status::Delivered, s.delivered),
            (Status::Rejected, s.rejected),
            (Status::Cancelled, s.cancelled),
            (Status::DeliveryUnknown, s.unknown),
        ] {
            if count(status) as u64 != counted {
                return broken("counts", format!("{} are {status:?}: {s:?}", count(status)));
            }
        }
        self.check_words(&stored)?;
        self.check_groups(&settled, &stored)?;
        check_order(stored.iter().filter(|text| !late.contains(text)))?;
        self.check_callbacks(&settled).await?;
        match self.engine.stats().buffered_bytes {
            0 => Ok(()),
            held => broken("held", format!("{held} bytes, for nothing")),
        }
    }

    /// The messages of every stream that there was.
    fn stored(&self) -> Vec<String> {
        let model = lock(&self.server.model);
        model.before.iter().chain([&model.stored]).flatten().cloned().collect()
    }

    /// Nothing is in the stream that nobody wrote.
    fn check_words(&self, stored: &[String]) -> Result<(), Broken> {
        let is_known = |text: &&String| {
            let is_others = text.parse().is_ok_and(|n: u64| n == 0 || n >= OTHERS);
            is_others || self.writes.iter().any(|write| write.text == **text)
        };
        match stored.iter().find(|text| !is_known(text)) {
            None => Ok(()),
            Some(text) => broken("its own words", format!("nobody wrote {text}: {stored:?}")),
        }
    }

    /// Each group is in the stream whole wherever it is, and its writes are told the same.
    fn check_groups(&self, settled: &[Outcome], stored: &[String]) -> Result<(), Broken> {
        for group in &self.groups {
            let texts: Vec<_> =
                self.writes[group.clone()].iter().map(|write| &write.text).collect();
            let outcomes = &settled[group.clone()];
            if outcomes.iter().any(|other| other.status != outcomes[0].status) {
                return broken("one outcome", format!("{texts:?} are {outcomes:?}"));
            }
            let is_own = |text: &String| texts.contains(&text);
            let first = |at: &usize| stored[*at] == *texts[0];
            let whole = (0..stored.len()).filter(first).filter(|at| {
                let there = stored.get(*at..at + texts.len());
                there.is_some_and(|there| there.iter().eq(texts.iter().copied()))
            });
            if whole.count() * texts.len() != stored.iter().filter(|text| is_own(text)).count() {
                return broken("whole groups", format!("{texts:?} in {stored:?}"));
            }
        }
        Ok(())
    }

    fn check_outcome(
        &self,
        text: &str,
        outcome: &Outcome,
        stored: &[String],
    ) -> Result<(), Broken> {
        let schedule = self.schedule;
        let copies = stored.iter().filter(|other| *other == text).count();
        let truthful = match outcome.status {
            // What is sent again without knowing says that it may be there twice.
            Status::Delivered if outcome.maybe_duplicate => copies > 0,
            Status::Delivered => copies == 1,
            // One that was late when a refusal put it under another tuple may be there twice.
            Status::DeliveryUnknown if schedule.identity == Identity::No => copies <= 1,
            Status::DeliveryUnknown => {
                let was_late = || lock(&self.server.model).late.iter().any(|late| late == text);
                let may_double = schedule.forgets || schedule.mute || schedule.resends;
                let may_double = may_double || schedule.ttl > 0; // once in each stream
                copies <= 1 || may_double || was_late()
            }
            _ => copies == 0,
        };
        let promise = match (outcome.status, copies) {
            _ if truthful => return Ok(()),
            (Status::Delivered, 0) => "lost",
            (Status::Delivered, _) => "doubled",
            (Status::DeliveryUnknown, _) => "unknown and doubled",
            _ => "lied",
        };
        broken(promise, format!("{text} is {outcome:?}, {copies} times in {stored:?}"))
    }

    /// Each write was reported once, with its tag, and the delivered ones in order.
    async fn check_callbacks(&self, settled: &[Outcome]) -> Result<(), Broken> {
        if !self.schedule.callbacks {
            return Ok(());
        }
        sleep(1).await; // they are tasks of their own
        let mut told = lock(&self.told).clone();
        if !told.iter().filter(|told| told.delivered).is_sorted_by_key(|told| told.id) {
            return broken("told in order", format!("{told:?}"));
        }
        told.sort_unstable_by_key(|told| told.id);
        let writes = (1..).zip(&self.writes).zip(settled);
        let as_it_was = |(told, ((id, write), outcome)): (&Told, ((u64, &Write), &Outcome))| {
            (told.id, told.tag, told.delivered) == (id, write.tag, outcome.is_delivered())
        };
        match told.len() == settled.len() && told.iter().zip(writes).all(as_it_was) {
            true => Ok(()),
            false => broken("told once", format!("{settled:?} came to be, and told was {told:?}")),
        }
    }
}

/// The first copy of each write stands in call order.
pub(super) fn check_order<'a>(stored: impl Iterator<Item = &'a String>) -> Result<(), Broken> {
    let mut seen: Vec<u64> = Vec::new();
    for n in stored.filter_map(|m| m.parse().ok()) {
        if n != 0 && n < OTHERS && !seen.contains(&n) {
            seen.push(n);
        }
    }
    if seen.is_sorted() { Ok(()) } else { broken("order", format!("{seen:?}")) }
}

//! [`AppendSink`]: the messages of one source on their way, for callers that drive the source
//! themselves.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::delivery::engine::accept::check_seq;
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::outcome::{FlushReport, Outcome};
use crate::runtime::fork::{generation, made_in};
use crate::runtime::pending::{Completer, Pending, pending};
use crate::runtime::threads::lock;
use crate::stream::handle::DurableStream;

/// How many messages of one source may be under way.
const MAX_UNDER_WAY: usize = 16_384;
/// How many bytes of one source may be under way: enough for the largest batches, and not the whole
/// of a buffer that others use too.
const MAX_BYTES_UNDER_WAY: usize = 16 << 20;

/// Whether an [`AppendSink`] takes a message now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkState {
    /// It has room for a message: ask the source.
    Ready,
    /// It has no room until [`AppendSink::ready`].
    Full,
    /// It takes no more messages, since one was not delivered: ask the source no further.
    Failed,
}

impl SinkState {
    /// The name that bindings show: `ready`, `full` or `failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            SinkState::Ready => "ready",
            SinkState::Full => "full",
            SinkState::Failed => "failed",
        }
    }
}

/// [`DurableStream::append_stream`] for a caller that drives the source itself, in the words of
/// futures' `Sink`: while the [`state`](AppendSink::state) is `Ready`, ask the source and pass its
/// message to [`start_send`](AppendSink::start_send); at the end [`close`](AppendSink::close) the
/// sink.
///
/// One task or thread drives a sink; any may wait for it. Dropped before its end, it leaves the
/// messages it took under way.
pub struct AppendSink {
    shared: Arc<Shared>,
}

struct Shared {
    stream: DurableStream,
    progress: Mutex<Progress>,
    /// Waits for the messages under way.
    waiting: Mutex<Vec<Waiter>>,
    /// The fork generation it was made in: in a child it stops, and none of its locks is touched.
    generation: u64,
}

/// A task, or a wait without one, which may be given up.
struct Waiter {
    waker: Waker,
    wait: Option<Arc<dyn GivenUp>>,
}

#[derive(Default)]
struct Progress {
    /// The `Stream-Seq` of the first message, until that is taken.
    seq: Option<String>,
    /// No other message is taken while one is under way.
    alone: bool,
    /// In order, each message with its size.
    under_way: VecDeque<(usize, Pending<Outcome>)>,
    bytes: usize,
    blocked: Option<Blocked>,
    report: FlushReport,
    undelivered: u64,
    failure: Option<Error>,
}

/// The reason that a message found no room.
enum Blocked {
    /// An earlier message of this source.
    Earlier,
    /// Other writers' messages fill the buffer.
    Room(Pending<()>),
}

impl AppendSink {
    /// A sink for the messages of one source. `seq` is the first message's `Stream-Seq`: the others
    /// are taken once the server took that.
    ///
    /// # Errors
    /// `InvalidArgument` unless `seq` is 1 to 256 visible ASCII characters.
    pub fn new(stream: &DurableStream, seq: Option<&str>) -> Result<AppendSink> {
        check_seq(seq)?;
        let progress = Progress { seq: seq.map(str::to_owned), ..Progress::default() };
        let shared = Shared {
            stream: stream.clone(),
            progress: Mutex::new(progress),
            waiting: Mutex::default(),
            generation: made_in(),
        };
        Ok(AppendSink { shared: Arc::new(shared) })
    }

    /// Holds its locks.
    #[cfg(all(test, unix))]
    pub(super) fn hold(&self) -> impl Sized + '_ {
        (lock(&self.shared.progress), lock(&self.shared.waiting))
    }

    fn is_foreign(&self) -> bool {
        self.shared.generation != generation()
    }

    /// Whether the sink takes a message, as far as is known by now.
    pub fn state(&self) -> SinkState {
        if self.is_foreign() {
            return SinkState::Failed;
        }
        let mut progress = lock(&self.shared.progress);
        progress.collect(None);
        progress.state()
    }

    /// Appends a message, as [`DurableStream::append`] does. `false` if there is no room for it:
    /// offer it again once the sink is [`ready`](Self::ready). A message after a failure is only
    /// counted. On a stream that is not JSON, an empty message is skipped.
    pub fn start_send(&self, message: &[u8]) -> bool {
        if self.is_foreign() {
            return true; // `close` reports it
        }
        let stream = &self.shared.stream;
        let seq = {
            let mut progress = lock(&self.shared.progress);
            if progress.failure.is_some() {
                progress.undelivered += 1;
                return true;
            }
            progress.seq.clone()
        };
        if message.is_empty() && !stream.is_json() {
            return true;
        }
        // Not under the lock: it may settle other messages, and wake their callers.
        let mut appended = stream.append_as(message, seq.as_deref());
        let refusal = appended.now();
        if matches!(&refusal, Some(Err(error)) if error.kind() == ErrorKind::BufferFull) {
            let is_alone = lock(&self.shared.progress).is_settled();
            let blocked = if is_alone { Blocked::Room(stream.room()) } else { Blocked::Earlier };
            lock(&self.shared.progress).blocked = Some(blocked);
            return false;
        }
        let mut progress = lock(&self.shared.progress);
        progress.alone = progress.seq.take().is_some();
        match refusal {
            Some(result) => progress.settle(result),
            None => {
                progress.bytes += message.len();
                progress.under_way.push_back((message.len(), appended));
            }
        }
        true
    }

    /// Counts a message that could not be serialised, as refused.
    pub fn refuse(&self, why: &str) {
        if self.is_foreign() {
            return;
        }
        let error = self.shared.stream.unserialisable(why);
        lock(&self.shared.progress).settle(Err(error));
    }

    /// Ends the sink with the source's own failure.
    pub(super) fn fail(&self, error: Error) {
        if self.is_foreign() {
            return;
        }
        lock(&self.shared.progress).failure.get_or_insert(error);
    }

    /// Waits until [`state`](Self::state) is not [`SinkState::Full`].
    pub fn ready(&self) -> Pending<()> {
        self.when(Progress::is_ready, |_| Ok(()))
    }

    /// Waits until a message was not delivered, or none is under way: for a caller that waits for
    /// its source, which may give nothing for long.
    pub fn stopped(&self) -> Pending<()> {
        self.when(Progress::is_stopped, |_| Ok(()))
    }

    /// Waits until nothing is under way, and reports the outcome of all messages.
    ///
    /// # Errors
    /// `Delivery`, which counts the messages delivered and those not, with the first cause.
    pub fn close(&self) -> Pending<FlushReport> {
        self.when(Progress::is_settled, Self::report)
    }

    fn when<T: Send + 'static>(
        &self,
        is_over: fn(&Progress) -> bool,
        result: fn(&AppendSink) -> Result<T>,
    ) -> Pending<T> {
        if self.is_foreign() {
            return Pending::ready(Err(forked()));
        }
        let is_over_now = {
            let mut progress = lock(&self.shared.progress);
            progress.collect(None);
            is_over(&progress)
        };
        if is_over_now {
            return Pending::ready(result(self));
        }
        lock(&self.shared.waiting)
            .retain(|waiter| waiter.wait.as_ref().is_none_or(|wait| !wait.is_given_up()));
        let (completer, waiting) = pending();
        let (sink, completer) =
            (AppendSink { shared: self.shared.clone() }, Mutex::new(Some(completer)));
        Arc::new(Wait { sink, is_over, result, completer }).wake();
        waiting
    }

    /// [`ready`](Self::ready) for a task of any executor.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll(context, None, Progress::is_ready)
    }

    /// Whether a message was not delivered; if all were, the task is woken when one is not.
    pub(super) fn poll_failed(&self, context: &mut Context<'_>) -> bool {
        self.poll(context, None, |progress| progress.failure.is_some()).is_ready()
    }

    /// [`close`](Self::close) for a task of any executor.
    pub(super) fn poll_close(&self, context: &mut Context<'_>) -> Poll<Result<FlushReport>> {
        self.poll(context, None, Progress::is_settled).map(|()| self.report())
    }

    fn poll(
        &self,
        context: &mut Context<'_>,
        wait: Option<Arc<dyn GivenUp>>,
        is_over: impl Fn(&Progress) -> bool,
    ) -> Poll<()> {
        if self.is_foreign() {
            return Poll::Ready(());
        }
        // Registered first, or a message that settles meanwhile would wake nobody.
        let mut waiting = lock(&self.shared.waiting);
        if !waiting.iter().any(|waiter| waiter.waker.will_wake(context.waker())) {
            waiting.push(Waiter { waker: context.waker().clone(), wait });
        }
        drop(waiting);
        let mut progress = lock(&self.shared.progress);
        progress.collect(Some(&Waker::from(self.shared.clone())));
        if !is_over(&progress) {
            return Poll::Pending;
        }
        // A wait that has ended is not held: it may hold this sink.
        lock(&self.shared.waiting).retain(|waiter| !waiter.waker.will_wake(context.waker()));
        Poll::Ready(())
    }

    fn report(&self) -> Result<FlushReport> {
        if self.is_foreign() {
            return Err(forked());
        }
        let progress = lock(&self.shared.progress);
        let Some(cause) = progress.failure.clone() else { return Ok(progress.report) };
        let (delivered, undelivered) = (progress.report.delivered, progress.undelivered);
        let text = format!(
            "{delivered} messages were delivered, {undelivered} were not: {}",
            cause.message()
        );
        let detail = Detail::Delivery { delivered, undelivered, kept: 0, cause };
        let error = Error::new(ErrorKind::Delivery, text).with_detail(detail);
        Err(error.with_url(self.shared.stream.target().url()))
    }
}

fn forked() -> Error {
    Error::forked("this sink")
}

/// A wait without a task: it ends where the last of its messages settles, also while the library
/// shuts down.
struct Wait<T> {
    sink: AppendSink,
    is_over: fn(&Progress) -> bool,
    result: fn(&AppendSink) -> Result<T>,
    completer: Mutex<Option<Completer<T>>>,
}

trait GivenUp: Send + Sync {
    /// Whether its caller has given it up.
    fn is_given_up(&self) -> bool;
}

impl<T: Send> GivenUp for Wait<T> {
    fn is_given_up(&self) -> bool {
        lock(&self.completer).as_ref().is_some_and(Completer::is_abandoned)
    }
}

impl<T: Send + 'static> Wake for Wait<T> {
    fn wake(self: Arc<Self>) {
        // A wait that has ended must not wait again.
        if lock(&self.completer).is_none() {
            return;
        }
        let waker = Waker::from(self.clone());
        let context = &mut Context::from_waker(&waker);
        if self.sink.poll(context, Some(self.clone()), self.is_over).is_pending() {
            return;
        }
        let completer = lock(&self.completer).take();
        if let Some(completer) = completer {
            completer.complete((self.result)(&self.sink)); // not under the lock: it may wake others
        }
    }
}

impl Wake for Shared {
    /// Called when the oldest message is settled, or there is room.
    fn wake(self: Arc<Self>) {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        waiting.into_iter().for_each(|waiter| waiter.waker.wake());
    }
}

impl Progress {
    /// Takes the outcomes that are there by now; `waker` is woken when there are more.
    fn collect(&mut self, waker: Option<&Waker>) {
        while let Some((size, oldest)) = self.under_way.front_mut() {
            let size = *size;
            let Some(result) = look(oldest, waker) else { break };
            self.under_way.pop_front();
            self.bytes -= size;
            self.blocked = None;
            self.settle(result);
        }
        // If there never will be room, the next attempt says why, or finds another writer.
        let is_over = match &mut self.blocked {
            Some(Blocked::Earlier) => self.under_way.is_empty(),
            Some(Blocked::Room(room)) => look(room, waker).is_some(),
            None => false,
        };
        if is_over {
            self.blocked = None;
        }
    }

    fn settle(&mut self, result: Result<Outcome>) {
        match result {
            Ok(outcome) => {
                self.report.delivered += 1;
                self.report.duplicates += u64::from(outcome.duplicate);
                self.report.uncertain += u64::from(outcome.maybe_duplicate);
            }
            Err(error) => {
                self.undelivered += 1;
                self.failure.get_or_insert(error);
            }
        }
    }

    fn state(&self) -> SinkState {
        let full = self.under_way.len() >= MAX_UNDER_WAY || self.bytes >= MAX_BYTES_UNDER_WAY;
        let waits = full || self.blocked.is_some() || (self.alone && !self.is_settled());
        match (&self.failure, waits) {
            (Some(_), _) => SinkState::Failed,
            (None, true) => SinkState::Full,
            (None, false) => SinkState::Ready,
        }
    }

    fn is_ready(&self) -> bool {
        self.state() != SinkState::Full
    }

    fn is_stopped(&self) -> bool {
        self.failure.is_some() || self.is_settled()
    }

    fn is_settled(&self) -> bool {
        self.under_way.is_empty()
    }
}

/// A result, if it is there; else `waker` is woken when it is.
fn look<T>(pending: &mut Pending<T>, waker: Option<&Waker>) -> Option<Result<T>> {
    let Some(waker) = waker else { return pending.now() };
    match Pin::new(pending).poll(&mut Context::from_waker(waker)) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    #[test]
    fn waits_that_were_given_up_do_not_gather() {
        let stream = DurableStream::connect(Options::new().url("http://127.0.0.1:1/s")).unwrap();
        let sink = AppendSink::new(&stream, Some("1")).unwrap();
        assert!(sink.start_send(b"x") && sink.state() == SinkState::Full);
        let mut wanted = sink.stopped();
        for _ in 0..10 {
            drop((sink.ready(), sink.stopped(), sink.close()));
        }
        let kept = lock(&sink.shared.waiting).len();
        assert!(wanted.now().is_none() && kept <= 1 + 3, "{kept} waits are kept");
    }
}

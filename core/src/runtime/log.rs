//! The library's log: a line at a time, to the host's sink or standard error.
//!
//! Lines go through a bounded queue to a thread of their own, so that no thread waits for the host:
//! not for a standard error that nobody reads, not for a sink that blocks. A line that finds the
//! queue full is dropped and counted, and the next line that is written is preceded by the count.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::runtime::chance::real_now;
use crate::runtime::fork::{generation, uncut};
use crate::runtime::log_line::{About, LogLevel, LogLine, Target};
use crate::runtime::log_writers::{is_traced, log_to_stderr, trace};
use crate::runtime::notice::Notice;
use crate::runtime::rarely::{Rarely, counted};
use crate::runtime::threads::{lock, spawn};

/// Lines that wait to be written.
const QUEUE: usize = 256;
/// How long the thread stays when there is nothing to write.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// The last level that the sink, or standard error, gets lines of.
static LEVEL: AtomicI32 = AtomicI32::new(LogLevel::Info as i32);

type Sink = Arc<dyn Fn(&LogLine) -> bool + Send + Sync>;

struct State {
    sink: Option<Sink>,
    /// The sink panicked, and that was said.
    is_panic_told: bool,
    writer: Option<Writer>,
    /// Lines dropped and not yet reported, and their generation: the parent reports the lines that
    /// it dropped.
    dropped: (u64, u64),
}

enum Line {
    Text(LogLine),
    /// A caller waits for the thread's end.
    End,
}

/// The thread, and the way to it. Another one starts only once this one has written its last line.
struct Writer {
    lines: SyncSender<Line>,
    thread: JoinHandle<()>,
    generation: u64,
}

/// Locked inside [`uncut`] alone: a child finds it free.
static STATE: Mutex<State> =
    Mutex::new(State { sink: None, is_panic_told: false, writer: None, dropped: (0, 0) });

/// When lines come that would come again and again, by their word. Locked inside [`uncut`] alone.
static SAID: Mutex<Vec<(&'static str, Rarely)>> = Mutex::new(Vec::new());

/// Sends the library's log to `sink`, in place of the application's `tracing` subscriber or, where
/// there is none, standard error. One line at a time, on a thread of the library's, which nothing
/// else waits for: while the sink blocks, further lines are dropped and counted. It may call the
/// library, but what waits fails there with `would-deadlock`. If it panics, the line goes to
/// standard error.
pub fn set_log_sink(sink: impl Fn(&LogLine) + Send + Sync + 'static) {
    set_log_taker(move |line| {
        sink(line);
        true
    });
}

/// [`set_log_sink`] for a sink that says whether it took the line; else standard error gets it.
#[doc(hidden)]
pub fn set_log_taker(sink: impl Fn(&LogLine) -> bool + Send + Sync + 'static) {
    let sink: Sink = Arc::new(sink);
    let before = uncut(|| {
        let mut state = lock(&STATE);
        state.is_panic_told = false;
        state.sink.replace(sink)
    });
    drop(before); // not under the lock: it is the host's
}

/// Sets how much the sink, or standard error, gets: lines of this level and of those that matter
/// more. [`LogLevel::Info`] until it is set; `None` for no lines. A `tracing` subscriber chooses for
/// itself, under the targets `durstream::producer`, `durstream::connection` and `durstream::process`.
pub fn set_log_level(level: Option<LogLevel>) {
    LEVEL.store(level.map_or(0, |level| level as i32), Ordering::Relaxed);
}

fn is_wanted(level: LogLevel) -> bool {
    level as i32 <= LEVEL.load(Ordering::Relaxed)
}

/// Queues a warning about the whole process. Waits for nothing.
pub(crate) fn warn(notice: Notice, text: &str) {
    warn_with(notice.word(), Target::Process, About::default, || text.to_owned());
}

/// Queues a warning about the way to a host. Waits for nothing.
pub(crate) fn warn_of_connection(notice: Notice, text: &str) {
    warn_with(notice.word(), Target::Connection, About::default, || text.to_owned());
}

/// Queues a line about a host that is well again. Waits for nothing.
pub(crate) fn inform_of_connection(text: &str) {
    log(LogLevel::Info, Target::Connection, About::default, || text.to_owned());
}

/// Queues a warning that ends in a word of `docs/errors.md`. Waits for nothing.
pub(crate) fn warn_with(
    word: &'static str,
    target: Target,
    about: impl FnOnce() -> About,
    text: impl FnOnce() -> String,
) {
    attend(LogLevel::Warning, word, target, about, text);
}

/// Queues a warning, unless there was one with its word just before: what happens to one producer of
/// a process happens to thousands at once. Waits for nothing.
pub(crate) fn warn_rarely(
    word: &'static str,
    target: Target,
    about: impl FnOnce() -> About,
    text: impl FnOnce() -> String,
) {
    let Some(left_out) = uncut(|| {
        let mut said = lock(&SAID);
        if !said.iter().any(|(own, _)| *own == word) {
            said.push((word, Rarely::new()));
        }
        let (_, rarely) = said.iter_mut().find(|(own, _)| *own == word)?;
        rarely.due(real_now().into())
    }) else {
        return;
    };
    warn_with(word, target, about, || counted(text(), left_out));
}

/// Queues a line that wants attention, with its word. Waits for nothing.
pub(crate) fn attend(
    level: LogLevel,
    word: &'static str,
    target: Target,
    about: impl FnOnce() -> About,
    text: impl FnOnce() -> String,
) {
    if is_wanted(level) || is_traced(level) {
        queue(LogLine::new(level, target, about(), &text(), Some(word)));
    }
}

/// Queues a line, made only if anybody wants to know. Waits for nothing.
pub(crate) fn log(
    level: LogLevel,
    target: Target,
    about: impl FnOnce() -> About,
    text: impl FnOnce() -> String,
) {
    if is_wanted(level) || is_traced(level) {
        queue(LogLine::new(level, target, about(), &text(), None));
    }
}

fn queue(line: LogLine) {
    uncut(|| {
        let mut state = lock(&STATE);
        if !state.queue(Line::Text(line)) {
            state.drop_lines(1);
        }
    });
}

/// Ends the thread once the queued lines are written, and waits for that, up to a limit.
/// Destructors of the thread itself are not waited for: they may need a lock that the caller holds.
pub(crate) fn close(limit: Duration) {
    let started = real_now();
    let mut asked = false;
    while started.elapsed() < limit {
        let ended = uncut(|| {
            let mut state = lock(&STATE);
            let writer = state.own_writer()?;
            asked = asked || writer.lines.try_send(Line::End).is_ok();
            writer.thread.is_finished().then(|| state.writer.take())
        });
        match ended {
            Some(_ended) => return,
            None if uncut(|| lock(&STATE).own_writer().is_none()) => return,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

impl State {
    /// Queues a line; whether there was room for it.
    fn queue(&mut self, mut line: Line) -> bool {
        for _ in 0..2 {
            if self.own_writer().is_none() {
                self.writer = Writer::start();
            }
            let Some(writer) = &self.writer else { return false };
            match writer.lines.try_send(line) {
                Ok(()) => return true,
                Err(TrySendError::Full(_)) => return false,
                Err(TrySendError::Disconnected(unsent)) => line = unsent, // it had just ended
            }
            self.writer = None;
        }
        false
    }

    fn drop_lines(&mut self, count: u64) {
        let known = self.take_dropped();
        self.dropped = (known + count, generation());
    }

    fn take_dropped(&mut self) -> u64 {
        let (count, made_in) = std::mem::take(&mut self.dropped);
        if made_in == generation() { count } else { 0 }
    }

    /// The writer of this process: the parent's thread is not here, and its queue leads nowhere.
    fn own_writer(&mut self) -> Option<&Writer> {
        let inherited = self.writer.take_if(|writer| writer.generation != generation());
        inherited.into_iter().for_each(std::mem::forget);
        self.writer.as_ref()
    }
}

impl Writer {
    fn start() -> Option<Self> {
        let (lines, queue) = sync_channel(QUEUE);
        let thread = spawn("durstream-log", move || write_all(queue)).ok()?;
        Some(Writer { lines, thread, generation: generation() })
    }
}

/// The body of the thread.
fn write_all(mut queue: Receiver<Line>) {
    let mut patience = KEEP_ALIVE;
    loop {
        let next = match queue.recv_timeout(patience) {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => match unless_empty(queue) {
                Some((line, rest)) => {
                    queue = rest;
                    line
                }
                None => return,
            },
            Ok(line) => line,
        };
        match next {
            Line::Text(line) => write(&line),
            Line::End => patience = Duration::ZERO,
        }
    }
}

/// The next line, or `None` and the end of the queue: no line is queued afterwards.
fn unless_empty(queue: Receiver<Line>) -> Option<(Line, Receiver<Line>)> {
    uncut(|| {
        let _nobody_queues = lock(&STATE);
        match queue.try_recv() {
            Ok(line) => Some((line, queue)),
            Err(_) => {
                drop(queue);
                None
            }
        }
    })
}

/// Writes a line, behind the number of those that were dropped before it.
fn write(line: &LogLine) {
    let (sink, dropped) = uncut(|| {
        let mut state = lock(&STATE);
        (state.sink.clone(), state.take_dropped())
    });
    let drop_lines = |count| uncut(|| lock(&STATE).drop_lines(count));
    let count = match dropped {
        0 => None,
        1 => Some("1 line of this log was dropped: it could not be written in time".to_owned()),
        n => Some(format!("{n} lines of this log were dropped: they could not be written in time")),
    };
    if let Some(count) = count
        && !write_one(sink.as_ref(), &about_the_log(&count))
    {
        drop_lines(dropped); // it is still to be reported
    }
    if !write_one(sink.as_ref(), line) {
        drop_lines(1);
    }
}

fn about_the_log(text: &str) -> LogLine {
    let word = Some(Notice::LinesDropped.word());
    LogLine::new(LogLevel::Warning, Target::Process, About::default(), text, word)
}

/// Writes one line; whether it was taken, or nobody wants it.
fn write_one(sink: Option<&Sink>, line: &LogLine) -> bool {
    if sink.is_none() && trace(line) {
        return true;
    }
    if !is_wanted(line.level) {
        return true;
    }
    let Some(sink) = sink else { return log_to_stderr(&line.text) };
    match catch_unwind(AssertUnwindSafe(|| sink(line))) {
        Ok(true) => true,
        Ok(false) => log_to_stderr(&line.text),
        Err(_) => {
            // Not reported through the sink itself, which would panic again.
            if !uncut(|| std::mem::replace(&mut lock(&STATE).is_panic_told, true)) {
                log_to_stderr("the function for the log panics; what it does not take is here");
            }
            log_to_stderr(&line.text)
        }
    }
}

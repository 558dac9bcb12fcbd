//! The library's log: a line at a time, to the host's sink or standard error.
//!
//! Lines go through a bounded queue to a thread of their own, so that no thread waits for the host:
//! not for a standard error that nobody reads, not for a sink that blocks. A line that finds the
//! queue full is dropped and counted, and the next line that is written is preceded by the count.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{CUT, start};
use crate::runtime::chance::real_now;
use crate::runtime::fork::{generation, uncut};
use crate::runtime::threads::{lock, spawn};

/// Lines that wait to be written.
const QUEUE: usize = 256;
/// The longest line, in bytes.
const LINE: usize = 4096;
/// How long the thread stays when there is nothing to write.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// How much a line of the log matters. The numbers are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(i32)]
pub enum LogLevel {
    /// Something needs attention.
    Warning = 2,
    /// Something is well again.
    Info = 3,
}

type Sink = Arc<dyn Fn(LogLevel, &str) + Send + Sync>;

struct State {
    sink: Option<Sink>,
    writer: Option<Writer>,
    /// Lines dropped and not yet reported, and their generation: the parent reports the lines that
    /// it dropped.
    dropped: (u64, u64),
}

enum Line {
    Text(LogLevel, String),
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
static STATE: Mutex<State> = Mutex::new(State { sink: None, writer: None, dropped: (0, 0) });

/// Sends the library's log to `sink` in place of standard error. One line at a time, on a
/// thread of the library's; it must not call back into the library. While it blocks, further lines
/// are dropped and counted.
pub fn set_log_sink(sink: impl Fn(LogLevel, &str) + Send + Sync + 'static) {
    let sink: Sink = Arc::new(sink);
    let before = uncut(|| lock(&STATE).sink.replace(sink));
    drop(before); // not under the lock: it is the host's
}

/// Queues a warning. Waits for nothing.
pub(crate) fn warn(text: &str) {
    queue(LogLevel::Warning, text);
}

/// Queues a line about something that is well again. Waits for nothing.
pub(crate) fn info(text: &str) {
    queue(LogLevel::Info, text);
}

fn queue(level: LogLevel, text: &str) {
    let mut line = start(text, LINE).to_owned();
    if line.len() < text.len() {
        line.push_str(CUT);
    }
    uncut(|| {
        let mut state = lock(&STATE);
        if !state.queue(Line::Text(level, line)) {
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
            Line::Text(level, line) => write(level, &line),
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
fn write(level: LogLevel, line: &str) {
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
        && !write_one(sink.as_ref(), LogLevel::Warning, &count)
    {
        drop_lines(dropped); // it is still to be reported
    }
    if !write_one(sink.as_ref(), level, line) {
        drop_lines(1);
    }
}

/// Writes one line; whether the sink or standard error took it.
fn write_one(sink: Option<&Sink>, level: LogLevel, line: &str) -> bool {
    let Some(sink) = sink else { return log_to_stderr(line) };
    // Not reported through the sink itself, which would panic again.
    let panicked = catch_unwind(AssertUnwindSafe(|| sink(level, line))).is_err();
    !panicked || log_to_stderr(&format!("the function for the log panicked on this line: {line}"))
}

/// Writes a line to standard error, as without a sink; whether it was taken. For the sinks of
/// bindings that do not always take a line themselves.
///
/// Past the standard library's own handle, whose lock a host's thread may hold at a fork.
#[cfg(unix)]
#[doc(hidden)]
#[allow(unsafe_code, reason = "standard error is written to without its lock")]
pub fn log_to_stderr(line: &str) -> bool {
    use std::io::Write;
    use std::os::fd::FromRawFd;
    // SAFETY: the descriptor is the host's; `ManuallyDrop` keeps it open. Closed, writing fails.
    let stderr = unsafe { std::fs::File::from_raw_fd(2) };
    let mut stderr = std::mem::ManuallyDrop::new(stderr);
    stderr.write_all(format!("durstream: {line}\n").as_bytes()).is_ok()
}

#[cfg(not(unix))]
#[doc(hidden)]
pub fn log_to_stderr(line: &str) -> bool {
    use std::io::Write;
    writeln!(std::io::stderr(), "durstream: {line}").is_ok()
}

//! The core's log on its way to a function of JavaScript.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use durstream_core::{LogLevel, LogLine};
use napi::Status;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use serde_json::json;

use crate::crossing::guarded;

/// Weak: it does not keep Node alive. A call says that there are lines to take.
type Channel = ThreadsafeFunction<(), (), (), Status, false, true>;

/// Lines that wait for the event loop; standard error gets those behind.
const WINDOW: usize = 1024;

/// The lines that wait for the JavaScript of one thread.
#[napi]
pub struct LogLines {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    lines: Mutex<VecDeque<String>>,
    /// The thread's event loop has ended, or another function takes the log.
    is_over: AtomicBool,
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Keeps a line; whether it was kept, and is the first that waits.
    fn push(&self, line: &LogLine) -> (bool, bool) {
        let mut lines = self.lines();
        if self.is_over.load(Ordering::Acquire) || lines.len() >= WINDOW {
            return (false, false);
        }
        lines.push_back(text_of(line));
        (true, lines.len() == 1)
    }

    /// Takes no more lines, and writes those that wait to standard error.
    fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        for line in std::mem::take(&mut *self.lines()) {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            durstream_core::log_to_stderr(line["message"].as_str().unwrap_or_default());
        }
    }
}

/// A line as JSON, under the names that JavaScript's loggers have.
fn text_of(line: &LogLine) -> String {
    let mut shown = json!({
        "level": line.level().as_str(),
        "message": line.text(),
        "target": line.target(),
    });
    let fields = [
        ("stream", line.stream().map(Into::into)),
        ("producerId", line.producer_id().map(Into::into)),
        ("epoch", line.epoch().map(Into::into)),
        ("attempt", line.attempt().map(Into::into)),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            shown[name] = value;
        }
    }
    shown.to_string()
}

#[napi]
impl LogLines {
    /// Makes `call` be called, on this thread, when there are lines to take.
    #[napi(constructor)]
    pub fn new(call: Function<'_, (), ()>) -> napi::Result<Self> {
        let builder = call.build_threadsafe_function::<()>();
        let channel: Channel = builder.callee_handled::<false>().weak::<true>().build()?;
        let shared = Arc::<Shared>::default();
        let own = shared.clone();
        durstream_core::set_log_taker(move |line| {
            let (is_kept, is_first) = own.push(line);
            if is_first && channel.call((), ThreadsafeFunctionCallMode::NonBlocking) != Status::Ok {
                own.end(); // the event loop has ended
            }
            is_kept
        });
        Ok(LogLines { shared })
    }

    /// The lines that wait.
    #[napi]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.lines()).into()
    }

    /// Takes no more lines: standard error gets them.
    #[napi]
    pub fn end(&self) {
        self.shared.end();
    }
}

/// Sets the last level that the core has lines of, by its number; 0 for none.
#[napi]
pub fn set_log_level(level: i32) {
    durstream_core::set_log_level(LogLevel::from_number(level));
}

/// Waits for moments until the lines so far have come where they go.
#[napi]
pub fn drain_log() -> napi::Result<()> {
    guarded(|| {
        durstream_core::drain_log();
        Ok(())
    })
}

/// Writes a line to standard error, as without a logger.
#[napi]
pub fn log_to_stderr(line: String) {
    durstream_core::log_to_stderr(&line);
}

//! The lines of the log about a producer's sessions and requests.

use std::time::Duration;

use crate::delivery::task::Task;
use crate::error::{Error, ErrorKind};
use crate::runtime::log;
use crate::runtime::log_line::{About, LogLevel, Target};
use crate::runtime::notice::Notice;

impl Task {
    /// Queues a line about a step of this producer.
    pub(super) fn debug(&self, text: impl FnOnce() -> String) {
        self.log(LogLevel::Debug, text);
    }

    /// Queues a line about a request.
    pub(super) fn trace(&self, text: impl FnOnce() -> String) {
        self.log(LogLevel::Trace, text);
    }

    /// The server forgot the session.
    pub(super) fn tell_session_lost(&self) {
        let epoch = self.session.epoch;
        self.engine.warn_rarely(Notice::SessionLost.word(), epoch, || {
            format!(
                "the server has lost the session (epoch {epoch}): it was restarted without its \
                 memory, or with older data; going on in another one"
            )
        });
    }

    /// A timer came late.
    pub(super) fn tell_clock_jump(&self, late: Duration) {
        self.engine.warn_rarely(Notice::ClockJump.word(), self.session.epoch, || {
            format!(
                "the process stood still for {:.1} s, or the clock jumped; what waits gets the time \
                 of one more attempt",
                late.as_secs_f64()
            )
        });
    }

    /// The server refuses what waiting may mend. That it is busy or broken, its connection tells.
    pub(super) fn tell_refused(&mut self, error: &Error) {
        use ErrorKind::{NotSupported, Protocol, StreamGone, StreamNotFound, Unauthorized};
        let kind = error.kind();
        let is_told = error.status().is_some_and(|status| status < 500)
            && matches!(kind, NotSupported | Protocol | StreamGone | StreamNotFound | Unauthorized);
        if is_told {
            self.is_refusal_told = true;
            let text = || format!("{error}; trying again");
            self.engine.warn_rarely(kind.code(), self.session.epoch, text);
        }
    }

    /// The server took something.
    pub(super) fn tell_going_on(&mut self) {
        if std::mem::take(&mut self.is_refusal_told) {
            self.log(LogLevel::Info, || "requests are taken again".to_owned());
        }
    }

    fn log(&self, level: LogLevel, text: impl FnOnce() -> String) {
        let about = || About {
            attempt: Some(self.failures).filter(|failures| *failures > 0),
            ..self.engine.about(self.session.epoch)
        };
        let text = || self.engine.line(&text());
        log::log(level, Target::Producer, about, text);
    }
}

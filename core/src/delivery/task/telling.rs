//! The lines of the log about a producer's sessions and requests.

use crate::delivery::task::Task;
use crate::runtime::log;
use crate::runtime::log_line::{About, LogLevel, Target};

impl Task {
    /// Queues a line about a step of this producer.
    pub(super) fn debug(&self, text: impl FnOnce() -> String) {
        self.log(LogLevel::Debug, text);
    }

    /// Queues a line about a request.
    pub(super) fn trace(&self, text: impl FnOnce() -> String) {
        self.log(LogLevel::Trace, text);
    }

    fn log(&self, level: LogLevel, text: impl FnOnce() -> String) {
        let about = || About {
            epoch: Some(self.session.epoch),
            attempt: Some(self.failures).filter(|failures| *failures > 0),
            ..self.engine.about()
        };
        let text = || format!("producer {}: {}", self.engine.config.producer_id, text());
        log::log(level, Target::Producer, about, text);
    }
}

//! The lifecycle of a producer: its contact with the server, how it was asked to end, and its end.

use crate::error::{Error, Result};
use crate::reason::Reason;

/// The state of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum Lifecycle {
    /// Nothing was acknowledged yet.
    Connecting = 1,
    /// Writes go through.
    Ready = 2,
    /// The first contact failed; waiting to try again.
    Backoff = 3,
    /// Contact was lost; waiting to try again.
    Reconnecting = 4,
    /// No new writes; the accepted ones are being delivered.
    Stopping = 5,
    /// Stopped, with everything settled.
    Stopped = 6,
    /// Ended for a reason that will not go away.
    Failed = 7,
    /// Another producer with the same id took over.
    Fenced = 8,
}

impl Lifecycle {
    /// The name shown in every language.
    pub fn as_str(self) -> &'static str {
        match self {
            Lifecycle::Connecting => "connecting",
            Lifecycle::Ready => "ready",
            Lifecycle::Backoff => "backoff",
            Lifecycle::Reconnecting => "reconnecting",
            Lifecycle::Stopping => "stopping",
            Lifecycle::Stopped => "stopped",
            Lifecycle::Failed => "failed",
            Lifecycle::Fenced => "fenced",
        }
    }
}

/// A producer went from one state to another, as `on_state` receives it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StateChange {
    /// The state before.
    pub from: Lifecycle,
    /// The state from here on.
    pub to: Lifecycle,
    /// Why, where a failure is the reason.
    pub error: Option<Error>,
}

/// As many changes wait for callbacks that are slow; beyond these the last two become one.
const MOST_UNTOLD: usize = 64;

/// How a stop was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Stop {
    No,
    /// Deliver what was accepted, then end.
    Drain,
    /// End now.
    Now,
}

/// Why a producer takes no more writes, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The host asked it to.
    Stopped,
    /// For a reason that will not go away.
    Failed,
    /// Another producer with the same id took over.
    Fenced,
}

/// A step in a producer's lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The server answered.
    Contact,
    /// The server did not answer, or asked for a pause.
    ContactLost,
    /// The host asked for a stop.
    Asked(Stop),
    /// The end of the stream was asked for.
    CloseBegan,
    /// The stream was ended, or could not be ended.
    CloseOver,
    /// No more writes are taken, for good.
    Ended(End),
    /// The task is gone, and everything is settled.
    TaskOver,
    /// A fenced producer starts over: another task begins.
    Restarted,
}

/// The lifecycle as a state machine. It refuses an illegal step; in a test the step fails the test.
#[derive(Debug)]
pub(crate) struct StateMachine {
    /// `Connecting`, `Ready`, `Backoff` or `Reconnecting`.
    contact: Lifecycle,
    stop: Stop,
    is_closing: bool,
    end: Option<(End, Error)>,
    /// The host's callbacks were told of an end that nobody asked for.
    is_end_told: bool,
    is_task_over: bool,
    /// The state that the last change led to.
    told: Lifecycle,
    changes: Vec<StateChange>,
    /// The changes that no callback was called for yet.
    untold: Vec<StateChange>,
    #[cfg(test)]
    trace: Vec<Step>,
}

impl Default for StateMachine {
    fn default() -> Self {
        StateMachine {
            contact: Lifecycle::Connecting,
            stop: Stop::No,
            is_closing: false,
            end: None,
            is_end_told: false,
            is_task_over: false,
            told: Lifecycle::Connecting,
            changes: Vec::new(),
            untold: Vec::new(),
            #[cfg(test)]
            trace: Vec::new(),
        }
    }
}

impl StateMachine {
    /// The state that handles show: the end of a producer stays, and a producer that was asked to
    /// end shows only its end.
    pub(crate) fn state(&self) -> Lifecycle {
        match self.end {
            Some((End::Failed, _)) => Lifecycle::Failed,
            Some((End::Fenced, _)) => Lifecycle::Fenced,
            _ if self.is_task_over => Lifecycle::Stopped,
            _ if self.stop != Stop::No => Lifecycle::Stopping,
            _ => self.contact,
        }
    }

    pub(crate) fn stop(&self) -> Stop {
        self.stop
    }

    /// A close is under way: no new writes until it succeeded or failed.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.end.as_ref().map(|(end, _)| *end)
    }

    /// Why the producer takes no more writes, once that is final.
    pub(crate) fn error(&self) -> Option<&Error> {
        self.end.as_ref().map(|(_, error)| error)
    }

    /// Refuses, with the reason, if the producer takes no writes: for good, or while a close is
    /// under way.
    pub(crate) fn check_open(&self) -> std::result::Result<(), (Error, Reason)> {
        match &self.end {
            Some((End::Stopped, error)) => Err((error.clone(), Reason::ProducerStopped)),
            Some((_, error)) => Err((error.clone(), Reason::ProducerFailed)),
            None if self.is_ending() => Err((Error::closed(), Reason::ProducerStopping)),
            None => Ok(()),
        }
    }

    /// Refuses if the producer takes no more writes for good, whatever becomes of a close.
    pub(crate) fn check_alive(&self) -> Result<()> {
        match self.error() {
            Some(error) => Err(error.clone()),
            None if self.stop != Stop::No => Err(Error::closed()),
            None => Ok(()),
        }
    }

    /// Whether the host asked for the end of the producer, or of its stream.
    pub(crate) fn is_ending(&self) -> bool {
        self.stop != Stop::No || self.is_closing
    }

    pub(crate) fn contact(&mut self) {
        if self.step(Step::Contact) {
            self.contact = Lifecycle::Ready;
            self.note_change(None);
        }
    }

    pub(crate) fn contact_lost(&mut self, why: &Error) {
        if self.step(Step::ContactLost) {
            self.contact = match self.contact {
                Lifecycle::Connecting | Lifecycle::Backoff => Lifecycle::Backoff,
                _ => Lifecycle::Reconnecting,
            };
            self.note_change(Some(why));
        }
    }

    /// Asks for a stop. A weaker wish than an earlier one changes nothing.
    pub(crate) fn ask(&mut self, stop: Stop) {
        if stop > self.stop && self.step(Step::Asked(stop)) {
            self.stop = stop;
            self.note_change(None);
        }
    }

    pub(crate) fn begin_close(&mut self) {
        self.is_closing |= self.step(Step::CloseBegan);
    }

    pub(crate) fn end_close(&mut self) {
        self.is_closing &= !self.step(Step::CloseOver);
    }

    /// Ends the producer; the first reason stays.
    pub(crate) fn end_with(&mut self, end: End, error: Error) {
        if self.step(Step::Ended(end)) {
            let (end, error) = self.end.get_or_insert((end, error));
            let why = (*end != End::Stopped).then(|| error.clone());
            self.note_change(why.as_ref());
        }
    }

    fn note_change(&mut self, why: Option<&Error>) {
        let to = self.state();
        let from = std::mem::replace(&mut self.told, to);
        if from != to {
            self.changes.push(StateChange { from, to, error: why.cloned() });
        }
    }

    /// The changes since this was asked last.
    pub(crate) fn take_changes(&mut self) -> Vec<StateChange> {
        std::mem::take(&mut self.changes)
    }

    /// Keeps changes for the callbacks; whether these have to be called for them. Else they will be,
    /// for earlier ones.
    pub(crate) fn keep_untold(&mut self, changes: &[StateChange]) -> bool {
        let was_empty = self.untold.is_empty();
        for change in changes {
            let is_full = self.untold.len() >= MOST_UNTOLD;
            match self.untold.last_mut().filter(|_| is_full) {
                Some(last) => *last = StateChange { from: last.from, ..change.clone() },
                None => self.untold.push(change.clone()),
            }
        }
        was_empty && !self.untold.is_empty()
    }

    /// The state that the callbacks know, or have to know, before the changes that are kept.
    pub(crate) fn known(&self) -> Lifecycle {
        self.untold.first().map_or(self.told, |change| change.from)
    }

    /// The changes that no callback was called for yet.
    pub(crate) fn take_untold(&mut self) -> Vec<StateChange> {
        std::mem::take(&mut self.untold)
    }

    /// The callbacks that tell of the end were called.
    pub(crate) fn end_told(&mut self) {
        self.is_end_told = true;
    }

    /// Whether it ended for a reason that no call asked for, and the callbacks do not know yet.
    pub(crate) fn is_end_untold(&self) -> bool {
        matches!(self.end(), Some(End::Failed | End::Fenced)) && !self.is_end_told
    }

    pub(crate) fn task_over(&mut self) {
        if self.step(Step::TaskOver) {
            self.is_task_over = true;
            self.note_change(None);
        }
    }

    pub(crate) fn restart(&mut self) {
        if self.step(Step::Restarted) {
            (self.contact, self.stop) = (Lifecycle::Connecting, Stop::No);
            (self.end, self.is_end_told, self.is_task_over) = (None, false, false);
            self.note_change(None);
        }
    }

    /// Checks a step, which every method takes through here; whether it is legal.
    fn step(&mut self, step: Step) -> bool {
        let is_legal = match step {
            Step::Contact | Step::ContactLost => self.end.is_none() && !self.is_task_over,
            Step::Asked(_) => true,
            Step::CloseBegan => !self.is_closing,
            Step::CloseOver => self.is_closing,
            // Most producers have their end already when their task ends.
            Step::Ended(end) => !self.is_task_over && (self.end.is_none() || end == End::Stopped),
            Step::TaskOver => self.end.is_some() && !self.is_task_over,
            Step::Restarted => self.end() == Some(End::Fenced) && self.is_task_over,
        };
        debug_assert!(is_legal, "{step:?} is no step of {self:?}");
        #[cfg(test)]
        self.trace.push(step);
        is_legal
    }

    /// Every step so far.
    #[cfg(test)]
    pub(crate) fn trace(&self) -> &[Step] {
        &self.trace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_a_producer_stays() {
        let mut lifecycle = StateMachine::default();
        let at = |lifecycle: &StateMachine, state| assert_eq!(lifecycle.state(), state);
        lifecycle.contact();
        at(&lifecycle, Lifecycle::Ready);
        lifecycle.ask(Stop::Drain);
        lifecycle.contact_lost(&Error::closed());
        at(&lifecycle, Lifecycle::Stopping);
        lifecycle.end_with(End::Fenced, Error::closed());
        lifecycle.end_with(End::Stopped, Error::closed());
        lifecycle.task_over();
        at(&lifecycle, Lifecycle::Fenced);
        lifecycle.restart();
        at(&lifecycle, Lifecycle::Connecting);
        assert!(lifecycle.check_open().is_ok());
        assert_eq!(lifecycle.trace().len(), 7);
        let changes = lifecycle.take_changes();
        let states: Vec<_> = changes.iter().map(|c| (c.from.as_str(), c.to.as_str())).collect();
        let expected = [
            ("connecting", "ready"),
            ("ready", "stopping"),
            ("stopping", "fenced"),
            ("fenced", "connecting"),
        ];
        assert_eq!(states, expected);
        assert!(changes[2].error.is_some() && changes[1].error.is_none());
        assert!(lifecycle.take_changes().is_empty());
    }

    #[test]
    fn steps_that_nothing_allows_fail_a_test() {
        fn fails(steps: &[fn(&mut StateMachine)]) -> bool {
            let take = || {
                let mut lifecycle = StateMachine::default();
                steps.iter().for_each(|step| step(&mut lifecycle));
            };
            std::panic::catch_unwind(take).is_err()
        }
        let end = |lifecycle: &mut StateMachine| lifecycle.end_with(End::Failed, Error::closed());
        assert!(fails(&[end, StateMachine::contact]), "contact behind the end");
        assert!(fails(&[end, end]), "two reasons");
        assert!(fails(&[StateMachine::task_over]), "gone without a reason");
        assert!(fails(&[end, StateMachine::task_over, StateMachine::task_over]));
        assert!(fails(&[end, StateMachine::task_over, StateMachine::restart]), "it had failed");
        assert!(fails(&[StateMachine::end_close]), "a close that never began");
        assert!(fails(&[StateMachine::begin_close, StateMachine::begin_close]), "two at once");
        assert!(!fails(&[
            StateMachine::begin_close,
            StateMachine::end_close,
            StateMachine::begin_close
        ]));
    }
}

//! Opening: what the server is asked before the first batch, and the stream that is created again
//! because its lifetime ran out.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};

use crate::delivery::buffer::lifecycle::End;
use crate::delivery::config::{Create, Opening};
use crate::delivery::engine::accept::not_json;
use crate::delivery::task::Task;
use crate::delivery::task::slot::Answered;
use crate::error::{self, Error, ErrorKind};
use crate::outcome::Status;
use crate::protocol::answer::is_absence;
use crate::protocol::headers::STREAM_FORKED_FROM;
use crate::reason::Reason;
use crate::requests::operations::{Found, Opened, ask_type, ensure};
use crate::runtime::notice::Notice;
use crate::transport::request::Request;

impl Task {
    /// Sends the request that comes before the next batch, if there is one. Whether the stream is
    /// there is asked at once, its type only for a write.
    pub(super) fn open_stream(&mut self) {
        if !self.requests.is_empty() || self.before.is_some() {
            return;
        }
        let config = &self.engine.config;
        let (runtime, endpoint) = (self.engine.runtime().clone(), self.engine.endpoint.clone());
        let request = |method| Request::new(method, endpoint, config.request_timeout);
        match (self.opening, &config.create) {
            (Opening::Create, Some(create)) => {
                let headers = self.create_headers(create).into();
                let request = Request { headers, ..request(Method::PUT) };
                self.engine.book().count_request();
                self.requests.spawn(async move { Answered::Open(ensure(&runtime, request).await) });
            }
            (Opening::AskType, _) if config.content_type.is_json().is_some() => {
                self.on_type(); // another producer of the handle asked
            }
            (Opening::AskType, _)
                if !self.window.is_empty() || !self.engine.book().queue().is_all_empty() =>
            {
                let request = request(Method::HEAD);
                self.engine.book().count_request();
                self.requests
                    .spawn(async move { Answered::Open(ask_type(&runtime, request).await) });
            }
            _ => {}
        }
    }

    /// The headers that create the stream. Its type may have been asked for meanwhile; a fork has its
    /// source's.
    fn create_headers(&self, create: &Create) -> HeaderMap {
        let mut headers = create.headers.clone();
        let known = self.engine.config.content_type.text().map(HeaderValue::from_str);
        if let (Some(Ok(known)), false) = (known, headers.contains_key(STREAM_FORKED_FROM)) {
            headers.insert(header::CONTENT_TYPE, known);
        }
        headers
    }

    pub(super) fn on_opened(&mut self, opened: Opened) {
        match opened {
            Opened::Ready(found) => self.on_found(found),
            // Once there was contact, a certificate that is not accepted is waited for.
            Opened::Later(error, _) if error.is_lasting() && !self.session.has_acks() => {
                let failed = Reason::ProducerFailed;
                self.end(End::Failed, None, failed, failed, error);
            }
            Opened::Later(error, retry_after) => {
                let repeats = u64::from(self.failures);
                if self.identified || repeats < self.engine.config.retries.max_retries {
                    return self.pause(error, retry_after);
                }
                self.failures = 0;
                self.trouble.forget(|known| (known.growth, known.failing_since) = (0, None));
                self.refuse_waiting(&error); // nothing else bounds how long they wait
            }
            // The server said before that the stream is there.
            Opened::Never(error) if self.session.has_acks() && is_absence(error.status()) => {
                let n = (!self.window.is_empty()).then_some(0);
                self.on_vanished(n, error.refusal(), error);
            }
            // Nor does it refuse for good the credentials that it took before.
            Opened::Never(error)
                if self.session.has_acks() && error.kind() == ErrorKind::Unauthorized =>
            {
                self.pause(error, None);
            }
            Opened::Never(error) => {
                let reason = error.refusal();
                self.end(End::Failed, None, reason, Reason::ProducerFailed, error);
            }
        }
    }

    fn on_found(&mut self, found: Found) {
        // A batch that may be stored already is searched for from where the stream ended before. A
        // stream that was not there tells nothing about the one before, whoever created it since: the
        // answer to an earlier attempt at that may be lost.
        let is_in_doubt = self.window.iter().any(|slot| slot.doubt().maybe_stored());
        if !is_in_doubt {
            self.set_base(found.tail);
        } else if self.opening == Opening::Create {
            self.set_base(None);
        }
        self.trouble.forget(|known| known.vanished_since = None);
        self.note_seen();
        self.on_contact();
        match self.opening {
            Opening::AskType => {
                self.engine.config.content_type.learn(&found.content_type);
                self.on_type();
            }
            // The server knows no session of this stream. Of one that was there it may know this
            // producer's, which then decides what is in doubt.
            _ if found.is_new && self.session.has_acks() => self.drain_then_renew(0),
            _ => {}
        }
        self.opening = Opening::Nothing;
        self.engine.book().set_opened();
        self.engine.announce();
    }

    /// The content type is known now: what was accepted before is framed by it, and checked.
    fn on_type(&mut self) {
        self.opening = Opening::Nothing;
        let config = &self.engine.config;
        let wrong = self.engine.book().frame_as(config.content_type.is_json() == Some(true));
        if !wrong.is_empty() {
            self.leave_replay(); // another run may know the type earlier, and accept none of these
        }
        for (queued, why) in wrong {
            let error = not_json(&why).with_url(&self.engine.endpoint.shown);
            let (status, reason) = (Status::Rejected, Reason::InvalidValue);
            self.engine.give_up(&queued, false, status, reason, error);
        }
    }

    /// The stream is there, and this is a use of it.
    pub(super) fn note_seen(&self) {
        if self.engine.config.create.is_some() {
            self.engine.endpoint.route.seen.note(self.chance().unix_ms());
        }
    }

    /// Whether a stream that is not there may be created: once before it was there, and again
    /// wherever its own lifetime has run out.
    pub(super) fn may_create(&mut self) -> bool {
        let Some(create) = &self.engine.config.create else { return false };
        let now = self.chance().unix_ms();
        let tried = Duration::from_millis(now.saturating_sub(self.created_at));
        // Not again at once; and a stream that nobody ever saw has not ended by itself.
        let idle = self.engine.endpoint.route.seen.ago(now).map(|ago| ago.min(tried));
        let has_lapsed = create.ttl.zip(idle).is_some_and(|(ttl, idle)| idle >= ttl);
        if has_lapsed {
            self.created_at = now;
            let stream = error::shown(&self.engine.endpoint.shown);
            let word = Notice::StreamCreatedAgain.word();
            self.engine.warn(word, self.session.epoch, || {
                format!(
                    "{stream} is not there any more: its `ttl_seconds` have run out; it is created \
                     again"
                )
            });
        }
        let once = create.at_open && !self.session.has_acks() && !self.recreated;
        self.recreated |= once;
        has_lapsed || once
    }

    /// Turns away everything that waits.
    fn refuse_waiting(&self, error: &Error) {
        loop {
            let Some(queued) = self.engine.book().pop_any() else { break };
            let (in_doubt, reason) = (queued.doubt.is_open(), error.refusal());
            let (status, error) = (Status::Rejected, error.clone());
            self.engine.give_up(&queued, in_doubt, status, reason, error);
        }
    }
}

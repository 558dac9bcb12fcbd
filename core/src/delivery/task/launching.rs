//! Launching: which batch goes when, and as what request.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tokio::time::Instant;

use crate::delivery::buffer::batch::Batch;
use crate::delivery::buffer::book::{Book, Wants};
use crate::delivery::buffer::queue::Queued;
use crate::delivery::config::Opening;
use crate::delivery::task::Task;
use crate::delivery::task::slot::{Answered, Reconcile, Slot};
use crate::error::amount;
use crate::protocol::headers::*;
use crate::protocol::stream_type::DEFAULT_CONTENT_TYPE;
use crate::protocol::trace::{TRACEPARENT, TRACESTATE};
use crate::requests::operations::{conflicting_type, is_misfit};
use crate::transport::request::Request;

/// The context of the first event of a batch that has one, as headers. Events have it as the library wrote
/// it: it is a header's value.
fn trace_of(batch: &Batch) -> Vec<(HeaderName, HeaderValue)> {
    let names = [TRACEPARENT, TRACESTATE];
    let mark = format!("\"{TRACEPARENT}\"");
    let of = |event: &[u8]| {
        memchr::memmem::find(event, mark.as_bytes())?;
        let event: serde_json::Value = serde_json::from_slice(event).ok()?;
        let value = |name: &str| event.get("headers")?.get(name)?.as_str()?.parse().ok();
        let found = names.map(|name| Some((HeaderName::from_static(name), value(name)?)));
        found[0].is_some().then(|| found.into_iter().flatten().collect())
    };
    batch.payloads().find_map(|(_, event)| of(&event)).unwrap_or_default()
}

impl Task {
    /// Whether another batch may be taken from the queue now.
    pub(super) fn can_take(&self) -> bool {
        self.has_place() && self.too_close_until().is_none()
    }

    /// When the next batch may be taken, if there is one and a place for it.
    pub(super) fn takes_at(&self, book: &Book) -> Option<Instant> {
        if !self.has_place() || book.queue().is_all_empty() {
            return None;
        }
        let gathered = self.gathers_until(book).filter(|_| book.queue().is_empty());
        Some(gathered.max(self.too_close_until()).unwrap_or_else(Instant::now))
    }

    /// Until when the open batch waits for more writes; `None` if it does not.
    fn gathers_until(&self, book: &Book) -> Option<Instant> {
        let config = &self.engine.config;
        if book.lifecycle.is_ending() {
            return None;
        }
        let may_linger = config.is_replay || self.window.is_empty();
        let since = book.queue().open_since().filter(|_| may_linger);
        let may_be_held = !config.is_replay && !book.is_awaited();
        let held = self.pacing.held_until().filter(|_| may_be_held);
        since.map(|since| since + config.linger).max(held).filter(|at| *at > Instant::now())
    }

    /// Until when another batch would be too close behind the last one.
    fn too_close_until(&self) -> Option<Instant> {
        self.pacing.next().filter(|at| !self.window.is_empty() && *at > Instant::now())
    }

    /// Whether another batch may be taken, now or in a moment.
    fn has_place(&self) -> bool {
        let alone = !self.session.may_pipeline() || self.failures > 0;
        let limit = if alone { 1 } else { self.pacing.places() };
        self.opening == Opening::Nothing
            && self.before.is_none()
            && self.transition.is_none()
            && !self.restarting
            && self.reconcile != Reconcile::Wanted
            && self.trouble.paused_until.is_none()
            && self.window.len() < limit
            && !self.is_base_far()
            // The request of a batch acknowledged through a later one may still be under way.
            && self.requests.len() < self.engine.config.max_in_flight
            && self.window.iter().all(|slot| slot.in_flight)
    }

    pub(super) fn launch(&mut self) {
        if self.trouble.paused_until.is_some_and(|until| Instant::now() >= until) {
            self.trouble.forget(|known| known.paused_until = None);
        }
        if self.trouble.paused_until.is_some() {
            return;
        }
        if self.must_reconcile() {
            if self.requests.is_empty() {
                self.send_look();
            }
            return;
        }
        // What an earlier life left is not sent either while its type is not known.
        if self.transition.is_some() && self.opening != Opening::AskType {
            if self.unsettled() && !self.window[0].in_flight {
                self.send(0);
            }
            return;
        }
        if self.opening != Opening::Nothing {
            self.open_stream();
        }
        if self.opening != Opening::Nothing {
            return;
        }
        let alone = self.failures > 0 || !self.session.may_pipeline();
        for n in 0..self.window.len() {
            let slot = &self.window[n];
            let waits = n > 0 && (alone || slot.after_predecessor);
            if !slot.in_flight && !waits {
                self.send(n);
            }
        }
        while self.can_take() {
            let Some(mut queued) = self.take() else { break };
            if queued.batch.is_end() && self.end_in_doubt {
                queued.doubt.stored_elsewhere();
            }
            if self.window.is_empty() {
                self.forget_failures();
            }
            // An end has the id of the next write, which is taken only once the end has left.
            let id = queued.batch.first_id;
            debug_assert!(self.window.iter().all(|slot| slot.queued.batch.first_id != id));
            if !self.may_send(&queued) {
                self.engine.book().put_back([queued].into_iter());
                break;
            }
            let seq = self.session.take_seq();
            if self.window.capacity() == 0 {
                self.window.reserve_exact(1); // most producers never have a second one
            }
            self.window.push_back(Slot::new(seq, queued));
            self.send(self.window.len() - 1);
        }
    }

    /// The last failure was about batches that are settled, and after a while it says nothing about
    /// now.
    fn forget_failures(&mut self) {
        let patience = self.engine.config.retries.backoff.max;
        let is_long_ago = self.trouble.failed_at.is_some_and(|at| at.elapsed() > patience);
        if is_long_ago {
            self.failures = 0;
        }
        self.trouble.forget(|known| {
            (known.vanished_since, known.unechoed_since) = (None, None);
            known.ungrown_since = None;
            if is_long_ago {
                // One producer too many is so whatever becomes of its batches.
                (known.growth, known.limited) = (0, 0);
                (known.failing_since, known.failed_at) = (None, None);
            }
        });
    }

    /// The next batch to send, unless it still gathers.
    fn take(&self) -> Option<Queued> {
        let mut book = self.engine.book();
        if let Some(queued) = book.pop() {
            return Some(queued);
        }
        if self.gathers_until(&book).is_some() {
            return None;
        }
        book.seal();
        book.pop()
    }

    fn send(&mut self, n: usize) {
        if !self.may_repeat(n) {
            return;
        }
        // Of a replay, an earlier run may have sent it.
        let tells = !self.offsets_stand_still
            && !self.session.is_replay()
            && self.engine.endpoint.route.is_sole();
        let slot = &mut self.window[n];
        if slot.queued.attempts == 0 && !slot.doubt().is_open() && !slot.queued.batch.is_end() {
            slot.queued.absent_at = self.tail.clone().filter(|_| tells);
        }
        slot.in_flight = true;
        slot.sends = slot.sends.saturating_add(1);
        slot.after_predecessor = false;
        slot.queued.attempts += 1;
        slot.started = Some(Instant::now());
        slot.acked = self.session.acked();
        self.pacing.started(Instant::now());
        self.reconcile = Reconcile::NotNeeded;
        self.sent += 1;
        self.engine.book().count_batch_sent(&slot.queued);
        self.trace(|| {
            let Slot { seq, queued, .. } = &self.window[n];
            let (writes, bytes) = (queued.batch.writes, queued.batch.body.len());
            let writes = amount(writes, "write");
            format!("sends batch {seq}: {writes}, {bytes} bytes, attempt {}", queued.attempts)
        });
        let request = self.request(&self.window[n]);
        let (epoch, seq) = (self.session.epoch, self.window[n].seq);
        let departure = request.departure.clone();
        let own = departure.clone();
        let (runtime, ask) = (self.engine.runtime().clone(), request.clone());
        let sending = self.engine.transport().send(request);
        let sync = self.syncing(n);
        let task = self.requests.spawn(async move {
            if let Some(Err(error)) = match sync {
                Some(sync) => Some(sync.await),
                None => None,
            } {
                own.withdraw();
                return Answered::Unsynced(seq, error);
            }
            let result = sending.await;
            let stream_type = match &result {
                Ok(response) if is_misfit(&runtime, response) => {
                    own.came_to_nothing(); // while the stream's type is asked for
                    conflicting_type(&runtime, &ask).await
                }
                _ => None,
            };
            Answered::Batch { epoch, seq, result, stream_type }
        });
        self.window[n].request = Some((task, departure));
    }

    fn request(&self, slot: &Slot) -> Request {
        let config = &self.engine.config;
        let value = |text: &str| HeaderValue::from_str(text).expect("checked at construction");
        let mut headers = HeaderMap::with_capacity(8);
        if !slot.queued.batch.is_end() {
            let content_type = config.content_type.text().unwrap_or(DEFAULT_CONTENT_TYPE);
            headers.insert(header::CONTENT_TYPE, value(content_type));
        }
        if self.identified {
            headers.insert(PRODUCER_ID, value(&config.producer_id));
            headers.insert(PRODUCER_EPOCH, self.session.epoch.into());
            headers.insert(PRODUCER_SEQ, slot.seq.into());
        }
        if let Some(seq) = &slot.queued.batch.stream_seq {
            headers.insert(STREAM_SEQ, value(seq));
        }
        if slot.queued.closes {
            headers.insert(STREAM_CLOSED, HeaderValue::from_static("true"));
        }
        if config.trace && !self.engine.endpoint.headers.contains_key(TRACEPARENT) {
            headers.extend(trace_of(&slot.queued.batch));
        }
        let endpoint = self.engine.endpoint.clone();
        let body = slot.queued.batch.body.clone();
        let header_values = slot.header_values.clone();
        let plain = Request::new(Method::POST, endpoint, config.request_timeout);
        Request { headers: headers.into(), body, header_values, ..plain }
    }

    /// Shows how many requests are under way, and since when the oldest write is, without those of
    /// the first slots.
    pub(super) fn show_in_flight(&self, without: usize) {
        let slots = || self.window.iter().skip(without);
        let in_flight = slots().filter(|slot| slot.in_flight).count();
        let oldest = slots().find(|slot| !slot.expired && !slot.queued.batch.is_end());
        let oldest = oldest.map(|slot| slot.queued.enqueued.at);
        let mut book = self.engine.book();
        (book.gauges.in_flight, book.gauges.oldest) = (in_flight, oldest);
    }

    /// Shows the gauges, and says what is worth a wake-up.
    pub(super) fn show(&self) {
        self.show_in_flight(0);
        let mut book = self.engine.book();
        book.gauges.epoch = self.session.epoch;
        book.gauges.next_seq = self.session.next_seq;
        book.gauges.echoed = self.session.was_echoed();
        book.gauges.attempt = self.failures;
        let idle = book.queue().is_all_empty();
        let wants = match self.takes_at(&book) {
            // The type is asked for once there is a write.
            None if idle && (self.has_place() || self.opening == Opening::AskType) => Wants::Data,
            None => Wants::Nothing,
            Some(at) if at <= Instant::now() => {
                self.engine.wake.notify_one();
                Wants::Nothing
            }
            Some(_) if book.queue().is_empty() => Wants::FullBatch,
            Some(_) => Wants::Nothing, // a timer is set
        };
        if self.wants_reading(&book) {
            self.engine.wake.notify_one();
        }
        book.set_wants(wants);
    }
}

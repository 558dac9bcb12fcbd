//! One session: an epoch, its sequence numbers, and what each answer means for them. Pure.

use crate::outbox::SentFlags;
use crate::protocol::MAX_SAFE_INTEGER;
use crate::protocol::answer::{Answer, Number};
use crate::reason::Reason;

/// Random bits below the milliseconds of a fresh epoch.
const EPOCH_RANDOM_BITS: u32 = 11;
/// How often a first session outbids a newer epoch before it takes that as lost.
const CLAIMS: u32 = 4;

/// An epoch that no earlier producer can have used: Unix milliseconds x 2048 plus 11 random bits,
/// above the `last` one of this process. Fits 2^53 until the year 2109.
///
/// Two epochs of one process are at least 2048 apart: those between are for the later sessions of
/// the older producer, which must not meet the newer one's.
pub(crate) fn fresh_epoch(last: u64, unix_ms: u64, random: u64) -> u64 {
    let low = random & ((1 << EPOCH_RANDOM_BITS) - 1);
    let epoch = ((unix_ms << EPOCH_RANDOM_BITS) | low).min(MAX_SAFE_INTEGER - (1 << 20));
    if last == 0 { epoch } else { epoch.max(far_above(last)) }
}

/// Above an epoch and those of the sessions that may have followed it, each under the next one.
pub(crate) fn far_above(epoch: u64) -> u64 {
    (epoch + (1 << EPOCH_RANDOM_BITS)).min(MAX_SAFE_INTEGER)
}

/// The state of an attempt when its answer came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) seq: u64,
    /// Some attempt under this tuple may have been stored; that stays so.
    pub(crate) maybe_stored: bool,
    /// It carried a `Stream-Seq`, which the server compares too.
    pub(crate) ordered: bool,
    /// The highest sequence number this session had acknowledged when it was sent.
    pub(crate) acked: Option<u64>,
    /// It carries nothing but the end of the stream.
    pub(crate) end: bool,
    /// The stream has not grown since the batch was certainly not in it, as the answer says.
    pub(crate) ungrown: bool,
    /// Its credentials come from a function, which may give better ones later.
    pub(crate) renewable: bool,
}

/// The meaning of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Everything up to this sequence number is in the stream.
    Delivered { up_to: u64, duplicate: bool },
    /// Send the tuple and bytes again, after a pause.
    Repeat { maybe_stored: bool },
    /// Send the tuple and bytes again once the predecessor has arrived.
    AwaitPredecessor,
    /// Outbid this epoch and start over: nothing of this producer is stored.
    Claim { current: u64 },
    /// The server refuses these bytes. Halve the batch until the bad group is alone.
    Split(Reason),
    /// The server refuses, and smaller parts would not help.
    Refuse(Reason),
    /// The session is lost; go on in a new one. A batch that may have been stored stays in doubt.
    NewSession,
    /// The server says that it has this already, and cannot; only the stream could tell.
    Undecided,
    /// Another producer took over.
    Fenced { current: u64 },
    /// The stream is not there; final once it stays so.
    Vanished(Reason),
    /// The server says that it has this already, and that its stream has not grown: it is about to store
    /// it, or knows of it no more than the sequence number. Final once it stays so.
    Ungrown,
    /// The server may have too many producers already; final once it stays so.
    Limited,
    /// The producer cannot go on.
    Fail(Reason),
    /// The server does not know producers: it would store repeats twice.
    NotAProducerServer,
    /// Something in between took the request: the server itself is known to echo, or a repeat of
    /// this end of the stream does no harm. Final once it stays so.
    Unechoed,
}

/// The state of one session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) epoch: u64,
    pub(crate) next_seq: u64,
    /// The highest acknowledged sequence number.
    acked: Option<u64>,
    /// Whether a 200 proved this session to be ours.
    stored: bool,
    /// Whether any session of this producer was acknowledged.
    ever_acked: bool,
    /// Whether any answer echoed the tuple, believed or not: then the server knows producers.
    echoed: bool,
    /// Whether any session was acknowledged since the last one that was allowed to claim.
    settled_in: bool,
    /// Attempts left to outbid a newer epoch; 0 once not allowed.
    claims: u32,
    /// The epoch was given by the caller, who replays: duplicates are expected.
    replay: bool,
    /// Of every batch below this an attempt may still be on its way, although the batch is settled.
    late_below: u64,
}

impl Session {
    /// A producer's first session.
    pub(crate) fn first(epoch: u64, auto_claim: bool, replay: bool) -> Self {
        let claims = if auto_claim { CLAIMS } else { 0 };
        Session {
            epoch,
            next_seq: 0,
            acked: None,
            stored: false,
            ever_acked: false,
            echoed: false,
            settled_in: false,
            claims,
            replay,
            late_below: 0,
        }
    }

    /// The session of a producer that starts over: it may claim again, and still knows whether any
    /// write was acknowledged, and whether its server echoes.
    pub(crate) fn again(epoch: u64, auto_claim: bool, acked: bool, echoed: bool) -> Self {
        Session { ever_acked: acked, echoed, ..Session::first(epoch, auto_claim, false) }
    }

    /// The session of an earlier life, under which everything below `first` is settled. It claims over
    /// nobody: what another producer did meanwhile is its user's to judge.
    pub(crate) fn resumed(epoch: u64, first: u64, next_seq: u64, known: SentFlags) -> Self {
        Session {
            next_seq,
            acked: first.checked_sub(1),
            ever_acked: known.ever_acked || first > 0,
            echoed: known.echoed,
            late_below: if known.all_are_late { first } else { 0 },
            settled_in: true,
            ..Session::first(epoch, false, false)
        }
    }

    /// The epoch after this one, if there is one.
    pub(crate) fn above(epoch: u64) -> Option<u64> {
        Some(epoch + 1).filter(|next| *next <= MAX_SAFE_INTEGER)
    }

    pub(crate) fn has_acks(&self) -> bool {
        self.ever_acked
    }

    pub(crate) fn was_echoed(&self) -> bool {
        self.echoed
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.replay
    }

    fn note_ack(&mut self) {
        (self.ever_acked, self.settled_in) = (true, true);
    }

    /// The session after this one: under the next epoch, and it claims over nobody. `None` at the
    /// end of all epochs: the same epoch again would bind used tuples to other bytes.
    pub(crate) fn next(&self) -> Option<Self> {
        let epoch = Session::above(self.epoch)?;
        Some(Session {
            epoch,
            next_seq: 0,
            acked: None,
            stored: false,
            claims: 0,
            replay: false,
            late_below: 0,
            ..*self
        })
    }

    /// This session again, over the epoch `current`: the greater of a fresh epoch and a random step
    /// above, so that two producers that claim at once do not meet again. `None` where no epoch is
    /// above.
    pub(crate) fn claim(&self, current: u64, fresh: u64, random: u64) -> Option<Self> {
        let above = current.saturating_add(1 + random % 2048).min(MAX_SAFE_INTEGER);
        let epoch = Some(fresh.max(above)).filter(|epoch| *epoch > current)?;
        let claims = self.claims.saturating_sub(1);
        Some(Session { epoch, next_seq: 0, acked: None, claims, replay: false, ..*self })
    }

    /// This session, once the one before is over: what that learned while it was waited for stays true.
    pub(crate) fn behind(self, before: &Session) -> Self {
        let ever_acked = self.ever_acked || before.ever_acked;
        Session { ever_acked, echoed: self.echoed || before.echoed, ..self }
    }

    pub(crate) fn take_seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq - 1
    }

    /// Reconciling found the batch sent as `seq` in the stream.
    pub(crate) fn found(&mut self, seq: u64) {
        self.note_ack();
        if seq < self.next_seq {
            self.acked = self.acked.max(Some(seq));
        }
    }

    /// The highest sequence number acknowledged.
    pub(crate) fn acked(&self) -> Option<u64> {
        self.acked
    }

    /// Whether batches may follow without waiting: not before the first acknowledgement, and not in
    /// a replay, where each answer says whether its own batch is a duplicate.
    pub(crate) fn may_pipeline(&self) -> bool {
        self.acked.is_some() && !self.replay
    }

    /// The batch that was sent as `seq` is settled, and an attempt at it may still arrive, or has come
    /// again.
    pub(crate) fn note_late(&mut self, seq: u64) {
        self.late_below += u64::from(seq == self.late_below);
    }

    /// Whether an attempt at each batch that is acknowledged may still be on its way, of one at least.
    pub(crate) fn are_all_late(&self) -> bool {
        self.late_below > 0 && self.acked.is_none_or(|acked| acked < self.late_below)
    }

    /// Whether a server that forgot may take what was sent as `seq` once more: the first batch begins
    /// the session anew for it, and late attempts at all before do so for this one. Without one of them
    /// the server sees the gap.
    pub(crate) fn may_begin_anew_at(&self, seq: u64) -> bool {
        seq <= self.late_below
    }

    /// The table of answers.
    pub(crate) fn on_answer(&mut self, attempt: Attempt, answer: &Answer) -> Decision {
        match answer.status {
            200 | 204 if attempt.end => self.on_ended(attempt, answer),
            409 if attempt.end && answer.closed && attempt.maybe_stored => self.on_end(attempt),
            200 | 204 => self.on_success(attempt, answer),
            201..=299 | 303 => Decision::Repeat { maybe_stored: true },
            400 | 422 if attempt.seq == 0 => Decision::Split(Reason::Refused),
            400 | 422 => Decision::NewSession,
            413 => Decision::Split(Reason::TooLarge),
            403 if answer.epoch != Number::Absent => self.on_stale(attempt, answer),
            401 | 403 if self.ever_acked || attempt.renewable => {
                Decision::Repeat { maybe_stored: false }
            }
            401 | 403 => Decision::Fail(Reason::Unauthorized),
            404 if !self.ever_acked => Decision::Fail(Reason::NotFound),
            404 => Decision::Vanished(Reason::NotFound),
            410 => Decision::Vanished(Reason::Gone),
            405 | 501 => Decision::Vanished(Reason::ProducerFailed),
            409 => self.on_conflict(attempt, answer),
            429 if attempt.seq == 0 && !self.ever_acked && answer.retry_after.is_none() => {
                Decision::Limited
            }
            _ if answer.is_transient() => Decision::Repeat { maybe_stored: answer.may_be_stored() },
            _ => Decision::Refuse(Reason::Refused),
        }
    }

    /// Ending a stream is idempotent: an answer that says that the stream has ended needs no proof
    /// that this request ended it.
    fn on_ended(&mut self, attempt: Attempt, answer: &Answer) -> Decision {
        let echo = self.echo(attempt, answer);
        match echo {
            _ if answer.closed => self.on_end(attempt),
            // Under the caller's epoch a write of an earlier run may have had the same tuple.
            Ok(_) if self.replay && answer.status == 204 => Decision::NewSession,
            Ok(seq) if seq >= self.next_seq && !self.replay => Decision::Undecided,
            Ok(_) => self.on_end(attempt),
            Err(Decision::NotAProducerServer) => Decision::Unechoed,
            Err(decision) => decision,
        }
    }

    fn on_end(&mut self, attempt: Attempt) -> Decision {
        self.note_ack();
        self.acked = self.acked.max(Some(attempt.seq));
        Decision::Delivered { up_to: attempt.seq, duplicate: false }
    }

    /// The sequence number that a success echoes, for this session and at or above the one sent;
    /// else the decision that its lack leads to.
    fn echo(&mut self, attempt: Attempt, answer: &Answer) -> Result<u64, Decision> {
        match (answer.epoch, answer.seq) {
            (Number::Malformed, _) | (_, Number::Malformed) => {
                Err(Decision::Repeat { maybe_stored: true })
            }
            (Number::Is(epoch), Number::Is(seq)) if epoch == self.epoch && seq >= attempt.seq => {
                self.echoed = true;
                Ok(seq)
            }
            _ if self.echoed => Err(Decision::Unechoed),
            _ => Err(Decision::NotAProducerServer),
        }
    }

    fn on_success(&mut self, attempt: Attempt, answer: &Answer) -> Decision {
        let seq = match self.echo(attempt, answer) {
            Ok(seq) => seq,
            Err(decision) => return decision,
        };
        if seq >= self.next_seq && !self.replay {
            return Decision::Undecided; // another producer writes under this epoch
        }
        let first = answer.status == 200;
        let earned = first || attempt.maybe_stored || self.stored || self.replay;
        if !earned {
            return Decision::Undecided;
        }
        if !first && attempt.ungrown {
            return Decision::Ungrown;
        }
        self.stored |= first;
        self.note_ack();
        // A replay is told sequence numbers that it has not reached: only its own is decided.
        let up_to = if self.replay { attempt.seq } else { seq };
        self.acked = self.acked.max(Some(up_to));
        Decision::Delivered { up_to, duplicate: !first }
    }

    fn on_stale(&mut self, attempt: Attempt, answer: &Answer) -> Decision {
        let Some(current) = answer.epoch.value() else {
            return Decision::Repeat { maybe_stored: attempt.maybe_stored };
        };
        if self.settled_in || attempt.maybe_stored || self.claims == 0 {
            return Decision::Fenced { current };
        }
        Decision::Claim { current }
    }

    fn on_conflict(&self, attempt: Attempt, answer: &Answer) -> Decision {
        if answer.closed {
            return Decision::Fail(Reason::StreamClosed);
        }
        match (answer.expected_seq, attempt.acked) {
            (Number::Malformed, _) => Decision::Repeat { maybe_stored: attempt.maybe_stored },
            // Never rewind: acknowledged batches stay acknowledged. This answer need not know of a
            // batch acknowledged only after its request was sent.
            (Number::Is(expected), Some(acked)) if expected <= acked => Decision::NewSession,
            (Number::Is(expected), Some(_)) if expected < attempt.seq => Decision::AwaitPredecessor,
            (Number::Is(_), _) => Decision::NewSession,
            (Number::Absent, _) if attempt.ordered => Decision::Refuse(Reason::SequenceConflict),
            (Number::Absent, _) => Decision::Fail(Reason::Conflict),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::answer::Response;
    use std::time::SystemTime;

    const EPOCH: u64 = 5000;

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> Answer {
        let mut map = http::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let response = Response { status, headers: map, body: bytes::Bytes::new(), cut: false };
        Answer::read(&response, SystemTime::UNIX_EPOCH)
    }

    fn echo(status: u16, epoch: u64, seq: u64) -> Answer {
        let (epoch, seq) = (epoch.to_string(), seq.to_string());
        answer(status, &[("producer-epoch", &epoch), ("producer-seq", &seq)])
    }

    fn session(acked: Option<u64>) -> Session {
        let mut session = Session::first(EPOCH, true, false);
        if let Some(acked) = acked {
            (0..=acked).for_each(|_| assert!(session.take_seq() <= acked));
            session.on_answer(at(acked), &echo(200, EPOCH, acked));
        }
        session.take_seq();
        session
    }

    fn at(seq: u64) -> Attempt {
        Attempt {
            seq,
            maybe_stored: false,
            ordered: false,
            acked: seq.checked_sub(1),
            end: false,
            ungrown: false,
            renewable: false,
        }
    }

    fn in_doubt(seq: u64) -> Attempt {
        Attempt { maybe_stored: true, ..at(seq) }
    }

    #[test]
    fn a_fresh_epoch_rises_and_fits() {
        let now = 4_000_000_000_000;
        let a = fresh_epoch(0, now, 7);
        let b = fresh_epoch(a, now, 0);
        let c = fresh_epoch(b, now - 5, 0);
        assert!(a + 2048 <= b && b + 2048 <= c && c <= MAX_SAFE_INTEGER);
        assert_eq!(a >> 11, now);
        assert!(far_above(a) >= a + 2048 && far_above(MAX_SAFE_INTEGER - 1) == MAX_SAFE_INTEGER);
    }

    #[test]
    fn what_the_session_before_learned_while_it_was_waited_for_stays() {
        let waiting = || Session::again(EPOCH + 1, true, false, false);
        let mut before = Session::first(EPOCH, true, false);
        assert!(!waiting().behind(&before).has_acks());
        let _ = before.take_seq();
        before.found(0);
        let next = waiting().behind(&before);
        assert!(next.has_acks() && next.epoch == EPOCH + 1 && next.acked().is_none());
    }

    #[test]
    fn success_needs_the_echo() {
        let on = |answer: Answer| session(Some(2)).on_answer(at(3), &answer);
        assert_eq!(on(echo(200, EPOCH, 3)), Decision::Delivered { up_to: 3, duplicate: false });
        assert_eq!(on(echo(200, EPOCH, 4)), Decision::Undecided);
        let first = |answer: Answer| session(None).on_answer(at(0), &answer);
        let half = answer(200, &[("producer-epoch", "5000")]);
        for none in [answer(200, &[]), answer(204, &[]), echo(200, EPOCH + 1, 3), half] {
            assert_eq!(first(none.clone()), Decision::NotAProducerServer, "{none:?}");
            assert_eq!(on(none.clone()), Decision::Unechoed, "{none:?}");
        }
        assert_eq!(on(echo(200, EPOCH, 2)), Decision::Unechoed);
        let garbled = answer(200, &[("producer-epoch", "5000"), ("producer-seq", "-3")]);
        assert_eq!(on(garbled), Decision::Repeat { maybe_stored: true });
        assert_eq!(on(answer(202, &[])), Decision::Repeat { maybe_stored: true });
    }

    #[test]
    fn a_repeat_is_not_believed_where_the_stream_has_not_grown() {
        let (mut session, doubt) = (session(Some(2)), in_doubt(3));
        let ungrown = Attempt { ungrown: true, ..doubt };
        assert_eq!(session.on_answer(ungrown, &echo(204, EPOCH, 3)), Decision::Ungrown);
        assert_eq!(session.acked(), Some(2));
        let delivered = |duplicate| Decision::Delivered { up_to: 3, duplicate };
        assert_eq!(session.clone().on_answer(doubt, &echo(204, EPOCH, 3)), delivered(true));
        assert_eq!(session.on_answer(ungrown, &echo(200, EPOCH, 3)), delivered(false));
    }

    #[test]
    fn a_server_that_echoed_once_is_known_to_whatever_came_of_it() {
        let page = answer(200, &[("content-type", "text/html")]);
        // An echo that is not believed: this session has no acknowledgement.
        let mut unearned = session(None);
        assert_eq!(unearned.on_answer(at(0), &echo(204, EPOCH, 0)), Decision::Undecided);
        assert!(unearned.was_echoed() && !unearned.has_acks());
        assert_eq!(unearned.on_answer(at(0), &page), Decision::Unechoed);
        let mut next = unearned.next().unwrap();
        assert_eq!(next.on_answer(at(0), &page), Decision::Unechoed);
        let mut claimed = unearned.claim(9000, 100, 3).unwrap();
        assert_eq!(claimed.on_answer(at(0), &page), Decision::Unechoed);
        let mut again = Session::again(7, true, false, unearned.was_echoed());
        assert_eq!(again.on_answer(at(0), &page), Decision::Unechoed);
    }

    #[test]
    fn an_end_is_one_where_the_answer_says_so() {
        let ended = Decision::Delivered { up_to: 1, duplicate: false };
        let end = Attempt { end: true, ..at(1) };
        let on = |answer: Answer| session(Some(0)).on_answer(end, &answer);
        let closed = |status| answer(status, &[("stream-closed", "true")]);
        for good in [closed(200), closed(204), echo(204, EPOCH, 1), echo(200, EPOCH, 1)] {
            assert_eq!(on(good.clone()), ended, "{good:?}");
        }
        let open = answer(204, &[("stream-closed", "false"), ("stream-next-offset", "7")]);
        for page in [answer(200, &[]), answer(204, &[]), echo(204, 7, 1), open] {
            assert_eq!(on(page.clone()), Decision::Unechoed, "{page:?}");
            // An end may be repeated without harm, also where nothing is known of the server.
            let first = session(None).on_answer(Attempt { end: true, ..at(0) }, &page);
            assert_eq!(first, Decision::Unechoed, "{page:?}");
        }
        assert_eq!(on(echo(204, EPOCH, 9)), Decision::Undecided, "somebody else's");
        let mut replay = Session::first(0, false, true);
        let end = Attempt { end: true, ..at(0) };
        assert_eq!(replay.on_answer(end, &echo(204, 0, 0)), Decision::NewSession);
        assert_eq!(replay.on_answer(end, &answer(204, &[])), Decision::Unechoed);
    }

    #[test]
    fn a_204_must_be_earned() {
        let duplicate = Decision::Delivered { up_to: 0, duplicate: true };
        assert_eq!(session(None).on_answer(at(0), &echo(204, EPOCH, 0)), Decision::Undecided);
        assert_eq!(session(None).on_answer(in_doubt(0), &echo(204, EPOCH, 0)), duplicate);
        let later = session(Some(0)).on_answer(at(1), &echo(204, EPOCH, 1));
        assert_eq!(later, Decision::Delivered { up_to: 1, duplicate: true });
        let mut replay = Session::first(0, false, true);
        replay.take_seq();
        assert_eq!(replay.on_answer(at(0), &echo(204, 0, 9)), duplicate);
    }

    #[test]
    fn a_newer_epoch_is_outbid_only_before_the_first_ack() {
        let stale = answer(403, &[("producer-epoch", "9000")]);
        let mut first = session(None);
        assert_eq!(first.on_answer(at(0), &stale), Decision::Claim { current: 9000 });
        assert_eq!(first.on_answer(in_doubt(0), &stale), Decision::Fenced { current: 9000 });
        assert_eq!(session(Some(0)).on_answer(at(1), &stale), Decision::Fenced { current: 9000 });
        let mut next = session(Some(0)).next().unwrap();
        assert_eq!((next.epoch, next.next_seq), (EPOCH + 1, 0));
        assert_eq!(next.on_answer(at(0), &stale), Decision::Fenced { current: 9000 });
        let mut modest = Session::first(EPOCH, false, false);
        assert_eq!(modest.on_answer(at(0), &stale), Decision::Fenced { current: 9000 });
        let mut claimed = session(None);
        for _ in 0..CLAIMS {
            assert_eq!(claimed.on_answer(at(0), &stale), Decision::Claim { current: 9000 });
            claimed = claimed.claim(9000, 100, 3).unwrap();
            assert_eq!(claimed.epoch, 9004);
        }
        assert_eq!(claimed.on_answer(at(0), &stale), Decision::Fenced { current: 9000 });
        assert_eq!(session(None).claim(9000, 100_000, 3).unwrap().epoch, 100_000);
        assert!(session(None).claim(MAX_SAFE_INTEGER, 100_000, 3).is_none());
        assert!(Session::first(MAX_SAFE_INTEGER, false, false).next().is_none());
    }

    #[test]
    fn a_gap_below_the_acknowledged_is_a_lost_session_and_above_it_a_predecessor() {
        let gap = |expected: &str| answer(409, &[("producer-expected-seq", expected)]);
        let sent = Attempt { acked: Some(4), ..at(7) };
        let on = |a: Answer| session(Some(4)).on_answer(sent, &a);
        for lost in ["0", "3", "4"] {
            assert_eq!(on(gap(lost)), Decision::NewSession, "{lost}");
        }
        assert_eq!(on(gap("5")), Decision::AwaitPredecessor);
        assert_eq!(on(gap("6")), Decision::AwaitPredecessor);
        let early = Attempt { acked: Some(2), ..sent };
        let late = session(Some(4)).on_answer(early, &gap("3"));
        assert_eq!(late, Decision::AwaitPredecessor, "acknowledged since it was sent");
        assert_eq!(on(answer(409, &[])), Decision::Fail(Reason::Conflict));
        let ordered = Attempt { ordered: true, ..at(3) };
        assert_eq!(
            session(Some(2)).on_answer(ordered, &answer(409, &[])),
            Decision::Refuse(Reason::SequenceConflict)
        );
        let closed = answer(409, &[("stream-closed", "true")]);
        assert_eq!(on(closed), Decision::Fail(Reason::StreamClosed));
    }

    #[test]
    fn refusals() {
        assert_eq!(
            session(None).on_answer(at(0), &answer(400, &[])),
            Decision::Split(Reason::Refused)
        );
        assert_eq!(session(Some(0)).on_answer(at(1), &answer(400, &[])), Decision::NewSession);
        assert_eq!(
            session(Some(0)).on_answer(at(1), &answer(413, &[])),
            Decision::Split(Reason::TooLarge)
        );
        assert_eq!(
            session(Some(0)).on_answer(at(1), &answer(302, &[])),
            Decision::Refuse(Reason::Refused)
        );
        for (status, before, after) in [
            (401, Decision::Fail(Reason::Unauthorized), Decision::Repeat { maybe_stored: false }),
            (403, Decision::Fail(Reason::Unauthorized), Decision::Repeat { maybe_stored: false }),
            (404, Decision::Fail(Reason::NotFound), Decision::Vanished(Reason::NotFound)),
        ] {
            assert_eq!(session(None).on_answer(at(0), &answer(status, &[])), before);
            assert_eq!(session(Some(0)).on_answer(at(1), &answer(status, &[])), after);
        }
    }

    #[test]
    fn transient_answers_repeat_and_remember_what_may_be_stored() {
        let odd = [101, 199, 303, 599, 600, 799, 999].map(|status| (status, true));
        let known =
            [(408, true), (425, false), (429, false), (500, true), (502, true), (503, true)];
        for (status, maybe_stored) in known.into_iter().chain(odd) {
            let decision = session(Some(0)).on_answer(at(1), &answer(status, &[]));
            assert_eq!(decision, Decision::Repeat { maybe_stored }, "{status}");
        }
        let asked = answer(429, &[("retry-after", "1")]);
        let again = Decision::Repeat { maybe_stored: false };
        assert_eq!(session(None).on_answer(at(0), &asked), again);
        assert_eq!(session(None).on_answer(at(0), &answer(429, &[])), Decision::Limited);
    }
}

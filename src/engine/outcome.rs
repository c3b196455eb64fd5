//! What became of the writes (S2, S7).

use std::time::Duration;

use super::Engine;
use super::books::Books;
use super::commit::{Begun, Committed, End};
use super::deadlines::Alarm;
use super::fact::{Ending, Happening};
use super::holder::{Delivery, Holder, Tenure};
use super::limits::{RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
use super::lock::{Flight, Lock, Phase};
use super::message::{Event, EventKind, LockEntry, LostReason, Now, Output, Reply, WriteOutcome};
use crate::mutant::{self, Mutant};
use crate::types::{AttemptId, IdHash, LockName, OwnerName, Revision};

impl<R: Clone> Engine<R> {
    /// The outcome of a [`super::message::LockWrite`]; `now` was read after it arrived.
    pub fn handle_written(&mut self, now: Now, name: &LockName, attempt: AttemptId, outcome: WriteOutcome) {
        self.books.begin_outcome(now, outcome);
        let lock = self.locks.get_mut(name);
        let Some(lock) = lock.filter(|lock| lock.is_writing(attempt)) else { return };
        self.books.about = Some(name.clone());
        self.books.note_outcome(name, outcome);
        match outcome {
            WriteOutcome::Acknowledged(revision) => lock.commit(revision, &mut self.books),
            WriteOutcome::Mismatch(actual) => {
                lock.doubt_state(actual, None, &mut self.books);
            }
            WriteOutcome::NotNow => lock.retry_later(&mut self.books),
            WriteOutcome::Unknown => lock.resend(&mut self.books),
        }
        self.tidy(name);
        self.take_away();
    }

    /// The outcome of a [`super::message::GuardedBatch`]; `now` was read after it arrived.
    pub fn handle_batch_written(&mut self, now: Now, attempt: AttemptId, outcome: WriteOutcome) {
        self.books.begin_outcome(now, outcome);
        if self.batch.as_ref().is_none_or(|flight| flight.batch.attempt != attempt) {
            return;
        }
        self.note_batch(outcome);
        match outcome {
            WriteOutcome::Unknown if mutant::is(Mutant::TimeoutIsFailure) => self.mistake_batch(),
            WriteOutcome::NotNow if mutant::is(Mutant::NotNowIsFailure) => self.mistake_batch(),
            WriteOutcome::Acknowledged(last) => self.commit_batch(last),
            WriteOutcome::Mismatch(_) => self.doubt_batch(),
            WriteOutcome::NotNow => {
                self.doubt_soon();
                self.retry_batch_later();
            }
            WriteOutcome::Unknown => {
                self.doubt_soon();
                self.resend_batch();
            }
        }
        self.take_away();
    }

    /// The records of a batch have consecutive revisions; the last is the journal's.
    fn commit_batch(&mut self, last: Revision) {
        let Some(flight) = self.batch.take() else { return };
        self.books.batching = false;
        let count = flight.batch.writes.len() as u64;
        for (index, write) in (0..count).zip(&flight.batch.writes) {
            if let Some(lock) = self.locks.get_mut(&write.name) {
                lock.commit(last.back(count - index), &mut self.books);
            }
            self.tidy(&write.name);
        }
    }

    fn note_batch(&mut self, outcome: WriteOutcome) {
        for write in self.batch.iter().flat_map(|flight| &flight.batch.writes) {
            self.books.note_outcome(&write.name, outcome);
        }
    }
}

/// How long to wait before a write that was refused for now is sent again.
pub(super) fn pause(refusals: u32) -> Duration {
    RETRY_PAUSE_MIN.saturating_mul(1 << refusals.clamp(1, 10).saturating_sub(1)).min(RETRY_PAUSE_MAX)
}

impl<R: Clone> Lock<R> {
    fn is_writing(&self, attempt: AttemptId) -> bool {
        matches!(&self.phase, Phase::Writing(flight) if flight.write.record.attempt == attempt)
    }

    /// The write on its way is stored: what it changed is a fact, and may be told.
    pub(super) fn commit(&mut self, revision: Revision, books: &mut Books<R>) {
        let Some(flight) = self.land(books) else { return };
        let next_owner = flight.commit.beginning().next().map(|waiter| waiter.owner.clone());
        let Committed { ended, kept, granted } = flight.commit.committed(books.now, revision);
        if !granted.is_empty() && ended.iter().any(|(key, _)| !self.is_gone(key)) {
            books.note(&self.name, Happening::HandedOver);
        }
        self.stored = revision;
        self.denials = 0;
        self.garbled = None;
        let mut longest_held = Duration::ZERO;
        for (key, end) in ended {
            longest_held = longest_held.max(self.end(&key, end, next_owner.as_ref(), books));
        }
        for holder in &mut self.holders {
            if let Tenure::Kept { stored, .. } = &mut holder.tenure {
                *stored |= kept.contains(&holder.key);
            }
        }
        for (holder, begun) in granted {
            self.grant(holder, begun, books);
        }
        for (to, _) in flight.admins {
            books.reply(to, Reply::Released { id: None, held: longest_held });
        }
        self.catch_up(books);
    }

    /// A later record may have been delivered while the write was on its way.
    pub(super) fn catch_up(&mut self, books: &mut Books<R>) {
        match self.take_seen(books) {
            Some(entry) if entry.revision > self.stored => self.adopt(entry, books),
            _ => self.advance(books),
        }
        if !self.admins.is_empty() || self.holders.iter().any(|holder| holder.alarm_at.is_none()) {
            books.due.insert(self.name.clone());
        }
    }

    pub(super) fn take_seen(&mut self, books: &mut Books<R>) -> Option<LockEntry> {
        books.ahead.remove(&self.name);
        self.seen.take().map(|seen| *seen)
    }

    /// Ends a lease and says so; returns how long it was held.
    fn end(
        &mut self,
        key: &IdHash,
        end: End,
        next_owner: Option<&OwnerName>,
        books: &mut Books<R>,
    ) -> Duration {
        let Some(holder) = self.evict(key, books) else { return Duration::ZERO };
        let held = holder.held(books.now);
        let took = holder.released_at.filter(|_| end == End::Released).map(|at| books.now.boot.since(at));
        if !holder.is_gone() {
            books.note(&self.name, Happening::Ended { how: Ending::of(&end), held, took });
        }
        let (why, reason, extra) = match end {
            End::Released => (LostReason::Released, "released".to_owned(), None),
            End::Expired => (LostReason::Expired, "expired".to_owned(), Some(EventKind::Expired)),
            End::Revoked(said) => (
                LostReason::Revoked,
                said.map_or_else(|| "revoked".to_owned(), |said| format!("revoked: {said}")),
                Some(EventKind::Revoked),
            ),
        };
        holder.finish(&self.name, (why, held), books);
        let event = Event {
            kind: EventKind::Released,
            name: self.name.clone(),
            owner: holder.owner.clone(),
            token: holder.token(),
            mode: holder.claim.mode(),
            held: Some(held),
            next_owner: next_owner.cloned(),
            waiter_count: self.queue.len(),
            reason: Some(why.as_str().to_owned()),
            at: books.now.wall,
        };
        if let Some(kind) = extra {
            books.tell(Event { kind, reason: Some(reason), ..event.clone() });
        }
        books.tell(event);
        if let Tenure::Ending { answers } = holder.tenure {
            for (to, id) in answers {
                books.released(Some(to), id, held);
            }
        }
        held
    }

    /// A waiter has become a holder. Time is conferred, and the grant leaves, only if the leader may act at
    /// the very `now` from which both are reckoned (S3); otherwise the client finds its lease by repeating.
    fn grant(&mut self, mut holder: Holder<R>, begun: Begun<R>, books: &mut Books<R>) {
        let now = books.now;
        let Begun { waiter, cancelled } = begun;
        books.tell(Event {
            kind: EventKind::Granted,
            name: self.name.clone(),
            owner: holder.owner.clone(),
            token: holder.token(),
            mode: holder.claim.mode(),
            held: None,
            next_owner: None,
            waiter_count: self.queue.len(),
            reason: None,
            at: now.wall,
        });
        let (took, stood) = (now.boot.since(waiter.since), waiter.stood(now.boot));
        books.note(&self.name, Happening::Granted { took, stood, wanted: cancelled.is_none() });
        if let Some(answers) = cancelled {
            holder.tenure = Tenure::Ending { answers };
        } else if books.may_confer() || mutant::is(Mutant::GrantAfterLapse) {
            holder.confer(now.boot);
            let grant = holder.grant(waiter.id, now.boot.since(waiter.received));
            let number = books.send_grant(waiter.reply, grant, (self.name.clone(), holder.key));
            holder.delivery = Delivery::Once(number);
        }
        self.add_holder(holder);
        books.holding += 1;
        self.watch_lease(self.holders.len() - 1, books);
    }

    pub(super) fn take_flight(&mut self) -> Option<Box<Flight<R>>> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => None,
            Phase::Writing(flight) | Phase::InBatch(flight) | Phase::Confirming(flight, _) => Some(flight),
        }
    }

    /// Takes the write off the air, with its alarms.
    pub(super) fn land(&mut self, books: &mut Books<R>) -> Option<Box<Flight<R>>> {
        let mut flight = self.take_flight()?;
        if let Some(at) = flight.retry_at.take() {
            books.deadlines.cancel(at, Alarm::Retry(self.name.clone()));
        }
        if let Some(at) = flight.doubt_at.take() {
            books.deadlines.cancel(at, Alarm::Doubt(self.name.clone()));
        }
        Some(flight)
    }

    pub(super) fn resend(&mut self, books: &mut Books<R>) {
        self.doubt_soon(books);
        if let Phase::Writing(flight) = &mut self.phase {
            flight.retry_at = None;
            books.outputs.push_back(Output::Write(flight.write.clone()));
        }
    }

    fn retry_later(&mut self, books: &mut Books<R>) {
        self.doubt_soon(books);
        if let Phase::Writing(flight) = &mut self.phase {
            flight.refusals += 1;
            let refusals = flight.refusals;
            self.send_later(refusals, books);
        }
    }

    /// Sends the write on its way, for the first time or again, after a pause.
    pub(super) fn send_later(&mut self, refusals: u32, books: &mut Books<R>) {
        if let Phase::Writing(flight) = &mut self.phase {
            let at = books.now.boot + pause(refusals);
            flight.retry_at = Some(at);
            books.alarm(at, Alarm::Retry(self.name.clone()));
        }
    }
}

//! What became of the writes (S2, S7, S8).

use std::time::Duration;

use super::Engine;
use super::books::Books;
use super::commit::{Begun, Committed, End};
use super::deadlines::Alarm;
use super::fact::{Ending, GaveUp, Happening};
use super::holder::{Delivery, Holder, Tenure};
use super::limits::{RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
use super::lock::{Flight, Lock, Phase, Proof};
use super::message::{
    EntryContent, Event, EventKind, LockEntry, LostReason, Now, Output, Reply, Ticket, WriteOutcome,
};
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

    /// One of its expectations failed, and the refusal does not say which.
    fn doubt_batch(&mut self) {
        let Some(flight) = self.batch.take() else { return };
        self.books.batching = false;
        let mut ticket = None;
        for write in &flight.batch.writes {
            if let Some(lock) = self.locks.get_mut(&write.name) {
                ticket = lock.doubt_state(None, ticket, &mut self.books).or(ticket);
            }
        }
    }

    /// The defects of taking no answer, or "not now", for a failure.
    fn mistake_batch(&mut self) {
        self.doubt_batch();
        for name in std::mem::take(&mut self.books.confirming) {
            if let Some(lock) = self.locks.get_mut(&name) {
                lock.resolve(&mut self.books);
            }
        }
    }

    /// A `lease` record written after the wish `ticket` was uttered is acknowledged at this revision: the
    /// leader still was one then. Once the standing consumer has delivered as much, all that was written
    /// before is known.
    pub fn handle_confirmed(&mut self, now: Now, ticket: Ticket, revision: Revision) {
        self.books.begin(now);
        for name in &self.books.confirming {
            if let Some(Phase::Confirming(_, proof)) = self.locks.get_mut(name).map(|lock| &mut lock.phase)
                && proof.ticket <= ticket
            {
                proof.proven.get_or_insert(revision);
            }
        }
        self.prove_parked(ticket, revision);
        self.resolve();
        self.take_away();
    }

    /// Settles the refused writes whose state is known by now, and what waited for that.
    pub(super) fn resolve(&mut self) {
        let delivered = self.books.delivered;
        let known = |lock: &Lock<R>| match &lock.phase {
            Phase::Confirming(..) if mutant::is(Mutant::RefusedIsKnown) => true,
            Phase::Confirming(_, proof) => proof.proven.is_some_and(|proven| proven <= delivered),
            _ => true,
        };
        let names: Vec<LockName> = self
            .books
            .confirming
            .iter()
            .filter(|name| self.locks.get(*name).is_none_or(known))
            .cloned()
            .collect();
        for name in names {
            self.books.confirming.remove(&name);
            if let Some(lock) = self.locks.get_mut(&name) {
                lock.resolve(&mut self.books);
            }
            self.tidy(&name);
        }
        self.retry_parked();
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
    fn catch_up(&mut self, books: &mut Books<R>) {
        match self.take_seen(books) {
            Some(entry) if entry.revision > self.stored => self.adopt(entry, books),
            _ => self.advance(books),
        }
        if !self.admins.is_empty() || self.holders.iter().any(|holder| holder.alarm_at.is_none()) {
            books.due.insert(self.name.clone());
        }
    }

    fn take_seen(&mut self, books: &mut Books<R>) -> Option<LockEntry> {
        books.ahead.remove(&self.name);
        self.seen.take()
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
        self.holders.push(holder);
        books.holding += 1;
        self.watch_lease(self.holders.len() - 1, books);
    }

    /// The write was refused: freeze, and ask for a proof of what is there (S8).
    pub(super) fn doubt_state(
        &mut self,
        actual: Option<Revision>,
        ticket: Option<Ticket>,
        books: &mut Books<R>,
    ) -> Option<Ticket> {
        self.doubt_soon(books);
        let flight = self.take_flight()?;
        books.confirming.insert(self.name.clone());
        let ticket = ticket.unwrap_or_else(|| books.ask_to_confirm());
        self.phase = Phase::Confirming(flight, Proof { ticket, proven: None, actual });
        Some(ticket)
    }

    fn take_flight(&mut self) -> Option<Flight<R>> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => None,
            Phase::Writing(flight) | Phase::InBatch(flight) | Phase::Confirming(flight, _) => Some(flight),
        }
    }

    /// Takes the write off the air, with its alarms.
    fn land(&mut self, books: &mut Books<R>) -> Option<Flight<R>> {
        let mut flight = self.take_flight()?;
        if let Some(at) = flight.retry_at.take() {
            books.deadlines.cancel(at, Alarm::Retry(self.name.clone()));
        }
        if let Some(at) = flight.doubt_at.take() {
            books.deadlines.cancel(at, Alarm::Doubt(self.name.clone()));
        }
        Some(flight)
    }

    /// All that was written before the confirmation is known: the refused write was applied after all, or it
    /// never will be.
    fn resolve(&mut self, books: &mut Books<R>) {
        let (attempt, actual) = match &self.phase {
            Phase::Confirming(flight, proof) => (flight.write.record.attempt, proof.actual),
            _ => return,
        };
        let applied = match &self.seen {
            Some(entry) => matches!(&entry.content, EntryContent::Record(r) if r.attempt == attempt),
            None => false,
        };
        if applied && let Some(entry) = self.take_seen(books) {
            self.commit(entry.revision, books);
            return;
        }
        let Some(flight) = self.land(books) else { return };
        self.admins.extend(flight.admins);
        for begun in flight.commit.abandoned().into_iter().rev() {
            self.wait_on(begun, books);
        }
        if self.seen.is_none() && (actual == Some(Revision::NONE) || self.holders.is_empty()) {
            // The store has removed the free record that was expected; or it still has one, or a marker, that
            // was delivered once and forgotten here since.
            self.stored = actual.unwrap_or(self.stored);
        }
        if self.seen.is_none() && actual.is_none() {
            self.guess_garbled();
        }
        if self.seen.is_none() {
            // The record of a holder has vanished without a trace, or may have: a batch's refusal does not say.
            // A plain write finds out, and puts it back.
            self.rewrite |= self.holders.iter().any(|holder| !holder.is_ending());
        }
        self.catch_up(books);
    }

    /// A batch was refused, and does not say whether for this lock. A record that does not decode is still there,
    /// or a tool has purged it, which leaves no trace: the batches expect the one and the other by turns.
    fn guess_garbled(&mut self) {
        if let Some(garbled) = &self.garbled {
            let is_expected = self.stored == garbled.revision;
            self.stored = if is_expected { Revision::NONE } else { garbled.revision };
        }
    }

    /// Back to the front of the queue.
    fn wait_on(&mut self, begun: Begun<R>, books: &mut Books<R>) {
        let Begun { mut waiter, cancelled } = begun;
        if let Some(answers) = cancelled {
            let stood = waiter.stood(books.now.boot);
            books.note(&self.name, Happening::GaveUp { why: GaveUp::Cancelled, stood });
            books.finish(waiter.key, &waiter.owner, &self.name, (LostReason::Released, Duration::ZERO));
            for (to, id) in answers {
                books.released(Some(to), id, Duration::ZERO);
            }
            return;
        }
        let key = waiter.key;
        waiter.alarm_at = waiter.due_at();
        waiter.turn_at = None;
        self.queue.push_front(waiter);
        books.waiting += 1;
        self.watch_waiter(&key, books);
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
            let at = books.now.boot + pause(flight.refusals);
            flight.retry_at = Some(at);
            books.alarm(at, Alarm::Retry(self.name.clone()));
        }
    }
}

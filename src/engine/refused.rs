//! Writes that were refused. A refusal proves nothing, whatever revision it names: the lock is frozen until the
//! leader has proved that it still leads, and has heard of all that was written before (S7, S8).

use std::time::Duration;

use super::Engine;
use super::books::Books;
use super::commit::Begun;
use super::fact::{GaveUp, Happening};
use super::lock::{Lock, Phase, Proof};
use super::message::{EntryContent, LostReason, Now, Ticket};
use crate::mutant::{self, Mutant};
use crate::types::{LockName, Revision};

impl<R: Clone> Engine<R> {
    /// One of its expectations failed, and the refusal does not say which.
    pub(super) fn doubt_batch(&mut self) {
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
    pub(super) fn mistake_batch(&mut self) {
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
            .filter(|name| self.locks.get(name).is_none_or(known))
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

impl<R: Clone> Lock<R> {
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
        let expected = flight.write.expected;
        self.admins.extend(flight.admins);
        for begun in flight.commit.abandoned().into_iter().rev() {
            self.wait_on(begun, books);
        }
        if self.seen.is_none() {
            self.denials += 1;
            self.named = actual;
            if actual.is_none() {
                self.guess_garbled(expected);
            }
            // The record of a holder has vanished without a trace, or may have: a batch's refusal does not say.
            // A plain write finds out, and puts it back.
            self.rewrite |= self.holders.iter().any(|holder| !holder.is_ending());
        }
        self.catch_up(books);
    }

    /// A batch was refused, and does not say whether for this lock. A record that does not decode is still there,
    /// or a tool has purged it, which leaves no trace: the batches expect the one and the other by turns.
    fn guess_garbled(&mut self, expected: Revision) {
        if let Some(garbled) = &self.garbled {
            let is_expected = expected == garbled.revision;
            self.named = Some(if is_expected { Revision::NONE } else { garbled.revision });
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
        books.wait(&waiter);
        self.queue.push_front(waiter);
        self.watch_waiter(&key, books);
    }
}

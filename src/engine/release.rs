//! Releasing: final for an id, whether it holds, waits, is on its way or has never been seen.

use std::time::Duration;

use super::Engine;
use super::acquire::other_lock_refusal;
use super::books::Books;
use super::fact::{GaveUp, Happening};
use super::holder::Tenure;
use super::limits::await_answer;
use super::lock::{Lock, Place};
use super::message::{Code, LeaseRef, LostReason, Reply};
use crate::mutant::{self, Mutant};
use crate::types::{IdHash, LeaseId, LockName, OwnerName};

impl<R: Clone> Engine<R> {
    pub(super) fn release(
        &mut self,
        owner: OwnerName,
        to: Option<R>,
        name: LockName,
        lease: LeaseRef,
        keep: Duration,
    ) {
        let key = lease.id.hash(&owner);
        if let Some(other) = self.name_of(&key).filter(|known| **known != name).cloned() {
            if let Some(to) = to {
                self.books.refuse(to, other_lock_refusal(&other));
            }
            return;
        }
        if let Some(finished) = self.books.finished.get(&key) {
            let held = finished.held;
            self.books.released(to, lease.id, held);
            return;
        }
        let lock = self.books.ids.get(&key).and_then(|name| self.locks.get_mut(name));
        if mutant::is(Mutant::AcceptWrongId)
            && lock.is_none()
            && let Some(lock) = self.locks.get_mut(&name).filter(|lock| !lock.holders.is_empty())
        {
            let lease = LeaseRef { token: None, ..lease };
            lock.release_held(0, to, lease, keep, &mut self.books);
            return;
        }
        let lock = self.books.ids.get(&key).and_then(|name| self.locks.get_mut(name));
        let Some((lock, place)) = lock.and_then(|lock| lock.place(&key).map(|place| (lock, place))) else {
            self.refuse_unknown(to, owner, name, key);
            return;
        };
        match place {
            Place::Holding(index) => lock.release_held(index, to, lease, keep, &mut self.books),
            Place::Beginning => lock.cancel_beginning(&key, to, lease.id),
            Place::Waiting => lock.cancel_waiting(&key, to, lease.id, &mut self.books),
        }
        self.tidy(&name);
    }

    fn name_of(&self, key: &IdHash) -> Option<&LockName> {
        self.books.ids.get(key).or_else(|| self.books.finished.get(key).map(|finished| &finished.name))
    }

    /// An id that was never seen is finished all the same: its acquire may still be travelling (S10).
    fn refuse_unknown(&mut self, to: Option<R>, owner: OwnerName, name: LockName, key: IdHash) {
        let message = format!("this id does not hold or wait for lock {name}; it can no longer be used");
        self.books.finish(key, &owner, &name, (LostReason::Released, Duration::ZERO));
        if let Some(to) = to {
            self.books.refuse_with(to, Code::NotHolder, message);
        }
    }
}

impl<R> Books<R> {
    pub(super) fn released(&mut self, to: Option<R>, id: LeaseId, held: Duration) {
        if let Some(to) = to {
            self.reply(to, Reply::Released { id: Some(id), held });
        }
    }
}

impl<R: Clone> Lock<R> {
    fn release_held(
        &mut self,
        index: usize,
        to: Option<R>,
        lease: LeaseRef,
        keep: Duration,
        books: &mut Books<R>,
    ) {
        let now = books.now;
        let holder = &mut self.holders[index];
        if lease.token.is_some_and(|token| token != holder.token()) {
            if let Some(to) = to {
                let message = "the token is not the one that this id was granted with; nothing was released";
                books.refuse_with(to, Code::NotHolder, message);
            }
            return;
        }
        holder.settle(books);
        match &mut holder.tenure {
            Tenure::Ending { answers } => {
                if let Some(to) = to {
                    await_answer(answers, (to, lease.id));
                }
            }
            // Its id has been forgotten since; the store has not taken the write.
            Tenure::Gone { held } => {
                let held = *held;
                books.released(to, lease.id, held);
            }
            Tenure::Kept { .. } => {
                let held = holder.held(now);
                books.released(to, lease.id, held);
            }
            Tenure::Held if keep.is_zero() => {
                let answers = to.map(|to| (to, lease.id)).into_iter().collect();
                holder.tenure = Tenure::Ending { answers };
                holder.released_at = Some(now.boot);
                self.advance(books);
            }
            Tenure::Held => {
                holder.tenure = Tenure::Kept { until: now.boot + keep, stored: false };
                let held = holder.held(now);
                books.released(to, lease.id, held);
                self.watch_lease(index, books);
                self.advance(books);
            }
        }
    }

    /// Its write is on its way and cannot be called back; the next one ends it.
    fn cancel_beginning(&mut self, key: &IdHash, to: Option<R>, id: LeaseId) {
        let begun = self.flight_mut().and_then(|flight| flight.commit.beginning_mut(key));
        if let Some(answers) = begun.map(|begun| begun.cancelled.get_or_insert_default())
            && let Some(to) = to
        {
            await_answer(answers, (to, id));
        }
    }

    fn cancel_waiting(&mut self, key: &IdHash, to: Option<R>, id: LeaseId, books: &mut Books<R>) {
        let Some(waiter) = self.dismiss(key, books) else { return };
        let stood = waiter.stood(books.now.boot);
        books.note(&self.name, Happening::GaveUp { why: GaveUp::Cancelled, stood });
        books.finish(waiter.key, &waiter.owner, &self.name, (LostReason::Released, Duration::ZERO));
        books.released(to, id, Duration::ZERO);
        // Whoever stood behind it may fit now.
        self.advance(books);
    }
}

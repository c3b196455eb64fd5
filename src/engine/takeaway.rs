//! Taking leases away (S6): whatever ends a lease without its owner's request goes into the shard's guarded
//! batch, which a deposed leader cannot write, and of which one is on its way at a time.

use super::Engine;
use super::commit::End;
use super::deadlines::Alarm;
use super::holder::{Delivery, Tenure};
use super::limits::{BATCH_LOCKS_MAX, await_answer};
use super::lock::{Lock, Phase};
use super::message::{Code, GrantNumber, GuardedBatch, LockWrite, Now, Output};
use crate::mutant::{self, Mutant};
use crate::types::{IdHash, LockName, Timestamp};

/// The batch that is on its way.
#[derive(Debug)]
pub(super) struct BatchFlight {
    pub(super) batch: GuardedBatch,
    pub(super) refusals: u32,
    /// When the alarm to send it again is set for.
    pub(super) retry_at: Option<Timestamp>,
}

impl<R: Clone> Engine<R> {
    /// Nobody was there to take this grant. That ends the lease if it was the only one sent for the id and
    /// nothing has come back from it; otherwise it means nothing (S9).
    pub fn handle_undelivered(&mut self, now: Now, number: GrantNumber) {
        self.books.begin(now);
        let Some((name, key)) = self.books.deliveries.remove(&number) else { return };
        let lock = self.locks.get_mut(&name);
        let holder = lock.and_then(|lock| lock.holders.iter_mut().find(|holder| holder.key == key));
        if let Some(holder) = holder
            .filter(|holder| holder.delivery == Delivery::Once(number) || mutant::is(Mutant::HonourAny503))
        {
            holder.delivery = Delivery::Undelivered;
            self.books.due.insert(name);
        }
        self.take_away();
    }

    /// Ends every lease of a lock. It breaks the promise to its holders, who may not hear of it; their tokens
    /// still are lower than those that follow.
    pub(super) fn admin_release(&mut self, to: R, name: &LockName, reason: Option<String>) {
        let lock = self.locks.get_mut(name);
        let Some(lock) = lock.filter(|lock| lock.is_held() || lock.garbled.is_some() || !lock.is_idle())
        else {
            self.books.refuse_with(to, Code::NotHolder, format!("nobody holds lock {name}"));
            return;
        };
        await_answer(&mut lock.admins, (to, reason));
        self.books.due.insert(name.clone());
    }

    /// Sends the next batch, if one is due and none is on its way.
    pub(super) fn take_away(&mut self) {
        let barred = self.batch.is_some() || !self.books.acting || self.books.quarantine.is_some();
        if barred || self.books.due.is_empty() {
            return;
        }
        let candidates: Vec<LockName> = self.books.due.iter().cloned().collect();
        let attempt = self.books.next_attempt();
        let mut writes: Vec<LockWrite> = Vec::new();
        for name in candidates {
            if writes.len() >= BATCH_LOCKS_MAX {
                break;
            }
            let Some(lock) = self.locks.get_mut(&name) else {
                self.books.due.remove(&name);
                continue;
            };
            if !lock.is_idle() {
                continue;
            }
            self.books.due.remove(&name);
            let leaving = lock.leaving(&mut self.books);
            if leaving.is_empty() && lock.admins.is_empty() {
                lock.advance(&mut self.books);
                self.tidy(&name);
                continue;
            }
            let mut flight = lock.take_off(&mut self.books, attempt, leaving);
            flight.admins = std::mem::take(&mut lock.admins);
            if mutant::is(Mutant::PlainTakeAway) {
                flight.write.record.attempt = self.books.next_attempt();
                self.books.outputs.push_back(Output::Write(flight.write.clone()));
                lock.phase = Phase::Writing(flight);
                continue;
            }
            writes.push(flight.write.clone());
            lock.phase = Phase::InBatch(flight);
        }
        if writes.is_empty() {
            return;
        }
        let batch = GuardedBatch { attempt, guard: self.books.term.epoch.revision(), writes };
        self.books.outputs.push_back(Output::Batch(batch.clone()));
        self.batch = Some(BatchFlight { batch, refusals: 0, retry_at: None });
        self.books.batching = true;
    }

    pub(super) fn resend_batch(&mut self) {
        if let Some(flight) = &mut self.batch {
            flight.retry_at = None;
            self.books.outputs.push_back(Output::Batch(flight.batch.clone()));
        }
    }

    pub(super) fn retry_batch_later(&mut self) {
        let Some(flight) = &mut self.batch else { return };
        flight.refusals += 1;
        let at = self.books.now.boot + super::outcome::pause(flight.refusals);
        flight.retry_at = Some(at);
        self.books.alarm(at, Alarm::RetryBatch);
    }
}

impl<R: Clone> Lock<R> {
    /// Who is to be taken away now. Those who are not, after all, get their alarm back.
    fn leaving(&mut self, books: &mut super::books::Books<R>) -> Vec<(IdHash, End)> {
        if self.garbled.is_some() {
            // Nobody knows who held it; the administrator's write makes it free.
            return Vec::new();
        }
        if !self.is_held() {
            books.about = Some(self.name.clone());
            for (to, _) in std::mem::take(&mut self.admins) {
                books.refuse_with(to, Code::NotHolder, format!("nobody holds lock {}", self.name));
            }
            return Vec::new();
        }
        if let Some((_, reason)) = self.admins.first() {
            return self.present().map(|holder| (holder.key, End::Revoked(reason.clone()))).collect();
        }
        let mut leaving = Vec::new();
        for index in 0..self.holders.len() {
            let holder = &self.holders[index];
            let over = holder.ends_at(&books.term) <= books.now.boot;
            if matches!(holder.tenure, Tenure::Held) && (over || holder.delivery == Delivery::Undelivered) {
                leaving.push((holder.key, End::Expired));
            } else if holder.alarm_at.is_none() && !holder.is_ending() {
                self.watch_lease(index, books);
            }
        }
        leaving
    }
}

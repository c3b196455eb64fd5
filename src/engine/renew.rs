//! Renewing: it lives in memory and costs no write.

use super::Engine;
use super::acquire::{finished_refusal, other_lock_refusal};
use super::lock::{Lock, Place};
use super::message::{Code, LeaseRef, LostReason, Reply};
use crate::mutant::{self, Mutant};
use crate::types::{IdHash, LockName, OwnerName, Ttl};

/// What became of the renewal of one lease.
enum Renewal {
    Renewed(Ttl, std::time::Duration),
    Lost(LostReason),
    /// The token is another than the lease's.
    Mistaken,
    /// Nothing may be said now; the client repeats.
    Silent,
}

impl<R: Clone> Engine<R> {
    pub(super) fn renew(&mut self, owner: &OwnerName, to: R, name: &LockName, lease: &LeaseRef) {
        let key = lease.id.hash(owner);
        let elsewhere = self.books.ids.get(&key).filter(|known| *known != name).cloned();
        if let Some(other) = elsewhere {
            self.books.refuse(to, other_lock_refusal(&other));
            return;
        }
        match self.renew_one(&key, lease) {
            Renewal::Renewed(ttl, expires_in) => {
                self.books.reply(to, Reply::Renewed { id: lease.id.clone(), ttl, expires_in });
            }
            Renewal::Lost(LostReason::Unknown) | Renewal::Mistaken => {
                let message = format!("this id does not hold or wait for lock {name}; acquire again");
                self.books.refuse_with(to, Code::NotHolder, message);
            }
            Renewal::Lost(why) => self.books.refuse(to, finished_refusal(why)),
            Renewal::Silent => {}
        }
    }

    pub(super) fn renew_many(&mut self, owner: &OwnerName, to: R, leases: Vec<LeaseRef>) {
        let (mut renewed, mut lost) = (Vec::new(), Vec::new());
        for lease in leases {
            let key = lease.id.hash(owner);
            if self.is_unsure_of(&key, &lease) && !mutant::is(Mutant::AnswerFromStaleCache) {
                continue;
            }
            match self.renew_one(&key, &lease) {
                Renewal::Renewed(..) => renewed.push(lease.id),
                Renewal::Lost(why) => lost.push((lease.id, why)),
                Renewal::Mistaken => lost.push((lease.id, LostReason::Unknown)),
                Renewal::Silent => {}
            }
        }
        self.books.reply(to, Reply::RenewedMany { renewed, lost });
    }

    fn renew_one(&mut self, key: &IdHash, lease: &LeaseRef) -> Renewal {
        let Some(lock) = self.books.ids.get(key).and_then(|name| self.locks.get_mut(name)) else {
            let finished = self.books.finished.get(key).map(|finished| finished.why);
            return Renewal::Lost(finished.unwrap_or(LostReason::Unknown));
        };
        if lock.is_frozen_for(key) {
            return Renewal::Silent;
        }
        let now = self.books.now.boot;
        match lock.place(key) {
            Some(Place::Holding(index)) => {
                let holder = &mut lock.holders[index];
                if lease.token.is_some_and(|token| token != holder.token()) {
                    return Renewal::Mistaken;
                }
                if !holder.is_believed() {
                    return Renewal::Lost(LostReason::Released);
                }
                holder.settle(&mut self.books);
                if !mutant::is(Mutant::RenewalConfersNothing) {
                    holder.confer(now);
                }
                Renewal::Renewed(holder.ttl, holder.ttl.get())
            }
            // Who names a token speaks of a lease, not of a place in the queue.
            Some(Place::Waiting) if lease.token.is_some() => Renewal::Mistaken,
            Some(Place::Waiting) => {
                let Some(waiter) = lock.queue.get_mut(key) else { return Renewal::Silent };
                waiter.heard = Some(now);
                let renewed = Renewal::Renewed(waiter.ttl, waiter.due_at().since(now));
                lock.watch_waiter(key, &mut self.books);
                renewed
            }
            // The grant says all there is to say.
            Some(Place::Beginning) | None => Renewal::Silent,
        }
    }
}

impl<R: Clone> Lock<R> {
    /// Sets a waiter's alarm anew.
    pub(super) fn watch_waiter(&mut self, key: &IdHash, books: &mut super::books::Books<R>) {
        let Some(waiter) = self.queue.get_mut(key) else { return };
        let alarm = || super::deadlines::Alarm::Wait(self.name.clone(), *key);
        books.deadlines.cancel(waiter.alarm_at, alarm());
        waiter.alarm_at = waiter.due_at();
        if !waiter.tries {
            books.alarm(waiter.alarm_at, alarm());
        }
    }
}

//! Acquiring: a new acquisition, or a repeat of one that is known.

use super::Engine;
use super::books::Books;
use super::fact::Happening;
use super::holder::Delivery;
use super::lock::{Lock, Place};
use super::message::{Acquire, Code, LostReason, Refusal, Reply};
use super::plan::Taken;
use super::queue::Waiter;
use crate::mutant::{self, Mutant};
use crate::types::{Claim, IdHash, LockName, OwnerName};

impl<R: Clone> Engine<R> {
    pub(super) fn acquire(&mut self, owner: OwnerName, to: R, ask: Acquire) {
        let key = ask.id.hash(&owner);
        let name = ask.name.clone();
        if let Err(refusal) = self.admit(&key, &owner, &ask) {
            self.books.refuse(to, refusal);
            return;
        }
        let lock = self.locks.get_or_new(&name);
        match lock.place(&key) {
            Some(Place::Holding(index)) => lock.repeat_held(index, to, &ask, &mut self.books),
            Some(Place::Beginning) => lock.repeat_beginning(&key, to, &ask, &mut self.books),
            Some(Place::Waiting) => lock.repeat_waiting(&key, to, &ask, &mut self.books),
            None => lock.begin(owner, to, key, ask, &mut self.books),
        }
        self.tidy(&name);
    }

    /// What can be said of the id alone, and the limits that are the shard's.
    fn admit(&self, key: &IdHash, owner: &OwnerName, ask: &Acquire) -> Result<(), Refusal> {
        if let Some(finished) = self.books.finished.get(key) {
            return Err(if finished.name == ask.name {
                finished_refusal(finished.why)
            } else {
                other_lock_refusal(&finished.name)
            });
        }
        match self.books.ids.get(key) {
            Some(name) if *name != ask.name => return Err(other_lock_refusal(name)),
            Some(_) => return Ok(()),
            None => {}
        }
        let limits = &self.books.limits;
        let left = self.locks.get(&ask.name).is_some_and(|lock| lock.was_left_by(owner));
        self.books.accounts.admit(limits, owner, (&ask.name, left))?;
        if self.books.ids.len() >= limits.leases_max {
            let limit = limits.leases_max;
            let message = format!("the shard has {limit} leases and waiting requests already; try later");
            return Err(Refusal::new(Code::RateLimited, message).limit(limit as u64));
        }
        Ok(())
    }
}

pub(super) fn finished_refusal(why: LostReason) -> Refusal {
    let message = match why {
        LostReason::Released | LostReason::Unknown => "this id was released; acquire with a new id",
        LostReason::Expired => "this id's lease expired; acquire with a new id",
        LostReason::Revoked => "this id's lease was revoked by an administrator; acquire with a new id",
    };
    Refusal::new(Code::Finished, message)
}

pub(super) fn other_lock_refusal(name: &LockName) -> Refusal {
    Refusal::new(
        Code::IdConflict,
        format!("this id is in use for lock {name}; make a new id for each acquisition"),
    )
}

impl<R: Clone> Lock<R> {
    /// A repeat of an acquire that is granted is a renewal: same token, nothing waited, counted from now.
    fn repeat_held(&mut self, index: usize, to: R, ask: &Acquire, books: &mut Books<R>) {
        if self.is_frozen_for(&self.holders[index].key) {
            return;
        }
        let holder = &mut self.holders[index];
        if holder.claim != ask.claim {
            books.refuse(to, other_claim_refusal(holder.claim));
        } else if !holder.is_believed() {
            books.refuse(to, finished_refusal(LostReason::Released));
        } else {
            holder.settle(books);
            if !mutant::is(Mutant::RepeatIsNoRenewal) {
                holder.confer(books.now.boot);
            }
            let old = if mutant::is(Mutant::RepeatWithOldWait) {
                holder.held(books.now)
            } else {
                std::time::Duration::ZERO
            };
            let grant = holder.grant(ask.id.clone(), old);
            books.reply(to, Reply::Granted(grant));
        }
    }

    /// A repeat of one whose write is on its way: the grant will answer this request.
    fn repeat_beginning(&mut self, key: &IdHash, to: R, ask: &Acquire, books: &mut Books<R>) {
        let now = books.now.boot;
        let Some(begun) = self.flight_mut().and_then(|flight| flight.commit.beginning_mut(key)) else {
            return;
        };
        if begun.waiter.claim != ask.claim {
            books.refuse(to, other_claim_refusal(begun.waiter.claim));
        } else if begun.cancelled.is_some() {
            books.refuse(to, finished_refusal(LostReason::Released));
        } else {
            begun.waiter.asked_again(now, to, ask);
        }
    }

    fn repeat_waiting(&mut self, key: &IdHash, to: R, ask: &Acquire, books: &mut Books<R>) {
        let now = books.now.boot;
        let Some(waiter) = self.queue.get(key) else { return };
        if waiter.claim != ask.claim {
            books.refuse(to, other_claim_refusal(waiter.claim));
            return;
        }
        // A try that becomes a wait has been counted already.
        if waiter.tries
            && !ask.wait.is_try()
            && waiter.contended
            && let Err(refusal) = books.accounts.admit_waiter(&books.limits, &waiter.owner, 1)
        {
            books.refuse(to, refusal);
            return;
        }
        self.queue.ask_again(key, now, to.clone(), ask);
        self.watch_waiter(key, books);
        if ask.wait.is_try() && self.flight().is_some_and(|flight| flight.doubtful) {
            self.dismiss(key, books);
            books.refuse(to, in_doubt_refusal());
        } else if ask.wait.is_try() {
            // It does not want to wait any longer; if the lock stands still this answers it.
            self.advance(books);
        } else if ask.progress {
            self.report_progress(key, to, books);
        }
    }

    fn begin(&mut self, owner: OwnerName, to: R, key: IdHash, ask: Acquire, books: &mut Books<R>) {
        let (progress, tries, contended) = (ask.progress, ask.wait.is_try(), !self.is_open_to(ask.claim));
        let mut admitted = self.admit(&ask, books);
        if contended && !tries {
            admitted = admitted.and_then(|()| books.accounts.admit_waiter(&books.limits, &owner, 0));
        }
        if let Err(refusal) = admitted {
            books.refuse(to, refusal);
            return;
        }
        books.note(&self.name, Happening::Asked { contended });
        let waiter = Waiter::new(books.now.boot, owner, to.clone(), key, ask);
        self.enqueue(Waiter { contended, ..waiter }, books);
        self.advance(books);
        if !self.queue.contains(&key) {
            return;
        }
        if tries && self.flight().is_some_and(|flight| flight.doubtful) {
            self.dismiss(&key, books);
            books.refuse(to, in_doubt_refusal());
        } else if progress && !tries {
            self.report_progress(&key, to, books);
        }
    }

    /// True where nobody holds the lock, is about to, or waits for it, with whom this claim does not go.
    fn is_open_to(&self, claim: Claim) -> bool {
        let beginning = self.flight().into_iter().flat_map(|flight| flight.commit.beginning());
        let claims = self.present().map(|holder| holder.claim);
        self.queue.is_empty() && Taken::by(claims.chain(beginning.map(|waiter| waiter.claim))).admits(claim)
    }

    /// What the lock's state has to say against a new acquisition.
    fn admit(&self, ask: &Acquire, books: &Books<R>) -> Result<(), Refusal> {
        if self.garbled.is_some() {
            return Err(self.quarantine_refusal());
        }
        if let Some(used) = self.claim_in_use().filter(|used| !used.mixes_with(ask.claim)) {
            return Err(mixing_refusal(used, ask.claim));
        }
        let limits = &books.limits;
        if self.queue.is_empty()
            && ask.claim != Claim::Exclusive
            && self.present().count() >= limits.holders_per_lock_max
        {
            let limit = limits.holders_per_lock_max;
            let message = format!("the lock has {limit} holders already; try again when one has left");
            return Err(Refusal::new(Code::QueueFull, message).limit(limit as u64));
        }
        if self.queue.len() >= limits.waiters_per_lock_max {
            let limit = limits.waiters_per_lock_max;
            let message = format!("{limit} requests wait for this lock already; try later");
            return Err(Refusal::new(Code::QueueFull, message).limit(limit as u64));
        }
        Ok(())
    }

    pub(super) fn quarantine_refusal(&self) -> Refusal {
        let why = self.garbled.as_ref().map_or("", |garbled| &garbled.why);
        let message =
            format!("the stored record of this lock cannot be read ({why}); an administrator can release it");
        Refusal::new(Code::Quarantined, message)
    }

    fn report_progress(&self, key: &IdHash, to: R, books: &mut Books<R>) {
        let Some(position) = self.queue.position(key) else { return };
        let Some(id) = self.queue.get(key).map(|waiter| waiter.id.clone()) else { return };
        books.reply(to, Reply::Queued { id, position, holder_count: self.present().count() });
    }
}

impl<R> super::holder::Holder<R> {
    /// Its owner was heard of: a grant that is reported undelivered from now on means nothing.
    pub(super) fn settle(&mut self, books: &mut Books<R>) {
        if mutant::is(Mutant::HonourAny503) {
            return;
        }
        if let Delivery::Once(number) = self.delivery {
            books.deliveries.remove(&number);
        }
        self.delivery = Delivery::Settled;
    }
}

fn other_claim_refusal(claim: Claim) -> Refusal {
    let mode = claim.mode();
    let what = claim.permits().map_or_else(
        || mode.to_string(),
        |permits| format!("{} of {} permits", permits.permits(), permits.capacity()),
    );
    let message = format!(
        "this id was used to ask for {what}; a repeat asks for the same, anything else takes a new id"
    );
    Refusal::new(Code::IdConflict, message)
}

fn mixing_refusal(used: Claim, asked: Claim) -> Refusal {
    let message = match (used.permits(), asked.permits()) {
        (Some(used), Some(asked)) => format!(
            "the lock is in use with a capacity of {}, not {}; all its users must agree",
            used.capacity(),
            asked.capacity()
        ),
        _ => format!("the lock is in use in {} mode, which does not mix with {}", used.mode(), asked.mode()),
    };
    Refusal::new(Code::BadRequest, message)
}

pub(super) fn in_doubt_refusal() -> Refusal {
    let message =
        "the store does not take writes at the moment, so nothing is decided; repeat with the same id";
    Refusal::new(Code::Unavailable, message).retry_after(std::time::Duration::from_millis(500))
}

//! One lock: what is stored of it, who waits for it, and the one write that may be on its way.

use super::books::Books;
use super::commit::{Commit, End};
use super::deadlines::Alarm;
use super::fact::Happening;
use super::holder::{Holder, Tenure, beginning};
use super::limits::{DENIALS_FREE, FORGET_SLACK};
use super::message::{
    FREE_RECORD_TTL, LockEntry, LockRecord, LockWrite, Output, Reply, StoredHolder, Ticket,
};
use super::plan::{Taken, may_begin};
use super::queue::{WaitQueue, Waiter};
use crate::mutant::{self, Mutant};
use crate::types::{AttemptId, Claim, IdHash, LockName, OwnerName, Revision, Timestamp};

/// One lock.
#[derive(Debug)]
pub(super) struct Lock<R> {
    pub(super) name: LockName,
    /// The revision of the record behind `holders`; none where there is no record.
    pub(super) stored: Revision,
    /// What the next write expects instead, because a refusal named it. It proves nothing (S7): the store itself
    /// removes free records, a tool may purge one, and a server that slept knows only older ones.
    pub(super) named: Option<Revision>,
    /// How many writes in a row were refused for no reason that could be found.
    pub(super) denials: u32,
    /// As stored, but for what their owners have asked since.
    pub(super) holders: Vec<Holder<R>>,
    pub(super) queue: WaitQueue<R>,
    pub(super) phase: Phase<R>,
    /// A later record than `stored` that was delivered while a write is on its way.
    pub(super) seen: Option<Box<LockEntry>>,
    /// The record does not decode: the lock is quarantined.
    pub(super) garbled: Option<Box<Garbled>>,
    /// The record was deleted by a foreign tool under its holders: it is to be written again.
    pub(super) rewrite: bool,
    /// Who wants all leases ended, and why.
    pub(super) admins: Vec<(R, Option<String>)>,
    /// When the alarm to forget the free record is set for. Until then the owner that left it last pays for it.
    pub(super) forget_at: Option<Timestamp>,
    /// Whose lease ended last.
    pub(super) left_by: Option<OwnerName>,
    /// When the alarm is set for to send a write that was put off (`put_off.rs`).
    pub(super) write_at: Option<Timestamp>,
}

/// A record that does not decode.
#[derive(Debug)]
pub(super) struct Garbled {
    pub(super) why: String,
    pub(super) revision: Revision,
}

/// What is on its way.
#[derive(Debug)]
pub(super) enum Phase<R> {
    /// Nothing: `stored` is the truth, as far as this leader knows.
    Idle,
    /// A compare-and-set of this lock alone, sent or to be sent again.
    Writing(Box<Flight<R>>),
    /// A part of the shard's guarded batch.
    InBatch(Box<Flight<R>>),
    /// A refused write; the lock is frozen until the leadership is confirmed and the standing consumer has
    /// delivered all that was written before the confirmation (S8).
    Confirming(Box<Flight<R>>, Proof),
}

/// A write without an outcome.
#[derive(Debug)]
pub(super) struct Flight<R> {
    pub(super) write: LockWrite,
    pub(super) commit: Commit<R>,
    /// The administrators whose wish the write fulfils.
    pub(super) admins: Vec<(R, Option<String>)>,
    /// How often it was refused for now.
    pub(super) refusals: u32,
    /// When the alarm to send it again is set for.
    pub(super) retry_at: Option<Timestamp>,
    /// When the alarm for a long doubt is set for.
    pub(super) doubt_at: Option<Timestamp>,
    /// It has been in doubt for long.
    pub(super) doubtful: bool,
}

/// What is known of the state behind a refusal.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) ticket: Ticket,
    /// The confirmation's revision: all before it is known once the consumer has delivered it.
    pub(super) proven: Option<Revision>,
    /// The revision that the refusal named; none where it named the lack of a record.
    pub(super) actual: Option<Revision>,
}

/// Where a live id is in its lock.
pub(super) enum Place {
    Holding(usize),
    Beginning,
    Waiting,
}

impl<R: Clone> Lock<R> {
    pub(super) fn new(name: LockName) -> Self {
        Self {
            name,
            stored: Revision::NONE,
            named: None,
            denials: 0,
            holders: Vec::new(),
            queue: WaitQueue::default(),
            phase: Phase::Idle,
            seen: None,
            garbled: None,
            rewrite: false,
            admins: Vec::new(),
            forget_at: None,
            left_by: None,
            write_at: None,
        }
    }

    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// True where nothing needs to be remembered of the lock.
    pub(super) fn is_blank(&self) -> bool {
        self.is_at_rest() && self.stored == Revision::NONE
    }

    /// True where nobody holds or wants it.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_idle()
            && self.holders.is_empty()
            && self.write_at.is_none()
            && self.queue.is_empty()
            && self.garbled.is_none()
            && self.admins.is_empty()
    }

    /// Those who hold it, as far as anybody is told.
    pub(super) fn present(&self) -> impl Iterator<Item = &Holder<R>> {
        self.holders.iter().filter(|holder| !holder.is_gone())
    }

    /// True where somebody holds it, as far as anybody is told.
    pub(super) fn is_held(&self) -> bool {
        self.present().next().is_some()
    }

    pub(super) fn place(&self, key: &IdHash) -> Option<Place> {
        if let Some(index) = self.holders.iter().position(|holder| holder.key == *key) {
            Some(Place::Holding(index))
        } else if self.flight().is_some_and(|flight| flight.commit.begins(key)) {
            Some(Place::Beginning)
        } else {
            self.queue.contains(key).then_some(Place::Waiting)
        }
    }

    pub(super) fn flight(&self) -> Option<&Flight<R>> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Writing(flight) | Phase::InBatch(flight) | Phase::Confirming(flight, _) => Some(flight),
        }
    }

    pub(super) fn flight_mut(&mut self) -> Option<&mut Flight<R>> {
        match &mut self.phase {
            Phase::Idle => None,
            Phase::Writing(flight) | Phase::InBatch(flight) | Phase::Confirming(flight, _) => Some(flight),
        }
    }

    /// True where nothing may be answered about this lease: it is being taken away (S6), or the leader has to
    /// look again (S8).
    pub(super) fn is_frozen_for(&self, key: &IdHash) -> bool {
        match &self.phase {
            Phase::Idle | Phase::Writing(_) => false,
            Phase::InBatch(flight) => flight.commit.ends(key) && !mutant::is(Mutant::RenewWhileExpiring),
            Phase::Confirming(..) => true,
        }
    }

    /// Any claim that is in use here: all others must mix with it.
    pub(super) fn claim_in_use(&self) -> Option<Claim> {
        let beginning = self.flight().and_then(|flight| flight.commit.beginning().next());
        (self.present().next().map(|holder| holder.claim))
            .or_else(|| beginning.map(|waiter| waiter.claim))
            .or_else(|| self.queue.iter().next().map(|waiter| waiter.claim))
    }

    /// Does what is to be done next, if the lock is free to move: ends what its owners released and begins
    /// what may begin, in one write.
    pub(super) fn advance(&mut self, books: &mut Books<R>) {
        if !self.may_move(books) {
            return;
        }
        if !self.wants_write(&books.limits) {
            self.cancel_put_off(books);
            self.rest(books);
        } else if self.can_wait(books) {
            self.put_off(books);
        } else {
            self.write(books);
        }
    }

    pub(super) fn may_move(&self, books: &Books<R>) -> bool {
        if !self.is_idle() || self.garbled.is_some() || !books.acting || books.quarantine.is_some() {
            return false;
        }
        // `take_away`, at the end of this call, does both in one batch. A lock that always has something to write
        // would never get there.
        !books.due.contains(&self.name) || books.batching
    }

    /// Sends the next write.
    pub(super) fn write(&mut self, books: &mut Books<R>) {
        let attempt = books.next_attempt();
        let flight = self.take_off(books, attempt, Vec::new());
        let write = flight.write.clone();
        self.phase = Phase::Writing(flight);
        if self.denials > DENIALS_FREE {
            self.send_later(self.denials - DENIALS_FREE, books);
        } else {
            books.outputs.push_back(Output::Write(write));
        }
    }

    pub(super) fn wants_write(&self, limits: &super::limits::Limits) -> bool {
        let unstored = |holder: &Holder<R>| {
            holder.is_ending() || matches!(holder.tenure, Tenure::Kept { stored: false, .. })
        };
        self.rewrite || self.holders.iter().any(unstored) || self.beginners(&[], limits) > 0
    }

    fn beginners(&self, taken_away: &[(IdHash, End)], limits: &super::limits::Limits) -> usize {
        let staying = self.holders.iter().filter(|holder| !leaves(holder, taken_away));
        let taken = Taken::by(staying.map(|holder| holder.claim));
        may_begin(taken, self.queue.iter().map(|waiter| waiter.claim), limits.holders_per_lock_max)
    }

    /// Makes the next write: without those that leave, with those that may begin.
    pub(super) fn take_off(
        &mut self,
        books: &mut Books<R>,
        attempt: AttemptId,
        taken_away: Vec<(IdHash, End)>,
    ) -> Box<Flight<R>> {
        self.cancel_forget(books);
        self.cancel_put_off(books);
        let count = self.beginners(&taken_away, &books.limits);
        let mut begun: Vec<_> = (0..count).filter_map(|_| self.queue.pop_front()).collect();
        for waiter in &mut begun {
            waiter.turn_at = Some(books.now.boot);
            books.deadlines.cancel(waiter.alarm_at, Alarm::Wait(self.name.clone(), waiter.key));
            books.wait_no_more(waiter);
        }
        let mut holders: Vec<StoredHolder> = Vec::with_capacity(self.holders.len() + begun.len());
        let staying = self.holders.iter().filter(|holder| !leaves(holder, &taken_away));
        holders.extend(staying.map(|holder| holder.to_stored(books.now)));
        holders.extend((0..=u8::MAX).zip(&begun).map(|(index, waiter)| beginning(books.now, waiter, index)));
        let kept = self.holders.iter().filter(|h| matches!(h.tenure, Tenure::Kept { stored: false, .. }));
        let kept = kept.map(|holder| holder.key).collect();
        let mut ended = taken_away;
        for holder in self.holders.iter().filter(|holder| holder.is_ending()) {
            if !ended.iter().any(|(key, _)| *key == holder.key) {
                ended.push((holder.key, End::Released));
            }
        }
        self.rewrite = false;
        let expected = self.named.take().unwrap_or(self.stored);
        let record = LockRecord { attempt, epoch: books.term.epoch, holders };
        Box::new(Flight {
            write: LockWrite { name: self.name.clone(), expected, record },
            commit: Commit::new(ended, kept, begun),
            admins: Vec::new(),
            refusals: 0,
            retry_at: None,
            doubt_at: None,
            doubtful: false,
        })
    }

    /// Nothing is to be written: those who only tried get their answer, and a free record's revision is kept
    /// as long as the store keeps the record.
    fn rest(&mut self, books: &mut Books<R>) {
        let tries = self.queue.trying();
        if !tries.is_empty() {
            for key in tries {
                let Some(waiter) = self.dismiss(&key, books) else { continue };
                books.note(&self.name, Happening::Held);
                let view = self.view(books.now, super::LISTED, false);
                books.reply(waiter.reply, Reply::Held(view));
            }
            // Whoever stood behind them may fit now.
            return self.advance(books);
        }
        if self.is_at_rest() && self.stored != Revision::NONE && self.forget_at.is_none() {
            let at = books.now.boot + FREE_RECORD_TTL + FORGET_SLACK;
            self.forget_at = Some(at);
            books.alarm(at, Alarm::Forget(self.name.clone()));
            if let Some(owner) = &self.left_by {
                books.accounts.remember(owner);
            }
        }
    }

    pub(super) fn cancel_forget(&mut self, books: &mut Books<R>) {
        if let Some(at) = self.forget(books) {
            books.deadlines.cancel(at, Alarm::Forget(self.name.clone()));
        }
    }

    /// The free record need not be remembered any more, or is about to be written over.
    pub(super) fn forget(&mut self, books: &mut Books<R>) -> Option<Timestamp> {
        let at = self.forget_at.take()?;
        if let Some(owner) = &self.left_by {
            books.accounts.forget(owner);
        }
        Some(at)
    }

    /// True where it is free, and remembered at the expense of this owner.
    pub(super) fn was_left_by(&self, owner: &OwnerName) -> bool {
        self.forget_at.is_some() && self.left_by.as_ref() == Some(owner)
    }

    /// Puts a waiter behind all others.
    pub(super) fn enqueue(&mut self, mut waiter: Waiter<R>, books: &mut Books<R>) {
        self.cancel_forget(books);
        books.enter(waiter.key, &waiter.owner, &self.name);
        waiter.alarm_at = waiter.due_at();
        // One who only tries is answered when the write that is on its way has ended.
        if !waiter.tries {
            books.alarm(waiter.alarm_at, Alarm::Wait(self.name.clone(), waiter.key));
        }
        books.wait(&waiter);
        self.queue.push_back(waiter);
    }

    /// Takes a waiter out of the queue; its id may come again.
    pub(super) fn dismiss(&mut self, key: &IdHash, books: &mut Books<R>) -> Option<Waiter<R>> {
        let waiter = self.queue.remove(key)?;
        books.wait_no_more(&waiter);
        books.deadlines.cancel(waiter.alarm_at, Alarm::Wait(self.name.clone(), waiter.key));
        books.leave(key, &waiter.owner);
        Some(waiter)
    }

    /// Sets a holder's alarm anew.
    pub(super) fn watch_lease(&mut self, index: usize, books: &mut Books<R>) {
        let Some(holder) = self.holders.get_mut(index) else { return };
        let alarm = || Alarm::Lease(self.name.clone(), holder.key);
        if let Some(at) = holder.alarm_at.take() {
            books.deadlines.cancel(at, alarm());
        }
        books.longest = books.longest.max(holder.ttl.get());
        let at = holder.ends_at(&books.term);
        books.alarm(at, alarm());
        holder.alarm_at = Some(at);
    }

    /// Most locks have one holder, and are not to keep room for more.
    pub(super) fn add_holder(&mut self, holder: Holder<R>) {
        if self.holders.is_empty() {
            self.holders.reserve_exact(1);
        }
        self.holders.push(holder);
    }

    /// Takes a holder out, with its alarm and what was awaited of its grant.
    pub(super) fn evict(&mut self, key: &IdHash, books: &mut Books<R>) -> Option<Holder<R>> {
        let index = self.holders.iter().position(|holder| holder.key == *key)?;
        let holder = self.holders.remove(index);
        self.left_by = Some(holder.owner.clone());
        books.holding -= usize::from(!holder.is_gone());
        if let Some(at) = holder.alarm_at {
            books.deadlines.cancel(at, Alarm::Lease(self.name.clone(), holder.key));
        }
        if let super::holder::Delivery::Once(number) = holder.delivery {
            books.deliveries.remove(&number);
        }
        Some(holder)
    }
}

/// True where the next write leaves this holder out.
fn leaves<R>(holder: &Holder<R>, taken_away: &[(IdHash, End)]) -> bool {
    holder.is_ending() || taken_away.iter().any(|(key, _)| *key == holder.key)
}

//! What a leader does about its lock: at most one write on its way, store first and answer after (S2, S6, S7, S8).

use super::event::{Event, Out, Revision, Say, Tick};
use super::leader::{Delivery, Flight, Holder, Leader, Stage, Waiter};
use super::properties::Mark;
use super::rules::{CONFIRM, Confirm, Rule, Setup, TTL};
use super::store::{Record, Write};

impl Leader {
    /// Does what is to be done next: ends what its owner released and begins what may begin, in one plain write.
    pub(super) fn advance(&mut self, now: Tick, out: &mut Out) {
        if self.flight.is_some() || !self.acts(now) || self.stage != Stage::Serving || self.due {
            return;
        }
        let ends = self.holder.filter(|holder| holder.ending.is_some()).map(|holder| holder.id);
        let is_free = self.holder.is_none() || ends.is_some();
        if self.put_off && self.queue.is_empty() {
            return;
        }
        if ends.is_some() || (is_free && !self.queue.is_empty()) {
            self.take_off(ends, None, out);
        }
    }

    /// S6: a lease is taken away by a guarded batch, which a deposed leader cannot write.
    pub(super) fn take_away(&mut self, now: Tick, setup: &Setup, out: &mut Out) {
        if !self.due || self.flight.is_some() || !self.acts(now) || self.stage != Stage::Serving {
            return;
        }
        self.due = false;
        let Some(holder) = self.holder.filter(|holder| holder.ending.is_none()) else {
            return self.advance(now, out);
        };
        if self.ends_at(&holder, setup) <= now || holder.delivery == Delivery::Undelivered {
            let guard = setup.keeps(Rule::GuardedBatch).then_some(self.epoch);
            self.take_off(Some(holder.id), guard, out);
        } else {
            self.advance(now, out);
        }
    }

    fn take_off(&mut self, ends: Option<super::event::Id>, guard: Option<Revision>, out: &mut Out) {
        self.put_off = false;
        let begins = (!self.queue.is_empty()).then(|| self.queue.remove(0));
        if ends.is_some() && begins.is_some() {
            out.marks.add(Mark::HandedOver);
        }
        self.writes += 1;
        let write = Write {
            attempt: (self.term, self.writes),
            expected: self.stored,
            next: begins.map(|waiter| waiter.request.id),
            guard,
        };
        self.flight = Some(Flight { write, begins, ends, refused: None });
        out.push(Event::Write(write));
    }

    /// The write on its way is stored: what it changed is a fact, and may be told.
    pub(super) fn commit(&mut self, now: Tick, setup: &Setup, revision: Revision, out: &mut Out) {
        let Some(flight) = self.flight.take() else { return };
        self.stored = revision;
        if let Some(holder) = self.holder.take_if(|holder| Some(holder.id) == flight.ends) {
            self.end(now, holder, out);
        }
        if let Some(waiter) = flight.begins {
            self.grant(now, setup, waiter, out);
        }
        self.catch_up(now, setup, out);
    }

    fn end(&mut self, now: Tick, holder: Holder, out: &mut Out) {
        let Some(answer) = holder.ending else {
            out.marks.add(Mark::Expired);
            return self.expired.push(holder.id);
        };
        self.released.push(holder.id);
        if let Some(request) = answer {
            self.reply(now, request, Say::Released, out);
        }
    }

    /// Time is conferred, and the grant leaves, only if the leader may act now (S3); otherwise the client finds
    /// its lease by repeating.
    fn grant(&mut self, now: Tick, setup: &Setup, waiter: Waiter, out: &mut Out) {
        let confers = self.acts(now) || !setup.keeps(Rule::GrantsObeyLease);
        let mut holder = Holder {
            id: waiter.request.id,
            token: self.stored,
            conferred: None,
            learnt: now,
            delivery: Delivery::Unsent,
            unconfirmed: false,
            ending: waiter.cancelled.map(Some),
        };
        if confers && waiter.cancelled.is_none() {
            let confirm = setup.bounds.confirm;
            holder.unconfirmed = confirm.is_some();
            holder.conferred = Some(now + if holder.unconfirmed { CONFIRM } else { TTL });
            holder.delivery = Delivery::Once;
            let ttl = if confirm == Some(Confirm::Stated) { CONFIRM } else { TTL };
            let waited = now - waiter.received;
            let say = Say::Granted { token: holder.token, waited, ttl, notice: true };
            self.tell(waiter.request, say, out);
        }
        self.holder = Some(holder);
    }

    fn catch_up(&mut self, now: Tick, setup: &Setup, out: &mut Out) {
        match self.seen.take() {
            Some(record) if record.revision > self.stored => self.adopt(now, record, out),
            _ => {}
        }
        let over = |holder: &Holder| holder.delivery == Delivery::Undelivered && holder.ending.is_none();
        self.due |= self.holder.as_ref().is_some_and(over);
        self.take_away(now, setup, out);
        self.advance(now, out);
    }

    /// All that was written before the proof is known: the refused write was applied after all, or never will be
    /// (S7, S8).
    pub(super) fn resolve(&mut self, now: Tick, setup: &Setup, out: &mut Out) {
        if let Some(Flight { refused: Some(Some(proof)), write, .. }) = self.flight
            && proof <= self.delivered
        {
            match self.seen.filter(|record| record.attempt == write.attempt) {
                Some(record) => {
                    out.marks.add(Mark::FoundOwnWrite);
                    self.seen = None;
                    self.commit(now, setup, record.revision, out);
                }
                None => self.take_back(now, setup, out),
            }
        }
    }

    /// The write has changed nothing: who would have begun waits on, in front.
    pub(super) fn take_back(&mut self, now: Tick, setup: &Setup, out: &mut Out) {
        let Some(flight) = self.flight.take() else { return };
        match flight.begins {
            Some(Waiter { request, cancelled: Some(release), .. }) => {
                self.released.push(request.id);
                self.reply(now, release, Say::Released, out);
            }
            Some(waiter) => self.queue.insert(0, waiter),
            None => {}
        }
        self.catch_up(now, setup, out);
    }

    /// Takes a record of somebody else for the truth (S5).
    pub(super) fn adopt(&mut self, now: Tick, record: Record, out: &mut Out) {
        self.stored = record.revision;
        let stays = |holder: &Holder| Some(holder.id) == record.holder && holder.token == record.revision;
        if self.holder.as_ref().is_some_and(stays) {
            return;
        }
        if let Some(holder) = self.holder.take() {
            self.end(now, holder, out);
        }
        if let Some(id) = record.holder {
            self.find(now, id, out);
        }
        self.advance(now, out);
    }

    /// A holder that this leader did not know. It gets its full lease time from now (S4).
    fn find(&mut self, now: Tick, id: super::event::Id, out: &mut Out) {
        let place = self.queue.iter().position(|waiter| waiter.request.id == id);
        let waiter = place.map(|place| self.queue.remove(place));
        let released = self.released.contains(&id);
        self.expired.retain(|expired| *expired != id);
        let mut holder = Holder {
            id,
            token: self.stored,
            conferred: None,
            learnt: now,
            delivery: Delivery::Settled,
            unconfirmed: false,
            ending: released.then_some(None),
        };
        if let Some(waiter) = waiter.filter(|_| self.acts(now) && !released) {
            out.marks.add(Mark::FoundAndTold);
            holder.conferred = Some(now + TTL);
            let waited = now - waiter.received;
            let say = Say::Granted { token: holder.token, waited, ttl: TTL, notice: false };
            self.reply(now, waiter.request, say, out);
        }
        self.holder = Some(holder);
    }
}

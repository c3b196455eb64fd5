//! One term of one coordinator. Each is an actor of its own, so a deposed leader lives on until it notices.
//! What it does about the lock is in `lock.rs`, how it answers in `answers.rs`.

use super::event::{Event, Id, Out, Outcome, Request, Revision, Term, Tick};
use super::properties::Mark;
use super::rules::{Rule, Setup, TTL};
use super::store::{LeaseRecord, Record, Store, Write};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Leader {
    pub(super) term: Term,
    pub(super) stage: Stage,
    /// The revision of its `epoch` record.
    pub(super) epoch: Revision,
    /// It is sure of its leadership until then (S3).
    pub(super) act_until: Tick,
    /// It has not been sure for a while.
    pub(super) lapsed: bool,
    /// Until when its predecessors may have conferred time (S4).
    pub(super) overlap_until: Tick,
    /// It no longer reaches its `lease` record, and hears no news of the store.
    pub(super) cut: bool,
    /// It hears no requests.
    pub(super) deaf: bool,
    /// The lease record is on its way.
    pub(super) writing_lease: bool,
    /// A proof of leadership is wanted that is sent from now on.
    pub(super) wants_proof: bool,
    /// The standing consumer has brought all up to here.
    pub(super) delivered: Revision,
    /// The revision of the lock's record as far as it knows.
    pub(super) stored: Revision,
    pub(super) holder: Option<Holder>,
    pub(super) queue: Vec<Waiter>,
    pub(super) flight: Option<Flight>,
    /// A record that was delivered while the own write was on its way.
    pub(super) seen: Option<Record>,
    /// The holder is to be taken away from, if it still is so then.
    pub(super) due: bool,
    /// The *free* write of a release that was answered already is put off.
    pub(super) put_off: bool,
    pub(super) released: Vec<Id>,
    pub(super) expired: Vec<Id>,
    pub(super) writes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Taking { overlap: Tick },
    Loading,
    Serving,
    Resigning,
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Holder {
    pub(super) id: Id,
    pub(super) token: Revision,
    /// Until when this leader has conferred time, if it has.
    pub(super) conferred: Option<Tick>,
    pub(super) learnt: Tick,
    pub(super) delivery: Delivery,
    /// Its owner has not confirmed the grant yet: see [`super::rules::Confirm`].
    pub(super) unconfirmed: bool,
    /// Its owner has released it; who waits for the answer.
    pub(super) ending: Option<Option<Request>>,
}

/// What is known of the grant (S9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Delivery {
    Unsent,
    Once,
    Undelivered,
    Settled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Waiter {
    pub(super) request: Request,
    pub(super) received: Tick,
    /// It was given up while its write was on its way.
    pub(super) cancelled: Option<Request>,
}

/// A write on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    pub(super) write: Write,
    pub(super) begins: Option<Waiter>,
    pub(super) ends: Option<Id>,
    /// It was refused, and the leader looks what is there; the proof of its leadership, once there is one.
    pub(super) refused: Option<Option<Revision>>,
}

impl Leader {
    pub(super) const fn new(term: Term, epoch: Revision, overlap: Tick, act_until: Tick) -> Self {
        Self {
            term,
            stage: Stage::Taking { overlap },
            epoch,
            act_until,
            lapsed: false,
            overlap_until: 0,
            cut: false,
            deaf: false,
            writing_lease: false,
            wants_proof: false,
            delivered: 0,
            stored: 0,
            holder: None,
            queue: Vec::new(),
            flight: None,
            seen: None,
            due: false,
            put_off: false,
            released: Vec::new(),
            expired: Vec::new(),
            writes: 0,
        }
    }

    /// S3: it may confer time, and answer.
    pub(super) const fn acts(&self, now: Tick) -> bool {
        now < self.act_until
    }

    pub(super) fn is_gone(&self) -> bool {
        self.stage == Stage::Gone
    }

    /// Deposed or resigned: it forgets everything.
    fn leave(&mut self) {
        *self = Self { stage: Stage::Gone, ..Self::new(self.term, 0, 0, 0) };
    }

    /// The takeover is acknowledged.
    pub(super) fn handle_taken_over(&mut self, now: Tick, out: &mut Out) {
        if let Stage::Taking { overlap } = self.stage {
            self.overlap_until = now + overlap;
            self.stage = Stage::Loading;
            out.marks.add(Mark::TookOver);
            out.push(Event::Deliver { term: self.term });
        }
    }

    pub(super) fn handle_tick(&mut self, now: Tick, setup: &Setup, out: &mut Out) {
        if let Stage::Loading | Stage::Serving | Stage::Resigning = self.stage {
            self.write_lease(now, setup, out);
        }
        if self.stage != Stage::Serving {
            return;
        }
        self.begin(now);
        let over = |holder: &Holder| holder.ending.is_none() && self.ends_at(holder, setup) <= now;
        self.due |= self.acts(now) && self.holder.as_ref().is_some_and(over);
        self.put_off = false;
        self.take_away(now, setup, out);
        self.advance(now, out);
    }

    /// Each call reads the clock once.
    pub(super) fn begin(&mut self, now: Tick) {
        self.lapsed |= !self.acts(now);
    }

    /// The `lease` record, one write at a time (S3, S4).
    pub(super) fn write_lease(&mut self, now: Tick, setup: &Setup, out: &mut Out) {
        if self.writing_lease || self.cut {
            return;
        }
        let resigned = self.stage == Stage::Resigning;
        let inherited = self.overlap_until.saturating_sub(now);
        let mine = setup.leader_lease(self.term);
        let overlap = match resigned {
            true if setup.keeps(Rule::ResignationKeepsOverlap) => inherited,
            true => 0,
            false if setup.keeps(Rule::OverlapIsInherited) => mine.max(inherited),
            false => mine,
        };
        self.writing_lease = true;
        self.wants_proof = false;
        let record = LeaseRecord { term: self.term, overlap, resigned };
        out.push(Event::LeaseWrite { term: self.term, sent: now, record });
    }

    /// Gives the leadership back: from now on nothing is granted or renewed.
    pub(super) fn resign(&mut self, now: Tick, setup: &Setup, out: &mut Out) {
        *self = Self {
            stage: Stage::Resigning,
            overlap_until: self.overlap_until,
            writing_lease: self.writing_lease,
            ..Self::new(self.term, self.epoch, 0, self.act_until)
        };
        out.marks.add(Mark::Resigned);
        self.write_lease(now, setup, out);
    }

    /// The answer to the lease record: it still leads as of when that was sent, or it is deposed.
    pub(super) fn handle_lease_written(
        &mut self,
        now: Tick,
        setup: &Setup,
        (record, sent): (LeaseRecord, Tick),
        applied: Option<Revision>,
        out: &mut Out,
    ) {
        self.writing_lease = false;
        let Some(proof) = applied.filter(|_| !record.resigned) else { return self.leave() };
        self.act_until = self.act_until.max(sent + setup.leader_lease(self.term));
        match self.stage {
            Stage::Resigning => return self.write_lease(now, setup, out),
            Stage::Serving => {}
            _ => return,
        }
        if self.wants_proof {
            // It was asked for after this one was sent.
            self.write_lease(now, setup, out);
        } else {
            self.prove(proof);
        }
        if self.acts(now) && std::mem::take(&mut self.lapsed) {
            self.recover(now);
        }
        self.resolve(now, setup, out);
        self.advance(now, out);
    }

    /// It could not hear renewals while it was not sure, so nobody is expired for having been silent.
    fn recover(&mut self, now: Tick) {
        self.due = false;
        if let Some(holder) = &mut self.holder {
            holder.learnt = now;
        }
    }

    fn prove(&mut self, proof: Revision) {
        if let Some(Flight { refused: Some(proven), .. }) = &mut self.flight {
            proven.get_or_insert(proof);
        }
    }

    /// Asks for a proof by a lease record that is sent from now on.
    pub(super) fn ask_for_proof(&mut self, now: Tick, setup: &Setup, out: &mut Out) {
        self.wants_proof = true;
        self.write_lease(now, setup, out);
    }

    /// The standing consumer brings what is new (S5).
    pub(super) fn handle_delivered(&mut self, now: Tick, setup: &Setup, store: &Store, out: &mut Out) {
        if self.cut || matches!(self.stage, Stage::Taking { .. } | Stage::Gone) {
            return;
        }
        if store.epoch > self.epoch {
            return self.leave();
        }
        self.begin(now);
        self.delivered = store.last;
        if store.lock.revision > self.stored {
            if self.flight.is_none() {
                self.adopt(now, store.lock, out);
            } else {
                self.seen = Some(store.lock);
            }
        }
        match self.stage {
            Stage::Loading if self.delivered >= self.epoch => {
                self.stage = Stage::Serving;
                self.advance(now, out);
            }
            Stage::Serving => self.resolve(now, setup, out),
            _ => {}
        }
        self.take_away(now, setup, out);
    }

    /// Nobody took the grant (S9).
    pub(super) fn handle_undelivered(&mut self, now: Tick, setup: &Setup, id: Id, out: &mut Out) {
        self.begin(now);
        if let Some(holder) = self.holder.as_mut().filter(|holder| holder.id == id) {
            if holder.delivery == Delivery::Once || !setup.keeps(Rule::NoticeOfOnlyCopy) {
                holder.delivery = Delivery::Undelivered;
                self.due = true;
                out.marks.add(Mark::NoticeHonoured);
            } else {
                out.marks.add(Mark::NoticeIgnored);
            }
        }
        self.take_away(now, setup, out);
    }

    /// When a lease ends unless it is renewed (S4).
    pub(super) fn ends_at(&self, holder: &Holder, setup: &Setup) -> Tick {
        let conferred = holder.conferred.unwrap_or(0);
        if holder.unconfirmed && holder.learnt >= self.overlap_until {
            return conferred;
        }
        let waits = if setup.keeps(Rule::Overlap) { self.overlap_until } else { 0 };
        let lease = if setup.keeps(Rule::FoundHolderGetsLease) { TTL } else { 0 };
        conferred.max(holder.learnt.max(waits) + lease)
    }

    /// What became of the lock's write.
    pub(super) fn handle_written(
        &mut self,
        now: Tick,
        setup: &Setup,
        attempt: u8,
        outcome: Outcome,
        out: &mut Out,
    ) {
        self.begin(now);
        let Some(flight) =
            self.flight.as_mut().filter(|f| f.write.attempt.1 == attempt && f.refused.is_none())
        else {
            return;
        };
        match outcome {
            Outcome::Acknowledged(revision) => self.commit(now, setup, revision, out),
            Outcome::Unknown if setup.keeps(Rule::InDoubtIsNotFailed) => {
                out.marks.add(Mark::WroteAgain);
                out.push(Event::Write(flight.write));
            }
            Outcome::Refused if setup.keeps(Rule::LookAgainWhenRefused) => {
                flight.refused = Some(None);
                self.ask_for_proof(now, setup, out);
            }
            Outcome::Unknown | Outcome::Refused => self.take_back(now, setup, out),
        }
        self.take_away(now, setup, out);
    }
}

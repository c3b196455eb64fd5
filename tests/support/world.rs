//! A small deterministic world around engines: clocks, a modelled bucket, clients, and leaders whose writes,
//! answers, deliveries and lease records happen when the test says so.
//!
//! After every call of an engine its invariants are checked; every write, grant, renewal and refusal is shown
//! to a [`Witness`], which knows what no single party knows. A broken rule panics with the whole story.

mod store;
mod text;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use natslock::engine::message::{
    Ask, Code, EntryContent, Grant, GrantNumber, GuardedBatch, LockRecord, LockWrite, LostReason, Now,
    Output, Reply, Request, Ticket, WriteOutcome,
};
use natslock::engine::{Engine, Limits, Term, invariants};
use natslock::types::{
    AttemptId, Claim, CoordinatorId, Epoch, IdHash, LeaseId, LockName, OwnerName, Revision, Timestamp, Token,
    Ttl, WallTime,
};

pub(crate) use self::store::{Bucket, Delivered};
pub(crate) use self::witness::{Lease, Witness, fit_together};

/// The leadership lease.
pub(crate) const T_L: Duration = Duration::from_secs(12);
/// The wall clock shows this much more than the boot clock.
const WALL_AHEAD_MS: u64 = 1_700_000_000_000;

/// Something that a leader has sent to the bucket.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Write(LockWrite),
    Batch(GuardedBatch),
}

impl Op {
    /// The lock of a plain write.
    pub(crate) fn lock(&self) -> Option<&LockName> {
        match self {
            Self::Write(write) => Some(&write.name),
            Self::Batch(_) => None,
        }
    }

    fn attempt(&self) -> AttemptId {
        match self {
            Self::Write(write) => write.record.attempt,
            Self::Batch(batch) => batch.attempt,
        }
    }
}

/// It has no answer yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) op: Op,
    /// What the store said, where it has carried it out.
    carried_out: Option<WriteOutcome>,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Carried out; the answer is still on its way.
    CarriedOut,
    /// Carried out, and answered.
    Answered,
    /// Carried out, and the answer is lost.
    AnswerLost,
    /// No answer; this copy is still on its way and may land later.
    Delayed,
    /// No answer, and it never gets there.
    Lost,
    /// Refused for now.
    NotNow,
    /// Refused by a server that slept, and does not know that there is a record.
    Denied,
}

/// One coordinator in one term, with its driver.
pub(crate) struct Leader {
    pub(crate) engine: Engine<u32>,
    pub(crate) pending: Vec<Pending>,
    /// Copies that were given up and may still land.
    pub(crate) delayed: Vec<Op>,
    /// What the standing consumer has delivered.
    position: Revision,
    ticket: Option<Ticket>,
    /// When the `lease` write that is on its way was sent, and the wish that it fulfils.
    lease_sent: Option<(Timestamp, Option<Ticket>)>,
    /// It knows that it leads no more.
    pub(crate) deposed: bool,
    /// Grants that found nobody, until the leader is told.
    pub(crate) returned: Vec<GrantNumber>,
    /// Every grant that it has sent.
    sent: BTreeMap<GrantNumber, u32>,
}

/// A request that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) owner: OwnerName,
    pub(crate) label: String,
    pub(crate) at: Timestamp,
    /// The acquisition that it names, if one.
    lease: Option<(LeaseId, Lease)>,
    claim: Option<Claim>,
    token: Option<Token>,
    /// What came back.
    pub(crate) answers: Vec<Answer>,
}

/// An answer as the property tests need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted(Token),
    Held,
    Timeout,
    Refused(Code),
    /// Who holds, and how many wait.
    View(Vec<Token>, usize),
    Other,
}

/// Everything.
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) bucket: Bucket,
    pub(crate) leaders: Vec<Leader>,
    pub(crate) requests: Vec<Sent>,
    pub(crate) witness: Witness,
    /// Owners to whom nothing gets through.
    pub(crate) deaf: BTreeSet<OwnerName>,
    /// The latest token that the owner of an acquisition was told.
    pub(crate) tokens: BTreeMap<IdHash, Token>,
    /// Acquisitions whose owner was told that they are finished.
    pub(crate) finished: BTreeSet<IdHash>,
    /// Who was granted what, in order; repeats of a grant do not count.
    pub(crate) granted: Vec<(LockName, LeaseId)>,
    /// Which lock each acquisition is of.
    homes: BTreeMap<IdHash, (LockName, Claim)>,
    /// The store keeps free records until every standing consumer has delivered them.
    pub(crate) follows: bool,
    /// What came out since it was last taken.
    effects: Vec<String>,
    /// The whole story.
    story: Vec<String>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            now: Timestamp::from_millis(1_000_000),
            bucket: Bucket::default(),
            leaders: Vec::new(),
            requests: Vec::new(),
            witness: Witness::default(),
            deaf: BTreeSet::new(),
            tokens: BTreeMap::new(),
            finished: BTreeSet::new(),
            granted: Vec::new(),
            homes: BTreeMap::new(),
            follows: false,
            effects: Vec::new(),
            story: Vec::new(),
        }
    }

    pub(crate) fn clocks(&self) -> Now {
        let ms = u64::try_from(self.now.since_boot().as_millis()).unwrap();
        Now { boot: self.now, wall: WallTime(ms + WALL_AHEAD_MS) }
    }

    pub(crate) fn take_effects(&mut self) -> Vec<String> {
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn tell(&mut self, line: impl Into<String>) {
        self.story.push(format!("{:>9} {}", self.now.to_string(), line.into()));
    }

    fn effect(&mut self, leader: usize, line: String) {
        self.tell(format!("    leader {leader}: {line}"));
        self.effects.push(line);
    }

    pub(crate) fn demand(&self, verdict: Result<(), String>) {
        if let Err(broken) = verdict {
            panic!("{broken}\nthe story:\n{}", self.story.join("\n"));
        }
    }

    // -- leadership --

    /// A new leader: it takes the epoch, loads what is stored, and follows. The others do not know yet.
    pub(crate) fn take_over(&mut self, limits: Limits) -> usize {
        let index = self.leaders.len();
        let overlap = if index == 0 { Duration::ZERO } else { T_L.mul_f64(1.01) };
        let epoch = self.bucket.take_over();
        let term = Term {
            embargo_until: Timestamp::from_millis(0),
            epoch: Epoch::new(epoch),
            attempts_from: 0,
            coordinator: CoordinatorId(index as u64 + 1),
            act_until: self.now + T_L.mul_f64(0.99),
            overlap_until: self.now + overlap,
        };
        self.lead(term, limits);
        self.tell(format!("leader {index} takes over with epoch {epoch}"));
        while self.leaders[index].position < epoch {
            self.deliver(index, true);
        }
        index
    }

    /// A leader of this term, which has loaded nothing.
    pub(crate) fn lead(&mut self, term: Term, limits: Limits) {
        self.leaders.push(Leader {
            engine: Engine::new(limits, term),
            pending: Vec::new(),
            delayed: Vec::new(),
            position: Revision::NONE,
            ticket: None,
            lease_sent: None,
            deposed: false,
            returned: Vec::new(),
            sent: BTreeMap::new(),
        });
    }

    /// Sends a `lease` write: its answer is reckoned from now.
    pub(crate) fn send_lease(&mut self, leader: usize) {
        let now = self.now;
        let Leader { lease_sent, ticket, deposed, .. } = &mut self.leaders[leader];
        if !*deposed && lease_sent.is_none() {
            *lease_sent = Some((now, ticket.take()));
            self.tell(format!("leader {leader} sends its lease"));
        }
    }

    /// The store takes the `lease` write that is on its way and says so, unless somebody else leads.
    pub(crate) fn answer_lease(&mut self, leader: usize) {
        let Some((sent, ticket)) = self.leaders[leader].lease_sent.take() else { return };
        if self.leaders[leader].engine.term().epoch.revision() != self.bucket.epoch {
            self.depose(leader);
            return;
        }
        let revision = self.bucket.write_other();
        self.tell(format!("leader {leader} has its lease stored at {revision}"));
        let until = sent + T_L.mul_f64(0.99);
        self.call(leader, |engine, now| engine.extend(now, until));
        if let Some(ticket) = ticket {
            self.call(leader, |engine, now| engine.handle_confirmed(now, ticket, revision));
        }
    }

    /// It has asked to have its leadership confirmed.
    pub(crate) fn wants_lease(&self, leader: usize) -> bool {
        self.leaders[leader].ticket.is_some()
    }

    pub(crate) fn depose(&mut self, leader: usize) {
        self.tell(format!("leader {leader} learns that it is deposed"));
        self.leaders[leader].deposed = true;
        // What it has sent may still land.
        for pending in std::mem::take(&mut self.leaders[leader].pending) {
            if pending.carried_out.is_none() {
                self.leaders[leader].delayed.push(pending.op);
            }
        }
    }

    // -- calls --

    /// Calls an engine, checks what must hold, and takes what comes out.
    pub(crate) fn call(&mut self, leader: usize, f: impl FnOnce(&mut Engine<u32>, Now)) {
        if self.leaders[leader].deposed {
            return;
        }
        let now = self.clocks();
        f(&mut self.leaders[leader].engine, now);
        while let Some(output) = self.leaders[leader].engine.poll_output() {
            self.execute(leader, output);
        }
        let checked = invariants::check(&self.leaders[leader].engine).map_err(|broken| broken.to_string());
        self.demand(checked);
    }

    /// A request is sent and arrives; the number is what its answers go to.
    pub(crate) fn ask(
        &mut self,
        leader: usize,
        owner: &OwnerName,
        label: &str,
        ask: Ask,
        heard: bool,
    ) -> u32 {
        let (lease, claim) = match &ask {
            Ask::Acquire(acquire) => (Some((acquire.id.clone(), acquire.name.clone())), Some(acquire.claim)),
            Ask::Renew { name, lease } | Ask::Release { name, lease, .. } => {
                (Some((lease.id.clone(), name.clone())), None)
            }
            _ => (None, None),
        };
        let token = match &ask {
            Ask::Renew { lease, .. } | Ask::Release { lease, .. } => lease.token,
            _ => None,
        };
        let lease = lease.map(|(id, name)| (id.clone(), (name, id.hash(owner))));
        if let (Some((_, (name, key))), Some(claim)) = (&lease, claim) {
            self.homes.entry(*key).or_insert_with(|| (name.clone(), claim));
        }
        if let (Ask::Release { .. }, Some((_, lease))) = (&ask, &lease) {
            self.witness.release(lease);
        }
        let number = u32::try_from(self.requests.len()).unwrap();
        self.tell(format!("{owner} asks leader {leader}: {}", text::ask(&ask)));
        let (owner, at, label) = (owner.clone(), self.now, label.to_owned());
        self.requests.push(Sent {
            owner: owner.clone(),
            label,
            at,
            lease,
            claim,
            token,
            answers: Vec::new(),
        });
        let reply = heard.then_some(number);
        self.call(leader, |engine, now| engine.handle(now, Request { owner, reply, ask }));
        number
    }

    /// What came back to a request.
    pub(crate) fn answers(&self, number: u32) -> &[Answer] {
        &self.requests[number as usize].answers
    }

    // -- writes --

    /// Decides about the write at `index` of those that have no answer.
    pub(crate) fn decide(&mut self, leader: usize, index: usize, fate: Fate) {
        if index >= self.leaders[leader].pending.len() {
            return;
        }
        let what = text::op(&self.leaders[leader].pending[index].op);
        self.tell(format!("store on leader {leader}: {fate:?} for {what}"));
        if fate == Fate::CarriedOut {
            self.carry_out(leader, index);
            return;
        }
        let outcome = match fate {
            Fate::Answered => self.carry_out(leader, index),
            Fate::AnswerLost => {
                self.carry_out(leader, index);
                WriteOutcome::Unknown
            }
            _ if self.leaders[leader].pending[index].carried_out.is_some() => WriteOutcome::Unknown,
            Fate::NotNow => WriteOutcome::NotNow,
            Fate::Denied => WriteOutcome::Mismatch(Some(Revision::NONE)),
            Fate::Delayed => {
                let op = self.leaders[leader].pending[index].op.clone();
                self.leaders[leader].delayed.push(op);
                WriteOutcome::Unknown
            }
            _ => WriteOutcome::Unknown,
        };
        let op = self.leaders[leader].pending.remove(index).op;
        if let (Fate::Denied, Op::Batch(batch)) = (fate, &op) {
            // It does not say of which lock, so the leader makes sure of them all.
            let names = batch.writes.iter().map(|write| write.name.clone());
            self.witness.denied.extend(names);
        }
        self.tell(format!("    it answers {outcome:?}"));
        self.call(leader, |engine, now| match &op {
            Op::Write(write) => engine.handle_written(now, &write.name, op.attempt(), outcome),
            Op::Batch(_) => engine.handle_batch_written(now, op.attempt(), outcome),
        });
    }

    fn carry_out(&mut self, leader: usize, index: usize) -> WriteOutcome {
        if let Some(outcome) = self.leaders[leader].pending[index].carried_out {
            return outcome;
        }
        let op = self.leaders[leader].pending[index].op.clone();
        let outcome = self.apply(&op);
        self.leaders[leader].pending[index].carried_out = Some(outcome);
        outcome
    }

    /// A copy of a write that was given up lands after all; nobody hears of it.
    pub(crate) fn land_delayed(&mut self, leader: usize, index: usize) {
        if index < self.leaders[leader].delayed.len() {
            let op = self.leaders[leader].delayed.remove(index);
            let outcome = self.apply(&op);
            self.tell(format!("a late copy of leader {leader} lands: {} {outcome:?}", text::op(&op)));
        }
    }

    fn remove_free(&mut self) {
        let following = self.leaders.iter().filter(|leader| !leader.deposed && self.follows);
        let delivered = following.map(|leader| leader.position).min();
        self.bucket.remove_free(self.now, delivered.unwrap_or(Revision::new(u64::MAX)));
    }

    fn apply(&mut self, op: &Op) -> WriteOutcome {
        self.remove_free();
        let (outcome, changes) = match op {
            Op::Write(write) => self.bucket.write(self.now, write),
            Op::Batch(batch) => self.bucket.write_batch(self.now, batch),
        };
        for change in changes {
            let verdict = self.witness.stored(self.now, &change, matches!(op, Op::Batch(_)));
            self.demand(verdict);
        }
        outcome
    }

    /// A record of another leader, or what a foreign tool leaves behind.
    pub(crate) fn put(&mut self, name: &LockName, content: EntryContent) {
        self.tell(format!("somebody writes {name}: {}", text::content(&content)));
        let record = match &content {
            EntryContent::Record(record) => Some(record.clone()),
            _ => {
                self.witness.meddle(name);
                None
            }
        };
        let revision = self.bucket.put(self.now, name, content);
        if let Some(LockRecord { holders, .. }) = &record {
            let known = holders.iter().all(|holder| holder.token.resolve(revision).revision() <= revision);
            assert!(known, "a record with a token from the future");
            let verdict = self.witness.found(name, &record.unwrap(), revision);
            self.demand(verdict);
        }
    }

    // -- the standing consumer --

    /// Delivers the next record. Of overwritten ones a consumer may see nothing: `skip` says so.
    pub(crate) fn deliver(&mut self, leader: usize, skip: bool) -> bool {
        let Some(next) = self.bucket.after(self.leaders[leader].position).cloned() else { return false };
        self.leaders[leader].position = next.revision();
        if skip && self.bucket.is_overwritten(&next) {
            return true;
        }
        self.tell(format!("leader {leader} gets {}", text::delivered(&next)));
        match next {
            Delivered::Lock(entry) => self.call(leader, |engine, now| engine.handle_entry(now, entry)),
            Delivered::Epoch(revision) if revision > self.leaders[leader].engine.term().epoch.revision() => {
                self.depose(leader);
            }
            Delivered::Epoch(revision) | Delivered::Other(revision) => {
                self.call(leader, |engine, now| engine.handle_delivered(now, revision));
            }
        }
        true
    }

    /// How far the standing consumer has come.
    pub(crate) fn delivered(&self, leader: usize) -> Revision {
        self.leaders[leader].position
    }

    pub(crate) fn deliver_all(&mut self, leader: usize) {
        while self.deliver(leader, true) {}
    }

    // -- time --

    /// Lets time pass; every engine is called when it wants to be, but for one whose process stands still.
    pub(crate) fn advance(&mut self, span: Duration, asleep: Option<usize>) {
        let until = self.now + span;
        loop {
            let awake = (0..self.leaders.len())
                .filter(|leader| !self.leaders[*leader].deposed && Some(*leader) != asleep);
            let due = awake.filter_map(|leader| Some((self.leaders[leader].engine.poll_timeout()?, leader)));
            let Some((at, leader)) = due.min().filter(|(at, _)| *at <= until) else { break };
            self.now = self.now.max(at);
            self.call(leader, |engine, now| engine.handle_timeout(now));
            let next = self.leaders[leader].engine.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "the engine wants to be called at {next:?} again"
            );
        }
        self.now = until;
        self.remove_free();
    }

    // -- what comes out --

    fn execute(&mut self, leader: usize, output: Output<u32>) {
        let line = text::output(&output, &self.requests, self.clocks());
        self.effect(leader, line);
        match output {
            Output::Write(write) => self.send(leader, Op::Write(write)),
            Output::Batch(batch) => self.send(leader, Op::Batch(batch)),
            Output::Confirm(ticket) => self.leaders[leader].ticket = Some(ticket),
            Output::Event(_) => {}
            Output::Grant { to, grant, number } => {
                self.speaks(leader);
                self.leaders[leader].sent.insert(number, to);
                if self.deaf.contains(&self.requests[to as usize].owner) {
                    self.leaders[leader].returned.push(number);
                }
                self.take_grant(leader, to, &grant, Some(number));
            }
            Output::Reply { to, reply } => {
                self.speaks(leader);
                self.take_reply(leader, to, &reply);
            }
        }
    }

    fn send(&mut self, leader: usize, op: Op) {
        let again = self.leaders[leader].pending.iter().any(|pending| pending.op.attempt() == op.attempt());
        self.demand(if again { Err("the same write is on its way twice".into()) } else { Ok(()) });
        self.leaders[leader].pending.push(Pending { op, carried_out: None });
    }

    /// A leader that is not sure of its leadership says nothing (S3).
    fn speaks(&self, leader: usize) {
        let until = self.leaders[leader].engine.term().act_until;
        self.demand(if self.now < until { Ok(()) } else { Err(format!("S3: leader {leader} speaks")) });
    }

    fn take_grant(&mut self, leader: usize, to: u32, grant: &Grant, number: Option<GrantNumber>) {
        let Sent { owner, at, lease, claim, .. } = self.requests[to as usize].clone();
        let (Some((id, lease)), Some(claim)) = (lease, claim) else {
            panic!("a grant for what is no acquire")
        };
        if number.is_some() {
            self.granted.push((lease.0.clone(), id));
        }
        let verdict = self.witness.granted(&lease, grant);
        self.demand(verdict);
        if self.deaf.contains(&owner) {
            return;
        }
        let epoch = self.leaders[leader].engine.term().epoch;
        self.witness.heard(&owner, epoch);
        let verdict = self.witness.received(self.now, at, &lease, claim, grant, (leader, number));
        self.demand(verdict);
        self.tokens.insert(lease.1, grant.token);
        self.requests[to as usize].answers.push(Answer::Granted(grant.token));
    }

    fn take_reply(&mut self, leader: usize, to: u32, reply: &Reply) {
        if let Reply::Granted(grant) = reply {
            self.take_grant(leader, to, grant, None);
            return;
        }
        let Sent { owner, at, lease, token, .. } = self.requests[to as usize].clone();
        if self.deaf.contains(&owner) {
            return;
        }
        let epoch = self.leaders[leader].engine.term().epoch;
        let now = self.now;
        let mut verdicts = Vec::new();
        match (reply, &lease) {
            (Reply::Renewed { ttl, .. }, Some((_, lease))) => {
                verdicts.push(self.witness.renewed(now, at, lease, *ttl));
            }
            (Reply::RenewedMany { renewed, lost }, _) => {
                for id in renewed {
                    if let Some((lease, ttl)) = self.held_by(leader, &owner, id) {
                        verdicts.push(self.witness.renewed(now, at, &lease, ttl));
                    }
                }
                for (id, _) in lost.iter().filter(|(_, why)| *why != LostReason::Unknown) {
                    let key = id.hash(&owner);
                    if let Some((name, _)) = self.homes.get(&key) {
                        verdicts.push(self.witness.told_lost(now, epoch, &owner, &(name.clone(), key)));
                    }
                }
            }
            // What another leader has granted need not be known before `held` is said: it is not final.
            (Reply::Held(_) | Reply::Timeout { .. }, Some((_, lease)))
                if self.witness.believes_by(now, lease, leader) =>
            {
                verdicts.push(self.witness.told_lost(now, epoch, &owner, lease));
            }
            (Reply::Error(refusal), Some((_, lease)))
                if matches!(refusal.code, Code::Finished | Code::NotHolder) =>
            {
                // A wrong token is about another lease.
                let believed = self.witness.believed(now, lease);
                if token.is_none() || believed.is_none() || token == believed {
                    self.finished.insert(lease.1);
                    verdicts.push(self.witness.told_lost(now, epoch, &owner, lease));
                }
            }
            _ => {}
        }
        self.witness.heard(&owner, epoch);
        verdicts.into_iter().for_each(|verdict| self.demand(verdict));
        self.requests[to as usize].answers.push(match reply {
            Reply::Held(view) if lease.is_none() => {
                Answer::View(view.holders.iter().map(|holder| holder.token).collect(), view.waiter_count)
            }
            Reply::Free => Answer::View(Vec::new(), 0),
            Reply::Held(_) => Answer::Held,
            Reply::Timeout { .. } => Answer::Timeout,
            Reply::Error(refusal) => Answer::Refused(refusal.code),
            _ => Answer::Other,
        });
    }

    /// The lease that a record in the bucket, or in the leader's view, gives to this id.
    fn held_by(&self, _leader: usize, owner: &OwnerName, id: &LeaseId) -> Option<(Lease, Ttl)> {
        let key = id.hash(owner);
        let (name, _) = self.homes.get(&key)?;
        let (_, record) = self.bucket.record(name)?;
        let holder = record.holders.iter().find(|holder| holder.id == key)?;
        Some(((name.clone(), key), holder.ttl))
    }

    // -- grants that find nobody --

    /// The leader is told that this grant found nobody; the client never had it.
    pub(crate) fn return_grant(&mut self, leader: usize, number: GrantNumber) {
        self.tell(format!("leader {leader} hears that its grant {} found nobody", number.0));
        self.witness.undelivered(leader, number);
        self.call(leader, |engine, now| engine.handle_undelivered(now, number));
    }

    /// The latest grant that was sent for an id.
    pub(crate) fn grant_of(&self, leader: usize, id: &LeaseId) -> Option<GrantNumber> {
        let of = |to: &u32| self.requests[*to as usize].lease.as_ref().is_some_and(|(sent, _)| sent == id);
        self.leaders[leader].sent.iter().rev().find(|(_, to)| of(to)).map(|(number, _)| *number)
    }

    /// Takes a record away without a trace.
    pub(crate) fn purge(&mut self, name: &LockName) {
        self.tell(format!("somebody purges {name}"));
        self.witness.meddle(name);
        self.bucket.purge(name);
    }
}

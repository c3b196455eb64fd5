//! What is kept for the whole shard beside its locks: who is where, what is due, what goes out.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::accounts::Accounts;
use super::deadlines::{Alarm, Deadlines};
use super::fact::{Fact, Happening};
use super::finished::Finished;
use super::limits::{EMBARGO_PAUSE_MAX, Limits};
use super::message::{
    Code, Event, Grant, GrantNumber, LostReason, Now, Output, Refusal, Reply, Ticket, WriteOutcome,
};
use super::queue::Waiter;
use super::term::Term;
use crate::types::{AttemptId, IdHash, LockName, OwnerName, Revision, Timestamp, WallTime};

/// The books of one shard.
#[derive(Debug)]
pub(super) struct Books<R> {
    pub(super) limits: Limits,
    pub(super) term: Term,
    /// The time of the call that is being handled: one reading for all that it decides.
    pub(super) now: Now,
    /// Whether the leader may act at that time (S3).
    pub(super) acting: bool,
    /// Whether there was a time since the last extension of the term when it might not.
    pub(super) lapsed: bool,
    /// Whether the store failed to take the last write that it answered, or did not answer it.
    pub(super) troubled: bool,
    /// Why the whole shard is quarantined, if it is (S11).
    pub(super) quarantine: Option<String>,
    /// Where each live id is: holding, beginning or waiting.
    pub(super) ids: HashMap<IdHash, LockName>,
    /// What each owner uses.
    pub(super) accounts: Accounts,
    pub(super) finished: Finished,
    pub(super) deadlines: Deadlines,
    /// The locks from which a lease may have to be taken away.
    pub(super) due: BTreeSet<LockName>,
    /// Whether the guarded batch is on its way.
    pub(super) batching: bool,
    /// The locks whose write was refused, until the state behind that is known (S8).
    pub(super) confirming: BTreeSet<LockName>,
    /// The locks of which a later record was delivered while their own write is on its way.
    pub(super) ahead: BTreeSet<LockName>,
    /// The grants that nothing has been heard of.
    pub(super) deliveries: HashMap<GrantNumber, (LockName, IdHash)>,
    /// What the standing consumer has delivered.
    pub(super) delivered: Revision,
    pub(super) outputs: VecDeque<Output<R>>,
    /// What happened, where somebody counts it.
    pub(super) facts: Option<Vec<Fact>>,
    /// The lock that is being dealt with: whom a refusal is counted for.
    pub(super) about: Option<LockName>,
    /// How many leases there are.
    pub(super) holding: usize,
    /// How many places in queues there are.
    pub(super) waiting: usize,
    /// The longest lease time of all leases of this term.
    pub(super) longest: Duration,
    attempts: u64,
    grants: u64,
    tickets: u64,
}

impl<R> Books<R> {
    pub(super) fn new(limits: Limits, term: Term) -> Self {
        Self {
            limits,
            now: Now { boot: Timestamp::from_millis(0), wall: WallTime(0) },
            acting: false,
            lapsed: false,
            troubled: false,
            quarantine: None,
            ids: HashMap::new(),
            accounts: Accounts::default(),
            finished: Finished::default(),
            deadlines: Deadlines::default(),
            due: BTreeSet::new(),
            batching: false,
            confirming: BTreeSet::new(),
            ahead: BTreeSet::new(),
            deliveries: HashMap::new(),
            delivered: Revision::NONE,
            outputs: VecDeque::new(),
            facts: None,
            about: None,
            holding: 0,
            waiting: 0,
            longest: Duration::ZERO,
            attempts: term.attempts_from,
            term,
            grants: 0,
            tickets: 0,
        }
    }

    /// Begins a call: the clock was read once, for all that follows.
    pub(super) fn begin(&mut self, now: Now) {
        self.now = now;
        self.about = None;
        self.acting = self.term.acts(now.boot);
        self.lapsed |= !self.acting;
    }

    /// Begins a call that brings the outcome of a write, which says whether the store can be counted on.
    pub(super) fn begin_outcome(&mut self, now: Now, outcome: WriteOutcome) {
        self.begin(now);
        match outcome {
            WriteOutcome::Acknowledged(_) => self.troubled = false,
            WriteOutcome::NotNow | WriteOutcome::Unknown => self.troubled = true,
            WriteOutcome::Mismatch(_) => {}
        }
    }

    /// True where time may be conferred: the leader is sure of its leadership (S3), and of its store (S11).
    pub(super) fn may_confer(&self) -> bool {
        self.acting && self.quarantine.is_none() && !self.term.is_under_embargo(self.now.boot)
    }

    /// Answers, unless the leader is not sure of its leadership.
    pub(super) fn reply(&mut self, to: R, reply: Reply) {
        if self.acting {
            self.outputs.push_back(Output::Reply { to, reply });
        }
    }

    /// The one place where a refusal of the engine leaves, and is counted.
    pub(super) fn refuse(&mut self, to: R, refusal: Refusal) {
        if self.acting {
            let (at, name) = (self.now.boot, self.about.clone());
            self.record(|| Fact { at, name, what: Happening::Refused(refusal.code) });
        }
        self.reply(to, Reply::Error(refusal));
    }

    pub(super) fn refuse_with(&mut self, to: R, code: Code, message: impl Into<String>) {
        self.refuse(to, Refusal::new(code, message));
    }

    /// The shard was recovered; who waits has nothing to do but to ask again.
    pub(super) fn refuse_for_embargo(&mut self, to: R) {
        let left = self.term.embargo_until.since(self.now.boot);
        let seconds = left.as_millis().div_ceil(1_000);
        let message = format!(
            "the shard was recovered, and leases that its store has lost may still be believed in: nothing is \
             granted or renewed for another {seconds} s; repeat with the same id"
        );
        self.refuse(to, Refusal::new(Code::Unavailable, message).retry_after(left.min(EMBARGO_PAUSE_MAX)));
    }

    /// Sends a grant. The caller has checked that the leader acts.
    pub(super) fn send_grant(&mut self, to: R, grant: Grant, place: (LockName, IdHash)) -> GrantNumber {
        self.grants += 1;
        let number = GrantNumber(self.grants);
        self.deliveries.insert(number, place);
        self.outputs.push_back(Output::Grant { to, grant, number });
        number
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Tells those who count what has happened to a lock.
    pub(super) fn note(&mut self, name: &LockName, what: Happening) {
        let at = self.now.boot;
        self.record(|| Fact { at, name: Some(name.clone()), what });
    }

    fn record(&mut self, fact: impl FnOnce() -> Fact) {
        if let Some(facts) = &mut self.facts {
            facts.push(fact());
        }
    }

    pub(super) fn next_attempt(&mut self) -> AttemptId {
        self.attempts += 1;
        AttemptId { coordinator: self.term.coordinator, number: self.attempts }
    }

    /// Asks for a proof that this leader still is one.
    pub(super) fn ask_to_confirm(&mut self) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.outputs.push_back(Output::Confirm(ticket));
        ticket
    }

    /// An id comes to life.
    pub(super) fn enter(&mut self, key: IdHash, owner: &OwnerName, name: &LockName) {
        if self.ids.insert(key, name.clone()).is_none() {
            self.accounts.enter(owner, name);
        }
    }

    /// An id is gone without being finished: it may come again.
    pub(super) fn leave(&mut self, key: &IdHash, owner: &OwnerName) {
        if let Some(name) = self.ids.remove(key) {
            self.accounts.leave(owner, &name);
        }
    }

    /// One more place in a queue.
    pub(super) fn wait(&mut self, waiter: &Waiter<R>) {
        self.waiting += 1;
        if waiter.contended {
            self.accounts.wait(&waiter.owner);
        }
    }

    /// One fewer. The id is still alive.
    pub(super) fn wait_no_more(&mut self, waiter: &Waiter<R>) {
        self.waiting -= 1;
        if waiter.contended {
            self.accounts.wait_no_more(&waiter.owner);
        }
    }

    /// An id is over.
    pub(super) fn finish(
        &mut self,
        key: IdHash,
        owner: &OwnerName,
        name: &LockName,
        end: (LostReason, Duration),
    ) {
        self.leave(&key, owner);
        self.finished.insert(self.now.boot, &self.limits, key, name.clone(), end);
    }

    pub(super) fn alarm(&mut self, at: Timestamp, alarm: Alarm) {
        self.deadlines.set(at, alarm);
    }
}

//! Who leads a shard (S3, S4, S11): a pure step function. It reads no clock and does no IO; the driver in
//! `shard.rs` feeds it and does what it asks for.
//!
//! ```text
//!             silence for a second, or nobody ever led, or the leader resigned
//!   Watching ----------------------------------------------------------------> Reading the shard's records
//!      ^                                                                              |
//!      |  lost the race                                                               v
//!      +--------------------------------------------------------------------------- Taking
//!      ^                                                                              | acknowledged
//!      |  deposed                                                                     v
//!      +--------------------------------------------------------------------------- Leading -> Resigning -> Over
//! ```
//!
//! Safety never depends on *when* a takeover happens: the takeover is one batch that expects the `epoch` record
//! it has read, a deposed leader's time is bounded by its own clock, and the new leader waits that time out
//! before it expires anybody.

use std::collections::VecDeque;
use std::time::Duration;

use super::config::{HEARTBEAT_EVERY, TAKEOVER_AFTER};
use crate::engine::Term;
use crate::engine::message::{Ticket, WriteOutcome};
use crate::types::{AttemptId, CoordinatorId, Epoch, Revision, Timestamp};
use crate::wire::record::{EpochRecord, LeaseRecord};

/// The pause before something that did not answer is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// A clock's rate is off by at most so much; a deposed leader's time is reckoned this much longer.
const DRIFT_PERCENT: u32 = 1;
/// After how many short terms in a row the pause before a takeover stops doubling.
const BACKOFF_DOUBLINGS_MAX: u32 = 4;

/// What the step function needs to know of its coordinator.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) coordinator: CoordinatorId,
    pub(super) host: String,
    pub(super) pid: u32,
    /// T_L.
    pub(super) leader_lease: Duration,
}

/// What the driver has to do, in this order.
#[derive(Debug)]
pub(super) enum Action {
    /// Read the `epoch` record and after it the `lease` record; `handle_shard_read`.
    ReadShard,
    /// Write both as one batch; `handle_takeover`.
    Takeover { expected: Revision, epoch: EpochRecord, lease: LeaseRecord },
    /// Write the `lease` record; `handle_lease_written`.
    WriteLease { expected: Revision, lease: LeaseRecord },
    /// Read the record with this revision; `handle_lease_read`.
    ReadLease { revision: Revision },
    /// The term has begun: make an engine, load it, serve.
    Lead(Term),
    /// The leadership is sure until then.
    Extend { until: Timestamp },
    /// A wish of the engine is fulfilled.
    Confirmed { ticket: Ticket, revision: Revision },
    /// The term is over: drop the engine and whatever it was doing.
    StepDown { why: String },
    /// The store went back in time or was replaced.
    Quarantine { why: String },
    /// Find out whether the store still is the same one.
    CheckIdentity,
    /// Send a sign of life.
    Heartbeat { epoch: Epoch },
    /// The resignation is written, or not needed.
    Over,
}

/// The last records of a shard that nobody has to trust: the takeover expects what was read.
#[derive(Debug, Clone)]
pub(super) struct ShardRead {
    pub(super) epoch: Option<(Revision, EpochRecord)>,
    pub(super) lease: Option<(Revision, LeaseRecord)>,
}

#[derive(Debug)]
enum State {
    Watching { until: Timestamp },
    Reading { first: bool, retry_at: Option<Timestamp> },
    Taking(Taking),
    Leading(Leading),
    Resigning(Leading),
    Over,
}

#[derive(Debug)]
struct Taking {
    expected: Revision,
    epoch: EpochRecord,
    lease: LeaseRecord,
    overlap: Duration,
    /// When the first copy whose fate is unknown was sent.
    sent: Timestamp,
    retry_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Leading {
    epoch: Epoch,
    /// The revision of the `lease` record.
    lease: Revision,
    began: Timestamp,
    /// From when on the time that the leader may act is reckoned.
    sure_since: Timestamp,
    overlap_until: Timestamp,
    flight: Option<LeaseFlight>,
    next_write: Timestamp,
    next_heartbeat: Timestamp,
    /// A wish that no write on its way can fulfil.
    wish: Option<Ticket>,
}

#[derive(Debug)]
struct LeaseFlight {
    record: LeaseRecord,
    /// When the first copy whose fate is unknown was sent.
    sent: Timestamp,
    /// All copies so far were refused for now: none can be applied any more.
    clean: bool,
    ticket: Option<Ticket>,
    retry_at: Option<Timestamp>,
}

/// The leadership of one shard as one coordinator sees it.
#[derive(Debug)]
pub(super) struct Leadership {
    me: Identity,
    state: State,
    actions: VecDeque<Action>,
    attempts: u64,
    terms: u64,
    short_terms: u32,
    /// The highest revision seen.
    highest: Revision,
    quarantined: bool,
}

impl Leadership {
    /// A coordinator that has just begun: it looks at the shard at once.
    pub(super) fn new(me: Identity) -> Self {
        let actions = VecDeque::from([Action::ReadShard]);
        Self {
            me,
            state: State::Reading { first: true, retry_at: None },
            actions,
            attempts: 0,
            terms: 0,
            short_terms: 0,
            highest: Revision::NONE,
            quarantined: false,
        }
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.state {
            State::Watching { until } => Some(*until),
            State::Reading { retry_at, .. } => *retry_at,
            State::Taking(taking) => taking.retry_at,
            State::Leading(leading) => {
                let lease = leading.lease_due().unwrap_or(leading.next_heartbeat);
                Some(leading.next_heartbeat.min(lease))
            }
            State::Resigning(leading) => leading.lease_due(),
            State::Over => None,
        }
    }

    /// A revision was seen, in an acknowledgement or a delivery.
    pub(super) fn saw(&mut self, revision: Revision) {
        self.highest = self.highest.max(revision);
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        match &mut self.state {
            State::Watching { until } if *until <= now => self.read(false),
            State::Reading { first, retry_at: Some(at) } if *at <= now => {
                let first = *first;
                self.read(first);
            }
            State::Taking(taking) if taking.retry_at.is_some_and(|at| at <= now) => {
                taking.retry_at = None;
                self.actions.push_back(taking.action());
            }
            State::Leading(leading) => {
                if leading.next_heartbeat <= now {
                    leading.next_heartbeat = now + HEARTBEAT_EVERY;
                    self.actions.push_back(Action::Heartbeat { epoch: leading.epoch });
                }
                self.write_lease_if_due(now);
            }
            State::Resigning(_) => self.write_lease_if_due(now),
            _ => {}
        }
    }

    /// Another coordinator has sent a sign of life.
    pub(super) fn handle_heartbeat(&mut self, now: Timestamp, epoch: Epoch) {
        match &mut self.state {
            State::Watching { until } => *until = (*until).max(now + TAKEOVER_AFTER),
            State::Leading(leading) if epoch > leading.epoch => {
                self.step_down(now, format!("another coordinator leads in epoch {epoch}"));
            }
            _ => {}
        }
    }

    /// The standing consumer has delivered an `epoch` record.
    pub(super) fn handle_epoch_seen(&mut self, now: Timestamp, revision: Revision) {
        if let State::Leading(leading) | State::Resigning(leading) = &self.state
            && revision > leading.epoch.revision()
        {
            self.step_down(now, format!("epoch {revision} has begun"));
        }
    }

    /// The shard's records were read, or could not be.
    pub(super) fn handle_shard_read(&mut self, now: Timestamp, read: Option<ShardRead>) {
        match &self.state {
            State::Reading { first, .. } => {
                let first = *first;
                self.handle_first_read(now, read, first);
            }
            State::Taking(_) => self.handle_takeover_read(now, read),
            _ => {}
        }
    }

    fn handle_first_read(&mut self, now: Timestamp, read: Option<ShardRead>, first: bool) {
        let again = State::Reading { first, retry_at: Some(now + RETRY_AFTER) };
        let Some(read) = read else {
            self.state = again;
            return;
        };
        // The answer about the lease may be older than that about the epoch. Every takeover writes a lease
        // record behind its epoch record, so an older one says nothing about this epoch.
        let stale = match (&read.epoch, &read.lease) {
            (Some((epoch, _)), Some((lease, _))) => lease < epoch,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if stale {
            self.state = again;
            return;
        }
        let led = read.lease.as_ref().is_some_and(|(_, lease)| !lease.resigned);
        if first && led {
            // Somebody may lead: listen before taking over.
            self.state = State::Watching { until: now + TAKEOVER_AFTER };
            return;
        }
        self.take(now, &read);
    }

    /// The outcome of [`Action::Takeover`]; the revision is that of the `lease` record.
    pub(super) fn handle_takeover(&mut self, now: Timestamp, outcome: WriteOutcome) {
        let State::Taking(taking) = &mut self.state else { return };
        match outcome {
            WriteOutcome::Acknowledged(lease) => self.lead(now, lease),
            WriteOutcome::NotNow => taking.retry_at = Some(now + RETRY_AFTER),
            WriteOutcome::Unknown => self.actions.push_back(taking.action()),
            // Somebody was faster, or the first copy was applied: the record tells.
            WriteOutcome::Mismatch(_) => self.actions.push_back(Action::ReadShard),
        }
    }

    /// The shard's records after a refused takeover.
    fn handle_takeover_read(&mut self, now: Timestamp, read: Option<ShardRead>) {
        let State::Taking(taking) = &mut self.state else { return };
        let Some(read) = read else {
            taking.retry_at = Some(now + RETRY_AFTER);
            return;
        };
        match read.epoch {
            Some((epoch, record)) if record.attempt == taking.epoch.attempt => {
                // The lease record is the next of the same batch.
                self.lead(now, Revision::new(epoch.get() + 1));
            }
            // A stale answer: the refusal was about something later.
            found if found.as_ref().map_or(Revision::NONE, |(revision, _)| *revision) <= taking.expected => {
                taking.retry_at = Some(now + RETRY_AFTER);
            }
            _ => self.watch(now),
        }
    }

    /// The engine wants the leadership confirmed by a write that is sent from now on.
    pub(super) fn confirm(&mut self, now: Timestamp, ticket: Ticket) {
        if let State::Leading(leading) = &mut self.state {
            leading.wish = leading.wish.max(Some(ticket));
            self.write_lease_if_due(now);
        }
    }

    /// The outcome of [`Action::WriteLease`].
    pub(super) fn handle_lease_written(&mut self, now: Timestamp, outcome: WriteOutcome) {
        let (State::Leading(leading) | State::Resigning(leading)) = &mut self.state else { return };
        let Some(flight) = &mut leading.flight else { return };
        match outcome {
            WriteOutcome::Acknowledged(revision) => self.lease_acknowledged(now, revision),
            WriteOutcome::NotNow | WriteOutcome::Mismatch(None) => {
                flight.retry_at = Some(now + RETRY_AFTER);
            }
            WriteOutcome::Unknown => {
                flight.clean = false;
                let (expected, lease) = (leading.lease, flight.record.clone());
                self.actions.push_back(Action::WriteLease { expected, lease });
            }
            WriteOutcome::Mismatch(Some(Revision::NONE)) => {
                // Nobody deletes the lease record: this store is not the one it was.
                flight.retry_at = Some(now + RETRY_AFTER);
                self.actions.push_back(Action::CheckIdentity);
            }
            WriteOutcome::Mismatch(Some(revision)) => {
                self.actions.push_back(Action::ReadLease { revision });
            }
        }
    }

    /// The record that a refusal of the `lease` write named, or nothing where it cannot be had.
    pub(super) fn handle_lease_read(
        &mut self,
        now: Timestamp,
        revision: Revision,
        record: Option<LeaseRecord>,
    ) {
        let (State::Leading(leading) | State::Resigning(leading)) = &mut self.state else { return };
        let Some(flight) = &mut leading.flight else { return };
        match record {
            Some(record) if record.attempt == flight.record.attempt => self.lease_acknowledged(now, revision),
            Some(record) => {
                self.step_down(now, format!("deposed by {} on {}", record.coordinator, record.host))
            }
            // Not there yet, or overwritten meanwhile: the same write again brings the newer number.
            None => flight.retry_at = Some(now + RETRY_AFTER),
        }
    }

    /// The store was found to be another one than at the beginning, or the same.
    pub(super) fn handle_identity(&mut self, same: bool) {
        if !same {
            self.quarantine("the bucket was deleted and made again".into());
        }
    }

    /// Gives the leadership back. The driver has dropped the engine: nothing is granted or renewed any more.
    pub(super) fn resign(&mut self, now: Timestamp) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Leading(leading) if !self.quarantined => {
                self.state = State::Resigning(leading);
                self.write_lease_if_due(now);
            }
            _ => self.actions.push_back(Action::Over),
        }
    }

    fn read(&mut self, first: bool) {
        self.state = State::Reading { first, retry_at: None };
        self.actions.push_back(Action::ReadShard);
    }

    fn watch(&mut self, now: Timestamp) {
        let pause = TAKEOVER_AFTER * (1 << self.short_terms.min(BACKOFF_DOUBLINGS_MAX));
        self.state = State::Watching { until: now + pause };
    }

    fn next_attempt(&mut self) -> AttemptId {
        self.attempts += 1;
        AttemptId { coordinator: self.me.coordinator, number: self.attempts }
    }

    fn take(&mut self, now: Timestamp, read: &ShardRead) {
        let overlap = read.lease.as_ref().map_or(Duration::ZERO, |(_, lease)| longer(lease.t_l));
        let expected = read.epoch.as_ref().map_or(Revision::NONE, |(revision, _)| *revision);
        let recorded = read.epoch.as_ref().map_or(Revision::NONE, |(_, record)| record.highest);
        self.highest = self.highest.max(expected).max(recorded);
        let attempt = self.next_attempt();
        let taking = Taking {
            expected,
            epoch: EpochRecord { coordinator: self.me.coordinator, attempt, highest: self.highest },
            lease: self.lease_record(attempt, Epoch::new(Revision::NONE), overlap),
            overlap,
            sent: now,
            retry_at: None,
        };
        self.actions.push_back(taking.action());
        self.state = State::Taking(taking);
    }

    /// A `lease` record that tells a successor to wait for this leader's own time, or for what is left of its
    /// predecessors', whichever is longer.
    fn lease_record(&self, attempt: AttemptId, epoch: Epoch, inherited: Duration) -> LeaseRecord {
        LeaseRecord {
            coordinator: self.me.coordinator,
            host: self.me.host.clone(),
            pid: self.me.pid,
            epoch,
            t_l: self.me.leader_lease.max(inherited),
            attempt,
            resigned: false,
        }
    }

    fn lead(&mut self, now: Timestamp, lease: Revision) {
        let State::Taking(taking) = std::mem::replace(&mut self.state, State::Over) else { return };
        let epoch = Epoch::new(Revision::new(lease.get().saturating_sub(1)));
        self.terms += 1;
        let leading = Leading {
            epoch,
            lease,
            began: now,
            sure_since: taking.sent,
            overlap_until: now + taking.overlap,
            flight: None,
            next_write: taking.sent + self.me.leader_lease / 3,
            next_heartbeat: now,
            wish: None,
        };
        let term = Term {
            epoch,
            coordinator: self.me.coordinator,
            attempts_from: self.terms << 40,
            act_until: taking.sent + shorter(self.me.leader_lease),
            overlap_until: leading.overlap_until,
        };
        let went_back = epoch.revision() <= self.highest;
        self.saw(lease);
        self.state = State::Leading(leading);
        self.actions.push_back(Action::Lead(term));
        if went_back {
            self.quarantine(format!("its sequence went back to {epoch}, below what was seen before"));
        }
    }

    fn quarantine(&mut self, why: String) {
        self.quarantined = true;
        self.actions.push_back(Action::Quarantine { why });
    }

    fn lease_acknowledged(&mut self, now: Timestamp, revision: Revision) {
        let (State::Leading(leading) | State::Resigning(leading)) = &mut self.state else { return };
        let Some(flight) = leading.flight.take() else { return };
        let went_back = revision <= leading.lease;
        leading.lease = revision;
        leading.sure_since = leading.sure_since.max(flight.sent);
        leading.next_write = flight.sent + self.me.leader_lease / 3;
        self.highest = self.highest.max(revision);
        if now.since(leading.began) > self.me.leader_lease {
            self.short_terms = 0;
        }
        if flight.record.resigned {
            self.state = State::Over;
            self.actions.push_back(Action::Over);
            return;
        }
        let until = leading.sure_since + shorter(self.me.leader_lease);
        self.actions.push_back(Action::Extend { until });
        if let Some(ticket) = flight.ticket {
            self.actions.push_back(Action::Confirmed { ticket, revision });
        }
        if went_back {
            self.quarantine(format!("its sequence went back to {revision}"));
        }
        self.write_lease_if_due(now);
    }

    /// Writes the `lease` record if it is time, if a wish is open, or if the leader resigns; one at a time.
    fn write_lease_if_due(&mut self, now: Timestamp) {
        let resigning = matches!(self.state, State::Resigning(_));
        let attempt = self.next_attempt();
        let (State::Leading(leading) | State::Resigning(leading)) = &self.state else { return };
        if leading.flight.is_none() && !resigning && leading.wish.is_none() && leading.next_write > now {
            return;
        }
        let inherited = leading.overlap_until.since(now);
        let mut record = self.lease_record(attempt, leading.epoch, inherited);
        if resigning {
            // Whoever was granted or renewed something was so before this is sent; what remains to wait for
            // is what the predecessors may have conferred.
            record.t_l = inherited;
            record.resigned = true;
        }
        let (State::Leading(leading) | State::Resigning(leading)) = &mut self.state else { return };
        let expected = leading.lease;
        match &mut leading.flight {
            Some(flight) => {
                if flight.retry_at.is_none_or(|at| at > now) {
                    return;
                }
                flight.retry_at = None;
                if flight.clean {
                    // No copy sent before can be applied any more, so the time counts from this one.
                    flight.sent = now;
                }
                record = flight.record.clone();
            }
            none => {
                let ticket = leading.wish.take();
                *none = Some(LeaseFlight {
                    record: record.clone(),
                    sent: now,
                    clean: true,
                    ticket,
                    retry_at: None,
                });
            }
        }
        self.actions.push_back(Action::WriteLease { expected, lease: record });
    }

    fn step_down(&mut self, now: Timestamp, why: String) {
        if let State::Resigning(_) = self.state {
            self.state = State::Over;
            self.actions.push_back(Action::Over);
            return;
        }
        if let State::Leading(leading) = &self.state
            && now.since(leading.began) < self.me.leader_lease
        {
            self.short_terms += 1;
        }
        self.watch(now);
        self.actions.push_back(Action::StepDown { why });
    }
}

impl Taking {
    fn action(&self) -> Action {
        Action::Takeover { expected: self.expected, epoch: self.epoch.clone(), lease: self.lease.clone() }
    }
}

impl Leading {
    /// When to write the lease record next; while a copy is on its way there is nothing to do.
    fn lease_due(&self) -> Option<Timestamp> {
        self.flight.as_ref().map_or(Some(self.next_write), |flight| flight.retry_at)
    }
}

fn longer(span: Duration) -> Duration {
    span + span * DRIFT_PERCENT / 100
}

fn shorter(span: Duration) -> Duration {
    span - span * DRIFT_PERCENT / 100
}

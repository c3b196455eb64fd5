//! Taking over: one batch that expects the `epoch` record that was read (S3).

use std::cmp::Ordering;
use std::time::Duration;

use super::lease::{Leading, shorter};
use super::{Action, DRIFT_PERCENT, Leadership, Quarantine, RETRY_AFTER, ShardRead, State};
use crate::engine::Term;
use crate::engine::message::WriteOutcome;
use crate::mutant::{self, Mutant};
use crate::service::config::TAKEOVER_AFTER;
use crate::types::{Epoch, Revision, Timestamp};
use crate::wire::record::{EpochRecord, LeaseRecord};

/// What is wrong with a store that has no `epoch` record any more.
const EMPTIED: &str = "its records were deleted, the epoch's among them";

/// A takeover on its way.
#[derive(Debug)]
pub(super) struct Taking {
    expected: Revision,
    epoch: EpochRecord,
    lease: LeaseRecord,
    overlap: Duration,
    embargo: Duration,
    /// There was an `epoch` record once, and there is none any more.
    emptied: bool,
    /// When the first copy whose fate is unknown was sent.
    sent: Timestamp,
    /// The highest revision that had been seen when the last copy was sent: it cannot be stored below that.
    known: Revision,
    pub(super) retry_at: Option<Timestamp>,
}

impl Leadership {
    /// The shard's records were read, or could not be.
    pub fn handle_shard_read(&mut self, now: Timestamp, read: Option<ShardRead>) {
        if let Some(read) = &read {
            self.saw_shard(read);
        }
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
    pub fn handle_takeover(&mut self, now: Timestamp, outcome: WriteOutcome) {
        let State::Taking(taking) = &mut self.state else { return };
        match outcome {
            WriteOutcome::Acknowledged(lease) => {
                let known = taking.known;
                self.lead(now, lease, known);
            }
            WriteOutcome::NotNow => taking.retry_at = Some(now + RETRY_AFTER),
            WriteOutcome::Unknown => self.send_takeover(),
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
                // The lease record is the next of the same batch. It may have been the first copy.
                let known = taking.epoch.highest;
                self.lead(now, Revision::new(epoch.get() + 1), known);
            }
            found => match found.map_or(Revision::NONE, |(revision, _)| revision).cmp(&taking.expected) {
                // A stale answer, or it was refused for nothing.
                Ordering::Equal => taking.retry_at = Some(now + RETRY_AFTER),
                // A staler one; or the store went back, and what was expected will not be there again, unless a
                // later record gets the same revision. So it begins anew from what it finds next.
                Ordering::Less => {
                    self.state = State::Reading { first: false, retry_at: Some(now + RETRY_AFTER) };
                }
                Ordering::Greater => self.watch(now),
            },
        }
    }

    /// What stands in the records was there once, whatever becomes of this read.
    fn saw_shard(&mut self, read: &ShardRead) {
        if let Some((revision, record)) = &read.epoch {
            self.saw((*revision).max(record.highest));
        }
        if let Some((revision, _)) = &read.lease {
            self.saw(*revision);
        }
    }

    fn take(&mut self, now: Timestamp, read: &ShardRead) {
        let overlap = read.lease.as_ref().map_or(Duration::ZERO, |(_, lease)| longer(lease.t_l));
        let embargo = read.lease.as_ref().map_or(Duration::ZERO, |(_, lease)| longer(lease.embargo));
        let overlap = if mutant::is(Mutant::SkipOverlap) { Duration::ZERO } else { overlap };
        let expected = read.epoch.as_ref().map_or(Revision::NONE, |(revision, _)| *revision);
        let emptied = read.epoch.is_none() && self.highest != Revision::NONE;
        if let Some((revision, record)) = &read.epoch {
            self.heed(*revision, record);
        }
        let attempt = self.next_attempt();
        let taking = Taking {
            expected,
            epoch: EpochRecord {
                coordinator: self.me.coordinator,
                attempt,
                highest: self.highest,
                quarantine: self.mark(emptied),
                recovers: false,
                recovered: self.recovered,
            },
            lease: self.lease_record(attempt, Epoch::new(Revision::NONE), (overlap, embargo)),
            overlap,
            embargo,
            emptied,
            sent: now,
            known: self.highest,
            retry_at: None,
        };
        self.state = State::Taking(taking);
        self.send_takeover();
    }

    /// Sends the first copy, or the same once more.
    pub(super) fn send_takeover(&mut self) {
        let State::Taking(taking) = &mut self.state else { return };
        (taking.retry_at, taking.known) = (None, self.highest);
        let (epoch, lease) = (taking.epoch.clone(), taking.lease.clone());
        self.actions.push_back(Action::Takeover { expected: taking.expected, epoch, lease });
    }

    /// What an `epoch` record says of the store binds whoever takes over from it. That the shard was recovered
    /// counts only where it was recovered above everything that this coordinator has seen: another recovery, or
    /// one that knew less, is none (S11).
    fn heed(&mut self, revision: Revision, record: &EpochRecord) {
        let recovered = if record.recovers { revision } else { record.recovered };
        let is_news = recovered > self.recovered;
        self.recovered = self.recovered.max(recovered);
        match (&self.quarantined, &record.quarantine) {
            (Some(found), None) if found.highest < recovered => {
                self.quarantined = None;
                self.actions.push_back(Action::Recovered);
            }
            // It may be another bucket than at the beginning. One that has gone back below what this coordinator
            // has seen is found out by the takeover.
            (None, None) if is_news => self.actions.push_back(Action::Recovered),
            (None, Some(why)) => {
                self.quarantined = Some(Quarantine { why: why.clone(), highest: self.highest });
            }
            _ => {}
        }
    }

    /// Why the shard is quarantined, for the record of the next term.
    fn mark(&self, emptied: bool) -> Option<String> {
        if mutant::is(Mutant::SkipQuarantine) {
            return None;
        }
        let found = self.quarantined.as_ref().map(|found| found.why.clone());
        found.or_else(|| emptied.then(|| EMPTIED.to_owned()))
    }

    fn lead(&mut self, now: Timestamp, lease: Revision, known: Revision) {
        let State::Taking(taking) = std::mem::replace(&mut self.state, State::Over) else { return };
        let epoch = Epoch::new(Revision::new(lease.get().saturating_sub(1)));
        self.terms += 1;
        let leading = Leading {
            epoch,
            lease,
            began: now,
            sure_since: taking.sent,
            overlap_until: now + taking.overlap,
            embargo_until: now + taking.embargo,
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
            embargo_until: leading.embargo_until,
        };
        // What was seen since it was sent may be later than it, and lawfully so.
        let went_back = epoch.revision() <= known;
        self.state = State::Leading(leading);
        self.actions.push_back(Action::Lead(term));
        let is_marked = taking.epoch.quarantine.is_some();
        if taking.emptied && self.quarantined.is_none() && is_marked {
            self.quarantined = Some(Quarantine { why: EMPTIED.into(), highest: known });
        }
        if let Some(found) = self.quarantined.clone() {
            self.quarantine(found.why);
            if !is_marked {
                self.begin_marked_term();
            }
        }
        if went_back {
            self.quarantine(format!("its sequence went back to {epoch}, {known} was seen before"));
        }
        self.saw(lease);
    }
}

/// A span of another machine's clock, as long as it can be by this one's.
fn longer(span: Duration) -> Duration {
    span + span * DRIFT_PERCENT / 100
}

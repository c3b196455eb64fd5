//! The `lease` record: the leader's own proof that it still is one (S3).

use std::time::Duration;

use super::{Action, DRIFT_PERCENT, Leadership, RETRY_AFTER, State};
use crate::engine::message::{Ticket, WriteOutcome};
use crate::mutant::{self, Mutant};
use crate::types::{AttemptId, Epoch, Revision, Timestamp};
use crate::wire::record::LeaseRecord;

/// A term that this coordinator leads in.
#[derive(Debug)]
pub(super) struct Leading {
    pub(super) epoch: Epoch,
    /// The revision of the `lease` record.
    pub(super) lease: Revision,
    pub(super) began: Timestamp,
    /// From when on the time that the leader may act is reckoned.
    pub(super) sure_since: Timestamp,
    pub(super) overlap_until: Timestamp,
    /// Until when nothing is granted or renewed.
    pub(super) embargo_until: Timestamp,
    pub(super) flight: Option<LeaseFlight>,
    pub(super) next_write: Timestamp,
    pub(super) next_heartbeat: Timestamp,
    /// A wish that no write on its way can fulfil.
    pub(super) wish: Option<Ticket>,
}

#[derive(Debug)]
pub(super) struct LeaseFlight {
    record: LeaseRecord,
    /// When the first copy whose fate is unknown was sent.
    sent: Timestamp,
    /// All copies so far were refused for now: none can be applied any more.
    clean: bool,
    ticket: Option<Ticket>,
    retry_at: Option<Timestamp>,
    /// It was refused because there is no `lease` record any more.
    vanished: bool,
}

impl Leadership {
    /// The engine wants the leadership confirmed by a write that is sent from now on.
    pub fn confirm(&mut self, now: Timestamp, ticket: Ticket) {
        if let State::Leading(leading) = &mut self.state {
            leading.wish = leading.wish.max(Some(ticket));
            self.write_lease_if_due(now);
        }
    }

    /// The outcome of [`Action::WriteLease`].
    pub fn handle_lease_written(&mut self, now: Timestamp, outcome: WriteOutcome) {
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
                // Nobody deletes the lease record: this store is not the one it was, or it was emptied.
                flight.retry_at = Some(now + RETRY_AFTER);
                flight.vanished = true;
                self.actions.push_back(Action::CheckIdentity);
            }
            WriteOutcome::Mismatch(Some(revision)) if revision < leading.lease => {
                let was = leading.lease;
                self.quarantine(format!(
                    "its sequence went back: the lease record is at {revision}, was at {was}"
                ));
            }
            WriteOutcome::Mismatch(Some(revision)) => {
                self.actions.push_back(Action::ReadLease { revision });
            }
        }
    }

    /// The record that a refusal of the `lease` write named, or nothing where it cannot be had.
    pub fn handle_lease_read(&mut self, now: Timestamp, revision: Revision, record: Option<LeaseRecord>) {
        if record.is_some() {
            self.saw(revision);
        }
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

    /// A `lease` record that tells a successor to wait for this leader's own time, or for what is left of its
    /// predecessors', whichever is longer.
    pub(super) fn lease_record(
        &self,
        attempt: AttemptId,
        epoch: Epoch,
        (inherited, embargo): (Duration, Duration),
    ) -> LeaseRecord {
        LeaseRecord {
            coordinator: self.me.coordinator,
            host: self.me.host.clone(),
            pid: self.me.pid,
            epoch,
            t_l: self.me.leader_lease.max(inherited),
            attempt,
            resigned: false,
            embargo,
        }
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
            let epoch = leading.epoch;
            self.state = State::Over;
            self.actions.push_back(Action::Farewell { epoch });
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
    pub(super) fn write_lease_if_due(&mut self, now: Timestamp) {
        let resigning = matches!(self.state, State::Resigning(_));
        let attempt = self.next_attempt();
        let (State::Leading(leading) | State::Resigning(leading)) = &self.state else { return };
        if leading.flight.is_none() && !resigning && leading.wish.is_none() && leading.next_write > now {
            return;
        }
        let inherited = leading.overlap_until.since(now);
        let embargo = leading.embargo_until.since(now);
        let mut record = self.lease_record(attempt, leading.epoch, (inherited, embargo));
        if resigning {
            // Whoever was granted or renewed something was so before this is sent; what remains to wait for
            // is what the predecessors may have conferred.
            record.t_l = if mutant::is(Mutant::ResignWithoutOverlap) { Duration::ZERO } else { inherited };
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
                    vanished: false,
                });
            }
        }
        self.actions.push_back(Action::WriteLease { expected, lease: record });
    }
}

impl Leading {
    /// True where the `lease` record was found to be gone.
    pub(super) fn has_vanished(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.vanished)
    }

    /// When to write the lease record next; while a copy is on its way there is nothing to do.
    pub(super) fn lease_due(&self) -> Option<Timestamp> {
        self.flight.as_ref().map_or(Some(self.next_write), |flight| flight.retry_at)
    }
}

/// A span of this machine's clock, as short as it may be by another's.
pub(super) fn shorter(span: Duration) -> Duration {
    span - span * DRIFT_PERCENT / 100
}

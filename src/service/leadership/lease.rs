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
    doubt: Option<Doubt>,
}

/// The store says that a record which was acknowledged is not there: it has gone back, or the server that says so
/// was the stream's leader once, has slept, and does not know yet that it has a successor.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    since: Timestamp,
    /// There is no `lease` record at all.
    vanished: bool,
}

/// For how long the store may deny what it has acknowledged before it has to prove itself. A server that wakes
/// hears of its successor with the first message of that one's term.
const DOUBT_FOR: Duration = Duration::from_secs(1);

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
            WriteOutcome::Mismatch(Some(revision)) if revision < leading.lease => {
                self.lease_denied(now, revision);
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

    /// A refusal names a revision that is older than the one which was acknowledged, or none. It proves nothing:
    /// only an acknowledgement does, which no server gives without the others. So the same write goes out again,
    /// and where that does not help, the term ends, and the next takeover's own revision tells (S11).
    fn lease_denied(&mut self, now: Timestamp, revision: Revision) {
        let (State::Leading(leading) | State::Resigning(leading)) = &mut self.state else { return };
        let (was, vanished) = (leading.lease, revision == Revision::NONE);
        let Some(flight) = &mut leading.flight else { return };
        let since = flight.doubt.map_or(now, |doubt| doubt.since);
        flight.doubt = Some(Doubt { since, vanished });
        flight.retry_at = Some(now + RETRY_AFTER);
        if vanished {
            // Another bucket, which is found out by its identity, or somebody has emptied this one.
            self.actions.push_back(Action::CheckIdentity);
            return;
        }
        let why = format!("the store has the lease record at {revision}, but stored it at {was}");
        if mutant::is(Mutant::BelieveDenial) {
            self.quarantine(why);
        } else if now.since(since) >= DOUBT_FOR {
            self.begin_anew(why);
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
                    doubt: None,
                });
            }
        }
        self.actions.push_back(Action::WriteLease { expected, lease: record });
    }
}

impl Leading {
    /// True where there has been no `lease` record for so long that it was deleted.
    pub(super) fn has_vanished(&self, now: Timestamp) -> bool {
        let doubt = self.flight.as_ref().and_then(|flight| flight.doubt);
        doubt.is_some_and(|doubt| doubt.vanished && now.since(doubt.since) >= DOUBT_FOR)
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

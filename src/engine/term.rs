//! One coordinator's term as leader, as far as the engine must know it.

use std::time::Duration;

use crate::mutant::{self, Mutant};
use crate::types::{CoordinatorId, Epoch, Revision, Timestamp};

/// The term that the engine serves.
#[derive(Debug, Clone)]
pub struct Term {
    /// Its epoch.
    pub epoch: Epoch,
    /// Whose term it is.
    pub coordinator: CoordinatorId,
    /// Where the numbers of this term's writes begin: no two terms of a coordinator share one.
    pub attempts_from: u64,
    /// Until when the leader is sure of its leadership (S3). From then on the engine is silent.
    pub act_until: Timestamp,
    /// Until when a predecessor may have conferred time (S4): the takeover's acknowledgement plus the overlap.
    /// Nobody is expired before this plus the holder's own lease time.
    pub overlap_until: Timestamp,
    /// Until when nothing is granted or renewed: the shard was recovered, and leases that its store has lost may
    /// still be believed in (S11).
    pub embargo_until: Timestamp,
}

impl Term {
    /// The first term of a shard, with epoch 1: nobody has granted anything before `now`.
    pub fn first(now: Timestamp, act_until: Timestamp) -> Self {
        Self {
            epoch: Epoch::new(Revision::new(1)),
            coordinator: CoordinatorId(1),
            attempts_from: 0,
            act_until,
            overlap_until: now,
            embargo_until: now,
        }
    }

    /// True while the leader may confer time and answer.
    pub fn acts(&self, now: Timestamp) -> bool {
        now < self.act_until || mutant::is(Mutant::AnswerWhileUnsure)
    }

    /// True while leases that the store has lost may still be believed in.
    pub(super) fn is_under_embargo(&self, now: Timestamp) -> bool {
        now < self.embargo_until
    }

    /// The earliest end of a lease of this length that is not renewed from `learnt` on.
    pub(super) fn earliest_end(&self, learnt: Timestamp, ttl: Duration) -> Timestamp {
        if mutant::is(Mutant::FoundWithoutLease) {
            return self.overlap_until;
        }
        // Under an embargo nobody can renew, so it counts for nobody.
        learnt.max(self.overlap_until).max(self.embargo_until) + ttl
    }
}

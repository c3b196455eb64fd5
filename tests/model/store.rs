//! The bucket: a linearizable compare-and-set of one lock's record, the `epoch` record and the `lease` record.

use super::event::{Id, Outcome, Revision, Term, Tick};

/// A lock's record. Its revision is the token of the lease that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Record {
    pub(super) revision: Revision,
    pub(super) holder: Option<Id>,
    /// Whose write it was.
    pub(super) attempt: (Term, u8),
}

/// A change of the lock's record; with a guard, the batch that takes a lease away (S6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Write {
    pub(super) attempt: (Term, u8),
    pub(super) expected: Revision,
    pub(super) next: Option<Id>,
    pub(super) guard: Option<Revision>,
}

/// The leader's proof that it leads, and how long a successor has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LeaseRecord {
    pub(super) term: Term,
    pub(super) overlap: Tick,
    pub(super) resigned: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Store {
    pub(super) last: Revision,
    pub(super) lock: Record,
    /// The revision of the `epoch` record.
    pub(super) epoch: Revision,
    pub(super) lease: LeaseRecord,
}

impl Store {
    /// A bucket in which the first term has begun.
    pub(super) const fn new(overlap: Tick) -> Self {
        Self {
            last: 1,
            lock: Record { revision: 0, holder: None, attempt: (0, 0) },
            epoch: 1,
            lease: LeaseRecord { term: 0, overlap, resigned: false },
        }
    }

    /// Compare and set; a guarded batch compares the epoch as well.
    pub(super) fn write(&mut self, write: &Write) -> Outcome {
        if write.expected != self.lock.revision || self.is_barred(write) {
            return Outcome::Refused;
        }
        self.last += 1;
        self.lock = Record { revision: self.last, holder: write.next, attempt: write.attempt };
        Outcome::Acknowledged(self.last)
    }

    /// True where another term than the writer's has begun.
    pub(super) fn is_barred(&self, write: &Write) -> bool {
        write.guard.is_some_and(|guard| guard != self.epoch)
    }

    /// A lease record replaces one of the same term only. All that is written up to what this returns was
    /// written before.
    pub(super) fn write_lease(&mut self, record: LeaseRecord) -> Option<Revision> {
        if self.lease.term != record.term {
            return None;
        }
        self.lease = record;
        Some(self.last)
    }

    /// The batch that begins a term: both records, or nothing (S3). Returns its epoch.
    pub(super) fn take_over(&mut self, lease: LeaseRecord) -> Revision {
        self.last += 1;
        self.epoch = self.last;
        self.lease = lease;
        self.epoch
    }
}

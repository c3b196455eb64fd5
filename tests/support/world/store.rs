//! The bucket of one shard, modelled: compare-and-set on each key, one sequence over all of them, free records
//! that vanish, and batches that are written whole and only while the `epoch` record stands.

use std::collections::BTreeMap;

use natslock::engine::message::{
    EntryContent, FREE_RECORD_TTL, GuardedBatch, LockEntry, LockRecord, LockWrite, WriteOutcome,
};
use natslock::types::{LockName, Revision, Timestamp};

/// What the standing consumer can deliver.
#[derive(Debug, Clone)]
pub(crate) enum Delivered {
    /// A lock's record.
    Lock(LockEntry),
    /// The `epoch` record.
    Epoch(Revision),
    /// `lease` or `journal`.
    Other(Revision),
}

impl Delivered {
    pub(crate) fn revision(&self) -> Revision {
        match self {
            Self::Lock(entry) => entry.revision,
            Self::Epoch(revision) | Self::Other(revision) => *revision,
        }
    }
}

/// One change of a lock's record.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) name: LockName,
    pub(crate) before: Option<(Revision, EntryContent)>,
    pub(crate) record: LockRecord,
    pub(crate) revision: Revision,
}

/// The bucket.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    sequence: u64,
    locks: BTreeMap<LockName, (Revision, EntryContent, Option<Timestamp>)>,
    /// The revision of the `epoch` record.
    pub(crate) epoch: Revision,
    /// Everything that was ever written, in order.
    log: Vec<Delivered>,
}

impl Bucket {
    fn next(&mut self) -> Revision {
        self.sequence += 1;
        Revision::new(self.sequence)
    }

    fn revision_of(&self, name: &LockName) -> Revision {
        self.locks.get(name).map_or(Revision::NONE, |(revision, ..)| *revision)
    }

    /// The record of a lock, if there is one that can be read.
    pub(crate) fn record(&self, name: &LockName) -> Option<(Revision, &LockRecord)> {
        match self.locks.get(name) {
            Some((revision, EntryContent::Record(record), _)) => Some((*revision, record)),
            _ => None,
        }
    }

    /// Writes whatever is there: what a foreign tool does, or the test in the name of another leader.
    pub(crate) fn put(&mut self, now: Timestamp, name: &LockName, content: EntryContent) -> Revision {
        let revision = self.next();
        let free = matches!(&content, EntryContent::Record(record) if record.is_free());
        let gone_at = free.then(|| now + FREE_RECORD_TTL);
        self.locks.insert(name.clone(), (revision, content.clone(), gone_at));
        self.log.push(Delivered::Lock(LockEntry { name: name.clone(), revision, content }));
        revision
    }

    /// Removes a record without a trace, as a purge does.
    pub(crate) fn purge(&mut self, name: &LockName) {
        self.locks.remove(name);
    }

    fn put_record(&mut self, now: Timestamp, write: &LockWrite) -> Change {
        let before = self.locks.get(&write.name).map(|(revision, content, _)| (*revision, content.clone()));
        let revision = self.put(now, &write.name, EntryContent::Record(write.record.clone()));
        Change { name: write.name.clone(), before, record: write.record.clone(), revision }
    }

    /// One compare-and-set.
    pub(crate) fn write(&mut self, now: Timestamp, write: &LockWrite) -> (WriteOutcome, Vec<Change>) {
        let actual = self.revision_of(&write.name);
        if actual != write.expected {
            return (WriteOutcome::Mismatch(Some(actual)), Vec::new());
        }
        let change = self.put_record(now, write);
        (WriteOutcome::Acknowledged(change.revision), vec![change])
    }

    /// All or nothing, and only at the right epoch; a refusal does not say what was wrong.
    pub(crate) fn write_batch(
        &mut self,
        now: Timestamp,
        batch: &GuardedBatch,
    ) -> (WriteOutcome, Vec<Change>) {
        let fits = batch.writes.iter().all(|write| self.revision_of(&write.name) == write.expected);
        if !fits || self.epoch != batch.guard {
            return (WriteOutcome::Mismatch(None), Vec::new());
        }
        let changes: Vec<_> = batch.writes.iter().map(|write| self.put_record(now, write)).collect();
        let journal = self.write_other();
        (WriteOutcome::Acknowledged(journal), changes)
    }

    /// A `lease` or `journal` record.
    pub(crate) fn write_other(&mut self) -> Revision {
        let revision = self.next();
        self.log.push(Delivered::Other(revision));
        revision
    }

    /// A takeover: `epoch` and `lease` in one batch. The epoch's revision.
    pub(crate) fn take_over(&mut self) -> Revision {
        let revision = self.next();
        self.epoch = revision;
        self.log.push(Delivered::Epoch(revision));
        self.write_other();
        revision
    }

    /// Removes the free records whose time is over; not those behind `delivered`, which some consumer has not
    /// reached yet: one that is two minutes late is another story.
    pub(crate) fn remove_free(&mut self, now: Timestamp, delivered: Revision) {
        let over = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        self.locks.retain(|_, (revision, _, gone_at)| !over(*gone_at) || *revision > delivered);
    }

    /// The next thing behind `position`, also if it has been overwritten since.
    pub(crate) fn after(&self, position: Revision) -> Option<&Delivered> {
        let index = self.log.partition_point(|written| written.revision() <= position);
        self.log.get(index)
    }

    /// True where a later record of the same key exists, so that a consumer may never see this one.
    pub(crate) fn is_overwritten(&self, delivered: &Delivered) -> bool {
        match delivered {
            Delivered::Lock(entry) => self.revision_of(&entry.name) != entry.revision,
            Delivered::Epoch(revision) => self.epoch != *revision,
            Delivered::Other(_) => false,
        }
    }
}

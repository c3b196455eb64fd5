//! The rules of a store as a plain value: no clock, no task, no lock. The in-memory store wraps it, and so does
//! the simulator.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::{Batch, Entry, Write, WriteOutcome};
use crate::types::{Key, Revision, Timestamp};

/// The most records of one batch, its guard's included: what a NATS server takes.
pub const BATCH_RECORDS_MAX: usize = 1_000;

/// The records of one store and the rules by which they change.
///
/// It keeps the last record of each key, as a stream with a history of one does. Time comes in as an argument
/// and must not go backwards; a record whose time is over is gone for every call from then on.
#[derive(Debug, Clone)]
pub struct StoreCore {
    last: Revision,
    records: BTreeMap<Key, Record>,
    keys: BTreeMap<Revision, Key>,
    expiries: BTreeMap<(Timestamp, Revision), Key>,
}

#[derive(Debug, Clone)]
struct Record {
    revision: Revision,
    value: Bytes,
    expires_at: Option<Timestamp>,
}

impl StoreCore {
    /// An empty store whose first record gets the revision `first`, or 1 where that is zero.
    pub const fn starting_at(first: Revision) -> Self {
        Self {
            last: Revision::new(first.get().saturating_sub(1)),
            records: BTreeMap::new(),
            keys: BTreeMap::new(),
            expiries: BTreeMap::new(),
        }
    }

    /// The revision of the last write.
    pub const fn last(&self) -> Revision {
        self.last
    }

    /// Removes all records below a revision, and gives none below it any more.
    pub fn raise(&mut self, first: Revision) {
        let below: Vec<Key> = self.keys.range(..first).map(|(_, key)| key.clone()).collect();
        for key in &below {
            self.remove(key);
        }
        self.last = self.last.max(Revision::new(first.get().saturating_sub(1)));
    }

    /// Carries out one compare-and-set. The outcome is [`WriteOutcome::NotNow`] only where the write itself is
    /// malformed (a time to live of zero).
    pub fn apply(&mut self, now: Timestamp, write: &Write) -> WriteOutcome {
        self.expire(now);
        match self.judge(write) {
            Some(refusal) => refusal,
            None => WriteOutcome::Acknowledged(self.put(now, write)),
        }
    }

    /// Carries out all writes of a batch and its guard, or nothing. A batch that no server would take (empty,
    /// over [`BATCH_RECORDS_MAX`], a key twice, a guard that depends on a key of the batch) is
    /// [`WriteOutcome::NotNow`].
    pub fn apply_batch(&mut self, now: Timestamp, batch: &Batch) -> WriteOutcome {
        self.expire(now);
        if !is_well_formed(batch) {
            return WriteOutcome::NotNow;
        }
        if let Some(refusal) = batch.writes.iter().find_map(|write| self.judge(write)) {
            return refusal;
        }
        if let Some(guard) = &batch.guard {
            let found = self.revision_of(&guard.holds.0);
            if found != guard.holds.1 {
                return WriteOutcome::Mismatch(Some(found));
            }
        }
        for write in &batch.writes {
            self.put(now, write);
        }
        if let Some(guard) = &batch.guard {
            let (key, value) = (guard.key.clone(), guard.value.clone());
            self.put(now, &Write { key, expected: None, value, ttl_seconds: None });
        }
        WriteOutcome::Acknowledged(self.last)
    }

    /// The record of a key.
    pub fn read(&mut self, now: Timestamp, key: &Key) -> Option<Entry> {
        self.expire(now);
        self.entry(key)
    }

    /// The record with this revision, where it is still its key's last.
    pub fn read_at(&mut self, now: Timestamp, revision: Revision) -> Option<Entry> {
        self.expire(now);
        self.keys.get(&revision).and_then(|key| self.entry(key))
    }

    /// The first record behind a revision: called again and again it goes through all records in order of
    /// revision, skipping those that were overwritten meanwhile.
    pub fn next_after(&mut self, now: Timestamp, revision: Revision) -> Option<Entry> {
        self.expire(now);
        let after = Revision::new(revision.get().saturating_add(1));
        self.keys.range(after..).next().and_then(|(_, key)| self.entry(key))
    }

    /// Why a write is refused; `None` where it is not.
    fn judge(&self, write: &Write) -> Option<WriteOutcome> {
        if write.ttl_seconds == Some(0) {
            return Some(WriteOutcome::NotNow);
        }
        let found = self.revision_of(&write.key);
        (write.expected.is_some_and(|expected| expected != found))
            .then_some(WriteOutcome::Mismatch(Some(found)))
    }

    fn put(&mut self, now: Timestamp, write: &Write) -> Revision {
        self.remove(&write.key);
        let revision = Revision::new(self.last.get() + 1);
        self.last = revision;
        let expires_at = write.ttl_seconds.map(|seconds| now + Duration::from_secs(seconds));
        if let Some(at) = expires_at {
            self.expiries.insert((at, revision), write.key.clone());
        }
        self.keys.insert(revision, write.key.clone());
        self.records.insert(write.key.clone(), Record { revision, value: write.value.clone(), expires_at });
        revision
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some(entry) = self.expiries.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(record) = self.records.remove(key) {
            self.keys.remove(&record.revision);
            if let Some(at) = record.expires_at {
                self.expiries.remove(&(at, record.revision));
            }
        }
    }

    fn revision_of(&self, key: &Key) -> Revision {
        self.records.get(key).map_or(Revision::NONE, |record| record.revision)
    }

    fn entry(&self, key: &Key) -> Option<Entry> {
        let record = self.records.get(key)?;
        Some(Entry { key: key.clone(), revision: record.revision, value: Some(record.value.clone()) })
    }
}

/// False for a batch that no server takes.
pub(crate) fn is_well_formed(batch: &Batch) -> bool {
    let guard_key = batch.guard.as_ref().map(|guard| &guard.key);
    let mut keys: Vec<&Key> = batch.writes.iter().map(|write| &write.key).chain(guard_key).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    let guarded = batch.guard.as_ref().map(|guard| &guard.holds.0);
    (1..=BATCH_RECORDS_MAX).contains(&count)
        && keys.len() == count
        && guarded.is_none_or(|key| !batch.writes.iter().any(|write| write.key == *key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(key: Key, expected: u64, ttl_seconds: Option<u64>) -> Write {
        Write { key, expected: Some(Revision::new(expected)), value: Bytes::from_static(b"v"), ttl_seconds }
    }

    #[test]
    fn revisions_begin_where_they_are_told_to() {
        let mut core = StoreCore::starting_at(Revision::new(800));
        let first = core.apply(Timestamp::from_millis(0), &write(Key::Epoch, 0, None));
        assert_eq!(first, WriteOutcome::Acknowledged(Revision::new(800)));
    }

    #[test]
    fn a_record_is_gone_at_its_very_instant_and_not_before() {
        let mut core = StoreCore::starting_at(Revision::new(1));
        core.apply(Timestamp::from_millis(0), &write(Key::Epoch, 0, Some(1)));
        assert!(core.read(Timestamp::from_millis(999), &Key::Epoch).is_some());
        assert!(core.read(Timestamp::from_millis(1_000), &Key::Epoch).is_none());
        assert!(core.expiries.is_empty() && core.keys.is_empty());
    }

    #[test]
    fn malformed_batches_change_nothing() {
        let mut core = StoreCore::starting_at(Revision::new(1));
        let now = Timestamp::from_millis(0);
        let twice = vec![write(Key::Epoch, 0, None), write(Key::Epoch, 1, None)];
        for writes in [Vec::new(), twice, vec![write(Key::Lease, 0, Some(0))]] {
            let outcome = core.apply_batch(now, &Batch { writes, guard: None });
            assert_eq!(outcome, WriteOutcome::NotNow);
            assert_eq!(core.last(), Revision::NONE);
        }
    }
}

//! All locks of a shard: found by name at once, and listed in order.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Bound;

use super::lock::Lock;
use crate::types::LockName;

/// The locks by name.
///
/// With many of them the way down an ordered map is what a renewal costs most, a compared name and a cache miss at each
/// step; the order is only for those who list. Each lock is apart, so that neither index moves it about.
pub(super) struct Locks<R> {
    by_name: HashMap<LockName, Box<Lock<R>>>,
    names: BTreeSet<LockName>,
}

impl<R> Default for Locks<R> {
    fn default() -> Self {
        Self { by_name: HashMap::new(), names: BTreeSet::new() }
    }
}

impl<R: fmt::Debug> fmt::Debug for Locks<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.names.iter().filter_map(|name| self.by_name.get_key_value(name))).finish()
    }
}

impl<R: Clone> Locks<R> {
    pub(super) fn get(&self, name: &LockName) -> Option<&Lock<R>> {
        self.by_name.get(name).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, name: &LockName) -> Option<&mut Lock<R>> {
        self.by_name.get_mut(name).map(Box::as_mut)
    }

    /// The lock, one that nothing is known of yet where it is not there.
    pub(super) fn get_or_new(&mut self, name: &LockName) -> &mut Lock<R> {
        if !self.by_name.contains_key(name) {
            self.names.insert(name.clone());
        }
        self.by_name.entry(name.clone()).or_insert_with(|| Box::new(Lock::new(name.clone())))
    }

    pub(super) fn remove(&mut self, name: &LockName) {
        self.by_name.remove(name);
        self.names.remove(name);
    }

    /// In order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Lock<R>> {
        self.names.iter().filter_map(|name| self.get(name))
    }

    /// Does something with each, in order of their names.
    pub(super) fn for_each_mut(&mut self, mut change: impl FnMut(&mut Lock<R>)) {
        for name in &self.names {
            if let Some(lock) = self.by_name.get_mut(name) {
                change(lock);
            }
        }
    }

    /// Those from a name on, or behind it, in order.
    pub(super) fn from(&self, from: Bound<&str>) -> impl Iterator<Item = &Lock<R>> {
        self.names.range::<str, _>((from, Bound::Unbounded)).filter_map(|name| self.get(name))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::deadlines::Alarm;
    use super::super::holder::Holder;
    use super::super::queue::Waiter;
    use super::*;
    use crate::types::{OwnerName, Timestamp};

    /// An answer goes to a subject, in a format; and who asked for what is known.
    type To = (Arc<str>, OwnerName, Option<LockName>, u8, u8);

    /// A held lock is to take at most 1 KiB of the leader's memory with all indexes, a waiter as much.
    #[test]
    fn what_there_is_many_of_is_small() {
        let lock = (size_of::<Lock<To>>(), size_of::<Holder<To>>());
        let waiter = (size_of::<Waiter<To>>(), size_of::<(Timestamp, Alarm)>());
        assert!(lock.0 <= 224 && lock.1 <= 224, "{lock:?}");
        assert!(waiter.0 <= 256 && waiter.1 <= 72, "{waiter:?}");
    }
}

//! The store in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;

use super::state::StoreCore;
use super::{Batch, Delivery, Entry, Extent, Repair, Store, StoreError, Write, WriteOutcome};
use crate::clock::{Clock, SystemClock};
use crate::types::{Key, Revision, Timestamp};

/// A store in the memory of this process, shared by its clones and gone with the last of them.
///
/// What a call does happens at once and in the order of the calls: nothing is ever in doubt, and the same calls
/// at the same instants have the same outcomes.
#[derive(Debug, Clone)]
pub struct MemoryStore<C: Clock = SystemClock> {
    shared: Arc<Shared<C>>,
}

#[derive(Debug)]
struct Shared<C: Clock> {
    core: Mutex<StoreCore>,
    /// The revision of the last write: wakes those who follow.
    last: watch::Sender<Revision>,
    clock: C,
    identity: String,
    begun: Revision,
    aside: AtomicBool,
    copy: Mutex<Option<MemoryStore<C>>>,
}

impl MemoryStore {
    /// An empty store on this machine's clock, whose revisions begin at 1.
    pub fn new() -> Self {
        Self::with(SystemClock, Revision::new(1), "memory")
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Clock> MemoryStore<C> {
    /// An empty store that lets records expire by this clock, gives its first one the revision `first`, and
    /// answers [`Store::identity`] with `identity`.
    pub fn with(clock: C, first: Revision, identity: impl Into<String>) -> Self {
        let core = StoreCore::starting_at(first);
        let (last, _) = watch::channel(core.last());
        let (identity, begun) = (identity.into(), first);
        let (core, aside, copy) = (Mutex::new(core), AtomicBool::new(false), Mutex::new(None));
        Self { shared: Arc::new(Shared { core, last, clock, identity, begun, aside, copy }) }
    }
}

impl<C: Clock> Shared<C> {
    fn now(&self) -> Timestamp {
        self.clock.now().boot
    }

    /// The core is a plain value that no panic leaves half changed, so a poisoned lock is as good as any.
    fn core(&self) -> MutexGuard<'_, StoreCore> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut StoreCore, Timestamp) -> WriteOutcome) -> WriteOutcome {
        let mut core = self.core();
        let outcome = change(&mut core, self.now());
        // Under the lock, so that what is announced never goes back.
        self.last.send_replace(core.last());
        outcome
    }

    fn look<T>(&self, look: impl FnOnce(&mut StoreCore, Timestamp) -> T) -> T {
        look(&mut self.core(), self.now())
    }
}

impl<C: Clock> Store for MemoryStore<C> {
    async fn write(&self, write: Write) -> WriteOutcome {
        self.shared.change(|core, now| core.apply(now, &write))
    }

    async fn write_batch(&self, batch: Batch) -> WriteOutcome {
        self.shared.change(|core, now| core.apply_batch(now, &batch))
    }

    async fn read(&self, key: Key) -> Result<Option<Entry>, StoreError> {
        Ok(self.shared.look(|core, now| core.read(now, &key)))
    }

    async fn read_at(&self, revision: Revision) -> Result<Option<Entry>, StoreError> {
        Ok(self.shared.look(|core, now| core.read_at(now, revision)))
    }

    /// It buffers nothing: each step looks for the first record behind the one before, so however slow the
    /// reader is, it misses overwritten records only.
    async fn follow(&self) -> Result<BoxStream<'static, Delivery>, StoreError> {
        let place = (Arc::clone(&self.shared), self.shared.last.subscribe(), Revision::NONE);
        Ok(stream::unfold(place, |(shared, mut last, seen)| async move {
            loop {
                last.mark_unchanged();
                if let Some(entry) = shared.look(|core, now| core.next_after(now, seen)) {
                    let seen = entry.revision;
                    return Some((Delivery::Entry(entry), (shared, last, seen)));
                }
                // Its sender is in `shared`, which is held here: this cannot fail.
                last.changed().await.ok()?;
            }
        })
        .boxed())
    }

    async fn identity(&self) -> Result<String, StoreError> {
        if self.shared.aside.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("it is set aside".into()));
        }
        Ok(self.shared.identity.clone())
    }
}

impl<C: Clock> Repair for MemoryStore<C> {
    async fn extent(&self) -> Result<Extent, StoreError> {
        let (begun, aside) = (self.shared.begun, self.shared.aside.load(Ordering::SeqCst));
        Ok(Extent { begun, last: self.shared.look(|core, _| core.last()), aside })
    }

    async fn records(&self) -> Result<Vec<Entry>, StoreError> {
        let mut seen = Revision::NONE;
        let next = || {
            let entry = self.shared.look(|core, now| core.next_after(now, seen))?;
            seen = entry.revision;
            Some(entry)
        };
        Ok(std::iter::from_fn(next).collect())
    }

    async fn raise(&self, first: Revision) -> Result<(), StoreError> {
        self.shared.look(|core, _| core.raise(first));
        Ok(())
    }

    async fn set_aside(&self, aside: bool) -> Result<(), StoreError> {
        self.shared.aside.store(aside, Ordering::SeqCst);
        Ok(())
    }

    async fn copy(&self) -> Result<Option<Self>, StoreError> {
        Ok(self.shared.copy.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn make_copy(&self, first: Revision) -> Result<Self, StoreError> {
        let make = || Self::with(self.shared.clock.clone(), first, "copy");
        let mut copy = self.shared.copy.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(copy.get_or_insert_with(make).clone())
    }

    async fn remove_copy(&self) -> Result<(), StoreError> {
        *self.shared.copy.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::contract;
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract(MemoryStore::new()).await;
    }

    #[tokio::test]
    async fn keeps_the_contract_far_from_one() {
        contract(MemoryStore::with(SystemClock, Revision::new(14_000_000_000_000), "far")).await;
    }
}

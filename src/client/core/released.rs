//! Releases that were answered a short while ago.
//!
//! A coordinator answers a release that lets nobody begin before it has written it (DESIGN.md S2). If it dies or is
//! deposed in between, its successor finds the lease, and keeps it for its whole lease time unless it is told
//! again (PROTOCOL.md section 3). The same goes for a release that nobody was asked to answer.

use std::collections::BTreeMap;
use std::time::Duration;

use super::entry::{Entry, Releasing};
use super::{Core, Effect, Handle};
use crate::engine::message::{Ask, LeaseRef};
use crate::types::{Epoch, LockName, Timestamp, Ttl};

/// So many are remembered. A coordinator owes a write for some milliseconds, so what is forgotten beyond that is
/// of no use but in a burst; it then ends by itself.
const REMEMBERED_MAX: usize = 10_000;

/// One such release.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) handle: Handle,
    pub(super) lease: LeaseRef,
    pub(super) keep: Duration,
    pub(super) ttl: Ttl,
    /// When the lease has ended by itself.
    pub(super) until: Timestamp,
}

/// The releases of the last lease time.
#[derive(Debug, Default)]
pub(super) struct Released {
    of: BTreeMap<LockName, Vec<Past>>,
    count: usize,
}

impl Released {
    pub(super) fn remember(&mut self, now: Timestamp, name: LockName, past: Past) {
        if self.count >= REMEMBERED_MAX {
            self.make_room(now);
        }
        self.of.entry(name).or_default().push(past);
        self.count += 1;
    }

    /// The lock was granted to one alone: the store names no other, so all of these are written.
    pub(super) fn forget(&mut self, name: &LockName) {
        self.count -= self.of.remove(name).map_or(0, |pasts| pasts.len());
    }

    /// All that may matter to a new leader. Whoever takes them sends them.
    pub(super) fn take(&mut self, now: Timestamp) -> Vec<(LockName, Past)> {
        self.count = 0;
        let all = std::mem::take(&mut self.of).into_iter();
        let all = all.flat_map(|(name, pasts)| pasts.into_iter().map(move |past| (name.clone(), past)));
        all.filter(|(_, past)| past.until > now).collect()
    }

    /// Those that are over go; if that is not enough, the half that was made first.
    fn make_room(&mut self, now: Timestamp) {
        let mut left = self.take(now);
        if left.len() >= REMEMBERED_MAX {
            left.sort_by_key(|(_, past)| past.handle);
            left.drain(..REMEMBERED_MAX / 2);
        }
        for (name, past) in left {
            self.of.entry(name).or_default().push(past);
            self.count += 1;
        }
    }
}

impl Core {
    /// Gives a lease back with one message that wants no answer, and is repeated to new leaders only. What is not
    /// held is given up as by [`Core::release`].
    pub fn release_detached(&mut self, now: Timestamp, handle: Handle, keep: Duration) {
        let held = match self.take(handle) {
            Some(Entry::Held(held)) => held,
            Some(other) => {
                self.put(handle, other);
                return self.release(now, handle, keep);
            }
            None => return,
        };
        let lease = LeaseRef { id: held.id, token: Some(held.token) };
        let ask = Ask::Release { name: held.name.clone(), lease: lease.clone(), keep };
        self.effects.push_back(Effect::Tell { name: held.name.clone(), ask });
        let until = now + held.ttl.get().max(keep);
        self.released.remember(now, held.name, Past { handle, lease, keep, ttl: held.ttl, until });
    }

    /// The release is answered. It may not be written yet, so it is remembered.
    pub(super) fn released(&mut self, now: Timestamp, handle: Handle, releasing: Releasing, held: Duration) {
        let Releasing { lease, keep, ttl, until, .. } = &releasing;
        let past = Past { handle, lease: lease.clone(), keep: *keep, ttl: *ttl, until: *until };
        self.released.remember(now, releasing.name.clone(), past);
        self.settle(handle, releasing, Some(held));
    }

    /// What a leader of an earlier epoch said about these, it may not have written.
    pub(super) fn repeat_releases(&mut self, now: Timestamp) {
        for (name, past) in self.released.take(now) {
            let pace = self.pace.fork(past.ttl.get());
            let next_send = now + self.pace.at_once();
            let releasing = Releasing::new(now, name, past.lease, past.ttl, pace);
            let releasing = Releasing { keep: past.keep, next_send, ..releasing };
            self.put(past.handle, Entry::Releasing(releasing));
        }
    }

    /// True where the answer of a leader of this epoch says nothing of what its successor knows.
    pub(super) fn is_deposed(&self, epoch: Epoch) -> bool {
        epoch.get() < self.epoch.max(self.announced)
    }
}

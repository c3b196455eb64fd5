//! What must happen in time where nothing goes wrong: a dead holder goes within the bound of S4, a free lock with
//! a live waiter is granted, somebody leads, a request is answered, and memory is bounded (I5, I6, I10).
//!
//! The bounds are reckoned from what the world knows, not from what any party believes.

use std::collections::BTreeMap;

use natslock::engine::message::StoredHolder;
use natslock::types::{LockName, Revision};

use super::client::{LOCKS, lock_name};
use super::clock::{MS, SECOND};
use super::witness::Verdict;
use super::world::{Event, World};

/// How often it is looked.
const EVERY: u64 = 250 * MS;
/// What a write, its retries and its answer take, and what is between two looks.
const SLACK: u64 = 2 * SECOND;
/// The longest pause between two sendings of a waiting request, and the way there.
const UNHEARD: u64 = 6 * SECOND;
/// The longest back-off before a takeover, with the takeover.
const LEADERLESS: u64 = 20 * SECOND;
/// More than this is never on its way.
const EVENTS_MAX: usize = 50_000;
const ENTRIES_MAX: usize = 200;

/// A lock that nobody holds though somebody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Idle {
    revision: Revision,
    since: u64,
}

#[derive(Debug, Default)]
pub(super) struct Bounds {
    idle: BTreeMap<LockName, Idle>,
    leaderless_since: Option<u64>,
    /// For how long a successor waits because of its predecessors, by the number of its epoch.
    overlaps: BTreeMap<u64, u64>,
    watched: std::collections::BTreeSet<natslock::types::IdHash>,
}

/// A span of one clock as long as it can be by another.
const fn longer(span: u64) -> u64 {
    span + span / 50
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap()
}

impl World {
    /// The `lease` record that the takeover found says how long its predecessors may have conferred time.
    pub(super) fn note_takeover(&mut self, epoch: Revision, lease: Option<&natslock::store::Entry>) {
        self.stats.takeovers += 1;
        let decode = |value: &bytes::Bytes| natslock::wire::record::LeaseRecord::decode(value).unwrap();
        let lease = lease.and_then(|entry| entry.value.as_ref()).map(decode);
        let overlap = lease.map_or(0, |lease| longer(micros(lease.t_l)));
        self.bounds.overlaps.insert(epoch.get(), overlap);
    }

    /// Looks at everything.
    pub(super) fn inspect(&mut self) {
        self.at(self.now + EVERY, Event::Inspect);
        let verdict = self.check_memory().and_then(|()| self.check_beliefs());
        self.judge(verdict);
        // A quarantined shard serves nobody, until somebody recovers it.
        let calm = (self.healed || self.mix.is_calm()) && self.now >= self.calm_since;
        if calm && self.quarantines == 0 {
            let verdict = self.check_bounds();
            self.judge(verdict);
        }
    }

    fn check_memory(&self) -> Verdict {
        let entries = self.clients.iter().map(|client| client.core.len()).max().unwrap_or(0);
        if self.events_pending() > EVENTS_MAX || entries > ENTRIES_MAX {
            return Err(format!("I10: {} events, {entries} entries of a client", self.events_pending()));
        }
        Ok(())
    }

    fn check_bounds(&mut self) -> Verdict {
        let Some(leader) = self.sure_leader() else {
            self.bounds.idle.clear();
            let since = *self.bounds.leaderless_since.get_or_insert(self.now);
            return if self.now > since + LEADERLESS { Err("P4: nobody leads".into()) } else { Ok(()) };
        };
        self.bounds.leaderless_since = None;
        for index in 0..LOCKS.len() {
            let lock = lock_name(index);
            let found = self.record(&lock);
            let holders = found.as_ref().map_or(&[][..], |(_, record)| &record.holders);
            for holder in holders {
                self.check_dead(leader, &lock, holder)?;
            }
            let revision = found.as_ref().map_or(Revision::NONE, |(revision, _)| *revision);
            self.check_idle(leader, &lock, holders.is_empty().then_some(revision))?;
        }
        Ok(())
    }

    /// The latest leader, where it serves and is sure.
    fn sure_leader(&self) -> Option<usize> {
        let leads = |node: &usize| self.nodes[*node].up && self.coords[*node].listens();
        let leader = (0..self.coords.len()).filter(leads).max_by_key(|node| self.coords[*node].epoch())?;
        let acts = self.coords[leader].acts(self.clocks(leader).boot);
        acts.then_some(leader)
    }

    /// S4: a holder of which nothing is heard any more goes within its lease time, counted from the latest of: its
    /// grant, its owner's end, the end of its leader's overlap, and since when its leader has been sure without
    /// interruption.
    fn check_dead(&mut self, leader: usize, lock: &LockName, holder: &StoredHolder) -> Verdict {
        let witness = &self.witness;
        let gone = [witness.dead.get(&holder.id), witness.released.get(&holder.id)];
        let Some(gone) = gone.into_iter().flatten().min() else { return Ok(()) };
        let coord = &self.coords[leader];
        let overlap = coord.epoch().and_then(|epoch| self.bounds.overlaps.get(&epoch.get()));
        let began = self.witness.began.get(&holder.id).copied().unwrap_or(0);
        let from = [began, *gone, coord.led_at + overlap.unwrap_or(&0), coord.sure_since, self.calm_since];
        let due = from.into_iter().max().unwrap_or(0) + longer(micros(holder.ttl.get())) + SLACK;
        if self.bounds.watched.insert(holder.id) {
            self.stats.dead += 1;
        }
        if self.now <= due {
            return Ok(());
        }
        Err(format!(
            "S4: {} is still held by {:?} of {}, gone since {gone}, at the latest until {due}",
            lock.as_str(),
            holder.id,
            holder.owner
        ))
    }

    /// I5: a free lock does not stand still while somebody waits for it who is there.
    fn check_idle(&mut self, leader: usize, lock: &LockName, free: Option<Revision>) -> Verdict {
        let waits = free.is_some() && self.has_waiter(lock);
        let Some(revision) = free.filter(|_| waits) else {
            self.bounds.idle.remove(lock);
            return Ok(());
        };
        let fresh = Idle { revision, since: self.now };
        let idle = self.bounds.idle.entry(lock.clone()).or_insert(fresh);
        if idle.revision != revision {
            *idle = fresh;
        }
        if *idle == fresh {
            self.stats.idle += 1;
        }
        let since = idle.since.max(self.coords[leader].sure_since);
        let bound = if self.healed { UNHEARD } else { SLACK };
        if self.now <= since + bound {
            return Ok(());
        }
        Err(format!("I5: {} is free since {} though somebody waits for it", lock.as_str(), idle.since))
    }

    fn has_waiter(&self, lock: &LockName) -> bool {
        let up = |node: usize| self.nodes[node].up && self.nodes[node].paused_until <= self.now;
        let waits = |client: &super::client::Client| {
            client.tasks.values().any(|task| !task.holding && !task.tries && task.lock == *lock)
        };
        let first = self.coords.len();
        self.clients.iter().enumerate().any(|(index, client)| up(first + index) && waits(client))
    }
}

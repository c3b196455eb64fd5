//! A lock as one would explain it to somebody: what the engine must do where nothing fails.

use std::time::Duration;

use natslock::types::{Claim, Timestamp};

use super::world::fit_together;

/// One who holds or waits.
#[derive(Debug, Clone)]
pub(crate) struct Party {
    pub(crate) id: String,
    pub(crate) claim: Claim,
    pub(crate) ttl: Duration,
    /// When the lease, or the wait, ends.
    pub(crate) until: Timestamp,
    /// When one who waits is given up for silent, if it ever repeated itself.
    pub(crate) silent_at: Option<Timestamp>,
    /// Released, and kept held.
    pub(crate) kept: bool,
}

/// One lock.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) holders: Vec<Party>,
    pub(crate) queue: Vec<Party>,
    /// Everybody who was ever granted the lock, in order.
    pub(crate) grants: Vec<String>,
}

impl Model {
    pub(crate) fn acquire(&mut self, now: Timestamp, party: Party) {
        let (id, tries) = (party.id.clone(), party.until <= now);
        if self.renew(now, &id) {
            if let Some(waiting) = self.queue.iter_mut().find(|waiting| waiting.id == id) {
                waiting.until = party.until;
            }
        } else {
            self.queue.push(party);
        }
        self.hand_out(now);
        self.queue.retain(|waiting| waiting.id != id || !tries);
        self.hand_out(now);
    }

    /// Keeps a lease or a place alive; false for an id that has neither.
    pub(crate) fn renew(&mut self, now: Timestamp, id: &str) -> bool {
        if let Some(holder) = self.holders.iter_mut().find(|holder| holder.id == id) {
            holder.until = if holder.kept { holder.until } else { now + holder.ttl };
            return true;
        }
        let waiting = self.queue.iter_mut().find(|waiting| waiting.id == id);
        waiting.is_some_and(|waiting| {
            waiting.silent_at = Some(now + waiting.ttl);
            true
        })
    }

    pub(crate) fn release(&mut self, now: Timestamp, id: &str, keep: Duration) {
        self.queue.retain(|waiting| waiting.id != id);
        if let Some(holder) = self.holders.iter_mut().find(|holder| holder.id == id && !holder.kept) {
            (holder.kept, holder.until) = (true, now + keep);
        }
        self.tick(now);
    }

    /// Lets everything happen whose time has come.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        self.holders.retain(|holder| !holder.kept || holder.until > now);
        self.hand_out(now);
        self.queue.retain(|waiting| waiting.until > now && waiting.silent_at.is_none_or(|at| at > now));
        self.holders.retain(|holder| holder.until > now);
        self.hand_out(now);
    }

    /// First come, first served: whoever does not fit stops all behind.
    fn hand_out(&mut self, now: Timestamp) {
        while let Some(first) = self.queue.first() {
            let mut claims: Vec<_> = self.holders.iter().map(|holder| holder.claim).collect();
            claims.push(first.claim);
            if !fit_together(&claims) {
                break;
            }
            let mut first = self.queue.remove(0);
            first.until = now + first.ttl;
            self.grants.push(first.id.clone());
            self.holders.push(first);
        }
    }
}

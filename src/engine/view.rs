//! What everybody may see: holders and waiters, never ids.

use super::Engine;
use super::lock::Lock;
use super::message::{HolderView, LockView, Now, Reply, WaiterView};
use crate::types::{LockName, Mode};

/// How many bytes of a reply its lists may fill: a reply is at most 512 KiB.
const LIST_BYTES_MAX: usize = 400 * 1024;
/// What one holder, waiter or lock costs beside its texts, at most.
const ROW_BYTES: usize = 256;

impl<R: Clone> Lock<R> {
    /// The lock as an answer shows it, with at most `limit` holders and, where asked for, waiters.
    pub(super) fn view(&self, now: Now, limit: usize, with_waiters: bool) -> LockView {
        let mut budget = LIST_BYTES_MAX;
        self.view_within(now, limit, with_waiters, &mut budget)
    }

    fn view_within(&self, now: Now, limit: usize, with_waiters: bool, budget: &mut usize) -> LockView {
        let mut afford = |cost: usize| {
            let affordable = *budget >= cost;
            *budget = budget.saturating_sub(cost);
            affordable
        };
        let holders = self.present().take(limit);
        let holders = holders.map(|holder| HolderView {
            owner: holder.owner.clone(),
            token: holder.token(),
            mode: holder.claim.mode(),
            permits: holder.claim.permits().map(|permits| permits.permits()),
            held: holder.held(now),
            expires_in: holder.expires_in(now.boot),
            note: holder.note.clone(),
        });
        let holders = holders.take_while(|holder| {
            afford(ROW_BYTES + holder.note.as_ref().map_or(0, |note| escaped_len(note.as_str())))
        });
        let holders = holders.collect();
        let listed = if with_waiters { limit } else { 0 };
        let waiters = self.queue.iter().take(listed).enumerate().map(|(index, waiter)| WaiterView {
            owner: waiter.owner.clone(),
            mode: waiter.claim.mode(),
            waited: now.boot.since(waiter.since),
            position: index + 1,
        });
        let waiters = waiters.take_while(|_| afford(ROW_BYTES)).collect();
        LockView {
            mode: self.claim_in_use().map_or(Mode::Exclusive, crate::types::Claim::mode),
            holders,
            holder_count: self.present().count(),
            waiters,
            waiter_count: self.queue.len(),
        }
    }

    fn is_visible(&self) -> bool {
        self.is_held() || !self.queue.is_empty()
    }
}

/// The most bytes that a text can take in JSON: a control character becomes six.
fn escaped_len(text: &str) -> usize {
    text.chars()
        .map(|c| if c.is_control() { 6 } else { c.len_utf8() + usize::from(c == '"' || c == '\\') })
        .sum()
}

impl<R: Clone> Engine<R> {
    pub(super) fn check(&mut self, to: R, name: &LockName, limit: usize) {
        let reply = match self.locks.get(name) {
            Some(lock) if lock.garbled.is_some() => {
                self.books.refuse(to, lock.quarantine_refusal());
                return;
            }
            // A first grant on its way is not a fact yet.
            Some(lock) if lock.is_visible() => Reply::Held(lock.view(self.books.now, limit, true)),
            _ => Reply::Free,
        };
        self.books.reply(to, reply);
    }

    pub(super) fn list(&mut self, to: R, prefix: &str, limit: usize, after: Option<&LockName>) {
        let (locks, next) = self.page(self.books.now, prefix, after, (limit, super::LISTED));
        self.books.reply(to, Reply::List { locks, next });
    }

    /// The lock as it stands, with at most `limit` holders and waiters, if anybody holds it or waits for it.
    pub fn look(&self, now: Now, name: &LockName, limit: usize) -> Option<LockView> {
        let lock = self.locks.get(name).filter(|lock| lock.is_visible())?;
        Some(lock.view(now, limit, true))
    }

    /// At most `limit` of the locks that are held or waited for, in order of their names, each with at most
    /// `listed` holders and waiters; and the last name where there are more.
    pub fn page(
        &self,
        now: Now,
        prefix: &str,
        after: Option<&LockName>,
        (limit, listed): (usize, usize),
    ) -> (Vec<(LockName, LockView)>, Option<LockName>) {
        use std::ops::Bound;
        let from = match after {
            Some(name) if name.as_str() >= prefix => Bound::Excluded(name.as_str()),
            _ => Bound::Included(prefix),
        };
        let mut budget = LIST_BYTES_MAX;
        let mut locks: Vec<(LockName, LockView)> = Vec::new();
        let mut next = None;
        for lock in self.locks.from(from) {
            let name = &lock.name;
            if !name.as_str().starts_with(prefix) {
                break;
            }
            if !lock.is_visible() {
                continue;
            }
            if locks.len() >= limit || budget < ROW_BYTES * 2 {
                next = locks.last().map(|(name, _)| name.clone());
                break;
            }
            budget = budget.saturating_sub(name.as_str().len() + ROW_BYTES);
            locks.push((name.clone(), lock.view_within(now, listed, true, &mut budget)));
        }
        (locks, next)
    }
}

//! Keeping leases alive: every third of their lease time, up to 1000 in one message.

use std::time::Duration;

use super::entry::{Entry, Held};
use super::{About, Core, Handle, LostReason, lease_ref};
use crate::engine::message::Ask;
use crate::types::{Timestamp, Ttl};
use crate::wire::request::LEASES_MAX;

/// A renewal without an answer is sent again after this part of the lease time.
const RETRIES_PER_TTL: u32 = 12;
/// A lease goes along with a renewal if its own is due within this part of its lease time.
const COMPANIONS_PER_TTL: u32 = 30;

impl Core {
    /// A third of the lease time, a little less for some than for others.
    pub(super) fn renewal_pause(&mut self, ttl: Ttl) -> Duration {
        let third = ttl.get() / 3;
        third * 9 / 10 + self.pace.within(third / 10)
    }

    /// The alarm of a lease: it is over, or it is time to renew it, along with others that soon want to be.
    pub(super) fn keep(&mut self, now: Timestamp, handle: Handle, held: Held) {
        if held.deadline <= now {
            self.lose(now, handle, held, LostReason::Unreachable);
            return;
        }
        let mut batch = vec![(handle, held)];
        let horizon = now + Duration::from_secs(3600);
        let candidates: Vec<Handle> = self
            .alarms
            .range(..(horizon, Handle(0)))
            .take(LEASES_MAX * 2)
            .map(|(_, handle)| *handle)
            .collect();
        for candidate in candidates {
            if batch.len() >= LEASES_MAX {
                break;
            }
            let due = |held: &Held| {
                held.deadline > now && held.renew_at <= now + held.ttl.get() / COMPANIONS_PER_TTL
            };
            if matches!(self.entries.get(&candidate), Some(Entry::Held(held)) if due(held))
                && let Some(Entry::Held(held)) = self.take(candidate)
            {
                batch.push((candidate, held));
            }
        }
        self.renew(now, batch);
    }

    fn renew(&mut self, now: Timestamp, batch: Vec<(Handle, Held)>) {
        let leases = batch.iter().map(|(_, held)| lease_ref(&held.id, held.token)).collect();
        let about = batch.iter().map(|(handle, held)| (held.id.clone(), *handle)).collect();
        self.send(now, About::Many(about), None, Ask::RenewMany { leases });
        for (handle, mut held) in batch {
            held.renew_at = now + held.ttl.get() / RETRIES_PER_TTL;
            self.put(handle, Entry::Held(held));
        }
        self.drop_old_renewals(now);
    }

    /// Renewals whose answer is no longer of use: the longest lease time has passed, or there are too many.
    fn drop_old_renewals(&mut self, now: Timestamp) {
        let stale = |held: &super::Sent| {
            matches!(held.about, About::Many(_)) && now.since(held.at) > Duration::from_millis(Ttl::MS_MAX)
        };
        let mut numbers: Vec<_> = self.sent.iter().filter(|(_, sent)| stale(sent)).map(|(n, _)| *n).collect();
        if self.sent.len() > self.entries.len() * 40 + 1_000 {
            let mut renewals: Vec<_> = self
                .sent
                .iter()
                .filter(|(_, sent)| matches!(sent.about, About::Many(_)))
                .map(|(number, _)| *number)
                .collect();
            renewals.sort_unstable();
            renewals.truncate(renewals.len() / 2);
            numbers.extend(renewals);
        }
        self.forget(numbers);
    }
}

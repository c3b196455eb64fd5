//! What each owner uses of the shard, so that none can use all of it (S12).

use std::collections::HashMap;

use super::limits::Limits;
use super::message::{Code, Refusal};
use crate::types::{LockName, OwnerName};

/// The accounts of all owners that use anything. They are as many as there are live ids and free records at most.
#[derive(Debug, Default)]
pub(super) struct Accounts(HashMap<OwnerName, Account>);

/// What one owner uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Account {
    /// Leases and places in queues.
    pub(super) ids: usize,
    /// Places in queues of those who met others there.
    pub(super) waiting: usize,
    /// How many of the ids are in each lock.
    pub(super) names: HashMap<LockName, usize>,
    /// Free locks that it left last: the store keeps their records for a while, and the shard remembers them.
    pub(super) left: usize,
}

impl Account {
    fn is_unused(&self) -> bool {
        self.ids == 0 && self.left == 0
    }
}

impl Accounts {
    fn of(&self, owner: &OwnerName) -> Option<&Account> {
        self.0.get(owner)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&OwnerName, &Account)> + Clone {
        self.0.iter()
    }

    /// An id comes to life in this lock.
    pub(super) fn enter(&mut self, owner: &OwnerName, name: &LockName) {
        let account = self.0.entry(owner.clone()).or_default();
        account.ids += 1;
        *account.names.entry(name.clone()).or_insert(0) += 1;
    }

    /// An id is gone from it.
    pub(super) fn leave(&mut self, owner: &OwnerName, name: &LockName) {
        self.change(owner, |account| {
            account.ids -= 1;
            if let Some(count) = account.names.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    account.names.remove(name);
                }
            }
        });
    }

    /// One of its ids, which it has entered, stands behind others from now on.
    pub(super) fn wait(&mut self, owner: &OwnerName) {
        self.change(owner, |account| account.waiting += 1);
    }

    /// It no longer does.
    pub(super) fn wait_no_more(&mut self, owner: &OwnerName) {
        self.change(owner, |account| account.waiting -= 1);
    }

    /// A free lock that it left last is remembered.
    pub(super) fn remember(&mut self, owner: &OwnerName) {
        self.0.entry(owner.clone()).or_default().left += 1;
    }

    /// It no longer is, or is in use again.
    pub(super) fn forget(&mut self, owner: &OwnerName) {
        self.change(owner, |account| account.left -= 1);
    }

    fn change(&mut self, owner: &OwnerName, change: impl FnOnce(&mut Account)) {
        let Some(account) = self.0.get_mut(owner) else { return };
        change(account);
        if account.is_unused() {
            self.0.remove(owner);
        }
    }

    /// Whether the owner may have one more lease or place in a queue, in a lock with this name; `left` where it is
    /// the one that left that lock last.
    pub(super) fn admit(
        &self,
        limits: &Limits,
        owner: &OwnerName,
        (name, left): (&LockName, bool),
    ) -> Result<(), Refusal> {
        let Some(account) = self.of(owner) else { return Ok(()) };
        let limit = limits.leases_per_owner_max;
        if account.ids >= limit {
            let text = format!("{owner} has {limit} leases and waiting requests already; release some first");
            return Err(Refusal::new(Code::RateLimited, text).limit(limit as u64));
        }
        let limit = limits.names_per_owner_max;
        if account.names.len() + account.left >= limit && !left && !account.names.contains_key(name) {
            let text = format!(
                "{owner} uses {limit} names already; release some first: a name counts for two minutes more"
            );
            return Err(Refusal::new(Code::RateLimited, text).limit(limit as u64));
        }
        Ok(())
    }

    /// Whether the owner may have one wait behind others beside those in its account, so many of which are this one.
    pub(super) fn admit_waiter(
        &self,
        limits: &Limits,
        owner: &OwnerName,
        counted: usize,
    ) -> Result<(), Refusal> {
        let limit = limits.waiters_per_owner_max;
        if self.of(owner).is_none_or(|account| account.waiting < limit + counted) {
            return Ok(());
        }
        let text = format!("{owner} has {limit} waiting requests already; try later, or ask without waiting");
        Err(Refusal::new(Code::RateLimited, text).limit(limit as u64))
    }
}

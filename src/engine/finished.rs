//! The ids that are over: a release is final, also for requests that arrive later (S10).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::limits::Limits;
use super::message::LostReason;
use crate::mutant::{self, Mutant};
use crate::types::{IdHash, LockName, Timestamp};

/// What is remembered of a finished id.
#[derive(Debug, Clone)]
pub(super) struct FinishedId {
    pub(super) name: LockName,
    pub(super) why: LostReason,
    pub(super) held: Duration,
    at: Timestamp,
}

/// A bounded memory: the latest ids, and those only for a while.
#[derive(Debug, Default)]
pub(super) struct Finished {
    ids: HashMap<IdHash, FinishedId>,
    order: VecDeque<(Timestamp, IdHash)>,
}

impl Finished {
    pub(super) fn get(&self, id: &IdHash) -> Option<&FinishedId> {
        self.ids.get(id)
    }

    pub(super) fn insert(
        &mut self,
        now: Timestamp,
        limits: &Limits,
        id: IdHash,
        name: LockName,
        end: (LostReason, Duration),
    ) {
        self.forget(now, limits);
        if mutant::is(Mutant::ForgetFinished) {
            return;
        }
        let (why, held) = end;
        self.ids.insert(id, FinishedId { name, why, held, at: now });
        self.order.push_back((now, id));
    }

    /// The id was granted again by another leader, so it is not over.
    pub(super) fn revive(&mut self, id: &IdHash) {
        self.ids.remove(id);
    }

    /// Forgets what is too old, and makes room for one more.
    pub(super) fn forget(&mut self, now: Timestamp, limits: &Limits) {
        while let Some(&(at, id)) = self.order.front() {
            let full = self.order.len() >= limits.finished_max.max(1);
            if !full && now.since(at) < limits.finished_for {
                break;
            }
            self.order.pop_front();
            // An id may have been finished again since; then a later entry of the order stands for it.
            if self.ids.get(&id).is_some_and(|finished| finished.at == at) {
                self.ids.remove(&id);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

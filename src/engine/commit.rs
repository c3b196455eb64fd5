//! Store first, answer after (S2): what a write changes is locked up in a [`Commit`] while the write is on its
//! way, and only the revision of the stored record gets it out.

use super::holder::Holder;
use super::message::Now;
use super::queue::Waiter;
use crate::types::{IdHash, LeaseId, Revision};

/// Why a lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Its owner gave it back, or its keeping is over.
    Released,
    /// It was not renewed in time, or its grant found nobody.
    Expired,
    /// An administrator took it, and said why.
    Revoked(Option<String>),
}

/// A waiter that the write makes a holder.
#[derive(Debug)]
pub(super) struct Begun<R> {
    pub(super) waiter: Waiter<R>,
    /// Set where the owner released the id meanwhile: who waits for the answer to that.
    pub(super) cancelled: Option<Vec<(R, LeaseId)>>,
}

/// What a write changes.
#[derive(Debug)]
pub(super) struct Commit<R> {
    ended: Vec<(IdHash, End)>,
    kept: Vec<IdHash>,
    begun: Vec<Begun<R>>,
}

/// What a stored write has changed.
#[derive(Debug)]
pub(super) struct Committed<R> {
    pub(super) ended: Vec<(IdHash, End)>,
    pub(super) kept: Vec<IdHash>,
    pub(super) granted: Vec<(Holder<R>, Begun<R>)>,
}

impl<R> Commit<R> {
    pub(super) fn new(ended: Vec<(IdHash, End)>, kept: Vec<IdHash>, begun: Vec<Waiter<R>>) -> Self {
        let begun = begun.into_iter().map(|waiter| Begun { waiter, cancelled: None }).collect();
        Self { ended, kept, begun }
    }

    /// The write is stored: here are the holders that it made.
    pub(super) fn committed(self, now: Now, stored: Revision) -> Committed<R> {
        let granted = (0..=u8::MAX)
            .zip(self.begun)
            .map(|(index, begun)| (Holder::granted(now, &begun.waiter, stored, index), begun))
            .collect();
        Committed { ended: self.ended, kept: self.kept, granted }
    }

    /// The write is refused for good: here are those who wait on, in order.
    pub(super) fn abandoned(self) -> Vec<Begun<R>> {
        self.begun
    }

    /// True where the write ends this lease.
    pub(super) fn ends(&self, key: &IdHash) -> bool {
        self.ended.iter().any(|(ended, _)| ended == key)
    }

    pub(super) fn begins(&self, key: &IdHash) -> bool {
        self.begun.iter().any(|begun| begun.waiter.key == *key)
    }

    pub(super) fn beginning_mut(&mut self, key: &IdHash) -> Option<&mut Begun<R>> {
        self.begun.iter_mut().find(|begun| begun.waiter.key == *key)
    }

    pub(super) fn beginning(&self) -> impl Iterator<Item = &Waiter<R>> {
        self.begun.iter().map(|begun| &begun.waiter)
    }
}

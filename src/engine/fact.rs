//! What the engine tells of its doings to whoever counts them. It decides nothing by it.

use std::time::Duration;

use super::books::Books;
use super::commit::End;
use super::message::{Code, WriteOutcome};
use crate::types::{LockName, Timestamp};

/// Something that happened, and when, by the clock of the call in which it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// When.
    pub at: Timestamp,
    /// To which lock; none where it is about none, or about many.
    pub name: Option<LockName>,
    /// What.
    pub what: Happening,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// A new acquisition was let in. A repeat of a known one is none.
    Asked {
        /// It met one that it cannot hold the lock with, or that stood before it.
        contended: bool,
    },
    /// A lease began.
    Granted {
        /// From the first receipt of its request to the acknowledgement of the write that began it.
        took: Duration,
        /// The part of it in the queue behind others, if it stood there.
        stood: Option<Duration>,
        /// Whether its owner still wanted it.
        wanted: bool,
    },
    /// One who only tried was told that others hold the lock.
    Held,
    /// One who waited left the queue without a lease.
    GaveUp {
        /// Why.
        why: GaveUp,
        /// How long it stood behind others, if it did.
        stood: Option<Duration>,
    },
    /// A lease ended.
    Ended {
        /// How.
        how: Ending,
        /// How long it was held.
        held: Duration,
        /// From the receipt of its owner's release until that was answered, where that is how it ended.
        took: Option<Duration>,
    },
    /// One write ended leases and began others.
    HandedOver,
    /// A write has no answer: done or not done, nobody knows.
    InDoubt,
    /// A write was refused, because another revision was there than expected.
    Conflict,
    /// A request was refused.
    Refused(Code),
}

/// Why one who waited got nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GaveUp {
    /// Its wait was over.
    TimedOut,
    /// Its owner cancelled it.
    Cancelled,
    /// Nothing was heard of it any more.
    Silent,
}

/// How a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its owner gave it back.
    Released,
    /// It was not renewed in time, or its grant found nobody.
    Expired,
    /// An administrator took it.
    Revoked,
}

impl Ending {
    pub(super) const fn of(end: &End) -> Self {
        match end {
            End::Released => Self::Released,
            End::Expired => Self::Expired,
            End::Revoked(_) => Self::Revoked,
        }
    }
}

impl<R> Books<R> {
    /// What became of a write, where that is worth counting.
    pub(super) fn note_outcome(&mut self, name: &LockName, outcome: WriteOutcome) {
        match outcome {
            WriteOutcome::Unknown => self.note(name, Happening::InDoubt),
            WriteOutcome::Mismatch(_) => self.note(name, Happening::Conflict),
            WriteOutcome::Acknowledged(_) | WriteOutcome::NotNow => {}
        }
    }
}

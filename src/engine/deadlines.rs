//! Everything that happens by itself at some time, in order of time.

use std::collections::BTreeSet;

use crate::types::{IdHash, LockName, Timestamp};

/// Why to wake up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// A lease, kept or not, may have ended.
    Lease(LockName, IdHash),
    /// A waiter's time is over, or it has fallen silent.
    Wait(LockName, IdHash),
    /// A write that was refused for now is to be sent again.
    Retry(LockName),
    /// A write has been in doubt for long.
    Doubt(LockName),
    /// The store has removed a free record by now.
    Forget(LockName),
    /// A write that was put off is to be sent.
    PutOff(LockName),
    /// The batch is to be sent again.
    RetryBatch,
    /// A request has waited long enough for the standing consumer.
    Parked,
}

impl Alarm {
    /// The lock that it is about.
    pub(super) const fn name(&self) -> Option<&LockName> {
        match self {
            Self::Lease(name, _)
            | Self::Wait(name, _)
            | Self::Retry(name)
            | Self::Doubt(name)
            | Self::Forget(name)
            | Self::PutOff(name) => Some(name),
            Self::RetryBatch | Self::Parked => None,
        }
    }
}

/// Alarms by time. Each is in it at most once, because whoever sets one remembers when it is set for.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Timestamp, Alarm)>);

impl Deadlines {
    pub(super) fn set(&mut self, at: Timestamp, alarm: Alarm) {
        self.0.insert((at, alarm));
    }

    pub(super) fn cancel(&mut self, at: Timestamp, alarm: Alarm) {
        self.0.remove(&(at, alarm));
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes the first alarm that is due.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Alarm> {
        if self.next()? <= now { self.0.pop_first().map(|(_, alarm)| alarm) } else { None }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Timestamp, Alarm)> {
        self.0.iter()
    }
}

//! Numbers that must not be mixed up.

use std::fmt;

/// At most so many leases begin in one write: the index of a token has eight bits.
pub const LEASES_PER_WRITE_MAX: usize = 256;

/// The stream sequence of a stored record: what a compare-and-set expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(u64);

impl Revision {
    /// "No such record": what the first write of a key expects.
    pub const NONE: Self = Self(0);

    /// Takes a sequence that a store gave.
    pub const fn new(sequence: u64) -> Self {
        Self(sequence)
    }

    /// The sequence.
    pub const fn get(self) -> u64 {
        self.0
    }

    #[cfg(feature = "coordinator")]
    /// The revision `count` writes before this one, in a batch whose writes have consecutive sequences.
    pub(crate) const fn back(self, count: u64) -> Self {
        Self(self.0 - count)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One coordinator's term as leader of a shard: the revision of the shard's `epoch` record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(Revision);

impl Epoch {
    /// The epoch that the write of the `epoch` record began.
    pub const fn new(revision: Revision) -> Self {
        Self(revision)
    }

    /// The revision of the `epoch` record.
    pub const fn revision(self) -> Revision {
        self.0
    }

    /// The number on the wire.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A fencing token: strictly rising per lock and never issued twice.
///
/// It is the revision of the write that made the lease durable, times 256, plus the lease's index in that
/// write. A resource that remembers the highest token it saw and refuses lower ones is safe from a holder that
/// was paused beyond its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    /// The token of the lease at `index` of the write with this revision.
    pub const fn new(revision: Revision, index: u8) -> Self {
        Self(revision.0 * LEASES_PER_WRITE_MAX as u64 + index as u64)
    }

    /// Takes a token from the wire or from a record.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number to show to resources.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The revision of the write that made the lease durable.
    pub const fn revision(self) -> Revision {
        Revision(self.0 / LEASES_PER_WRITE_MAX as u64)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

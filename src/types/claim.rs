//! What an acquisition asks for: the whole lock, a share of it, or some of its permits.

use std::fmt;

/// The largest capacity of a counting lock.
pub const CAPACITY_MAX: u64 = 1_000;

/// A number of permits and the capacity they are part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permits {
    permits: u16,
    capacity: u16,
}

/// A number of permits or a capacity outside its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermitsError {
    /// The capacity is zero or too large.
    #[error("capacity must be 1 to {CAPACITY_MAX}, not {given}")]
    Capacity {
        /// What was given.
        given: u64,
    },
    /// More permits than there can ever be, or none.
    #[error("permits must be 1 to the capacity of {capacity}, not {given}")]
    Permits {
        /// What was given.
        given: u64,
        /// The capacity of the lock.
        capacity: u64,
    },
}

impl Permits {
    /// So many permits of a lock of this capacity.
    ///
    /// # Errors
    /// A capacity outside 1 to 1000, no permits, or more permits than the capacity.
    pub fn new(permits: u64, capacity: u64) -> Result<Self, PermitsError> {
        if !(1..=CAPACITY_MAX).contains(&capacity) {
            return Err(PermitsError::Capacity { given: capacity });
        }
        if !(1..=capacity).contains(&permits) {
            return Err(PermitsError::Permits { given: permits, capacity });
        }
        let narrow = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        Ok(Self { permits: narrow(permits), capacity: narrow(capacity) })
    }

    /// How many are asked for or held.
    pub const fn permits(self) -> u16 {
        self.permits
    }

    /// Of how many.
    pub const fn capacity(self) -> u16 {
        self.capacity
    }
}

/// What an acquisition asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claim {
    /// The whole lock.
    Exclusive,
    /// The lock beside other readers.
    Shared,
    /// Some permits of a counting lock.
    Counting(Permits),
}

impl Claim {
    /// The mode it is asked in.
    pub const fn mode(self) -> Mode {
        match self {
            Self::Exclusive => Mode::Exclusive,
            Self::Shared => Mode::Shared,
            Self::Counting(permits) => Mode::Counting { capacity: permits.capacity },
        }
    }

    /// The permits of a counting claim.
    pub const fn permits(self) -> Option<Permits> {
        match self {
            Self::Counting(permits) => Some(permits),
            Self::Exclusive | Self::Shared => None,
        }
    }

    /// True where both may be used on one lock at a time: exclusive and shared mix, counting mixes only with
    /// counting of the same capacity.
    pub fn mixes_with(self, other: Self) -> bool {
        match (self.mode(), other.mode()) {
            (Mode::Counting { capacity }, Mode::Counting { capacity: theirs }) => capacity == theirs,
            (Mode::Counting { .. }, _) | (_, Mode::Counting { .. }) => false,
            _ => true,
        }
    }
}

/// The mode of a lock or of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// One holder.
    Exclusive,
    /// Several readers.
    Shared,
    /// Holders of permits.
    Counting {
        /// How many permits there are.
        capacity: u16,
    },
}

impl Mode {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
            Self::Counting { .. } => "counting",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

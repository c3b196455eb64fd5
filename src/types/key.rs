//! The keys of a shard's store.

use std::fmt;

use super::{LockName, NameError};

const LOCK_PREFIX: &str = "lock.";

/// A key of the store, whose text is also the tail of the KV subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The record of a lock.
    Lock(LockName),
    /// Written by takeovers only; its revision is the epoch.
    Epoch,
    /// The leader's sign of life, which carries what a successor must know.
    Lease,
    /// Written by guarded batches only.
    Journal,
}

/// A key that no coordinator writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The name of a lock that is none.
    #[error("not the key of a lock: {0}")]
    Name(#[from] NameError),
    /// Something else.
    #[error("not a key of natslock")]
    Unknown,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock(name) => write!(f, "{LOCK_PREFIX}{}", name.as_str()),
            Self::Epoch => f.write_str("epoch"),
            Self::Lease => f.write_str("lease"),
            Self::Journal => f.write_str("journal"),
        }
    }
}

impl std::str::FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text {
            "epoch" => Ok(Self::Epoch),
            "lease" => Ok(Self::Lease),
            "journal" => Ok(Self::Journal),
            _ => {
                let name = text.strip_prefix(LOCK_PREFIX).ok_or(KeyError::Unknown)?;
                Ok(Self::Lock(LockName::from_encoded(name)?))
            }
        }
    }
}

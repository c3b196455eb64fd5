//! Identities: of an acquisition, of a write, of a coordinator. The random ones are made here and nowhere else.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::OwnerName;

/// The longest id of an acquisition, in bytes.
pub const ID_BYTES_MAX: usize = 64;

/// One acquisition: 1 to 64 of `A-Z a-z 0-9 _ -`, a UUID as a rule.
///
/// It is a secret between a client and the coordinator while it lives. `Debug` therefore hides it; only the
/// reply to its owner shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseId(Arc<str>);

/// A text that is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 1 to {ID_BYTES_MAX} of A-Z a-z 0-9 _ - (a UUID will do)")]
pub struct LeaseIdError;

impl LeaseId {
    /// Makes a new id that nobody can guess.
    #[expect(clippy::disallowed_methods, reason = "ids are made here and nowhere else")]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string().into())
    }

    /// The id of the next acquisition of somebody whose last one has ended before it was heard of. It is as
    /// secret as this one.
    #[must_use]
    pub fn successor(&self) -> Self {
        let (stem, count) = match self.0.rsplit_once("-n") {
            Some((stem, count)) => (stem, count.parse::<u64>().unwrap_or(0)),
            None => (&*self.0, 0),
        };
        let stem: String = stem.chars().take(ID_BYTES_MAX - 22).collect();
        Self(format!("{stem}-n{}", count + 1).into())
    }

    /// The secret itself: for the request and the reply, never for a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored and compared in its stead. Ids are scoped to their owner, so the owner goes in.
    pub fn hash(&self, owner: &OwnerName) -> IdHash {
        let mut hasher = Sha256::new();
        hasher.update(owner.as_str());
        hasher.update([0]);
        hasher.update(self.0.as_bytes());
        let digest = hasher.finalize();
        let mut hash = [0; IdHash::BYTES];
        hash.copy_from_slice(&digest[..IdHash::BYTES]);
        IdHash(hash)
    }
}

impl std::str::FromStr for LeaseId {
    type Err = LeaseIdError;

    fn from_str(text: &str) -> Result<Self, LeaseIdError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err(LeaseIdError)
        }
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseId(..)")
    }
}

/// The first 128 bits of SHA-256 over owner and id: what the store and the engine know an acquisition by.
///
/// An id that somebody presents is never compared with one that is kept, because none is kept: it is hashed, and
/// hashes are compared, of the same owner only. That is done in constant time: how long it takes does not tell how
/// many bits agree, from which somebody who could measure it might learn a hash, and try ids against it at home. (Maps
/// of ids hash them with a secret of their own; the order of two hashes is not told in constant time, and decides
/// nothing that anybody asks for.)
#[derive(Clone, Copy, PartialOrd, Ord)]
pub struct IdHash([u8; Self::BYTES]);

impl IdHash {
    /// Its length.
    pub const BYTES: usize = 16;

    /// Takes a stored hash.
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl PartialEq for IdHash {
    /// Looks at all bits at once. `black_box` keeps the compiler from finding a shorter way.
    fn eq(&self, other: &Self) -> bool {
        let differing = u128::from_ne_bytes(self.0) ^ u128::from_ne_bytes(other.0);
        black_box(differing) == 0
    }
}

impl Eq for IdHash {}

impl Hash for IdHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for IdHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdHash({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// One attempt to write: stored in the record, so that a writer who got no answer can tell its own write from
/// another's. Unique because the coordinator's part is random and the rest counts up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// Who writes.
    pub coordinator: CoordinatorId,
    /// The coordinator's count of writes.
    pub number: u64,
}

/// One run of a coordinator process: 64 random bits, made at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoordinatorId(pub u64);

impl CoordinatorId {
    /// Makes the identity of a coordinator that starts now.
    #[expect(clippy::disallowed_methods, reason = "ids are made here and nowhere else")]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().as_u64_pair().0)
    }
}

impl fmt::Display for CoordinatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_equal_in_all_bits_or_not_at_all() {
        let owner = OwnerName::encode("alice").unwrap();
        let id: LeaseId = "x".parse().unwrap();
        let hash = id.hash(&owner);
        assert_eq!(hash, IdHash::from_bytes(*hash.as_bytes()));
        for bit in 0..8 * IdHash::BYTES {
            let mut bytes = *hash.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(hash, IdHash::from_bytes(bytes), "bit {bit}");
        }
        let other = OwnerName::encode("bob").unwrap();
        assert!(hash != id.hash(&other) && hash != id.successor().hash(&owner));
    }

    #[test]
    fn successors_are_ids_and_differ() {
        let first = LeaseId::random();
        let (second, third) = (first.successor(), first.successor().successor());
        assert!(first != second && second != third && third.reveal().ends_with("-n2"));
        assert!(third.reveal().parse::<LeaseId>().is_ok() && third.reveal().starts_with(first.reveal()));
        let long: LeaseId = "x".repeat(ID_BYTES_MAX).parse().unwrap();
        assert!(long.successor().reveal().parse::<LeaseId>().is_ok());
    }
}

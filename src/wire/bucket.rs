//! The names of a shard's bucket, its stream and the subjects of its keys (DESIGN.md section 2).

use crate::types::{Key, KeyError, Namespace, ShardId};

/// What is behind the name of a bucket in that of the one beside it, which keeps its records while it is recovered.
pub const RECOVERY: &str = "_recovery";

/// The bucket of one shard.
///
/// ```
/// use natslock::types::{Key, ShardId};
/// use natslock::wire::subject::SubjectSpace;
///
/// let bucket = SubjectSpace::new("prod".parse().unwrap()).bucket(ShardId(0));
/// assert_eq!(bucket.stream(), "KV_natslock_prod_0");
/// assert_eq!(bucket.subject(&Key::Epoch), "$KV.natslock_prod_0.epoch");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    name: String,
    prefix: String,
}

impl Bucket {
    pub(super) fn new(namespace: &Namespace, shard: ShardId) -> Self {
        Self::named(format!("natslock_{namespace}_{shard}"))
    }

    fn named(name: String) -> Self {
        Self { prefix: format!("$KV.{name}."), name }
    }

    /// The bucket beside it while it is recovered.
    #[must_use]
    pub fn recovery(&self) -> Self {
        Self::named(format!("{}{RECOVERY}", self.name))
    }

    /// The bucket's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the stream behind it.
    pub fn stream(&self) -> String {
        format!("KV_{}", self.name)
    }

    /// The subjects of all its keys: what the stream takes and the standing consumer filters by.
    pub fn subjects(&self) -> String {
        format!("{}>", self.prefix)
    }

    /// The subject of a key.
    pub fn subject(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The key of a subject.
    ///
    /// # Errors
    /// The subject is of another bucket, or of a key that no coordinator writes.
    pub fn key(&self, subject: &str) -> Result<Key, KeyError> {
        subject.strip_prefix(&self.prefix).ok_or(KeyError::Unknown)?.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::arbitrary;

    fn bucket() -> Bucket {
        Bucket::new(&"a_1".parse().unwrap(), ShardId(2))
    }

    #[test]
    fn names_are_as_the_design_says() {
        assert_eq!(bucket().name(), "natslock_a_1_2");
        assert_eq!(bucket().subjects(), "$KV.natslock_a_1_2.>");
    }

    #[test]
    fn foreign_subjects_are_no_keys() {
        for foreign in ["$KV.natslock_a_1_3.epoch", "$KV.natslock_a_1_2", "$KV.natslock_a_1_2.x", "epoch"] {
            assert_eq!(bucket().key(foreign), Err(KeyError::Unknown), "{foreign}");
        }
        assert!(matches!(bucket().key("$KV.natslock_a_1_2.lock.a..b"), Err(KeyError::Name(_))));
    }

    proptest! {
        #[test]
        fn keys_round_trip(name in arbitrary::lock_name()) {
            for key in [Key::Lock(name), Key::Epoch, Key::Lease, Key::Journal] {
                prop_assert_eq!(bucket().key(&bucket().subject(&key)), Ok(key));
            }
        }
    }
}

//! Names: of locks, owners, namespaces and shards.

use std::fmt;
use std::sync::Arc;

use super::encode::{self, Malformed};

/// The longest encoded lock name, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The longest encoded owner name, in bytes.
pub const OWNER_BYTES_MAX: usize = 64;
const NAMESPACE_BYTES_MAX: usize = 32;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing was given.
    #[error("a {what} must not be empty")]
    Empty {
        /// Which kind of name.
        what: &'static str,
    },
    /// Over the limit after encoding.
    #[error("a {what} has at most {max} bytes once encoded, this one has {len}")]
    TooLong {
        /// Which kind of name.
        what: &'static str,
        /// Its encoded length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// `a..b`, or a dot at an end.
    #[error("a {what} must not have empty tokens (two dots in a row, or a dot at an end)")]
    EmptyToken {
        /// Which kind of name.
        what: &'static str,
    },
    /// Not in encoded form.
    #[error("this {what} is not in encoded form: {reason}")]
    Encoding {
        /// Which kind of name.
        what: &'static str,
        /// What was wrong.
        reason: String,
    },
    /// A namespace with other characters.
    #[error("a namespace is 1 to {NAMESPACE_BYTES_MAX} of A-Z a-z 0-9 _ -, not {given:?}")]
    Namespace {
        /// What was given.
        given: String,
    },
}

fn encoding_error(what: &'static str, malformed: Malformed) -> NameError {
    let reason = match malformed {
        Malformed::Raw(byte) => format!("byte 0x{byte:02X} must be written as ={byte:02X}"),
        Malformed::Escape => {
            "= must be followed by the two upper-case hex digits of a byte that needs it".into()
        }
        Malformed::Utf8 => "the escaped bytes are not UTF-8".into(),
    };
    NameError::Encoding { what, reason }
}

fn bounded(what: &'static str, encoded: &str, max: usize) -> Result<(), NameError> {
    match encoded.len() {
        0 => Err(NameError::Empty { what }),
        len if len > max => Err(NameError::TooLong { what, len, max }),
        _ => Ok(()),
    }
}

/// The name of a lock: dot-separated tokens, kept in encoded form (PROTOCOL.md section 1).
///
/// Ordered by the bytes of its encoded form, which is the order in which locks are listed.
///
/// ```
/// use natslock::types::LockName;
/// let name = LockName::encode("订单.42").unwrap();
/// assert_eq!(name.as_str(), "=E8=AE=A2=E5=8D=95.42");
/// assert_eq!(name.to_string(), "订单.42");
/// assert!(LockName::encode("orders..42").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockName(Arc<str>);

impl LockName {
    /// Makes a name from what a person writes, encoding what needs it.
    ///
    /// # Errors
    /// Empty, over 255 bytes once encoded, or with an empty token.
    pub fn encode(raw: &str) -> Result<Self, NameError> {
        Self::checked(encode::encode(raw, true).into())
    }

    /// Takes a name that is already in encoded form, as it stands on the wire.
    ///
    /// # Errors
    /// As [`LockName::encode`], and where the text is not in the one canonical encoding.
    pub fn from_encoded(encoded: &str) -> Result<Self, NameError> {
        bounded("lock name", encoded, NAME_BYTES_MAX)?;
        encode::decode(encoded, true).map_err(|malformed| encoding_error("lock name", malformed))?;
        Self::checked(encoded.into())
    }

    fn checked(encoded: Arc<str>) -> Result<Self, NameError> {
        bounded("lock name", &encoded, NAME_BYTES_MAX)?;
        if encoded.split('.').any(str::is_empty) {
            return Err(NameError::EmptyToken { what: "lock name" });
        }
        Ok(Self(encoded))
    }

    /// The encoded form: what stands in subjects and keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Compared and ordered as its encoded text.
impl std::borrow::Borrow<str> for LockName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What a person wrote.
impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode::decode(&self.0, true).unwrap_or_else(|_| self.0.to_string()))
    }
}

/// Who asks: one encoded token. A dot in it is encoded too.
///
/// ```
/// use natslock::types::OwnerName;
/// let owner = OwnerName::encode("alice@db-1.example").unwrap();
/// assert_eq!(owner.as_str(), "alice=40db-1=2Eexample");
/// assert_eq!(owner.to_string(), "alice@db-1.example");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerName(Arc<str>);

impl OwnerName {
    /// Makes an owner from what a person writes.
    ///
    /// # Errors
    /// Empty, or over 64 bytes once encoded.
    pub fn encode(raw: &str) -> Result<Self, NameError> {
        let encoded = encode::encode(raw, false);
        bounded("owner", &encoded, OWNER_BYTES_MAX)?;
        Ok(Self(encoded.into()))
    }

    /// Takes an owner that is already in encoded form.
    ///
    /// # Errors
    /// As [`OwnerName::encode`], and where the text is not in the one canonical encoding.
    pub fn from_encoded(encoded: &str) -> Result<Self, NameError> {
        bounded("owner", encoded, OWNER_BYTES_MAX)?;
        encode::decode(encoded, false).map_err(|malformed| encoding_error("owner", malformed))?;
        Ok(Self(encoded.into()))
    }

    /// The encoded form: what stands in subjects.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a person wrote.
impl fmt::Display for OwnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode::decode(&self.0, false).unwrap_or_else(|_| self.0.to_string()))
    }
}

/// A set of locks with its own coordinators and buckets: 1 to 32 of `A-Z a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The text of the namespace.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("default".into())
    }
}

impl std::str::FromStr for Namespace {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if (1..=NAMESPACE_BYTES_MAX).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Namespace { given: text.into() })
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A slice of the names of a namespace, with its own bucket and its own leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_names_stand_for_themselves() {
        assert_eq!(LockName::encode("orders/eu.42_a-b").unwrap().as_str(), "orders/eu.42_a-b");
    }

    #[test]
    fn only_the_canonical_encoding_is_taken() {
        for bad in ["a=2Fb", "a=2e", "a=2Eb", "a=4", "a=", "a b", "a*", ">", "=FF", "a..b", ".a", "a.", ""] {
            assert!(LockName::from_encoded(bad).is_err(), "{bad:?} was taken");
        }
        assert!(LockName::from_encoded("a=20b").is_ok());
        assert!(OwnerName::from_encoded("a=2Eb").is_ok());
        assert!(OwnerName::from_encoded("a.b").is_err());
    }

    #[test]
    fn lengths_count_encoded_bytes() {
        assert!(LockName::encode(&"a".repeat(255)).is_ok());
        assert!(LockName::encode(&"a".repeat(256)).is_err());
        assert!(LockName::encode(&"é".repeat(43)).is_err(), "43 x 6 encoded bytes");
        assert!(OwnerName::encode(&"a".repeat(65)).is_err());
    }

    proptest! {
        #[test]
        fn names_round_trip(raw in "\\PC{1,40}") {
            if let Ok(name) = LockName::encode(&raw) {
                prop_assert_eq!(name.to_string(), raw);
                prop_assert_eq!(LockName::from_encoded(name.as_str()).unwrap(), name);
            }
        }

        #[test]
        fn what_is_taken_from_the_wire_is_what_would_be_sent(encoded in "[a-zA-Z0-9=./_-]{1,20}") {
            if let Ok(name) = LockName::from_encoded(&encoded) {
                prop_assert_eq!(LockName::encode(&name.to_string()).unwrap(), name);
            }
        }
    }
}

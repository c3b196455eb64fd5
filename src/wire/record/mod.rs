//! What is stored: MessagePack maps with a schema version (DESIGN.md section 2).
//!
//! Decoding is strict about what must be there and lenient about what a later version adds. A record that does
//! not decode is never taken for a free lock: the caller quarantines it.

mod lock;
mod term;

use crate::types::{AttemptId, CoordinatorId, Epoch, Revision};

use super::fields::{Fields, need};
use super::format::Format;
use super::value::{self, DecodeError, Value};

pub use lock::{HOLDERS_MAX, decode_lock, encode_lock};
pub use term::{EpochRecord, JournalRecord, LeaseRecord};

/// The version of the schema that is written here, and the only one that is read.
pub const SCHEMA_VERSION: u64 = 1;

/// Why stored bytes are no record of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes or a field of them make no sense.
    #[error("the record does not decode: {0}")]
    Unreadable(#[from] DecodeError),
    /// Written by a later natslock, or by none.
    #[error("the record has schema version {found}; this natslock reads {SCHEMA_VERSION}")]
    Version {
        /// The version that it says.
        found: u64,
    },
    /// Its holders cannot all hold the lock.
    #[error("the record contradicts itself: {0}")]
    Contradiction(String),
}

/// The fields of a record, after the check of its version.
fn fields(stored: &[u8]) -> Result<Fields<'_>, RecordError> {
    let fields = value::parse(Format::MessagePack, stored)?;
    match fields.need_unsigned("v")? {
        SCHEMA_VERSION => Ok(fields),
        found => Err(RecordError::Version { found }),
    }
}

/// An attempt is stored as its two numbers.
fn attempt_body(attempt: AttemptId) -> [u64; 2] {
    [attempt.coordinator.0, attempt.number]
}

fn attempt(fields: &Fields<'_>) -> Result<AttemptId, DecodeError> {
    let number = |value: &Value<'_>| match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    if let [coordinator, count] = need("attempt", fields.list("attempt")?)?
        && let (Some(coordinator), Some(number)) = (number(coordinator), number(count))
    {
        return Ok(AttemptId { coordinator: CoordinatorId(coordinator), number });
    }
    Err(DecodeError::new("\"attempt\" must be two integers from 0"))
}

fn epoch(fields: &Fields<'_>) -> Result<Epoch, DecodeError> {
    Ok(Epoch::new(Revision::new(fields.need_unsigned("epoch")?)))
}

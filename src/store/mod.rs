//! The compare-and-set port: what the coordinator needs of a store of records, and the in-memory store.
//!
//! One store holds the records of one shard (DESIGN.md section 2). Every write has a sequence, its *revision*,
//! which rises over all keys of the store. What a write's answer means is stated on [`WriteOutcome`]; in
//! particular a write without an answer is neither done nor undone (S7).

pub mod contract;
mod memory;
mod repair;
mod state;

use std::future::Future;

use bytes::Bytes;
use futures_util::stream::BoxStream;

pub use crate::engine::message::WriteOutcome;
use crate::types::{Key, Revision};

pub use contract::contract;
pub use memory::MemoryStore;
pub use repair::{Extent, Repair};
pub(crate) use state::is_well_formed;
pub use state::{BATCH_RECORDS_MAX, StoreCore};

/// One compare-and-set.
#[derive(Debug, Clone)]
pub struct Write {
    /// The key.
    pub key: Key,
    /// What must be there: `Some(revision)`, or `Some(Revision::NONE)` for nothing; `None` writes whatever is
    /// there.
    pub expected: Option<Revision>,
    /// The bytes to store.
    pub value: Bytes,
    /// The store removes the record after so many whole seconds.
    pub ttl_seconds: Option<u64>,
}

/// All of these writes or none.
#[derive(Debug, Clone)]
pub struct Batch {
    /// At most 999 keys, each once. They get consecutive revisions in this order, and the guard the next.
    pub writes: Vec<Write>,
    /// The last record of the batch: written to `key` only while another key, `holds.0`, is at `holds.1`.
    pub guard: Option<Guard>,
}

/// The last record of a guarded batch.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Where it is written.
    pub key: Key,
    /// Its bytes.
    pub value: Bytes,
    /// The key and revision that it depends on.
    pub holds: (Key, Revision),
}

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// Its revision.
    pub revision: Revision,
    /// Its bytes, or nothing for a delete marker made by a foreign tool.
    pub value: Option<Bytes>,
}

/// A store that cannot answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Waiting may mend it: no leader, no connection, a time-out.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// Waiting cannot mend it: a differing configuration, missing permissions, too old a server.
    #[error("{0}")]
    Refused(String),
}

impl StoreError {
    /// True where the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// What a standing consumer delivers.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// A record: the last of its key when the consumer began, or one written since. In order of revision.
    Entry(Entry),
    /// The consumer was interrupted and goes on by itself; nothing is lost but time.
    Interrupted(String),
}

/// The records of one shard.
///
/// Implementations pass [`contract()`].
pub trait Store: Clone + Send + Sync + 'static {
    /// Writes one record if what is there is what is expected.
    ///
    /// # Cancel safety
    /// Dropping it leaves the write unknown: it may still be applied.
    fn write(&self, write: Write) -> impl Future<Output = WriteOutcome> + Send;

    /// Writes all records of a batch or none. The outcome's revision is that of the last record.
    ///
    /// # Cancel safety
    /// Dropping it leaves the batch unknown: it may still be applied, whole.
    fn write_batch(&self, batch: Batch) -> impl Future<Output = WriteOutcome> + Send;

    /// The last record of a key, possibly stale. Never for a decision that a compare-and-set does not check.
    ///
    /// # Errors
    /// The store did not answer.
    fn read(&self, key: Key) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send;

    /// The record with this revision, or `None` where it is overwritten or not yet known to the replica that
    /// answered. A record never changes, so an answer cannot be stale.
    ///
    /// # Errors
    /// The store did not answer.
    fn read_at(&self, revision: Revision) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send;

    /// The last record of every key in order of revision, then every later one, without end. Records that were
    /// overwritten before they could be delivered are skipped, or are not where a replica that lags delivers; a key's
    /// last record never is.
    ///
    /// # Errors
    /// The consumer could not be made.
    fn follow(&self) -> impl Future<Output = Result<BoxStream<'static, Delivery>, StoreError>> + Send;

    /// What tells this store from another of the same name made later (S11), such as its time of creation.
    ///
    /// # Errors
    /// The store did not answer.
    fn identity(&self) -> impl Future<Output = Result<String, StoreError>> + Send;
}

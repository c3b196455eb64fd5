//! What runs beside a shard's task: each function makes one piece of work whose outcome comes back as a
//! [`Done`].

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use super::leadership::ShardRead;
use crate::clock::Clock;
use crate::engine::message::{EntryContent, FREE_RECORD_TTL, GuardedBatch, LockWrite, WriteOutcome};
use crate::store::{Batch, Delivery, Guard, Store, StoreError, Write};
use crate::transport::{DEAF_MAX, Message, Transport};
use crate::types::{AttemptId, Epoch, Key, LockName, Revision};
use crate::wire::record::{EpochRecord, JournalRecord, LeaseRecord, RecordError, decode_lock, encode_lock};

/// The pause before something without an outcome is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// An outcome.
pub(super) enum Done {
    /// `after` is the highest revision that had been seen when it was sent.
    Written {
        term: u64,
        name: LockName,
        attempt: AttemptId,
        after: Revision,
        outcome: WriteOutcome,
    },
    BatchWritten {
        term: u64,
        attempt: AttemptId,
        after: Revision,
        outcome: WriteOutcome,
    },
    TakeoverWritten(WriteOutcome),
    LeaseWritten {
        term: u64,
        after: Revision,
        outcome: WriteOutcome,
    },
    ShardRead(Option<ShardRead>),
    LeaseRead {
        revision: Revision,
        record: Option<LeaseRecord>,
    },
    Following {
        term: u64,
        records: BoxStream<'static, Delivery>,
    },
    Subscribed {
        term: u64,
        requests: BoxStream<'static, Message>,
    },
    /// Nothing can be heard for [`DEAF_MAX`].
    Deaf {
        term: u64,
    },
    Identified(Option<String>),
}

type Work = BoxFuture<'static, Done>;

/// What a stored record of a lock says.
pub(super) fn content(value: Option<&[u8]>) -> EntryContent {
    match value.map(decode_lock) {
        None => EntryContent::Deleted,
        Some(Ok(record)) => EntryContent::Record(record),
        Some(Err(error)) => EntryContent::Garbled(error.to_string()),
    }
}

fn lock_write(write: &LockWrite) -> Write {
    Write {
        key: Key::Lock(write.name.clone()),
        expected: Some(write.expected),
        value: encode_lock(&write.record),
        ttl_seconds: write.record.is_free().then_some(FREE_RECORD_TTL.as_secs()),
    }
}

pub(super) fn write<S: Store>(store: S, term: u64, after: Revision, write: LockWrite) -> Work {
    async move {
        let outcome = store.write(lock_write(&write)).await;
        Done::Written { term, name: write.name, attempt: write.record.attempt, after, outcome }
    }
    .boxed()
}

/// The locks' writes, and behind them the journal's, which holds the epoch (S6).
pub(super) fn write_batch<S: Store>(
    store: S,
    term: u64,
    epoch: Epoch,
    after: Revision,
    batch: GuardedBatch,
) -> Work {
    async move {
        let attempt = batch.attempt;
        let journal = JournalRecord { attempt, epoch, locks: batch.writes.len() };
        let guard = Guard { key: Key::Journal, value: journal.encode(), holds: (Key::Epoch, batch.guard) };
        let writes = batch.writes.iter().map(lock_write).collect();
        let outcome = store.write_batch(Batch { writes, guard: Some(guard) }).await;
        Done::BatchWritten { term, attempt, after, outcome }
    }
    .boxed()
}

pub(super) fn take_over<S: Store>(
    store: S,
    expected: Revision,
    epoch: &EpochRecord,
    lease: &LeaseRecord,
) -> Work {
    let writes = vec![
        Write { key: Key::Epoch, expected: Some(expected), value: epoch.encode(), ttl_seconds: None },
        // The deposed leader may be writing it at this moment: whatever is there is replaced.
        Write { key: Key::Lease, expected: None, value: lease.encode(), ttl_seconds: None },
    ];
    async move { Done::TakeoverWritten(store.write_batch(Batch { writes, guard: None }).await) }.boxed()
}

pub(super) fn write_lease<S: Store>(
    store: S,
    (term, after): (u64, Revision),
    expected: Revision,
    lease: &LeaseRecord,
) -> Work {
    let write = Write { key: Key::Lease, expected: Some(expected), value: lease.encode(), ttl_seconds: None };
    async move { Done::LeaseWritten { term, after, outcome: store.write(write).await } }.boxed()
}

/// First the epoch, then the lease: a takeover in between is found out by the epoch that is expected.
pub(super) fn read_shard<S: Store>(store: S) -> Work {
    async move {
        Done::ShardRead(try_read_shard(&store).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the shard's records cannot be read");
            None
        }))
    }
    .boxed()
}

async fn try_read_shard<S: Store>(store: &S) -> Result<Option<ShardRead>, StoreError> {
    let garbled = |error: RecordError| StoreError::Refused(error.to_string());
    let mut read = ShardRead { epoch: None, lease: None };
    if let Some(entry) = store.read(Key::Epoch).await? {
        let record = EpochRecord::decode(entry.value.as_deref().unwrap_or_default()).map_err(garbled)?;
        read.epoch = Some((entry.revision, record));
    }
    if let Some(entry) = store.read(Key::Lease).await? {
        let record = LeaseRecord::decode(entry.value.as_deref().unwrap_or_default()).map_err(garbled)?;
        read.lease = Some((entry.revision, record));
    }
    Ok(Some(read))
}

pub(super) fn read_lease<S: Store>(store: S, revision: Revision) -> Work {
    async move {
        let entry = store.read_at(revision).await.ok().flatten();
        let record = entry.and_then(|entry| LeaseRecord::decode(entry.value.as_deref()?).ok());
        Done::LeaseRead { revision, record }
    }
    .boxed()
}

pub(super) fn identify<S: Store>(store: S) -> Work {
    async move {
        let identity = store.identity().await;
        if let Err(error) = &identity {
            tracing::warn!(%error, "nobody is served before the store is known to be the right one");
        }
        Done::Identified(identity.ok())
    }
    .boxed()
}

/// The same after a pause.
pub(super) fn identify_later<S: Store, C: Clock>(store: S, clock: C) -> Work {
    async move {
        clock.sleep_until(clock.now().boot + RETRY_AFTER).await;
        Done::Identified(store.identity().await.ok())
    }
    .boxed()
}

/// Makes the standing consumer, as often as it takes.
pub(super) fn follow<S: Store, C: Clock>(store: S, clock: C, term: u64) -> Work {
    async move {
        loop {
            match store.follow().await {
                Ok(records) => return Done::Following { term, records },
                Err(error) => tracing::warn!(%error, "the standing consumer cannot be made"),
            }
            clock.sleep_until(clock.now().boot + RETRY_AFTER).await;
        }
    }
    .boxed()
}

/// Subscribes to the requests, as often as it takes, for [`DEAF_MAX`].
pub(super) fn subscribe<T: Transport, C: Clock>(transport: T, clock: C, subject: String, term: u64) -> Work {
    async move {
        let until = clock.now().boot + DEAF_MAX;
        loop {
            match transport.listen(subject.clone()).await {
                Ok(requests) => return Done::Subscribed { term, requests },
                Err(error) => tracing::warn!(%error, "the requests cannot be subscribed to"),
            }
            if clock.now().boot >= until {
                return Done::Deaf { term };
            }
            clock.sleep_until(clock.now().boot + RETRY_AFTER).await;
        }
    }
    .boxed()
}

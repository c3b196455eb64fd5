//! The store on a JetStream bucket.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, PublishErrorKind};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};

use super::acks::{Acks, Expected};
use super::answer::{Written, outcome};
use super::bucket::BucketConfig;
use super::connect::Connection;
use super::follow::{Follower, Source};
use super::gather::Gather;
use super::record::Stored;
use crate::clock::{SystemClock, within};
use crate::store::{Batch, Delivery, Entry, Guard, Store, StoreError, Write, WriteOutcome, is_well_formed};
use crate::transport::TransportError;
use crate::types::{Key, Revision};

/// How long a write waits for its answer before it is in doubt.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);

/// A revision that no record reaches, and that the server still reads as a number.
const UNREACHABLE: u64 = 1 << 53;

/// While the stream has no leader nobody answers a read: it is asked again.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const EXPECTED_OF: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
const TTL: &str = "Nats-TTL";
const BATCH_ID: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// The records of one shard in a JetStream bucket. Clones share it.
///
/// Writes are not held back for one another: any number may be in flight, and the server answers each as it
/// comes to it. Only where writes of locks are faster together, what arrives while a batch is on its way waits for
/// the next.
#[derive(Debug, Clone)]
pub struct NatsStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    config: BucketConfig,
    stream: String,
    prefix: String,
    acks: Acks,
    gather: Gather,
}

/// A message of a write that is ready to go.
struct Outgoing {
    subject: String,
    headers: HeaderMap,
    value: Bytes,
}

impl NatsStore {
    /// Opens the bucket, which is made where it is missing and checked where it is there.
    ///
    /// # Errors
    /// Retryable while JetStream is not ready. Otherwise: a bucket that is configured differently, a missing
    /// permission, JetStream not enabled, too old a server.
    ///
    /// # Cancel safety
    /// Dropping it may leave a bucket that was just made.
    pub async fn open(connection: Connection, config: BucketConfig) -> Result<Self, StoreError> {
        config.open(&connection).await?;
        let acks = Acks::open(&connection).await.map_err(|error| match error {
            TransportError::Refused(reason) => StoreError::Refused(reason),
            other => StoreError::Unavailable(other.to_string()),
        })?;
        let (stream, prefix) = (config.stream(), config.subject_prefix());
        let shared = Shared { connection, config, stream, prefix, acks, gather: Gather::new() };
        let store = Self { shared: Arc::new(shared) };
        store.check_writable().await?;
        Ok(store)
    }

    /// Without the right to write, a coordinator would try to lead for ever. What is tried here cannot succeed:
    /// no revision is that high.
    async fn check_writable(&self) -> Result<(), StoreError> {
        let connection = &self.shared.connection;
        let mark = connection.denials().mark();
        let (key, expected) = (Key::Epoch, Some(Revision::new(UNREACHABLE)));
        let subject = self.subject(&key);
        let write = self.message(Write { key, expected, value: Bytes::new(), ttl_seconds: None });
        tokio::select! {
            // Whether it is refused or not answered: it is allowed.
            _ = self.send(vec![write], None) => Ok(()),
            denial = connection.denials().wait(mark, |denial| denial.subject == subject) => {
                Err(StoreError::Refused(format!("cannot write to the stream {}: {denial}", self.shared.stream)))
            }
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.shared.connection
    }

    pub(super) fn config(&self) -> &BucketConfig {
        &self.shared.config
    }

    pub(super) fn stream(&self) -> &str {
        &self.shared.stream
    }

    /// The same store, which from now on writes records of locks in batches only: for tests of just that.
    #[doc(hidden)]
    #[must_use]
    pub fn always_together(self) -> Self {
        self.shared.gather.always_together();
        self
    }

    pub(super) fn gather(&self) -> &Gather {
        &self.shared.gather
    }

    pub(super) async fn write_alone(&self, write: Write) -> WriteOutcome {
        let message = self.message(write);
        self.send(vec![message], None).await
    }

    fn subject(&self, key: &Key) -> String {
        format!("{}{key}", self.shared.prefix)
    }

    fn message(&self, write: Write) -> Outgoing {
        let mut headers = HeaderMap::new();
        if let Some(expected) = write.expected {
            headers.insert(EXPECTED, expected.get().to_string());
        }
        if let Some(seconds) = write.ttl_seconds {
            headers.insert(TTL, seconds.to_string());
        }
        Outgoing { subject: self.subject(&write.key), headers, value: write.value }
    }

    fn guard_message(&self, guard: Guard) -> Outgoing {
        let (key, revision) = guard.holds;
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED, revision.get().to_string());
        headers.insert(EXPECTED_OF, self.subject(&key));
        Outgoing { subject: self.subject(&guard.key), headers, value: guard.value }
    }

    /// Sends the messages, asks for an answer to the last one, and waits for it.
    async fn send(&self, messages: Vec<Outgoing>, batch: Option<usize>) -> WriteOutcome {
        let mut expected = self.shared.acks.expect();
        let subject = messages.last().map(|message| message.subject.clone()).unwrap_or_default();
        let mark = self.shared.connection.denials().mark();
        let answered = within(&SystemClock, ACK_TIMEOUT, async {
            // In memory of its own, which is free again before the answer comes.
            let published = self.publish(messages, &expected).boxed().await;
            published.map_err(|error| self.unsent(&error))?;
            Ok(expected.arrived().await)
        })
        .await;
        match answered {
            Some(Ok(Some(message))) => outcome(&message, &Written { stream: &self.shared.stream, batch }),
            Some(Err(refused)) => refused,
            // A copy that was sent, or waits in the library's queue, may still be carried out.
            Some(Ok(None)) | None => {
                if let Some(denial) =
                    self.shared.connection.denials().since(mark, |denial| denial.subject == subject)
                {
                    tracing::error!(%denial, "a write cannot succeed");
                }
                WriteOutcome::Unknown
            }
        }
    }

    /// In order, on one connection; the server puts a batch together by the order of arrival.
    async fn publish(
        &self,
        messages: Vec<Outgoing>,
        expected: &Expected,
    ) -> Result<(), async_nats::PublishError> {
        let client = self.shared.connection.client();
        let last = messages.len().saturating_sub(1);
        for (number, message) in messages.into_iter().enumerate() {
            let Outgoing { subject, headers, value } = message;
            if number == last {
                let reply = self.shared.acks.reply_subject(expected);
                client.publish_with_reply_and_headers(subject, reply, headers, value).await?;
            } else {
                client.publish_with_headers(subject, headers, value).await?;
            }
        }
        Ok(())
    }

    /// Nothing is stored of a write whose last message did not leave.
    fn unsent(&self, error: &async_nats::PublishError) -> WriteOutcome {
        if error.kind() != PublishErrorKind::Send {
            tracing::error!(stream = self.shared.stream, %error, "a write cannot be sent");
        }
        WriteOutcome::NotNow
    }

    async fn get(&self, query: Value) -> Result<Option<Entry>, StoreError> {
        let stream = &self.shared.stream;
        let found = Stored::get(&self.shared.connection, stream, &query, READ_TIMEOUT).await;
        let found = found.map_err(|error| error.explain(&format!("cannot read from the stream {stream}")))?;
        Ok(found.and_then(|message| message.entry(&self.shared.prefix)))
    }
}

impl Store for NatsStore {
    /// An answer that takes longer than two seconds makes it [`WriteOutcome::Unknown`].
    async fn write(&self, write: Write) -> WriteOutcome {
        match write.key {
            Key::Lock(_) => self.write_somehow(write).await,
            // The leader's own record waits for nobody.
            Key::Epoch | Key::Lease | Key::Journal => self.write_alone(write).await,
        }
    }

    async fn write_batch(&self, batch: Batch) -> WriteOutcome {
        if !is_well_formed(&batch) {
            tracing::error!(stream = self.shared.stream, "a batch that no server takes was not sent");
            return WriteOutcome::NotNow;
        }
        let guard = batch.guard.map(|guard| self.guard_message(guard));
        let writes = batch.writes.into_iter().map(|write| self.message(write));
        let mut messages: Vec<Outgoing> = writes.chain(guard).collect();
        let count = messages.len();
        // A batch of one is a message like any other, and a single server stores that twenty times as fast.
        if count == 1 {
            return self.send(messages, None).await;
        }
        // Another id each time: a copy that comes late must not mix with this one.
        let id = self.shared.acks.unique(&self.shared.acks.expect());
        for (number, message) in messages.iter_mut().enumerate() {
            message.headers.insert(BATCH_ID, id.as_str());
            message.headers.insert(BATCH_SEQUENCE, (number + 1).to_string());
        }
        if let Some(last) = messages.last_mut() {
            last.headers.insert(BATCH_COMMIT, "1");
        }
        self.send(messages, Some(count)).await
    }

    async fn read(&self, key: Key) -> Result<Option<Entry>, StoreError> {
        self.get(json!({ "last_by_subj": self.subject(&key) })).await
    }

    async fn read_at(&self, revision: Revision) -> Result<Option<Entry>, StoreError> {
        if revision == Revision::NONE {
            return Ok(None);
        }
        self.get(json!({ "seq": revision.get() })).await
    }

    async fn follow(&self) -> Result<BoxStream<'static, Delivery>, StoreError> {
        let shared = &self.shared;
        let source = Source {
            connection: shared.connection.clone(),
            stream: shared.stream.clone(),
            prefix: shared.prefix.clone(),
        };
        Ok(Follower::begin(source).await?.deliveries().boxed())
    }

    async fn identity(&self) -> Result<String, StoreError> {
        self.shared.config.identity(&self.shared.connection).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much room the future of a method takes.
    fn size<'a, F>(_: impl FnOnce(&'a NatsStore, Write) -> F) -> usize {
        size_of::<F>()
    }

    /// With the hundred bytes that the coordinator adds it stays below 1 KiB. Beyond that, glibc tidies up at each allocation.
    #[test]
    fn a_write_under_way_takes_little_room() {
        let bytes = size(<NatsStore as Store>::write);
        assert!(bytes <= 900, "{bytes} bytes");
    }
}

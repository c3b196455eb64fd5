//! What NATS does by itself, with nothing of natslock in between: what `natslock bench` compares with.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::bucket::BucketConfig;
use super::connect::Connection;
use super::store::EXPECTED;
use crate::store::StoreError;
use crate::transport::TransportError;
use crate::types::{Key, Revision};

const PATIENCE: Duration = Duration::from_secs(5);

/// What a connection has carried so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Carried {
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that have come.
    pub received: u64,
}

impl Connection {
    /// What it has carried so far.
    pub fn carried(&self) -> Carried {
        let statistics = self.client().statistics();
        Carried {
            sent: statistics.out_messages.load(Ordering::Relaxed),
            received: statistics.in_messages.load(Ordering::Relaxed),
        }
    }

    /// Sends everything that comes to a subject back to whoever asked, without end.
    ///
    /// # Errors
    /// The subscription could not be made, or an answer cannot be sent.
    pub async fn echo(&self, subject: &str) -> Result<(), TransportError> {
        let mut requests = self.subscribe(subject).await?;
        while let Some(request) = requests.next().await {
            let Some(reply) = request.reply else { continue };
            let sent = self.client().publish(reply, request.payload).await;
            sent.map_err(|error| TransportError::Unavailable(error.to_string()))?;
        }
        Ok(())
    }

    /// One request and its answer, by the library's own means.
    ///
    /// # Errors
    /// Nobody answered.
    pub async fn bare_request(&self, subject: &str, payload: Bytes) -> Result<Bytes, TransportError> {
        let answer = self.client().request(subject.to_owned(), payload).await;
        answer
            .map(|answer| answer.payload)
            .map_err(|error| TransportError::Unavailable(format!("{subject}: {error}")))
    }

    /// One compare-and-set in a bucket, by the library's own means; the revision of what is stored.
    ///
    /// # Errors
    /// The server refused, or did not answer.
    pub async fn bare_write(
        &self,
        bucket: &BucketConfig,
        key: &Key,
        expected: Revision,
        value: Bytes,
    ) -> Result<Revision, StoreError> {
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED, expected.get().to_string());
        let subject = format!("{}{key}", bucket.subject_prefix());
        let answer = self.client().request_with_headers(subject, headers, value).await;
        let answer = answer.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let stored: Value = serde_json::from_slice(&answer.payload)
            .map_err(|error| StoreError::Unavailable(format!("not the answer to a write: {error}")))?;
        let revision = stored["seq"].as_u64().filter(|_| stored["error"].is_null());
        revision.map(Revision::new).ok_or_else(|| StoreError::Refused(stored.to_string()))
    }

    /// Makes a bucket, or takes the one that is there.
    ///
    /// # Errors
    /// As those of [`super::NatsStore::open`].
    pub async fn make_bucket(&self, bucket: &BucketConfig) -> Result<(), StoreError> {
        bucket.open(self).await.map(drop)
    }

    /// Takes a bucket away with all that is in it.
    ///
    /// # Errors
    /// The server refused, or did not answer.
    pub async fn remove_bucket(&self, bucket: &BucketConfig) -> Result<(), StoreError> {
        let stream = bucket.stream();
        let removed = self.ask(&format!("STREAM.DELETE.{stream}"), &json!({}), PATIENCE).await;
        removed.map(drop).map_err(|error| error.explain(&format!("cannot remove the stream {stream}")))
    }

    /// The revision of the newest record in a bucket, as the server says it.
    ///
    /// # Errors
    /// The server refused, or did not answer.
    pub async fn newest_revision(&self, bucket: &BucketConfig) -> Result<Revision, StoreError> {
        let stream = bucket.stream();
        let info = self.ask(&format!("STREAM.INFO.{stream}"), &json!({}), PATIENCE).await;
        let info = info.map_err(|error| error.explain(&format!("cannot look at the stream {stream}")))?;
        let newest = info["state"]["last_seq"].as_u64().map(Revision::new);
        newest.ok_or_else(|| StoreError::Unavailable("the server did not say what it has stored".into()))
    }
}

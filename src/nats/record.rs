//! A message as the stream keeps it, and the record in it.

use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessage;
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use serde_json::Value;

use super::api::{ApiError, NO_MESSAGE_FOUND};
use super::connect::Connection;
use crate::store::Entry;
use crate::types::Revision;

/// A stored message.
pub(super) struct Stored {
    pub(super) subject: Subject,
    pub(super) sequence: u64,
    pub(super) headers: Option<HeaderMap>,
    pub(super) payload: Bytes,
}

impl Stored {
    /// Asks the leader of the stream for one; `None` where there is none.
    pub(super) async fn get(
        connection: &Connection,
        stream: &str,
        query: &Value,
        patience: Duration,
    ) -> Result<Option<Self>, ApiError> {
        match connection.ask(&format!("STREAM.MSG.GET.{stream}"), query, patience).await {
            Ok(mut answer) => decode(answer["message"].take()).map(Some),
            Err(error) if error.err_code() == Some(NO_MESSAGE_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The record in it; nothing where its key is not natslock's. A marker, of a tool that deleted the key or of
    /// a server that tells of a record that expired, has no value.
    pub(super) fn entry(self, prefix: &str) -> Option<Entry> {
        let key = self.subject.strip_prefix(prefix)?.parse().ok()?;
        let is_marker = self.headers.is_some_and(|headers| {
            headers.get("KV-Operation").is_some() || headers.get("Nats-Marker-Reason").is_some()
        });
        let value = (!is_marker).then_some(self.payload);
        Some(Entry { key, revision: Revision::new(self.sequence), value })
    }
}

/// The library knows how the server wraps bodies and headers.
fn decode(message: Value) -> Result<Stored, ApiError> {
    let raw: RawMessage =
        serde_json::from_value(message).map_err(|error| ApiError::NoAnswer(error.to_string()))?;
    let message = StreamMessage::try_from(raw).map_err(|error| ApiError::NoAnswer(error.to_string()))?;
    let StreamMessage { subject, sequence, headers, payload, .. } = message;
    Ok(Stored { subject, sequence, headers: Some(headers), payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Key;

    fn entry(subject: &str, header: Option<&'static str>) -> Option<Entry> {
        let headers = header.map(|name| HeaderMap::from_iter([(name.parse().unwrap(), "x".into())]));
        Stored { subject: subject.into(), sequence: 7, headers, payload: "x".into() }.entry("$KV.a.")
    }

    #[test]
    fn markers_have_no_value() {
        for marker in ["KV-Operation", "Nats-Marker-Reason"] {
            assert_eq!(entry("$KV.a.lease", Some(marker)).unwrap().value, None);
        }
        let whole = Entry { key: Key::Lease, revision: Revision::new(7), value: Some("x".into()) };
        assert_eq!(entry("$KV.a.lease", Some("Nats-TTL")), Some(whole.clone()));
        assert_eq!(entry("$KV.a.lease", None), Some(whole));
    }

    #[test]
    fn keys_of_others_are_no_records() {
        for subject in ["$KV.a.notes", "$KV.a.lock.", "$KV.a.lock.a..b", "$KV.b.lease"] {
            assert_eq!(entry(subject, None), None, "{subject}");
        }
    }
}

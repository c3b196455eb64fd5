//! The standing consumer: the last record of every key, then each later one, in order and without gaps.
//!
//! It is an ordered push consumer as the library has one, but the library's takes 10 s to notice that the
//! server that hosted its consumer is gone and waits up to 10 s more between attempts to make a new one. A
//! leader that waits for what it wrote (S8) cannot afford that. Here heartbeats come every second, a connection
//! that was made again is noticed within a quarter of a second, and attempts are a quarter of a second apart.

use std::time::Duration;

use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};

use super::api::ApiError;
use super::connect::Connection;
use crate::clock::{Clock as _, SystemClock, within};
use crate::store::{Delivery, Entry, StoreError};
use crate::types::{Key, Revision, Timestamp};

const HEARTBEAT: Duration = Duration::from_secs(1);
/// Without a message or a heartbeat for so long, the consumer is gone.
const SILENCE_MAX: Duration = Duration::from_millis(2_500);
/// Between two looks at the connection, and between two attempts to make a consumer.
const PAUSE: Duration = Duration::from_millis(250);
/// The server drops a consumer that nobody listens to after so long.
const ABANDONED_AFTER: Duration = Duration::from_secs(30);

/// Follows one stream.
pub(super) struct Follower {
    connection: Connection,
    stream: String,
    prefix: String,
    /// The sequence of the last message that was delivered.
    seen: u64,
    consumer: Option<Consumer>,
}

/// One consumer on the server, as long as it delivers without a gap.
struct Consumer {
    messages: Subscriber,
    /// How many it has delivered.
    delivered: u64,
    heard_at: Timestamp,
    /// How often the connection had been made when the consumer was.
    connects: u64,
}

/// What a message of the consumer's turned out to be.
enum Arrival {
    Record { consumer_sequence: u64, stream_sequence: u64 },
    Heartbeat { delivered: Option<u64>, answer_to: Option<String> },
    FlowControl { answer_to: String },
    Other,
}

impl Follower {
    /// Makes the first consumer.
    pub(super) async fn begin(
        connection: Connection,
        stream: String,
        prefix: String,
    ) -> Result<Self, StoreError> {
        let mut follower = Self { connection, stream, prefix, seen: 0, consumer: None };
        let consumer = follower.consume().await;
        let consumer = consumer
            .map_err(|error| error.explain(&format!("cannot follow the stream {}", follower.stream)))?;
        follower.consumer = Some(consumer);
        Ok(follower)
    }

    /// All deliveries, without end.
    pub(super) fn deliveries(self) -> impl Stream<Item = Delivery> + Send + 'static {
        stream::unfold(self, |mut follower| async move {
            let delivery = follower.next().await;
            Some((delivery, follower))
        })
    }

    async fn next(&mut self) -> Delivery {
        loop {
            let Some(consumer) = &mut self.consumer else {
                match self.consume().await {
                    Ok(consumer) => self.consumer = Some(consumer),
                    Err(error) => {
                        SystemClock.sleep_until(SystemClock::boot() + PAUSE).await;
                        return Delivery::Interrupted(error.to_string());
                    }
                }
                continue;
            };
            match consumer.receive(&self.connection).await {
                Ok(None) => {}
                Ok(Some((message, sequence))) => {
                    self.seen = sequence;
                    if let Some(entry) = self.entry(message, sequence) {
                        return Delivery::Entry(entry);
                    }
                }
                Err(reason) => {
                    self.consumer = None;
                    return Delivery::Interrupted(reason.into());
                }
            }
        }
    }

    /// The record of a message; nothing for what is not natslock's.
    fn entry(&self, message: Message, sequence: u64) -> Option<Entry> {
        let key: Key = message.subject.strip_prefix(&self.prefix)?.parse().ok()?;
        let value = value_of(message.headers.as_ref(), message.payload);
        Some(Entry { key, revision: Revision::new(sequence), value })
    }

    /// Makes a consumer that goes on where the last one stopped. With a history of one, everything behind a
    /// sequence is the last of its key, so nothing is lost that a first consumer would deliver.
    async fn consume(&self) -> Result<Consumer, ApiError> {
        let client = self.connection.client();
        let connects = connects(&self.connection);
        let inbox = client.new_inbox();
        let name = inbox.rsplit('.').next().unwrap_or(&inbox).to_owned();
        let subscribed = client.subscribe(inbox.clone()).await;
        let messages = subscribed.map_err(|error| ApiError::NoAnswer(error.to_string()))?;
        let call = format!("CONSUMER.CREATE.{}.{name}", self.stream);
        self.connection.ask(&call, &self.consumer_config(&name, &inbox)).await?;
        Ok(Consumer { messages, delivered: 0, heard_at: SystemClock::boot(), connects })
    }

    fn consumer_config(&self, name: &str, inbox: &str) -> Value {
        let mut config = json!({
            "name": name,
            "deliver_subject": inbox,
            "deliver_policy": "last_per_subject",
            "filter_subject": format!("{}>", self.prefix),
            "ack_policy": "none",
            "max_deliver": 1,
            "replay_policy": "instant",
            "flow_control": true,
            "idle_heartbeat": nanos(HEARTBEAT),
            "inactive_threshold": nanos(ABANDONED_AFTER),
            "num_replicas": 1,
            "mem_storage": true,
        });
        if self.seen > 0 {
            config["deliver_policy"] = json!("by_start_sequence");
            config["opt_start_seq"] = json!(self.seen + 1);
        }
        json!({ "stream_name": self.stream, "config": config })
    }
}

impl Consumer {
    /// Waits for a message: the next record and its sequence, or nothing where it was not a record. An error is
    /// the end of this consumer.
    async fn receive(&mut self, connection: &Connection) -> Result<Option<(Message, u64)>, &'static str> {
        let Some(arrived) = within(&SystemClock, PAUSE, self.messages.next()).await else {
            return self.check(connection).map(|()| None);
        };
        let message = arrived.ok_or("the connection is closed")?;
        self.heard_at = SystemClock::boot();
        match classify(&message) {
            Arrival::Record { consumer_sequence, stream_sequence } => {
                if consumer_sequence != self.delivered + 1 {
                    return Err("records were lost on the way");
                }
                self.delivered = consumer_sequence;
                Ok(Some((message, stream_sequence)))
            }
            Arrival::Heartbeat { delivered, answer_to } => {
                if let Some(subject) = answer_to {
                    answer(connection, subject).await?;
                }
                let lost = delivered.is_some_and(|delivered| delivered != self.delivered);
                if lost { Err("records were lost on the way") } else { Ok(None) }
            }
            Arrival::FlowControl { answer_to } => answer(connection, answer_to).await.map(|()| None),
            Arrival::Other => Ok(None),
        }
    }

    fn check(&self, connection: &Connection) -> Result<(), &'static str> {
        if connects(connection) != self.connects {
            Err("the connection was made again")
        } else if SystemClock::boot().since(self.heard_at) > SILENCE_MAX {
            Err("the server is silent")
        } else {
            Ok(())
        }
    }
}

async fn answer(connection: &Connection, subject: String) -> Result<(), &'static str> {
    let answered = connection.client().publish(subject, Bytes::new()).await;
    answered.map_err(|_| "the connection is closed")
}

fn classify(message: &Message) -> Arrival {
    if message.status.is_some_and(|status| status.as_u16() == 100) {
        let header = |name| message.headers.as_ref().and_then(|headers| headers.get_last(name));
        if let Some(subject) = &message.reply {
            return Arrival::FlowControl { answer_to: subject.to_string() };
        }
        return Arrival::Heartbeat {
            delivered: header("Nats-Last-Consumer").and_then(|value| value.as_str().parse().ok()),
            answer_to: header("Nats-Consumer-Stalled").map(|value| value.as_str().to_owned()),
        };
    }
    let sequences = message.reply.as_ref().filter(|_| message.status.is_none());
    match sequences.and_then(|reply| parse_reply(reply)) {
        Some((stream_sequence, consumer_sequence)) => Arrival::Record { consumer_sequence, stream_sequence },
        None => Arrival::Other,
    }
}

/// The sequences in `$JS.ACK.<stream>.<consumer>.<times>.<stream seq>.<consumer seq>.<time>.<pending>`; a server
/// in a domain puts the domain and the account before the stream.
fn parse_reply(reply: &str) -> Option<(u64, u64)> {
    let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let at = if tokens.len() == 7 { 3 } else { 5 };
    Some((tokens.get(at)?.parse().ok()?, tokens.get(at + 1)?.parse().ok()?))
}

/// The bytes of a record, or nothing for a marker: of a tool that deleted the key, or of a server that tells of
/// a record that expired.
pub(super) fn value_of(headers: Option<&HeaderMap>, payload: Bytes) -> Option<Bytes> {
    let is_marker = headers.is_some_and(|headers| {
        headers.get("KV-Operation").is_some() || headers.get("Nats-Marker-Reason").is_some()
    });
    (!is_marker).then_some(payload)
}

fn connects(connection: &Connection) -> u64 {
    connection.client().statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_stand_in_the_reply_subject() {
        assert_eq!(parse_reply("$JS.ACK.KV_a.c.1.80.7.1700000000.0"), Some((80, 7)));
        assert_eq!(parse_reply("$JS.ACK.hub.ACC.KV_a.c.1.80.7.1700000000.0.rnd"), Some((80, 7)));
        assert_eq!(parse_reply("$JS.ACK.KV_a"), None);
        assert_eq!(parse_reply("_INBOX.a"), None);
    }

    #[test]
    fn markers_have_no_value() {
        let headers = |name: &'static str| HeaderMap::from_iter([(name.parse().unwrap(), "x".into())]);
        for marker in ["KV-Operation", "Nats-Marker-Reason"] {
            assert_eq!(value_of(Some(&headers(marker)), Bytes::new()), None);
        }
        assert_eq!(value_of(Some(&headers("Nats-TTL")), Bytes::from("x")), Some(Bytes::from("x")));
        assert_eq!(value_of(None, Bytes::from("x")), Some(Bytes::from("x")));
    }
}

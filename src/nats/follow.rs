//! The standing consumer: the last record of every key, then each later one, in order and without gaps.
//!
//! It is an ordered push consumer as the library has one, but the library's takes 10 s to notice that the
//! server that hosted its consumer is gone and waits up to 10 s more between attempts to make a new one. A
//! leader that waits for what it wrote (S8) cannot afford that. Here heartbeats come every second, a connection
//! that was made again is noticed within a quarter of a second, and attempts are a quarter of a second apart.
//!
//! To make a consumer takes the leader of the whole JetStream cluster, which may have died with the server that
//! hosted the last one; measured, 13 s went by without a record though the stream took writes all the time. So
//! while there is no consumer the next record is asked for, one after another. That is as good as a consumer:
//! whichever server answers has applied everything up to what it answers, in order, so nothing between the
//! sequence that was asked for and the one that came is missing.

use std::time::Duration;

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};

use super::api::ApiError;
use super::connect::Connection;
use super::record::Stored;
use crate::clock::{Clock as _, SystemClock, within};
use crate::store::{Delivery, StoreError};
use crate::types::Timestamp;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// Without a message or a heartbeat for so long, the consumer is gone.
const SILENCE_MAX: Duration = Duration::from_millis(2_500);
/// Between two looks at the connection, two attempts to make a consumer, two questions for the next record.
const PAUSE: Duration = Duration::from_millis(250);
/// For one answer of JetStream's. A cluster may place a consumer on a server that has just died and never
/// answer; the next attempt may be luckier.
const PATIENCE: Duration = Duration::from_secs(1);
/// The server drops a consumer that nobody listens to after so long.
const ABANDONED_AFTER: Duration = Duration::from_secs(5);

/// Follows one stream.
pub(super) struct Follower {
    source: Source,
    /// The sequence of the last record that was delivered.
    seen: u64,
    state: State,
}

enum State {
    /// A consumer delivers.
    Consuming(Consumer),
    /// One is being made, without end; meanwhile records are asked for.
    Making(BoxFuture<'static, Consumer>),
}

/// What is followed.
#[derive(Clone)]
struct Source {
    connection: Connection,
    stream: String,
    prefix: String,
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
    /// Makes the first consumer; where that fails for now, it is enough that records can be asked for.
    pub(super) async fn begin(
        connection: Connection,
        stream: String,
        prefix: String,
    ) -> Result<Self, StoreError> {
        let source = Source { connection, stream, prefix };
        let begun = match source.consume(0).await {
            Ok(consumer) => Ok(State::Consuming(consumer)),
            Err(error) if error.is_retryable() => source.after(0).await.map(|_| source.make(0)),
            Err(error) => Err(error),
        };
        let what = format!("cannot follow the stream {}", source.stream);
        let state = begun.map_err(|error| error.explain(&what))?;
        Ok(Self { source, seen: 0, state })
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
            let delivery = match &mut self.state {
                State::Consuming(consumer) => match consumer.receive(&self.source).await {
                    Ok(None) => None,
                    Ok(Some(message)) => self.deliver(message),
                    Err(reason) => {
                        self.state = self.source.make(self.seen);
                        Some(Delivery::Interrupted(reason.into()))
                    }
                },
                State::Making(made) => tokio::select! {
                    consumer = made => {
                        self.state = State::Consuming(consumer);
                        None
                    }
                    asked = self.source.ask_after(self.seen) => match asked {
                        Ok(message) => self.deliver(message),
                        Err(reason) => Some(Delivery::Interrupted(reason)),
                    },
                },
            };
            if let Some(delivery) = delivery {
                return delivery;
            }
        }
    }

    /// Nothing for what is not natslock's, and for what was delivered already: a consumer begins behind the
    /// record that was the last one when it was asked for.
    fn deliver(&mut self, message: Stored) -> Option<Delivery> {
        if message.sequence <= self.seen {
            return None;
        }
        self.seen = message.sequence;
        message.entry(&self.source.prefix).map(Delivery::Entry)
    }
}

impl Source {
    /// The state in which a consumer is being made that goes on behind `seen`.
    fn make(&self, seen: u64) -> State {
        let source = self.clone();
        State::Making(Box::pin(async move {
            loop {
                match source.consume(seen).await {
                    Ok(consumer) => return consumer,
                    Err(error) => tracing::debug!(stream = source.stream, %error, "no consumer yet"),
                }
                pause().await;
            }
        }))
    }

    /// Makes a consumer that goes on behind `seen`. With a history of one, everything behind a sequence is the
    /// last of its key, so nothing is lost that a first consumer would deliver.
    async fn consume(&self, seen: u64) -> Result<Consumer, ApiError> {
        let client = self.connection.client();
        let connects = self.connects();
        let inbox = client.new_inbox();
        let name = inbox.rsplit('.').next().unwrap_or(&inbox).to_owned();
        let subscribed = client.subscribe(inbox.clone()).await;
        let messages = subscribed.map_err(|error| ApiError::NoAnswer(error.to_string()))?;
        let call = format!("CONSUMER.CREATE.{}.{name}", self.stream);
        self.connection.ask(&call, &self.consumer_config(&name, &inbox, seen), PATIENCE).await?;
        Ok(Consumer { messages, delivered: 0, heard_at: SystemClock::boot(), connects })
    }

    fn consumer_config(&self, name: &str, inbox: &str, seen: u64) -> Value {
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
        if seen > 0 {
            config["deliver_policy"] = json!("by_start_sequence");
            config["opt_start_seq"] = json!(seen + 1);
        }
        json!({ "stream_name": self.stream, "config": config })
    }

    /// The first record behind `seen`, waiting a moment before it says that there is none.
    async fn ask_after(&self, seen: u64) -> Result<Stored, String> {
        loop {
            let found = self.after(seen).await;
            match found {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => pause().await,
                Err(error) => {
                    pause().await;
                    return Err(error.to_string());
                }
            }
        }
    }

    async fn after(&self, seen: u64) -> Result<Option<Stored>, ApiError> {
        let query = json!({ "seq": seen + 1, "next_by_subj": format!("{}>", self.prefix) });
        Stored::get(&self.connection, &self.stream, &query, PATIENCE).await
    }

    fn connects(&self) -> u64 {
        self.connection.client().statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
    }

    async fn answer(&self, subject: String) -> Result<(), &'static str> {
        let answered = self.connection.client().publish(subject, Bytes::new()).await;
        answered.map_err(|_| "the connection is closed")
    }
}

impl Consumer {
    /// Waits for a message; nothing where it was not a record. An error is the end of this consumer.
    async fn receive(&mut self, source: &Source) -> Result<Option<Stored>, &'static str> {
        let Some(arrived) = within(&SystemClock, PAUSE, self.messages.next()).await else {
            return self.check(source).map(|()| None);
        };
        let message = arrived.ok_or("the connection is closed")?;
        self.heard_at = SystemClock::boot();
        match classify(&message) {
            Arrival::Record { consumer_sequence, stream_sequence } => {
                in_order(consumer_sequence, self.delivered + 1)?;
                self.delivered = consumer_sequence;
                let Message { subject, headers, payload, .. } = message;
                Ok(Some(Stored { subject, sequence: stream_sequence, headers, payload }))
            }
            Arrival::Heartbeat { delivered, answer_to } => {
                if let Some(subject) = answer_to {
                    source.answer(subject).await?;
                }
                in_order(delivered.unwrap_or(self.delivered), self.delivered).map(|()| None)
            }
            Arrival::FlowControl { answer_to } => source.answer(answer_to).await.map(|()| None),
            Arrival::Other => Ok(None),
        }
    }

    fn check(&self, source: &Source) -> Result<(), &'static str> {
        if source.connects() != self.connects {
            Err("the connection was made again")
        } else if SystemClock::boot().since(self.heard_at) > SILENCE_MAX {
            Err("the server is silent")
        } else {
            Ok(())
        }
    }
}

const fn in_order(found: u64, expected: u64) -> Result<(), &'static str> {
    if found == expected { Ok(()) } else { Err("records were lost on the way") }
}

async fn pause() {
    SystemClock.sleep_until(SystemClock::boot() + PAUSE).await;
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
}

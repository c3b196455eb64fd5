//! One consumer on the server.
//!
//! It is a pull consumer. A server sends a push consumer each record as soon as it is stored, so a leader would be
//! woken twice by each of its own writes, once for the acknowledgement and once for a record that tells it nothing
//! new; that took a tenth of the hand-overs of `natslock bench`. What the consumer is there for, records of others and
//! the proof that all before them is known, can wait for a moment. So while nothing happens one question stands, for
//! the next record. When that has come, all others are asked for [`PACE`] later, and so on as long as there are any.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::api::ApiError;
use super::denials::Denial;
use super::follow::Source;
use super::record::Stored;
use crate::clock::{Clock as _, SystemClock, within};
use crate::types::Timestamp;

/// For one answer of JetStream's. A cluster may place a consumer on a server that has just died and never
/// answer; the next attempt may be luckier.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// While a question stands, the server gives a sign of life so often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Without a message or a heartbeat for so long, the consumer is gone.
const SILENCE_MAX: Duration = Duration::from_millis(2_500);
/// How long a question stands.
const STANDS_FOR: Duration = Duration::from_secs(60);
/// The server drops a consumer that nobody asks after so long.
const ABANDONED_AFTER: Duration = Duration::from_secs(5);
/// Between two looks at the connection.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// From an answer to the question for what has come since.
const PACE: Duration = Duration::from_millis(20);
/// Records in one answer: few questions for a million records, and far less than the library keeps unread.
const ANSWER_MAX: u64 = 4_096;

/// One consumer, as long as it delivers without a gap.
pub(super) struct Consumer {
    messages: Subscriber,
    inbox: String,
    /// Where it is asked.
    subject: String,
    /// How many it has delivered.
    delivered: u64,
    question: Question,
    heard_at: Timestamp,
    /// The first message, which shows that it works.
    first: Option<Message>,
    /// How often the connection had been made when the consumer was.
    connects: u64,
}

#[derive(Debug, Clone, Copy)]
enum Question {
    /// What is there was asked for: so many more may come.
    Open(u64),
    /// The next record was.
    Standing,
    /// None is open; this one is next.
    Due(Due),
}

#[derive(Debug, Clone, Copy)]
enum Due {
    /// For what is there: the last answer was as long as one may be.
    AtOnce,
    /// For what is there, in a moment.
    Soon,
    /// For the next record, whenever it comes.
    Standing,
}

/// What a message of the consumer's turned out to be.
#[derive(Debug, PartialEq, Eq)]
enum Arrival {
    Record {
        consumer_sequence: u64,
        stream_sequence: u64,
    },
    /// It lives, and has delivered so many.
    Heartbeat {
        delivered: Option<u64>,
    },
    /// There is no more at the moment.
    End,
    /// It will deliver nothing any more.
    Gone,
}

impl Consumer {
    /// Makes a consumer that goes on behind the sequence `seen`, and asks it. With a history of one, everything behind a sequence
    /// is the last of its key, so nothing is lost that a first consumer would deliver.
    pub(super) async fn make(source: &Source, seen: u64) -> Result<Self, ApiError> {
        let (connection, stream) = (&source.connection, &source.stream);
        let connects = connects(source);
        let inbox = connection.client().new_inbox();
        let name = inbox.rsplit('.').next().unwrap_or(&inbox).to_owned();
        let subscribed = connection.client().subscribe(inbox.clone()).await;
        let messages = subscribed.map_err(|error| ApiError::NoAnswer(error.to_string()))?;
        let call = format!("CONSUMER.CREATE.{stream}.{name}");
        connection.ask(&call, &config(source, &name, seen), PATIENCE).await?;
        let mut consumer = Self {
            messages,
            inbox,
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"),
            delivered: 0,
            question: Question::Due(Due::AtOnce),
            heard_at: SystemClock::boot(),
            first: None,
            connects,
        };
        consumer.try_out(source).await?;
        Ok(consumer)
    }

    /// Asks for the first time, which the server may not allow.
    async fn try_out(&mut self, source: &Source) -> Result<(), ApiError> {
        let silent = || ApiError::NoAnswer("a consumer that was just made is silent".into());
        let denials = source.connection.denials();
        let (mark, subject) = (denials.mark(), self.subject.clone());
        self.ask(source, Due::AtOnce).await.map_err(|reason| ApiError::NoAnswer(reason.into()))?;
        tokio::select! {
            first = within(&SystemClock, PATIENCE, self.messages.next()) => {
                self.first = Some(first.flatten().ok_or_else(silent)?);
                Ok(())
            }
            denial = denials.wait(mark, |denial: &Denial| denial.subject == subject) => Err(denial.into()),
        }
    }

    /// Waits for a record. An error is the end of this consumer.
    pub(super) async fn receive(&mut self, source: &Source) -> Result<Stored, &'static str> {
        loop {
            let message = match self.first.take() {
                Some(message) => message,
                None => self.next(source).await?,
            };
            match classify(&message) {
                Arrival::Record { consumer_sequence, stream_sequence } => {
                    in_order(consumer_sequence, self.delivered + 1)?;
                    self.delivered = consumer_sequence;
                    self.question = self.question.after_record();
                    let Message { subject, headers, payload, .. } = message;
                    return Ok(Stored { subject, sequence: stream_sequence, headers, payload });
                }
                Arrival::Heartbeat { delivered } => {
                    in_order(delivered.unwrap_or(self.delivered), self.delivered)?;
                }
                Arrival::End => self.question = self.question.after_end(),
                Arrival::Gone => return Err("the server has ended the consumer"),
            }
        }
    }

    async fn next(&mut self, source: &Source) -> Result<Message, &'static str> {
        loop {
            if let Question::Due(due) = self.question {
                if matches!(due, Due::Soon) {
                    SystemClock.sleep_until(self.heard_at + PACE).await;
                }
                self.ask(source, due).await?;
            }
            if let Some(arrived) = within(&SystemClock, LOOK_EVERY, self.messages.next()).await {
                self.heard_at = SystemClock::boot();
                return arrived.ok_or("the connection is closed");
            }
            self.check(source)?;
        }
    }

    async fn ask(&mut self, source: &Source, due: Due) -> Result<(), &'static str> {
        let (question, body) = match due {
            Due::AtOnce | Due::Soon => {
                (Question::Open(ANSWER_MAX), json!({ "batch": ANSWER_MAX, "no_wait": true }))
            }
            Due::Standing => {
                let (expires, heartbeat) = (nanos(STANDS_FOR), nanos(HEARTBEAT));
                (Question::Standing, json!({ "batch": 1, "expires": expires, "idle_heartbeat": heartbeat }))
            }
        };
        (self.question, self.heard_at) = (question, SystemClock::boot());
        let (subject, inbox) = (self.subject.clone(), self.inbox.clone());
        let client = source.connection.client();
        let asked = client.publish_with_reply(subject, inbox, body.to_string().into()).await;
        asked.map_err(|_| "the connection is closed")
    }

    fn check(&self, source: &Source) -> Result<(), &'static str> {
        if connects(source) != self.connects {
            Err("the connection was made again")
        } else if SystemClock::boot().since(self.heard_at) > SILENCE_MAX {
            Err("the server is silent")
        } else {
            Ok(())
        }
    }
}

impl Question {
    /// An answer that is as long as one may be has no end of its own.
    const fn after_record(self) -> Self {
        match self {
            Self::Open(left) if left > 1 => Self::Open(left - 1),
            Self::Open(_) => Self::Due(Due::AtOnce),
            Self::Standing | Self::Due(_) => Self::Due(Due::Soon),
        }
    }

    /// While records come there may be more of them in a moment.
    const fn after_end(self) -> Self {
        match self {
            Self::Open(ANSWER_MAX) | Self::Standing => Self::Due(Due::Standing),
            Self::Open(_) | Self::Due(_) => Self::Due(Due::Soon),
        }
    }
}

const fn in_order(found: u64, expected: u64) -> Result<(), &'static str> {
    if found == expected { Ok(()) } else { Err("records were lost on the way") }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn connects(source: &Source) -> u64 {
    source.connection.client().statistics().connects.load(Ordering::Relaxed)
}

fn config(source: &Source, name: &str, seen: u64) -> Value {
    let mut config = json!({
        "name": name,
        "deliver_policy": "last_per_subject",
        "filter_subject": format!("{}>", source.prefix),
        "ack_policy": "none",
        "max_deliver": 1,
        "replay_policy": "instant",
        "inactive_threshold": nanos(ABANDONED_AFTER),
        "num_replicas": 1,
        "mem_storage": true,
    });
    if seen > 0 {
        config["deliver_policy"] = json!("by_start_sequence");
        config["opt_start_seq"] = json!(seen + 1);
    }
    json!({ "stream_name": source.stream, "config": config })
}

/// 404: nothing is there; 408: nothing has come while the question stood; 100: a heartbeat. Every other status is its
/// end, 503 among them, where nobody is there to be asked.
fn classify(message: &Message) -> Arrival {
    match message.status.map(|status| status.as_u16()) {
        Some(100) => {
            let header = message.headers.as_ref().and_then(|headers| headers.get_last("Nats-Last-Consumer"));
            Arrival::Heartbeat { delivered: header.and_then(|value| value.as_str().parse().ok()) }
        }
        Some(404 | 408) => Arrival::End,
        Some(_) => Arrival::Gone,
        None => match message.reply.as_ref().and_then(|reply| parse_reply(reply)) {
            Some((stream_sequence, consumer_sequence)) => {
                Arrival::Record { consumer_sequence, stream_sequence }
            }
            None => Arrival::Gone,
        },
    }
}

/// The sequences in `$JS.ACK.<stream>.<consumer>.<times>.<stream seq>.<consumer seq>.<time>.<pending>`; a server
/// in a domain puts the domain and the account before the stream.
fn parse_reply(reply: &str) -> Option<(u64, u64)> {
    let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let at = if tokens.len() == 7 { 3 } else { 5 };
    Some((tokens.get(at)?.parse().ok()?, tokens.get(at + 1)?.parse().ok()?))
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

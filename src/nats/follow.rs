//! The standing consumer: the last record of every key, then each later one, in order and without gaps.
//!
//! An ordered consumer as the library has one takes 10 s to notice that the server that hosted it is gone, and waits
//! up to 10 s more between attempts to make a new one. A leader that waits for what it wrote (S8) cannot afford that.
//! Here a connection that was made again is noticed within a quarter of a second, a consumer that is gone within a
//! second, and attempts are a quarter of a second apart.
//!
//! To make a consumer takes the leader of the whole JetStream cluster, which may have died with the server that
//! hosted the last one; measured, 13 s went by without a record though the stream took writes all the time. So
//! while there is no consumer the next record is asked for, one after another. That is as good as a consumer:
//! whichever server answers has applied everything up to what it answers, in order, so nothing between the
//! sequence that was asked for and the one that came is missing.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream};
use serde_json::json;

use super::api::ApiError;
use super::connect::Connection;
use super::consumer::{Consumer, PATIENCE};
use super::record::Stored;
use crate::clock::{Clock as _, SystemClock};
use crate::store::{Delivery, StoreError};

/// Between two attempts to make a consumer, two questions for the next record.
const PAUSE: Duration = Duration::from_millis(250);

/// Follows one stream.
pub(super) struct Follower {
    source: Source,
    /// The sequence of the last record that was delivered.
    seen: u64,
    state: State,
}

enum State {
    /// A consumer delivers.
    Consuming(Box<Consumer>),
    /// One is being made, without end; meanwhile records are asked for.
    Making(BoxFuture<'static, Consumer>),
}

/// What is followed.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) connection: Connection,
    pub(super) stream: String,
    pub(super) prefix: String,
}

impl Follower {
    /// Makes the first consumer; where that fails for now, it is enough that records can be asked for.
    pub(super) async fn begin(source: Source) -> Result<Self, StoreError> {
        let begun = match Consumer::make(&source, 0).await {
            Ok(consumer) => Ok(State::Consuming(Box::new(consumer))),
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
                    Ok(message) => self.deliver(message),
                    Err(reason) => {
                        self.state = self.source.make(self.seen);
                        Some(Delivery::Interrupted(reason.into()))
                    }
                },
                State::Making(made) => tokio::select! {
                    consumer = made => {
                        self.state = State::Consuming(Box::new(consumer));
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
                match Consumer::make(&source, seen).await {
                    Ok(consumer) => return consumer,
                    Err(error) => tracing::debug!(stream = source.stream, %error, "no consumer yet"),
                }
                pause().await;
            }
        }))
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
}

async fn pause() {
    SystemClock.sleep_until(SystemClock::boot() + PAUSE).await;
}

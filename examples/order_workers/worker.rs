//! One worker: takes events from the stream, and handles each under the lock of its order.

use std::path::Path;

use async_nats::jetstream::{self, consumer::PullConsumer};
use futures_util::StreamExt as _;
use natslock::client::{AcquireOptions, Client, ClientOptions};
use natslock::clock::{Clock as _, SystemClock};
use natslock::nats::ConnectOptions;
use natslock::types::OwnerName;

use super::database::{Database, Event, Outcome};
use super::{CONSUMER, LEASE, Result, STREAM, WORK};

pub(crate) async fn work(url: &str, name: &str, database: &Path) -> Result<()> {
    let mut database = Database::open(database)?;
    let owner = ClientOptions::new(OwnerName::encode(name)?);
    let locks = Client::connect_with(&ConnectOptions::to(url), owner).await?;
    let events = jetstream::new(async_nats::connect(url).await?);
    let consumer: PullConsumer = events.get_consumer_from_stream(CONSUMER, STREAM).await?;
    let mut messages = consumer.stream().max_messages_per_batch(1).messages().await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        let number = message.info()?.stream_sequence;
        let event =
            Event { number, order: message.subject.as_str(), what: std::str::from_utf8(&message.payload)? };

        // The order's own lock, which has the name of its subject.
        let guard = locks.acquire_with(event.order, AcquireOptions::new().ttl(LEASE)).await?;
        let begun = database.begin(event.order, name, guard.token(), SystemClock::boot())?;

        // `guard.run(..)` would cut the work short when the lock is lost. It is not what makes this safe: a
        // process can be paused right after any check. The token is.
        SystemClock.sleep_until(SystemClock::boot() + WORK).await;
        let outcome = database.handle(&event, guard.token())?;

        println!("{name}  {} {:<8} {outcome:?} with token {}", event.order, event.what, guard.token());
        database.end(begun, SystemClock::boot().min(guard.deadline()), outcome)?;
        guard.release().await;
        if outcome != Outcome::Stale {
            message.ack().await?;
        }
    }
    Ok(())
}

//! The acknowledgements of writes.
//!
//! Writes are plain publishes, and their acknowledgements come to one wildcard subscription, told apart by the
//! last token. The library's own JetStream publish is not used: it allows 5000 acknowledgements in flight,
//! and one whose future was dropped holds its place for 30 s, so that a burst of time-outs would stop all
//! writing; it cannot send an atomic batch; and it turns "nobody there" into "no such stream". `Client::request`
//! would do for single writes, but it never forgets a request that timed out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::connect::Connection;
use crate::transport::TransportError;

/// The subscription for acknowledgements, and who waits for them. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Acks {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inbox: String,
    next: AtomicU64,
    waiting: Arc<Waiting>,
    reader: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<u64, oneshot::Sender<Message>>>);

impl Waiting {
    /// No panic leaves the map half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Message>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Acks {
    /// Subscribes. When this returns, the server knows of it.
    pub(super) async fn open(connection: &Connection) -> Result<Self, TransportError> {
        let inbox = connection.client().new_inbox();
        let subscriber = connection.subscribe(&format!("{inbox}.*")).await?;
        let waiting = Arc::new(Waiting::default());
        let reader = tokio::spawn(read(subscriber, Arc::clone(&waiting)));
        Ok(Self { shared: Arc::new(Shared { inbox, next: AtomicU64::new(0), waiting, reader }) })
    }

    /// A place for one acknowledgement. Dropping it forgets it.
    pub(super) fn expect(&self) -> Expected {
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.shared.waiting.lock().insert(number, sender);
        Expected { waiting: Arc::clone(&self.shared.waiting), number, receiver }
    }

    /// The reply subject of a write whose acknowledgement is expected there.
    pub(super) fn reply_subject(&self, expected: &Expected) -> String {
        format!("{}.{}", self.shared.inbox, expected.number)
    }

    /// A text that no other write, of this or another store, is known by.
    pub(super) fn unique(&self, expected: &Expected) -> String {
        let nuid = self.shared.inbox.rsplit('.').next().unwrap_or(&self.shared.inbox);
        format!("{nuid}-{}", expected.number)
    }
}

async fn read(mut subscriber: Subscriber, waiting: Arc<Waiting>) {
    while let Some(message) = subscriber.next().await {
        let number = message.subject.rsplit('.').next().and_then(|token| token.parse::<u64>().ok());
        let sender = number.and_then(|number| waiting.lock().remove(&number));
        if let Some(sender) = sender {
            // Nobody waits any more where this fails.
            let _ = sender.send(message);
        }
    }
}

/// An acknowledgement that is waited for.
#[derive(Debug)]
pub(super) struct Expected {
    waiting: Arc<Waiting>,
    number: u64,
    receiver: oneshot::Receiver<Message>,
}

impl Expected {
    /// Waits for it; `None` where the connection is closed.
    pub(super) async fn arrived(&mut self) -> Option<Message> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.number);
    }
}

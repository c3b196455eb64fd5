//! The transport in memory.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use tokio::sync::mpsc;

use super::subject::{check_publishable, check_subscribable, matches};
use super::{Message, SUBSCRIPTION_MESSAGES_MAX, Transport, TransportError};

/// A connection to a broker in the memory of this process. Clones are the same connection; [`connect`] makes
/// another one to the same broker, which goes with the last of its connections.
///
/// A message reaches its subscribers before `publish` returns. A subscription that is
/// [`SUBSCRIPTION_MESSAGES_MAX`] messages behind loses the newest.
///
/// [`connect`]: MemoryTransport::connect
#[derive(Debug, Clone)]
pub struct MemoryTransport {
    broker: Arc<Broker>,
    connection: u64,
}

#[derive(Debug, Default)]
struct Broker {
    subscriptions: Mutex<BTreeMap<u64, Subscription>>,
    /// Numbers connections, subscriptions and inboxes alike.
    next: AtomicU64,
}

#[derive(Debug)]
struct Subscription {
    connection: u64,
    pattern: String,
    messages: mpsc::Sender<Message>,
}

impl MemoryTransport {
    /// A first connection to a broker of its own.
    pub fn new() -> Self {
        let broker = Arc::new(Broker::default());
        let connection = broker.next();
        Self { broker, connection }
    }

    /// Another connection to the same broker.
    #[must_use]
    pub fn connect(&self) -> Self {
        Self { broker: Arc::clone(&self.broker), connection: self.broker.next() }
    }
}

impl Default for MemoryTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl Broker {
    fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// No panic leaves the map half changed, so a poisoned lock is as good as any.
    fn subscriptions(&self) -> MutexGuard<'_, BTreeMap<u64, Subscription>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the message to everybody who listens, and says whether anybody does.
    fn deliver(&self, message: &Message) -> bool {
        let subscriptions = self.subscriptions();
        let listeners = subscriptions.values().filter(|one| matches(&one.pattern, &message.subject));
        // A full or closed buffer is that subscriber's loss: at most once.
        listeners.map(|one| _ = one.messages.try_send(message.clone())).count() > 0
    }

    /// Tells a connection that nobody listened; others that listen on its reply subject do not learn it.
    fn bounce(&self, connection: u64, reply: &str) {
        let message =
            Message { subject: reply.into(), reply: None, payload: Bytes::new(), no_responders: true };
        let subscriptions = self.subscriptions();
        for one in subscriptions.values() {
            if one.connection == connection && matches(&one.pattern, reply) {
                _ = one.messages.try_send(message.clone());
            }
        }
    }
}

impl Transport for MemoryTransport {
    async fn subscribe(&self, subject: String) -> Result<BoxStream<'static, Message>, TransportError> {
        check_subscribable(&subject)?;
        let (messages, received) = mpsc::channel(SUBSCRIPTION_MESSAGES_MAX);
        let number = self.broker.next();
        let subscription = Subscription { connection: self.connection, pattern: subject, messages };
        self.broker.subscriptions().insert(number, subscription);
        Ok(Subscribed { broker: Arc::clone(&self.broker), number, received }.boxed())
    }

    async fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        payload: Bytes,
    ) -> Result<(), TransportError> {
        check_publishable(&subject)?;
        reply.as_deref().map_or(Ok(()), check_publishable)?;
        let message = Message { subject, reply, payload, no_responders: false };
        if !self.broker.deliver(&message)
            && let Some(reply) = &message.reply
        {
            self.broker.bounce(self.connection, reply);
        }
        Ok(())
    }

    /// A message has arrived before `publish` returns.
    async fn flush(&self) {}

    fn new_inbox(&self) -> String {
        format!("_INBOX.{}.{}", self.connection, self.broker.next())
    }
}

/// What a subscriber holds; dropping it unsubscribes.
struct Subscribed {
    broker: Arc<Broker>,
    number: u64,
    received: mpsc::Receiver<Message>,
}

impl Stream for Subscribed {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.received.poll_recv(context)
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.broker.subscriptions().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::contract;
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        let transport = MemoryTransport::new();
        contract(transport.clone(), transport.connect()).await;
    }

    #[tokio::test]
    async fn a_full_buffer_loses_the_newest() {
        let transport = MemoryTransport::new();
        let mut slow = transport.subscribe("a".into()).await.unwrap();
        for number in 0..=SUBSCRIPTION_MESSAGES_MAX {
            transport.publish("a".into(), None, number.to_string().into()).await.unwrap();
        }
        let mut last = None;
        for _ in 0..SUBSCRIPTION_MESSAGES_MAX {
            last = slow.next().await;
        }
        assert_eq!(last.unwrap().payload, (SUBSCRIPTION_MESSAGES_MAX - 1).to_string());
        transport.publish("a".into(), None, "after".into()).await.unwrap();
        assert_eq!(slow.next().await.unwrap().payload, "after");
    }
}

//! One inbox for all answers: each request has a reply subject of its own, so an answer tells which sending it
//! belongs to, and a grant that comes late still finds its way (the crate's own request takes one reply only).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::transport::{Message, SharedTransport, Transport as _, TransportError};

/// Answers of one exchange that may wait for their reader. There are few: each sending has one or two.
const ANSWERS_MAX: usize = 64;

/// Names one sending of a request: the last token of its reply subject.
pub(super) type SendNumber = u64;

/// An answer, and the sending that it belongs to.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) number: SendNumber,
    /// Nobody listened on the request's subject: there is no leader right now. `None` then.
    pub(super) body: Option<Bytes>,
}

type Waiting = Arc<Mutex<HashMap<SendNumber, mpsc::Sender<Incoming>>>>;

/// The inbox of one client.
#[derive(Debug)]
pub(super) struct Link {
    transport: SharedTransport,
    inbox: String,
    next: AtomicU64,
    waiting: Waiting,
    pump: JoinHandle<()>,
}

/// The sendings of one request, and the answers to any of them.
#[derive(Debug)]
pub(super) struct Exchange {
    waiting: Waiting,
    numbers: Vec<SendNumber>,
    answers: mpsc::Receiver<Incoming>,
    sender: mpsc::Sender<Incoming>,
}

impl Link {
    /// Subscribes to an inbox that nobody else knows.
    pub(super) async fn open(transport: SharedTransport) -> Result<Self, TransportError> {
        let inbox = transport.new_inbox();
        let messages = transport.subscribe(format!("{inbox}.*")).await?;
        let waiting = Waiting::default();
        let pump = tokio::spawn(pump(messages, Arc::clone(&waiting)));
        Ok(Self { transport, inbox, next: AtomicU64::new(0), waiting, pump })
    }

    pub(super) const fn transport(&self) -> &SharedTransport {
        &self.transport
    }

    pub(super) fn exchange(&self) -> Exchange {
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        Exchange { waiting: Arc::clone(&self.waiting), numbers: Vec::new(), answers, sender }
    }

    /// Sends once more. The number is known before anything leaves.
    pub(super) async fn send(
        &self,
        exchange: &mut Exchange,
        subject: &str,
        body: Bytes,
    ) -> Result<SendNumber, TransportError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).insert(number, exchange.sender.clone());
        exchange.numbers.push(number);
        let reply = format!("{}.{number}", self.inbox);
        self.transport.publish(subject.to_owned(), Some(reply), body).await?;
        Ok(number)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Exchange {
    /// The next answer to any of its sendings.
    pub(super) async fn next(&mut self) -> Option<Incoming> {
        self.answers.recv().await
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut waiting = lock(&self.waiting);
        for number in &self.numbers {
            waiting.remove(number);
        }
    }
}

async fn pump(mut messages: futures_util::stream::BoxStream<'static, Message>, waiting: Waiting) {
    while let Some(message) = messages.next().await {
        let number = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
        let Some(number) = number else { continue };
        // An answer to a sending that nobody awaits any more confers nothing.
        let Some(sender) = lock(&waiting).get(&number).cloned() else { continue };
        let body = (!message.no_responders).then_some(message.payload);
        // A reader with that many answers unread loses the newest, as the network may.
        let _ = sender.try_send(Incoming { number, body });
    }
}

fn lock<V>(mutex: &Mutex<V>) -> std::sync::MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

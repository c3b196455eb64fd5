//! A NATS server with a coordinator, and clients of it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use natslock::client::{AcquireOptions, Client, ClientOptions, Lease};
use natslock::clock::{SystemClock, within};
use natslock::nats::{ConnectOptions, NatsTransport, connect};
use natslock::service::{Config, Coordinator};
use natslock::transport::{Message, Transport as _};
use natslock::types::{LockName, OwnerName};

use super::{NatsServer, PATIENCE};

/// A server, and a coordinator that leads.
pub(crate) struct Service {
    pub(crate) server: NatsServer,
    coordinator: Option<Coordinator>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let mut service = Self { server: NatsServer::start().await, coordinator: None };
        service.lead(config).await;
        service
    }

    /// Starts another coordinator in place of the one that was shut down.
    pub(crate) async fn lead(&mut self, config: Config) {
        let options = ConnectOptions { keep_trying: true, ..self.server.options() };
        let mut coordinator = Coordinator::connect(&options, config, 1).await.unwrap();
        let ready = within(&SystemClock, PATIENCE, coordinator.ready()).await;
        assert_eq!(ready, Some(true), "the coordinator leads");
        self.coordinator = Some(coordinator);
    }

    /// Lets the coordinator resign.
    pub(crate) async fn resign(&mut self) {
        self.coordinator.take().unwrap().shutdown().await;
    }

    pub(crate) async fn client(&self, owner: &str) -> Client {
        client(&self.server.url(), owner).await
    }

    pub(crate) async fn wire(&self) -> Wire {
        Wire::new(&self.server.options()).await
    }
}

pub(crate) async fn client(url: &str, owner: &str) -> Client {
    let options = ConnectOptions { urls: vec![url.to_owned()], ..ConnectOptions::default() };
    let owner = OwnerName::encode(owner).unwrap();
    Client::connect_with(&options, ClientOptions::new(owner)).await.unwrap()
}

pub(crate) fn lock(name: &str) -> LockName {
    LockName::encode(name).unwrap()
}

/// Options with these times in milliseconds.
pub(crate) fn options(ttl_ms: u64, wait_ms: u64) -> AcquireOptions {
    AcquireOptions::new().ttl(Duration::from_millis(ttl_ms)).wait(Duration::from_millis(wait_ms))
}

/// A lease that nobody renews.
pub(crate) async fn acquire(client: &Client, name: &LockName, options: &AcquireOptions) -> Lease {
    client.acquire_with(&name.to_string(), options.clone()).await.unwrap().leave()
}

pub(crate) async fn release(client: &Client, lease: &Lease) {
    client.caller().release(&lease.name, lease.to_ref(), Duration::ZERO).await.unwrap();
}

/// All that was heard up to the message on `end`. It was sent last, but several subscriptions are one stream in no
/// order: what has arrived besides was sent before.
pub(crate) async fn heard_until(heard: &mut BoxStream<'static, Message>, end: &str) -> Vec<Message> {
    let mut messages = Vec::new();
    loop {
        let message = within(&SystemClock, PATIENCE, heard.next()).await.expect("in time").expect("it lives");
        if message.subject == end {
            break;
        }
        messages.push(message);
    }
    while let Some(Some(message)) = heard.next().now_or_never() {
        messages.push(message);
    }
    messages
}

/// A plain NATS client: subjects and bytes.
pub(crate) struct Wire {
    transport: NatsTransport,
    inbox: String,
    answers: BoxStream<'static, Message>,
}

impl Wire {
    pub(crate) async fn new(options: &ConnectOptions) -> Self {
        let transport = NatsTransport::new(connect(options).await.unwrap());
        let inbox = transport.new_inbox();
        let answers = transport.subscribe(inbox.clone()).await.unwrap();
        Self { transport, inbox, answers }
    }

    pub(crate) async fn subscribe(&self, subject: &str) -> BoxStream<'static, Message> {
        self.transport.subscribe(subject.to_owned()).await.unwrap()
    }

    /// Sends a request, and returns the first answer.
    pub(crate) async fn request(&mut self, subject: &str, body: impl Into<Bytes>) -> Bytes {
        self.send(subject, Some(self.inbox.clone()), body).await;
        self.next().await
    }

    pub(crate) async fn send(&self, subject: &str, reply: Option<String>, body: impl Into<Bytes>) {
        self.transport.publish(subject.to_owned(), reply, body.into()).await.unwrap();
    }

    /// Hears several subjects as one. (Not `>`: what confirms a subscription is that nobody hears a message.)
    pub(crate) async fn subscribe_all(&self, subjects: &[&str]) -> BoxStream<'static, Message> {
        let mut heard = Vec::new();
        for subject in subjects {
            heard.push(self.subscribe(subject).await);
        }
        futures_util::stream::select_all(heard).boxed()
    }

    /// The same without the checks of the transport: with whatever a hostile client may send.
    pub(crate) async fn send_unchecked(&self, subject: &str, reply: &str, body: impl Into<Bytes>) {
        let client = self.transport.connection().client();
        client.publish_with_reply(subject.to_owned(), reply.to_owned(), body.into()).await.unwrap();
    }

    /// A request to whatever subject a hostile client may use.
    pub(crate) async fn request_unchecked(&mut self, subject: &str, body: impl Into<Bytes>) -> Bytes {
        let inbox = self.inbox.clone();
        self.send_unchecked(subject, &inbox, body).await;
        self.next().await
    }

    /// A request whose answer is looked at later.
    pub(crate) async fn send_from(&mut self, subject: &str, body: impl Into<Bytes>) {
        let (transport, inbox) = (self.transport.clone(), self.inbox.clone());
        transport.publish(subject.to_owned(), Some(inbox), body.into()).await.unwrap();
    }

    /// The next answer to any request.
    pub(crate) async fn next(&mut self) -> Bytes {
        let answer = within(&SystemClock, PATIENCE, self.answers.next()).await;
        let message = answer.expect("an answer in time").expect("the connection lives");
        assert!(!message.no_responders, "nobody listens");
        message.payload
    }

    /// The answer in JSON to a request in JSON.
    pub(crate) async fn json(&mut self, subject: &str, body: &str) -> serde_json::Value {
        let answer = self.request(subject, body.to_owned()).await;
        serde_json::from_slice(&answer).unwrap()
    }
}

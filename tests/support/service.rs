//! A NATS server with a coordinator, and clients of it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
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

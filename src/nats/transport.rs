//! The transport on core NATS.

use std::time::Duration;

use async_nats::{PublishErrorKind, Request, RequestErrorKind, SubscribeErrorKind, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

#[cfg(feature = "coordinator")]
use super::connect::ConnectError;
use super::connect::Connection;
use super::denials::{Action, Denial};
#[cfg(feature = "coordinator")]
use super::listener::Listener;
#[cfg(feature = "coordinator")]
use super::options::ConnectOptions;
use crate::clock::{SystemClock, within};
use crate::transport::subject::{check_publishable, check_subscribable};
use crate::transport::{Message, Transport, TransportError};

/// How long the server may take to confirm a subscription.
pub(super) const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// A question that the server answers by itself, to every user of every account: who am I? Nobody else can take it,
/// not even one who listens to everything.
pub(super) const WHO_AM_I: &str = "$SYS.REQ.USER.INFO";

/// How long the library may take to tell of a refusal that has arrived. Nobody subscribes often.
const REFUSAL_DELAY_MAX: Duration = Duration::from_millis(2);

/// A connection to NATS as a transport. Clones share it.
///
/// While it is cut off, messages are kept and sent later, however late; once about 2000 are kept, `publish`
/// waits. Subscriptions are made again by themselves, and what was sent to them meanwhile is lost.
#[derive(Debug, Clone)]
pub struct NatsTransport {
    connection: Connection,
    #[cfg(feature = "coordinator")]
    listener: Option<Listener>,
}

impl NatsTransport {
    /// The transport over a connection. What it listens to is read by the library, which ends the connection over
    /// bytes that are no message.
    pub const fn new(connection: Connection) -> Self {
        Self {
            connection,
            #[cfg(feature = "coordinator")]
            listener: None,
        }
    }

    /// The transport over a connection, and over another beside it for what strangers send: bytes that are no message
    /// do no harm there. It is made with the same options.
    ///
    /// # Errors
    /// [`ConnectError::BadOption`], where the credentials cannot be read.
    #[cfg(feature = "coordinator")]
    pub fn listening(connection: Connection, options: &ConnectOptions) -> Result<Self, ConnectError> {
        let listener = Some(Listener::start(options, connection.clone())?);
        Ok(Self { connection, listener })
    }

    /// The connection under it.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl From<Connection> for NatsTransport {
    fn from(connection: Connection) -> Self {
        Self::new(connection)
    }
}

impl Connection {
    /// Subscribes, and returns when the server knows of it.
    pub(super) async fn subscribe(&self, subject: &str) -> Result<Subscriber, TransportError> {
        let mark = self.denials().mark();
        let subscribed = self.client().subscribe(subject.to_owned()).await;
        let subscriber = subscribed.map_err(|error| match error.kind() {
            SubscribeErrorKind::Other => TransportError::Closed,
            _ => TransportError::Refused(format!("{subject:?}: {error}")),
        })?;
        self.round_trip().await?;
        // A refusal came before that answer, but through a task of its own, which may not have run yet.
        let concerns = |denial: &Denial| denial.action == Action::Subscribe && denial.subject == subject;
        match within(&SystemClock, REFUSAL_DELAY_MAX, self.denials().wait(mark, concerns)).await {
            Some(denial) => Err(TransportError::Refused(denial.to_string())),
            None => Ok(subscriber),
        }
    }

    /// Makes sure that this connection may publish to these subjects, by sending each an empty message.
    ///
    /// # Errors
    /// It may not, and to which; or the server does not answer.
    #[cfg(feature = "coordinator")]
    pub async fn check_publishable(&self, subjects: &[String]) -> Result<(), TransportError> {
        let mark = self.denials().mark();
        for subject in subjects {
            let sent = self.client().publish(subject.clone(), Bytes::new()).await;
            sent.map_err(|_| TransportError::Closed)?;
        }
        self.round_trip().await?;
        let concerns =
            |denial: &Denial| denial.action == Action::Publish && subjects.contains(&denial.subject);
        match within(&SystemClock, REFUSAL_DELAY_MAX, self.denials().wait(mark, concerns)).await {
            Some(denial) => Err(TransportError::Refused(denial.to_string())),
            None => Ok(()),
        }
    }

    /// Waits until the server has done everything that this connection has sent it.
    ///
    /// The library's `flush` only empties its own buffer. The server works in order, so an answer to anything
    /// will do, and that this connection may not ask is one, too.
    async fn round_trip(&self) -> Result<(), TransportError> {
        let mark = self.denials().mark();
        let request = Request::new().timeout(Some(CONFIRM_TIMEOUT));
        let concerns = |denial: &Denial| denial.subject == WHO_AM_I;
        // The library subscribes to the answers of all requests once, so that may have been refused long ago.
        let inbox = self.client().new_inbox();
        let inboxes = inbox.rsplit_once('.').map_or("", |(prefix, _)| prefix);
        let deaf =
            |denial: &Denial| denial.action == Action::Subscribe && denial.subject.starts_with(inboxes);
        let answer = tokio::select! {
            answer = self.client().send_request(WHO_AM_I, request) => answer,
            _ = self.denials().wait(mark, concerns) => return Ok(()),
            denial = self.denials().wait(0, deaf) => return Err(TransportError::Refused(denial.to_string())),
        };
        match answer.map_err(|error| error.kind()) {
            Ok(_) | Err(RequestErrorKind::NoResponders) => Ok(()),
            Err(RequestErrorKind::TimedOut) => {
                Err(TransportError::Unavailable(format!("no answer within {CONFIRM_TIMEOUT:?}")))
            }
            Err(_) => Err(TransportError::Closed),
        }
    }
}

impl Transport for NatsTransport {
    /// # Cancel safety
    /// Dropping it unsubscribes.
    async fn subscribe(&self, subject: String) -> Result<BoxStream<'static, Message>, TransportError> {
        check_subscribable(&subject)?;
        Ok(self.connection.subscribe(&subject).await?.map(arrived).boxed())
    }

    #[cfg(feature = "coordinator")]
    async fn listen(&self, subject: String) -> Result<BoxStream<'static, Message>, TransportError> {
        match &self.listener {
            Some(listener) => {
                check_subscribable(&subject)?;
                listener.subscribe(subject).await
            }
            None => self.subscribe(subject).await,
        }
    }

    async fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        payload: Bytes,
    ) -> Result<(), TransportError> {
        check_publishable(&subject)?;
        reply.as_deref().map_or(Ok(()), check_publishable)?;
        let client = self.connection.client();
        let sent = match reply {
            Some(reply) => client.publish_with_reply(subject, reply, payload).await,
            None => client.publish(subject, payload).await,
        };
        sent.map_err(|error| match error.kind() {
            PublishErrorKind::Send => TransportError::Closed,
            _ => TransportError::Refused(error.to_string()),
        })
    }

    async fn flush(&self) {
        // It fails only where the connection is closed for good.
        let _ = self.connection().client().flush().await;
    }

    fn refuses(&self, subject: &str) -> bool {
        self.connection.denials().concern(subject)
    }

    fn new_inbox(&self) -> String {
        self.connection.client().new_inbox()
    }
}

fn arrived(message: async_nats::Message) -> Message {
    Message {
        subject: message.subject.to_string(),
        reply: message.reply.map(|reply| reply.to_string()),
        payload: message.payload,
        no_responders: message.status.is_some_and(|status| status.as_u16() == 503),
    }
}

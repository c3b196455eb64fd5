//! The messaging port: subjects, replies and subscriptions, as core NATS has them. At most once: a message may
//! be lost, late, or delivered twice, and everything above is built for that.

pub mod contract;
mod impatient;
mod memory;
mod shared;
pub mod subject;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;

pub use impatient::Impatient;
pub use memory::MemoryTransport;
pub use shared::SharedTransport;

/// A subscription that is so many messages behind loses the newest.
pub const SUBSCRIPTION_MESSAGES_MAX: usize = 65_536;

/// Whoever leads and hears nothing for so long, although all else is well, gives up, so that another can lead. There
/// may be no room for one more connection, for instance.
pub const DEAF_MAX: Duration = Duration::from_secs(10);

/// A message as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was sent.
    pub subject: String,
    /// Where an answer goes.
    pub reply: Option<String>,
    /// Its body.
    pub payload: Bytes,
    /// True where it says that nobody listened on the subject of a message whose reply subject this is (a
    /// status 503 of the server); the payload is empty then.
    pub no_responders: bool,
}

/// A message that could not be sent, or a subscription that could not be made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The connection is closed for good.
    #[error("the connection is closed")]
    Closed,
    /// No answer to a round trip within its time.
    #[error("the server does not answer: {0}")]
    Unavailable(String),
    /// The subject or the body cannot be sent.
    #[error("cannot be sent: {0}")]
    Refused(String),
}

/// A connection. Clones share it.
pub trait Transport: Clone + Send + Sync + 'static {
    /// Subscribes to a subject, with wildcards `*` and `>`. When this returns, the server knows of it.
    ///
    /// # Errors
    /// The connection is closed, or the server did not confirm.
    fn subscribe(
        &self,
        subject: String,
    ) -> impl Future<Output = Result<BoxStream<'static, Message>, TransportError>> + Send;

    /// The same for a subject to which strangers publish: bytes in a subject or a reply that are not UTF-8 arrive as
    /// U+FFFD, and no message ends the connection, where the transport has the means. The stream ends where it cannot
    /// go on: also where nothing can be heard for [`DEAF_MAX`] although the rest of the transport is well.
    ///
    /// # Errors
    /// As those of [`Transport::subscribe`].
    fn listen(
        &self,
        subject: String,
    ) -> impl Future<Output = Result<BoxStream<'static, Message>, TransportError>> + Send {
        self.subscribe(subject)
    }

    /// Sends a message, without waiting for anybody to get it. Where `reply` is given and nobody listens on
    /// `subject`, a message with `no_responders` arrives on `reply`.
    ///
    /// # Errors
    /// The connection is closed, or the message cannot be sent.
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the message is sent.
    fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        payload: Bytes,
    ) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// Waits until all that was published before has left this process; for ever while there is no connection.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    fn flush(&self) -> impl Future<Output = ()> + Send;

    /// True where the server has said that it does not let this connection in any more, or not publish to this subject
    /// or one below it. What it has not said is unknown, which is the case of most transports.
    fn refuses(&self, _subject: &str) -> bool {
        false
    }

    /// A subject of this connection's own, for a subscription that nobody else can guess: it begins with the
    /// connection's inbox prefix, and no two calls return the same.
    fn new_inbox(&self) -> String;
}

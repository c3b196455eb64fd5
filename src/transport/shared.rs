//! Any transport behind one type, so that what is built on it needs no type parameter.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use super::{Message, Transport, TransportError};

/// Some transport. Clones share it.
#[derive(Clone)]
pub struct SharedTransport(Arc<dyn Erased>);

impl SharedTransport {
    /// Hides which one it is.
    pub fn new<T: Transport>(transport: T) -> Self {
        Self(Arc::new(transport))
    }
}

impl fmt::Debug for SharedTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedTransport(..)")
    }
}

/// [`Transport`] in a form that can be a trait object.
trait Erased: Send + Sync {
    fn subscribe(
        &self,
        subject: String,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Message>, TransportError>>;
    fn listen(&self, subject: String) -> BoxFuture<'_, Result<BoxStream<'static, Message>, TransportError>>;
    fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        payload: Bytes,
    ) -> BoxFuture<'_, Result<(), TransportError>>;
    fn flush(&self) -> BoxFuture<'_, ()>;
    fn refuses(&self, subject: &str) -> bool;
    fn new_inbox(&self) -> String;
}

impl<T: Transport> Erased for T {
    fn subscribe(
        &self,
        subject: String,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Message>, TransportError>> {
        Transport::subscribe(self, subject).boxed()
    }

    fn listen(&self, subject: String) -> BoxFuture<'_, Result<BoxStream<'static, Message>, TransportError>> {
        Transport::listen(self, subject).boxed()
    }

    fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        payload: Bytes,
    ) -> BoxFuture<'_, Result<(), TransportError>> {
        Transport::publish(self, subject, reply, payload).boxed()
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Transport::flush(self).boxed()
    }

    fn refuses(&self, subject: &str) -> bool {
        Transport::refuses(self, subject)
    }

    fn new_inbox(&self) -> String {
        Transport::new_inbox(self)
    }
}

impl Transport for SharedTransport {
    async fn subscribe(&self, subject: String) -> Result<BoxStream<'static, Message>, TransportError> {
        self.0.subscribe(subject).await
    }

    async fn listen(&self, subject: String) -> Result<BoxStream<'static, Message>, TransportError> {
        self.0.listen(subject).await
    }

    async fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        payload: Bytes,
    ) -> Result<(), TransportError> {
        self.0.publish(subject, reply, payload).await
    }

    async fn flush(&self) {
        self.0.flush().await;
    }

    fn refuses(&self, subject: &str) -> bool {
        self.0.refuses(subject)
    }

    fn new_inbox(&self) -> String {
        self.0.new_inbox()
    }
}

//! A client on NATS.

use crate::client::{Client, ClientOptions, default_owner};
use crate::nats::{ConnectError, ConnectOptions, Connection, NatsClient, NatsTransport, connect};
use crate::transport::{SharedTransport, TransportError};

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection does not carry messages.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

impl Client {
    /// A client in the name of this process's user and host, on a connection of its own to a NATS server, or to
    /// one of several that are separated by commas.
    ///
    /// # Errors
    /// No server answered, it refused, or it is too old.
    pub async fn connect(url: &str) -> Result<Self, ClientError> {
        Self::connect_with(&ConnectOptions::to(url), ClientOptions::new(default_owner())).await
    }

    /// A client on a connection of its own.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_with(options: &ConnectOptions, client: ClientOptions) -> Result<Self, ClientError> {
        let connection = connect(options).await?;
        Ok(Self::over(SharedTransport::new(NatsTransport::new(connection)), client).await?)
    }

    /// A client on a connection that the application has made. Its settings are the application's: with the
    /// library's own a dead server is noticed only after minutes, see [`connect`].
    ///
    /// # Errors
    /// The subscriptions could not be made.
    pub async fn new(nats: NatsClient, client: ClientOptions) -> Result<Self, ClientError> {
        let transport = NatsTransport::new(Connection::from(nats));
        Ok(Self::over(SharedTransport::new(transport), client).await?)
    }
}

//! Where NATS is wired in: a client and a coordinator, each on a connection of its own.
//!
//! The client and the coordinator know ports only; the ports on NATS know neither.

use std::time::Duration;

use crate::client::{Client, ClientOptions, default_owner};
use crate::clock::{Clock as _, SystemClock};
use crate::nats::{
    BucketConfig, ConnectError, ConnectOptions, Connection, NatsClient, NatsStore, NatsTransport, connect,
};
use crate::service::{Config, Coordinator, StartError};
use crate::store::StoreError;
use crate::transport::{SharedTransport, TransportError};
use crate::types::Revision;
use crate::wire::subject::SubjectSpace;

/// The pause before JetStream is asked again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Revisions of a new bucket begin at this many for each millisecond since 1970, so that tokens go on rising
/// when a bucket is deleted and made again.
const REVISIONS_PER_MS: u64 = 8;

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

/// Why a coordinator could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The bucket cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The coordinator could not begin.
    #[error(transparent)]
    Start(#[from] StartError),
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

impl Coordinator {
    /// Starts a coordinator on a connection of its own, which must not be used for anything else: the server
    /// does not send it its own messages. The bucket is made where it is missing, with `replicas` copies.
    ///
    /// With `keep_trying` it waits for the server, for JetStream and for the bucket's leader, for ever, and
    /// fails only for what waiting cannot mend.
    ///
    /// # Errors
    /// No connection, too old a server, a bucket with another configuration, missing permissions.
    pub async fn connect(
        options: &ConnectOptions,
        mut config: Config,
        replicas: usize,
    ) -> Result<Self, ServeError> {
        let options = ConnectOptions { no_echo: true, ..options.clone() };
        let connection = connect(&options).await?;
        config.server_version = connection.client().server_info().version;
        let bucket = SubjectSpace::new(config.namespace.clone()).bucket(config.shard);
        let bucket = BucketConfig {
            bucket: bucket.name().to_owned(),
            replicas,
            first_sequence: Revision::new(SystemClock::wall().0 * REVISIONS_PER_MS),
        };
        loop {
            let error = match NatsStore::open(connection.clone(), bucket.clone()).await {
                Ok(store) => {
                    let transport = NatsTransport::new(connection.clone());
                    match Self::start(store, transport, SystemClock, config.clone()).await {
                        Err(StartError::Store(error)) if error.is_retryable() => error,
                        started => return Ok(started?),
                    }
                }
                Err(error) => error,
            };
            if !options.keep_trying || !error.is_retryable() {
                return Err(error.into());
            }
            tracing::warn!(%error, "waiting for JetStream");
            SystemClock.sleep_until(SystemClock::boot() + RETRY_AFTER).await;
        }
    }
}

//! Where NATS is wired in: a client and a coordinator, each on a connection of its own.

use std::time::Duration;

use async_nats::connection::State;

use super::{
    Action, BucketConfig, ConnectError, ConnectOptions, Connection, Denial, NatsStore, NatsTransport, connect,
};
use crate::client::{Client, ClientOptions};
use crate::clock::{Clock as _, SystemClock};
use crate::service::{Config, Coordinator, StartError};
use crate::store::StoreError;
use crate::transport::TransportError;
use crate::types::{OwnerName, Revision};
use crate::wire::subject::SubjectSpace;

/// The pause before JetStream is asked again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Revisions of a new bucket begin at this many for each millisecond since 1970, so that tokens go on rising
/// when a bucket is deleted and made again.
const REVISIONS_PER_MS: u64 = 8;

/// A client over NATS.
pub type NatsClient = Client<NatsTransport, SystemClock>;

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

impl NatsClient {
    /// A client in the name of this process's user and host, on a connection of its own.
    ///
    /// # Errors
    /// No server answered, it refused, or it is too old.
    pub async fn connect(url: &str) -> Result<Self, ClientError> {
        let options = ConnectOptions { urls: vec![url.to_owned()], ..ConnectOptions::default() };
        Self::connect_with(&options, ClientOptions::new(default_owner())).await
    }

    /// A client on a connection of its own.
    ///
    /// # Errors
    /// As [`NatsClient::connect`].
    pub async fn connect_with(options: &ConnectOptions, client: ClientOptions) -> Result<Self, ClientError> {
        let connection = connect(options).await?;
        Ok(Self::new(NatsTransport::new(connection), SystemClock, client).await?)
    }
}

impl Connection {
    /// Waits until the server refuses to let this connection publish to a subject that `concerns` the caller;
    /// for ever where it does not.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn denied(&self, concerns: impl Fn(&str) -> bool) -> Denial {
        let published = |denial: &Denial| denial.action == Action::Publish && concerns(&denial.subject);
        self.denials().wait(0, published).await
    }

    /// False while the connection is cut off.
    pub fn is_connected(&self) -> bool {
        self.client().connection_state() == State::Connected
    }
}

/// `<user>@<host>`, as the command line has it.
pub fn default_owner() -> OwnerName {
    let mut users = ["USER", "LOGNAME", "USERNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let user = users.find(|user| !user.is_empty()).unwrap_or_else(|| "unknown".into());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let encoded = OwnerName::encode(&format!("{user}@{host}"));
    // A host with a very long name: the user alone will do, and if not even that, a word.
    encoded
        .or_else(|_| OwnerName::encode(&user))
        .or_else(|_| OwnerName::encode("unknown"))
        .unwrap_or_else(|_| unreachable!("a plain word is an owner"))
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
        let mut complaint = Complaint::default();
        let connection = patiently(&options, &mut complaint).await?;
        config.server_version = connection.client().server_info().version;
        let bucket = SubjectSpace::new(config.namespace.clone()).bucket(config.shard);
        let bucket = BucketConfig {
            bucket: bucket.name().to_owned(),
            replicas,
            first_sequence: Revision::new(SystemClock::wall().0 * REVISIONS_PER_MS),
        };
        loop {
            let error: ServeError = match NatsStore::open(connection.clone(), bucket.clone()).await {
                Ok(store) => {
                    let transport = NatsTransport::new(connection.clone());
                    match Self::start(store, transport, SystemClock, config.clone()).await {
                        Ok(coordinator) => return Ok(coordinator),
                        Err(error) => error.into(),
                    }
                }
                Err(error) => error.into(),
            };
            if !options.keep_trying || !error.is_retryable() {
                return Err(error);
            }
            complaint.log(&error, "waiting for JetStream");
            SystemClock.sleep_until(SystemClock::boot() + RETRY_AFTER).await;
        }
    }
}

impl ServeError {
    /// True where waiting may mend it.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_retryable(),
            Self::Store(error) | Self::Start(StartError::Store(error)) => error.is_retryable(),
            Self::Start(StartError::Transport(error)) => matches!(error, TransportError::Unavailable(_)),
            Self::Start(StartError::LeaderLease { .. }) => false,
        }
    }
}

/// Connects; with `keep_trying` it goes on for ever.
async fn patiently(options: &ConnectOptions, complaint: &mut Complaint) -> Result<Connection, ConnectError> {
    let once = ConnectOptions { keep_trying: false, ..options.clone() };
    loop {
        match connect(&once).await {
            Err(error) if options.keep_trying && error.is_retryable() => {
                complaint.log(&error, "waiting for NATS");
                SystemClock.sleep_until(SystemClock::boot() + RETRY_AFTER).await;
            }
            done => return done,
        }
    }
}

/// Something that is tried for ever, and must not fill the log: it is told when it begins and when it changes,
/// and then one line for each doubling.
#[derive(Debug, Default)]
struct Complaint {
    error: String,
    times: u64,
}

impl Complaint {
    fn log(&mut self, error: &impl std::fmt::Display, what: &str) {
        let error = error.to_string();
        if error != self.error {
            *self = Self { error, times: 0 };
        }
        self.times += 1;
        if self.times.is_power_of_two() {
            tracing::warn!(error = self.error, times = self.times, "{what}");
        }
    }
}

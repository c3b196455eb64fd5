//! A coordinator on NATS.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::{Clock as _, SystemClock};
use crate::nats::{
    BucketConfig, ConnectError, ConnectOptions, Connection, NatsStore, NatsTransport, connect,
};
use crate::service::recovery::first_revision;
use crate::service::{Config, Coordinator, StartError, Status};
use crate::store::StoreError;
use crate::transport::TransportError;
use crate::wire::subject::SubjectSpace;

/// The pause before JetStream is asked again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

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
    /// Its thread could not be started, or has ended before the coordinator began.
    #[error("the coordinator's thread cannot be started: {0}")]
    Thread(String),
}

type Told = oneshot::Sender<Result<Coordinator, ServeError>>;

impl Coordinator {
    /// Starts a coordinator on a connection of its own, which must not be used for anything else: the server
    /// does not send it its own messages. The bucket is made where it is missing, with `replicas` copies.
    ///
    /// Connection and coordinator share one thread of their own. A request passes from the socket to the locks
    /// and back without waking another thread, which would cost more than all the rest of its way; and nothing
    /// that the program does in its own runtime can hold up the leader's signs of life.
    ///
    /// With `keep_trying` it waits for the server, for JetStream and for the bucket's leader, for ever, and
    /// fails only for what waiting cannot mend.
    ///
    /// # Errors
    /// No connection, too old a server, a bucket with another configuration, missing permissions.
    ///
    /// # Cancel safety
    /// Dropping it ends the thread, wherever it was.
    pub async fn connect(
        options: &ConnectOptions,
        config: Config,
        replicas: usize,
    ) -> Result<Self, ServeError> {
        Self::connect_apart(options, None, config, replicas).await
    }

    /// The same with another connection for the store, with credentials of its own: the user that answers
    /// clients then needs no right to write a record, and no answer can become one.
    ///
    /// # Errors
    /// As [`Coordinator::connect`].
    ///
    /// # Cancel safety
    /// As [`Coordinator::connect`].
    pub async fn connect_apart(
        options: &ConnectOptions,
        store: Option<&ConnectOptions>,
        config: Config,
        replicas: usize,
    ) -> Result<Self, ServeError> {
        let (tell, told) = oneshot::channel();
        let (options, store) = (options.clone(), store.cloned());
        let name = format!("natslock-{}", config.shard);
        std::thread::Builder::new()
            .name(name)
            .spawn(move || run(tell, &options, store.as_ref(), config, replicas))
            .map_err(|error| ServeError::Thread(error.to_string()))?;
        told.await.map_err(|_| ServeError::Thread("it has ended".to_owned()))?
    }

    /// The same on the thread and in the runtime of whoever calls it.
    async fn begin(
        options: &ConnectOptions,
        store: Option<&ConnectOptions>,
        mut config: Config,
        replicas: usize,
    ) -> Result<Self, ServeError> {
        let space = SubjectSpace::new(config.namespace.clone());
        let own = |options: &ConnectOptions| {
            // Where no reply may go, so that no client can speak to the coordinator in the store's stead.
            let inbox_prefix = options.inbox_prefix.clone().unwrap_or_else(|| space.coordinator_inboxes());
            ConnectOptions { no_echo: true, inbox_prefix: Some(inbox_prefix), ..options.clone() }
        };
        let options = own(options);
        let mut complaint = Complaint::default();
        let connection = patiently(&options, &mut complaint).await?;
        let store_connection = match store {
            Some(store) => patiently(&own(store), &mut complaint).await?,
            None => connection.clone(),
        };
        // Nobody listens there, and what other coordinators hear they ignore.
        let probes = [
            format!("{}natslock.{}", config.reply_prefix.as_str(), std::process::id()),
            space.heartbeat(config.shard),
        ];
        config.server_version = connection.client().server_info().version;
        let bucket = space.bucket(config.shard);
        let bucket = BucketConfig {
            bucket: bucket.name().to_owned(),
            replicas,
            first_sequence: first_revision(SystemClock::wall()),
        };
        let transport = NatsTransport::listening(connection.clone(), &options)?;
        loop {
            let begun: Result<Self, ServeError> = async {
                let store = NatsStore::open(store_connection.clone(), bucket.clone()).await?;
                connection.check_publishable(&probes).await.map_err(StartError::from)?;
                Ok(Self::start(store, transport.clone(), SystemClock, config.clone()).await?)
            }
            .await;
            let error = match begun {
                Ok(coordinator) => return Ok(coordinator),
                Err(error) => error,
            };
            if !options.keep_trying || !error.is_retryable() {
                return Err(error);
            }
            complaint.log(&error, "waiting for JetStream");
            SystemClock.sleep_until(SystemClock::boot() + RETRY_AFTER).await;
        }
    }
}

/// The thread of one coordinator, from its connection to its end.
fn run(
    mut tell: Told,
    options: &ConnectOptions,
    store: Option<&ConnectOptions>,
    config: Config,
    replicas: usize,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Nobody may be waiting for it any more.
            let _ = tell.send(Err(ServeError::Thread(error.to_string())));
            return;
        }
    };
    runtime.block_on(async {
        let started = tokio::select! {
            started = Coordinator::begin(options, store, config, replicas) => started,
            () = tell.closed() => return,
        };
        let watching = started.as_ref().ok().map(Coordinator::watch);
        // Where nobody waits any more, the coordinator is dropped with the answer, and resigns.
        let _ = tell.send(started);
        if let Some(mut status) = watching {
            // It ends with an error only where the coordinator's task has ended already.
            let _ = status.wait_for(|status| *status == Status::Stopped).await;
        }
    });
}

impl ServeError {
    /// True where waiting may mend it.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_retryable(),
            Self::Store(error) | Self::Start(StartError::Store(error)) => error.is_retryable(),
            Self::Start(StartError::Transport(error)) => matches!(error, TransportError::Unavailable(_)),
            Self::Start(StartError::LeaderLease { .. } | StartError::Holders { .. }) | Self::Thread(_) => {
                false
            }
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

//! The client library: locks that are held by a guard, kept alive in the background, and never believed in
//! longer than they may be.
//!
//! Deadlines are counted from the *sending* of the request that was answered, by a clock that counts suspend,
//! never from receipt. A guard is lost at its own deadline, whatever the network does.

mod call;
mod caller;
pub mod core;
mod driver;
mod election;
mod error;
mod guard;
mod link;
mod options;
mod pace;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::BoxStream;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument as _;

#[cfg(feature = "coordinator")]
use crate::clock::SystemClock;
use crate::engine::message::LockView;
#[cfg(feature = "coordinator")]
use crate::service::{Config, Coordinator, StartError};
#[cfg(feature = "coordinator")]
use crate::store::MemoryStore;
#[cfg(feature = "coordinator")]
use crate::transport::MemoryTransport;
use crate::transport::{SharedTransport, TransportError};
use crate::types::{LockName, OwnerName};
use crate::wire::reply::Answer;

use self::core::Handle;
use self::driver::{Acquisition, Command, Conclusion};

pub use self::caller::{Answered, Caller, Seen, Watched};
pub use self::core::LostReason;
pub use self::election::{Election, Leader, Leadership};
pub use self::error::{AcquireError, CallError, Contended, Lost};
pub use self::guard::{Lease, LockGuard};
pub use self::options::{AcquireOptions, ClientOptions, OptionsError, Terms, default_owner};

/// What a waiting request has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// One is next.
    pub position: usize,
    /// How many hold the lock.
    pub holder_count: usize,
}

/// A client of one namespace, in the name of one owner. Clones share its connection and its one background
/// task, which renews all leases in few messages.
///
/// ```
/// # tokio_test(async {
/// use natslock::client::Client;
/// let client = Client::in_memory().await?;
/// let guard = client.acquire("orders.42").await?;
/// println!("write with fencing token {}", guard.token());
/// guard.release().await;
/// # Ok(()) });
/// # fn tokio_test(test: impl std::future::Future<Output = Result<(), Box<dyn std::error::Error>>>) {
/// #     tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(test).unwrap();
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    caller: Caller,
    transport: SharedTransport,
    commands: mpsc::UnboundedSender<Command>,
    handles: Arc<AtomicU64>,
    /// The coordinator of an in-memory client.
    #[cfg(feature = "coordinator")]
    coordinator: Option<Arc<Coordinator>>,
}

impl Client {
    /// A client on this connection. Over NATS: [`Client::connect`].
    ///
    /// # Errors
    /// The subscriptions could not be made.
    pub async fn over(transport: SharedTransport, options: ClientOptions) -> Result<Self, TransportError> {
        let caller = Caller::new(transport.clone(), options).await?;
        let commands = driver::start(&transport, &caller).await?;
        Ok(Self {
            caller,
            transport,
            commands,
            handles: Arc::default(),
            #[cfg(feature = "coordinator")]
            coordinator: None,
        })
    }

    /// A client of a coordinator of its own, in the memory of this process: real leases, queues and tokens, for
    /// tests and for programs of one process. Its locks are gone with the last clone.
    ///
    /// # Errors
    /// None that can be foreseen.
    #[cfg(feature = "coordinator")]
    pub async fn in_memory() -> Result<Self, StartError> {
        let broker = MemoryTransport::new();
        let store = MemoryStore::new();
        let mut coordinator =
            Coordinator::start(store, broker.connect(), SystemClock, Config::default()).await?;
        coordinator.ready().await;
        let options = ClientOptions::new(default_owner());
        let mut client = Self::over(SharedTransport::new(broker.connect()), options).await?;
        client.coordinator = Some(Arc::new(coordinator));
        Ok(client)
    }

    /// A client of the same namespace on the same connection, in the name of another owner.
    ///
    /// # Errors
    /// The subscriptions could not be made.
    pub async fn for_owner(&self, owner: OwnerName) -> Result<Self, TransportError> {
        let options = ClientOptions { owner, ..self.options().clone() };
        let client = Self::over(self.transport.clone(), options).await?;
        Ok(Self {
            #[cfg(feature = "coordinator")]
            coordinator: self.coordinator.clone(),
            ..client
        })
    }

    /// In whose name it asks, and where.
    pub fn options(&self) -> &ClientOptions {
        self.caller.options()
    }

    /// The requests without guards: renewals and releases by id, pages, administration.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Acquires a lock, however long it takes. The guard holds it: it is renewed in the background and given
    /// back when the guard is dropped or released.
    ///
    /// # Errors
    /// A name that is none, a refusal, or no coordinator that answers.
    ///
    /// # Cancel safety
    /// Dropping the future takes the request back at the coordinator; the place in the queue is lost.
    pub async fn acquire(&self, name: &str) -> Result<LockGuard, AcquireError> {
        self.acquire_with(name, AcquireOptions::new()).await
    }

    /// Acquires a lock if it is free.
    ///
    /// # Errors
    /// [`AcquireError::Held`] where it is not; otherwise as [`Client::acquire`].
    ///
    /// # Cancel safety
    /// As [`Client::acquire`].
    pub async fn try_acquire(&self, name: &str) -> Result<LockGuard, AcquireError> {
        self.acquire_with(name, AcquireOptions::new().wait(std::time::Duration::ZERO)).await
    }

    /// Acquires a lock as the options say.
    ///
    /// # Errors
    /// [`AcquireError::Held`] where others held it all the time; otherwise as [`Client::acquire`].
    ///
    /// # Cancel safety
    /// As [`Client::acquire`].
    pub async fn acquire_with(&self, name: &str, options: AcquireOptions) -> Result<LockGuard, AcquireError> {
        self.acquire_reporting(name, options, |_| ()).await
    }

    /// As [`Client::acquire_with`], and tells `report` whenever the coordinator has said where the request
    /// stands.
    ///
    /// # Errors
    /// As [`Client::acquire_with`].
    ///
    /// # Cancel safety
    /// As [`Client::acquire`].
    pub async fn acquire_reporting(
        &self,
        name: &str,
        options: AcquireOptions,
        report: impl FnMut(Progress),
    ) -> Result<LockGuard, AcquireError> {
        let name = LockName::encode(name).map_err(OptionsError::from)?;
        let span = tracing::info_span!(
            "acquire",
            lock = name.as_str(),
            owner = self.options().owner.as_str(),
            token = tracing::field::Empty,
            epoch = tracing::field::Empty,
        );
        let guard = self.acquire_named(name, options, report).instrument(span.clone()).await?;
        span.record("token", guard.token().get());
        guard.epoch().map(|epoch| span.record("epoch", epoch.get()));
        Ok(guard)
    }

    async fn acquire_named(
        &self,
        name: LockName,
        options: AcquireOptions,
        mut report: impl FnMut(Progress),
    ) -> Result<LockGuard, AcquireError> {
        let terms = options.check()?;
        let keep = terms.keep;
        let handle = Handle(self.handles.fetch_add(1, Ordering::Relaxed));
        let (told, mut outcome) = oneshot::channel();
        let (progress, mut reports) = mpsc::unbounded_channel();
        let acquisition = Acquisition { handle, name: name.clone(), terms, told, progress };
        // Whatever happens from here on, the request is taken back unless a guard takes over.
        let mut pending = Pending { commands: &self.commands, handle: Some(handle) };
        self.commands.send(Command::Acquire(acquisition)).map_err(|_| AcquireError::Closed)?;
        // Open from the news that the request waits to its end.
        let mut wait = None;
        let conclusion = loop {
            tokio::select! {
                biased;
                Some(progress) = reports.recv() => {
                    wait.get_or_insert_with(|| self.wait_span(&name));
                    report(progress);
                }
                done = &mut outcome => break done.map_err(|_| AcquireError::Closed)?,
            }
        };
        drop(wait);
        match conclusion {
            Conclusion::Granted(state) => {
                pending.handle = None;
                Ok(LockGuard::new(self.clone(), handle, name, state, keep))
            }
            Conclusion::Failed(error) => Err(error),
        }
    }

    fn wait_span(&self, name: &LockName) -> tracing::Span {
        tracing::info_span!("wait", lock = name.as_str(), owner = self.options().owner.as_str())
    }

    /// Who holds a lock and who waits for it; nobody where it is free.
    ///
    /// # Errors
    /// A name that is none, or no answer.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn check(&self, name: &str) -> Result<Option<LockView>, CallError> {
        let name = LockName::encode(name)?;
        self.caller.view(&name).await
    }

    /// All held or waited-for locks whose names begin so, in byte order of the encoded name.
    ///
    /// # Errors
    /// No answer.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn list(&self, prefix: &str) -> Result<Vec<(LockName, LockView)>, CallError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.caller.list(prefix, crate::engine::LISTED, after).await?;
            let Answer::List { locks, next } = page.answer else {
                return Err(CallError::Protocol("no answer to list".into()));
            };
            all.extend(locks);
            match next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// What happens to locks from now on. Events are sent at most once: what must not be missed is asked for
    /// with [`Client::check`].
    ///
    /// # Errors
    /// The subscription could not be made.
    pub async fn watch(&self, what: Watched<'_>) -> Result<BoxStream<'static, Seen>, TransportError> {
        self.caller.watch(what).await
    }

    /// Waits until all that was released or given up is answered, or has ended by itself.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn settled(&self) {
        let (told, settled) = oneshot::channel();
        if self.commands.send(Command::Settle(told)).is_ok() {
            // It fails only if the background task is gone, and everything with it.
            let _ = settled.await;
        }
    }
}

/// An acquisition without a guard yet. Dropping it takes the request back.
struct Pending<'a> {
    commands: &'a mpsc::UnboundedSender<Command>,
    handle: Option<Handle>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle {
            // It fails only if the background task is gone, and the request with it.
            let _ = self.commands.send(Command::GiveUp(handle));
        }
    }
}

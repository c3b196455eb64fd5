//! The coordinator: leadership of a shard, and the task that serves it.

mod actions;
mod audit;
mod config;
mod counting;
mod discovery;
mod holds;
mod io;
mod latest;
mod observer;
// Not a part of the interface: the simulator in tests/sim drives the real step function.
#[doc(hidden)]
pub mod leadership;
mod outbox;
mod rates;
pub mod recovery;
mod report;
mod requests;
mod serving;
mod shard;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::store::{Store, StoreError};
use crate::transport::{Transport, TransportError};
use crate::types::{Epoch, Key};
use crate::wire::record::HOLDERS_MAX;
use crate::wire::subject::SubjectSpace;

use self::shard::{Command, Shard};

pub use self::config::Config;
pub use self::observer::{Observer, Picture, Wish};

/// The shortest leadership lease that is allowed.
pub const LEADER_LEASE_MIN: Duration = Duration::from_secs(1);
/// The longest.
pub const LEADER_LEASE_MAX: Duration = Duration::from_secs(60);

/// What a coordinator is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It does not lead: it has just begun, another coordinator leads, or the store does not answer.
    Standby,
    /// It leads and serves requests. Whether it is sure of that at this moment, its own clock decides.
    Leading {
        /// Since which epoch.
        epoch: Epoch,
    },
    /// It leads a shard whose store went back in time or was replaced; nothing is granted.
    Quarantined {
        /// What was found.
        why: String,
    },
    /// It has ended.
    Stopped,
}

impl Status {
    /// True where it leads.
    pub const fn is_leading(&self) -> bool {
        matches!(self, Self::Leading { .. })
    }
}

/// Why a coordinator could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting outside its limits.
    #[error("the leadership lease must be {LEADER_LEASE_MIN:?} to {LEADER_LEASE_MAX:?}, not {given:?}")]
    LeaderLease {
        /// What was given.
        given: Duration,
    },
    /// A limit of holders that a record cannot keep.
    #[error("a lock has at most {HOLDERS_MAX} holders, {given} are allowed by the limits")]
    Holders {
        /// What was given.
        given: usize,
    },
    /// The store does not answer or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The connection does not carry messages.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// A coordinator that runs in this process: it leads its shard whenever nobody else does, and serves requests
/// while it leads.
///
/// Dropping it makes it resign in the background; [`Coordinator::shutdown`] waits for that. If the process dies
/// before, the next coordinator waits out its leadership lease before it expires anybody.
#[derive(Debug)]
pub struct Coordinator {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    observer: Observer,
    task: JoinHandle<()>,
}

impl Coordinator {
    /// Starts one on a store and a connection of its own. The connection must not be shared with clients of the
    /// same process, and must not get its own messages back.
    ///
    /// # Errors
    /// A setting outside its limits, or a store or connection that does not answer.
    pub async fn start<S: Store, T: Transport, C: Clock>(
        store: S,
        transport: T,
        clock: C,
        config: Config,
    ) -> Result<Self, StartError> {
        if !(LEADER_LEASE_MIN..=LEADER_LEASE_MAX).contains(&config.leader_lease) {
            return Err(StartError::LeaderLease { given: config.leader_lease });
        }
        let given = config.limits.holders_per_lock_max;
        if given > HOLDERS_MAX {
            return Err(StartError::Holders { given });
        }
        let identity = store.identity().await?;
        // What a term needs is tried before there is one: a missing right is found now, and not by a leader.
        drop(store.follow().await?);
        store.read(Key::Epoch).await?;
        let requests = SubjectSpace::new(config.namespace.clone()).requests();
        drop(transport.listen(requests).await?);
        let (commands, inbox) = mpsc::channel(1);
        let (told, status) = watch::channel(Status::Standby);
        let observer = Observer::new(&commands, status.clone(), store.clone(), clock.clone());
        let shard = Shard::new((store, transport, clock), config, identity, inbox, told).await?;
        Ok(Self { commands, status, observer, task: tokio::spawn(shard.run()) })
    }

    /// What it is doing.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// To follow what it is doing, also beyond its end.
    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// A way to look at what it does, which does not keep it alive.
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }

    /// Waits until it leads and serves requests; `false` where it ends before that. While another coordinator
    /// leads, that is for ever.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ready(&mut self) -> bool {
        let leading = self.status.wait_for(Status::is_leading).await;
        leading.is_ok()
    }

    /// Waits until it is doing something else than before, and says what.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn changed(&mut self) -> Status {
        if self.status.changed().await.is_err() {
            return Status::Stopped;
        }
        self.status.borrow_and_update().clone()
    }

    /// Resigns and ends: those who wait are told, and the next coordinator need not wait out the leadership
    /// lease. Bounded by about three seconds.
    ///
    /// # Cancel safety
    /// Dropping it does not stop the resignation.
    pub async fn shutdown(self) {
        let (told, done) = oneshot::channel();
        if self.commands.send(Command::Shutdown(told)).await.is_ok() {
            // It ends with an error only if the task has ended already.
            let _ = done.await;
        }
        let _ = self.task.await;
    }
}

//! One request, one answer: everything but holding a lock. What is asked here may be repeated without a second
//! thought, and is, until it is answered.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::engine::message::{Ask, LeaseRef, LockView};
use crate::transport::{SharedTransport, Transport as _, TransportError};
use crate::types::{LockName, Timestamp};
use crate::wire::event::{self, Heard};
use crate::wire::info::Info;
use crate::wire::reply::Answer;
use crate::wire::request::{encode, encode_info, encode_stats};
use crate::wire::subject::{SubjectSpace, Verb};
use crate::wire::{DecodeError, Format};

use super::link::Link;
use super::{CallError, ClientOptions};

/// Asks the coordinator of one namespace, in the name of one owner. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Caller {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) link: Link,
    pub(super) options: ClientOptions,
    pub(super) subjects: SubjectSpace,
    /// The highest epoch that any answer spoke for.
    pub(super) epoch: AtomicU64,
    /// Told whenever a leader takes over: the highest epoch that was announced.
    pub(super) leaders: watch::Receiver<u64>,
    listener: JoinHandle<()>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// An answer, typed and as it came.
#[derive(Debug, Clone)]
pub struct Answered {
    /// What it says.
    pub answer: Answer,
    /// The bytes on the wire.
    pub raw: Bytes,
    /// When the request that it belongs to was sent.
    pub sent: Timestamp,
}

impl Caller {
    /// A client on this connection, with an inbox of its own.
    ///
    /// # Errors
    /// The subscriptions could not be made.
    pub async fn new(transport: SharedTransport, options: ClientOptions) -> Result<Self, TransportError> {
        let subjects = SubjectSpace::new(options.namespace.clone());
        let leaders = transport.subscribe(subjects.leader_events()).await?;
        let (told, heard) = watch::channel(0);
        let listener = tokio::spawn(listen(leaders, told));
        let link = Link::open(transport).await?;
        let epoch = AtomicU64::new(0);
        let shared = Shared { link, options, subjects, epoch, leaders: heard, listener };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// In whose name it asks, and where.
    pub fn options(&self) -> &ClientOptions {
        &self.shared.options
    }

    /// Keeps a lease alive for its whole lease time from the sending of this request.
    ///
    /// # Errors
    /// The lease is over (`not_holder`, `finished`), or there was no answer.
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the lease was renewed.
    pub async fn renew(&self, name: &LockName, lease: LeaseRef) -> Result<Answered, CallError> {
        self.ask(Verb::Renew, Some(name), Ask::Renew { name: name.clone(), lease }).await
    }

    /// Gives a lock back, or stops waiting for it. Final for the id. With a `keep` above zero the lock stays
    /// held that much longer.
    ///
    /// # Errors
    /// The id holds nothing (`not_holder`), or there was no answer: the lease then ends by itself.
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the lock was released; calling it again does no harm.
    pub async fn release(
        &self,
        name: &LockName,
        lease: LeaseRef,
        keep: Duration,
    ) -> Result<Answered, CallError> {
        self.ask(Verb::Release, Some(name), Ask::Release { name: name.clone(), lease, keep }).await
    }

    /// Who holds a lock, and who waits; at most `limit` of each are listed.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn check(&self, name: &LockName, limit: usize) -> Result<Answered, CallError> {
        self.ask(Verb::Check, Some(name), Ask::Check { name: name.clone(), limit }).await
    }

    /// A page of the held and waited-for locks whose encoded names begin with `prefix`.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn list(
        &self,
        prefix: &str,
        limit: usize,
        after: Option<LockName>,
    ) -> Result<Answered, CallError> {
        self.ask(Verb::List, None, Ask::List { prefix: prefix.to_owned(), limit, after }).await
    }

    /// Ends every lease of a lock without its holders' consent. They may not hear of it; their tokens are lower
    /// than those that follow.
    ///
    /// # Errors
    /// Nobody holds it (`not_holder`), or there was no answer.
    pub async fn admin_release(
        &self,
        name: &LockName,
        reason: Option<String>,
    ) -> Result<Answered, CallError> {
        self.ask(Verb::AdminRelease, Some(name), Ask::AdminRelease { name: name.clone(), reason }).await
    }

    /// Who leads, and with which limits.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn info(&self) -> Result<Answered, CallError> {
        self.call(Verb::Info, None, encode_info(Format::Json)).await
    }

    /// What the leader has counted: of all locks, and of the `top` busiest whose encoded names begin with
    /// `prefix`.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn stats(&self, prefix: &str, top: usize) -> Result<Answered, CallError> {
        self.call(Verb::Stats, None, encode_stats(Format::Json, prefix, top)).await
    }

    /// What happens to a lock, to the locks below a name, or to all of them, from now on. Events are sent at
    /// most once: what must not be missed is asked for with [`Caller::check`].
    ///
    /// # Errors
    /// The subscription could not be made.
    pub async fn watch(&self, what: Watched<'_>) -> Result<BoxStream<'static, Seen>, TransportError> {
        let subjects = &self.shared.subjects;
        let subject = match what {
            Watched::Lock(name) => subjects.events_of(name),
            Watched::Below(name) => subjects.events_below(name),
            Watched::All => subjects.events(),
        };
        let messages = self.shared.link.transport().subscribe(subject).await?;
        Ok(messages
            .map(|message| Seen { heard: event::decode(&message.payload), raw: message.payload })
            .boxed())
    }

    /// Who holds the lock and who waits, or nobody.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn view(&self, name: &LockName) -> Result<Option<LockView>, CallError> {
        match self.check(name, crate::engine::LISTED).await?.answer {
            Answer::Held(view) => Ok(Some(view)),
            _ => Ok(None),
        }
    }

    /// Who leads, and with which limits.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn leaders(&self) -> Result<Info, CallError> {
        match self.info().await?.answer {
            Answer::Info(info) => Ok(*info),
            other => Err(CallError::Protocol(format!("{other:?} is no answer to info"))),
        }
    }

    async fn ask(&self, verb: Verb, name: Option<&LockName>, ask: Ask) -> Result<Answered, CallError> {
        self.call(verb, name, encode(Format::Json, &ask)).await
    }
}

/// What to watch.
#[derive(Debug, Clone, Copy)]
pub enum Watched<'a> {
    /// One lock.
    Lock(&'a LockName),
    /// The locks whose names begin with this one and a dot.
    Below(&'a LockName),
    /// Every lock of the namespace.
    All,
}

/// An event, typed and as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What it says.
    pub heard: Result<Heard, DecodeError>,
    /// The bytes on the wire.
    pub raw: Bytes,
}

async fn listen(mut leaders: BoxStream<'static, crate::transport::Message>, told: watch::Sender<u64>) {
    while let Some(message) = leaders.next().await {
        let epoch = match event::decode(&message.payload) {
            Ok(Heard::Leader { leader, .. }) => leader.epoch.get(),
            // Whatever it says, it says that something has changed.
            _ => 0,
        };
        told.send_modify(|highest| *highest = epoch.max(*highest));
    }
}

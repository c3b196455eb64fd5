//! Looking at a coordinator from within its process: what it has counted and what it knows, without NATS.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};

use super::Status;
use super::shard::{Command, Shard};
use crate::clock::{Clock, within};
use crate::engine::Census;
use crate::engine::message::{LockView, Now};
use crate::measures::Second;
use crate::measures::exposition::{self, Standing};
use crate::store::Store;
use crate::transport::Transport;
use crate::types::{Epoch, LockName, Namespace, Revision, WallTime};
use crate::wire::stats::Stats;

/// How long the store may take to answer before it counts as gone.
const STORE_PATIENCE: Duration = Duration::from_secs(2);
/// How many holders and waiters of each lock a page shows.
const EACH: usize = 5;
/// How many of the busiest locks are shown beside the page.
const BUSIEST: usize = 20;

/// What is wanted.
pub(super) enum Look {
    Metrics(oneshot::Sender<String>),
    Picture(Wish, oneshot::Sender<Picture>),
}

/// What a picture is to show.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Locks whose encoded names begin so.
    pub prefix: String,
    /// At most so many of them.
    pub limit: usize,
    /// One lock with all its holders and waiters.
    pub detail: Option<LockName>,
    /// How many events have been shown already.
    pub events_seen: u64,
}

/// What a coordinator knows at one moment.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Whose locks these are.
    pub namespace: Namespace,
    /// What it is doing.
    pub status: Status,
    /// Whether it is sure of its leadership at this moment.
    pub sure: bool,
    /// Its term; that of nobody where it does not lead.
    pub epoch: Epoch,
    /// When this was, by the wall clock.
    pub at: WallTime,
    /// What it has counted.
    pub stats: Stats,
    /// The last minutes.
    pub recent: Vec<Second>,
    /// Locks, in order of their names: a page of those that begin with the prefix, and the busiest of those.
    pub locks: Vec<(LockName, LockView)>,
    /// Whether there are more.
    pub more: bool,
    /// The one lock, if anybody holds it or waits for it.
    pub detail: Option<LockView>,
    /// The latest events, in JSON as they were sent. Of the grants and releases in one second no more than 200
    /// are among them.
    pub events: Vec<Bytes>,
    /// How many of them there were up to now.
    pub events_seen: u64,
}

/// Looks at a coordinator. It does not keep the coordinator alive, and a clone looks at the same.
#[derive(Clone)]
pub struct Observer {
    // Weak, because the coordinator ends when its owner lets go of the last strong one.
    commands: mpsc::WeakSender<Command>,
    status: watch::Receiver<Status>,
    store: Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Observer {
    pub(super) fn new<S: Store, C: Clock>(
        commands: &mpsc::Sender<Command>,
        status: watch::Receiver<Status>,
        store: S,
        clock: C,
    ) -> Self {
        let probe = move || {
            let (store, clock) = (store.clone(), clock.clone());
            async move { matches!(within(&clock, STORE_PATIENCE, store.identity()).await, Some(Ok(_))) }
                .boxed()
        };
        Self { commands: commands.downgrade(), status, store: Arc::new(probe) }
    }

    /// What it is doing.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Whether the store answers, within two seconds.
    pub async fn store_answers(&self) -> bool {
        (self.store)().await
    }

    /// What it has counted, as Prometheus reads it; none where it has ended.
    pub async fn metrics(&self) -> Option<String> {
        self.ask(Look::Metrics).await
    }

    /// What it knows; none where it has ended.
    pub async fn picture(&self, wish: Wish) -> Option<Picture> {
        self.ask(|told| Look::Picture(wish, told)).await
    }

    async fn ask<A>(&self, look: impl FnOnce(oneshot::Sender<A>) -> Look) -> Option<A> {
        let (told, answer) = oneshot::channel();
        self.commands.upgrade()?.send(Command::Look(look(told))).await.ok()?;
        answer.await.ok()
    }
}

impl<S: Store, T: Transport, C: Clock> Shard<S, T, C> {
    pub(super) fn look(&mut self, now: Now, look: Look) {
        // Where nobody waits for the answer any more, it is lost, and nothing with it.
        match look {
            Look::Metrics(told) => drop(told.send(self.metrics())),
            Look::Picture(wish, told) => drop(told.send(self.picture(now, &wish))),
        }
    }

    fn metrics(&mut self) -> String {
        let status = self.status.borrow().clone();
        let engine = self.serving.as_ref().map(|serving| &serving.engine);
        let standing = Standing {
            namespace: self.config.namespace.clone(),
            shard: self.config.shard,
            leading: status.is_leading(),
            quarantined: matches!(status, Status::Quarantined { .. }),
            epoch: engine.map_or(0, |engine| engine.term().epoch.get()),
            census: engine.map_or_else(Census::default, |engine| engine.census()),
        };
        let census = |name: &LockName| engine.map_or_else(Census::default, |engine| engine.census_of(name));
        exposition::text(&mut self.measures, &standing, census)
    }

    fn picture(&mut self, now: Now, wish: &Wish) -> Picture {
        let stats = self.stats(&wish.prefix, BUSIEST);
        let recent = self.measures.recent(now.boot);
        let (events, events_seen) = self.outbox.events_after(wish.events_seen);
        let mut picture = Picture {
            namespace: self.config.namespace.clone(),
            status: self.status.borrow().clone(),
            sure: false,
            epoch: Epoch::new(Revision::NONE),
            at: now.wall,
            stats,
            recent,
            locks: Vec::new(),
            more: false,
            detail: None,
            events,
            events_seen,
        };
        let Some(engine) = self.serving.as_ref().map(|serving| &serving.engine) else { return picture };
        picture.sure = engine.term().acts(now.boot);
        picture.epoch = engine.term().epoch;
        let (mut locks, next) = engine.page(now, &wish.prefix, None, (wish.limit, EACH));
        let busiest = picture.stats.locks.iter().map(|(name, _)| name);
        locks.extend(busiest.filter_map(|name| Some((name.clone(), engine.look(now, name, EACH)?))));
        locks.sort_by(|(one, _), (other, _)| one.cmp(other));
        locks.dedup_by(|(one, _), (other, _)| one == other);
        picture.locks = locks;
        picture.more = next.is_some();
        picture.detail = wish.detail.as_ref().and_then(|name| engine.look(now, name, crate::engine::LISTED));
        picture
    }
}

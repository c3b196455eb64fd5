//! What leaves the coordinator: replies, grants, events and signs of life.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::{Clock, within};
use crate::engine::message::{Event, Grant, GrantNumber, Now, Reply};
use crate::service::config::Config;
use crate::transport::Transport;
use crate::types::{CoordinatorId, Epoch, ShardId};
use crate::wire::heartbeat::Heartbeat;
use crate::wire::info::Leader;
use crate::wire::subject::SubjectSpace;
use crate::wire::{Format, event, reply};

/// How long a message may wait for a connection that takes none.
const PATIENCE: Duration = Duration::from_millis(250);

/// Where an answer goes, and in which format.
#[derive(Debug, Clone)]
pub(super) struct ReplyTo {
    pub(super) subject: Arc<str>,
    pub(super) format: Format,
}

/// Sends what the engine wants sent. A message that cannot be sent is lost, as messages may be: whoever
/// needed it repeats its request.
///
/// A connection that takes no messages must not hold up the shard's task: the first message waits a moment for
/// it, and until one gets through the others do not wait at all.
pub(super) struct Outbox<T, C> {
    transport: T,
    clock: C,
    clogged: AtomicBool,
    subjects: SubjectSpace,
    shard: ShardId,
    /// Where the server says that nobody took a grant: this and the grant's number.
    notices: String,
}

impl<T: Transport, C: Clock> Outbox<T, C> {
    pub(super) fn new(transport: T, clock: C, config: &Config) -> Self {
        let notices = transport.new_inbox();
        let subjects = SubjectSpace::new(config.namespace.clone());
        Self { transport, clock, clogged: AtomicBool::new(false), subjects, shard: config.shard, notices }
    }

    /// What to subscribe to for the notices.
    pub(super) fn notices(&self) -> String {
        format!("{}.*", self.notices)
    }

    /// The grant that a notice is about.
    pub(super) fn noticed(&self, subject: &str) -> Option<GrantNumber> {
        let number = subject.strip_prefix(&self.notices)?.strip_prefix('.')?;
        number.parse().ok().map(GrantNumber)
    }

    pub(super) async fn reply(&self, to: &ReplyTo, epoch: Epoch, what: &Reply) {
        self.send(to.subject.to_string(), None, reply::encode(to.format, epoch, what)).await;
    }

    pub(super) async fn raw(&self, to: &ReplyTo, body: Bytes) {
        self.send(to.subject.to_string(), None, body).await;
    }

    pub(super) async fn grant(&self, to: &ReplyTo, epoch: Epoch, grant: Grant, number: GrantNumber) {
        let body = reply::encode_grant(to.format, epoch, &grant);
        let notice = format!("{}.{}", self.notices, number.0);
        self.send(to.subject.to_string(), Some(notice), body).await;
    }

    pub(super) async fn event(&self, epoch: Epoch, what: &Event) {
        self.send(self.subjects.event(what.kind, &what.name), None, event::encode(epoch, what)).await;
    }

    /// Tells everybody that a leader has taken over.
    pub(super) async fn leads(&self, leader: &Leader, now: Now) {
        self.send(self.subjects.leader_event(self.shard), None, event::encode_leader(leader, now.wall)).await;
    }

    pub(super) async fn heartbeat(&self, coordinator: CoordinatorId, epoch: Epoch) {
        let beat = Heartbeat { coordinator, epoch, shard: self.shard };
        self.send(self.subjects.heartbeat(self.shard), None, beat.encode()).await;
    }

    async fn send(&self, subject: String, reply: Option<String>, body: Bytes) {
        let patience = if self.clogged.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
        let sent = within(&self.clock, patience, self.transport.publish(subject, reply, body)).await;
        let was_clogged = self.clogged.swap(sent.is_none(), Ordering::Relaxed);
        match sent {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "a message was not sent"),
            None if was_clogged => {}
            None => tracing::warn!("the connection takes no messages; answers are lost until it does"),
        }
    }
}

//! What leaves the coordinator: replies, grants, events and signs of life.

use std::sync::Arc;

use bytes::Bytes;

use super::config::Config;
use super::latest::Latest;
use crate::clock::Clock;
use crate::engine::message::{Event, Grant, GrantNumber, Now, Reply};
use crate::transport::{Impatient, Transport};
use crate::types::{Epoch, LockName, OwnerName, ShardId};
use crate::wire::heartbeat::Heartbeat;
use crate::wire::info::Leader;
use crate::wire::report::Report;
use crate::wire::request::{Asked, Decoded};
use crate::wire::subject::{SubjectSpace, Verb};
use crate::wire::{Format, event, reply};

/// Where an answer goes, in which format, and who asked for what.
#[derive(Debug, Clone)]
pub(super) struct ReplyTo {
    pub(super) subject: Arc<str>,
    pub(super) format: Format,
    pub(super) asker: Asker,
}

/// Who asked for what: for the log.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) owner: OwnerName,
    pub(super) verb: Verb,
    pub(super) name: Option<LockName>,
}

impl Asker {
    pub(super) fn of(decoded: &Decoded) -> Self {
        let name = match &decoded.asked {
            Asked::Engine(ask) => ask.name().cloned(),
            Asked::Info | Asked::Stats { .. } => None,
        };
        Self { owner: decoded.owner.clone(), verb: decoded.asked.verb(), name }
    }
}

/// Sends what the engine wants sent. A message that cannot be sent is lost, as messages may be: whoever
/// needed it repeats its request.
pub(super) struct Outbox<T, C> {
    sender: Impatient<T, C>,
    subjects: SubjectSpace,
    shard: ShardId,
    /// Where the server says that nobody took a grant: this and the grant's number.
    notices: String,
    /// The latest events, where anybody may look at them.
    latest: Option<Latest>,
}

impl<T: Transport, C: Clock> Outbox<T, C> {
    pub(super) fn new(transport: T, clock: C, config: &Config) -> Self {
        let notices = transport.new_inbox();
        let subjects = SubjectSpace::new(config.namespace.clone());
        Self {
            sender: Impatient::new(transport, clock),
            subjects,
            shard: config.shard,
            notices,
            latest: config.counts.then(Latest::default),
        }
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
        self.reply_in(to.format, &to.subject, epoch, what).await;
    }

    pub(super) async fn reply_in(&self, format: Format, subject: &str, epoch: Epoch, what: &Reply) {
        self.send(subject.to_owned(), None, reply::encode(format, epoch, what)).await;
    }

    pub(super) async fn raw(&self, to: &ReplyTo, body: Bytes) {
        self.send(to.subject.to_string(), None, body).await;
    }

    /// To whoever looks for services of NATS.
    pub(super) async fn introduce(&self, subject: String, body: Bytes) {
        self.send(subject, None, body).await;
    }

    pub(super) async fn grant(&self, to: &ReplyTo, epoch: Epoch, grant: Grant, number: GrantNumber) {
        let body = reply::encode_grant(to.format, epoch, &grant);
        let notice = format!("{}.{}", self.notices, number.0);
        self.send(to.subject.to_string(), Some(notice), body).await;
    }

    pub(super) async fn event(&mut self, epoch: Epoch, what: &Event) {
        let body = event::encode(epoch, what);
        if let Some(latest) = &mut self.latest {
            latest.keep(what, &body);
        }
        self.send(self.subjects.event(what.kind, &what.name), None, body).await;
    }

    /// The events that are kept, behind the first `seen`, and how many were kept altogether.
    pub(super) fn events_after(&self, seen: u64) -> (Vec<Bytes>, u64) {
        self.latest.as_ref().map_or((Vec::new(), 0), |latest| latest.after(seen))
    }

    /// Tells everybody that a leader has taken over.
    pub(super) async fn leads(&self, leader: &Leader, now: Now) {
        self.send(self.subjects.leader_event(self.shard), None, event::encode_leader(leader, now.wall)).await;
    }

    pub(super) async fn heartbeat(&self, beat: Heartbeat) {
        self.send(self.subjects.heartbeat(self.shard), None, beat.encode()).await;
    }

    pub(super) async fn report(&self, to: String, report: &Report) {
        self.send(to, None, report.encode()).await;
    }

    async fn send(&self, subject: String, reply: Option<String>, body: Bytes) {
        self.sender.send(subject, reply, body).await;
    }
}

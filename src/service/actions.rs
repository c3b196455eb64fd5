//! What the leadership and the engine want done, and how it is done.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::oneshot;

use super::Status;
use super::audit;
use super::holds::Holds;
use super::io;
use super::leadership::Action;
use super::outbox::ReplyTo;
use super::report::Reporting;
use super::serving::Serving;
use super::shard::Shard;
use crate::clock::{Clock, within};
use crate::engine::message::{Event, Now, Output};
use crate::engine::{Engine, Term};
use crate::store::Store;
use crate::transport::Transport;
use crate::types::{Epoch, Timestamp};
use crate::wire::heartbeat::Heartbeat;
use crate::wire::info::Leader;

/// How long a resignation may take.
const RESIGN_FOR: Duration = Duration::from_secs(3);
/// How long writes that are under way are waited for before.
const SETTLE_FOR: Duration = Duration::from_millis(100);

impl<S: Store, T: Transport, C: Clock> Shard<S, T, C> {
    /// Does what the leadership and the engine want done, until neither wants anything.
    pub(super) async fn act(&mut self) {
        self.count();
        loop {
            if let Some(action) = self.leadership.poll_action() {
                self.act_on(action).await;
            } else if let Some(output) = self.serving.as_mut().and_then(|s| s.engine.poll_output()) {
                self.act_for_engine(output).await;
            } else {
                return;
            }
        }
    }

    async fn act_for_engine(&mut self, output: Output<ReplyTo>) {
        let Some(serving) = &self.serving else { return };
        let (term, epoch) = (serving.number, serving.engine.term().epoch);
        let after = self.leadership.highest();
        match output {
            Output::Reply { to, reply } => {
                audit::answered(&to.asker, &reply);
                self.outbox.reply(&to, epoch, &reply).await;
            }
            Output::Grant { to, grant, number } => self.outbox.grant(&to, epoch, grant, number).await,
            Output::Event(event) => self.tell(epoch, &event).await,
            Output::Write(write) => self.work.push(io::write(self.store.clone(), term, after, write)),
            Output::Batch(batch) => {
                self.work.push(io::write_batch(self.store.clone(), term, epoch, after, batch))
            }
            Output::Confirm(ticket) => self.leadership.confirm(self.clock.now().boot, ticket),
        }
    }

    async fn tell(&mut self, epoch: Epoch, event: &Event) {
        audit::happened(epoch, event);
        if let Some(serving) = self.serving.as_mut().filter(|_| self.config.counts) {
            serving.holds.note(epoch, event);
        }
        if self.config.tells {
            self.outbox.event(epoch, event).await;
        }
    }

    async fn act_on(&mut self, action: Action) {
        let store = self.store.clone();
        match action {
            Action::ReadShard => self.work.push(io::read_shard(store)),
            Action::Takeover { expected, epoch, lease } => {
                self.work.push(io::take_over(store, expected, &epoch, &lease));
            }
            Action::WriteLease { expected, lease } => {
                let after = self.leadership.highest();
                self.work.push(io::write_lease(store, (self.terms, after), expected, &lease));
            }
            Action::ReadLease { revision } => self.work.push(io::read_lease(store, revision)),
            Action::CheckIdentity => self.work.push(io::identify(store)),
            Action::Lead(term) => self.lead(term).await,
            Action::Extend { until } => {
                let now = self.clock.now();
                if let Some(serving) = &mut self.serving {
                    serving.engine.extend(now, until);
                }
            }
            Action::Confirmed { ticket, revision } => {
                let now = self.clock.now();
                if let Some(serving) = &mut self.serving {
                    serving.engine.handle_confirmed(now, ticket, revision);
                }
            }
            Action::StepDown { why } => {
                tracing::warn!(why, shard = %self.config.shard, "stepping down");
                self.note_term();
                self.serving = None;
                self.status.send_replace(Status::Standby);
            }
            Action::Quarantine { why } => {
                tracing::error!(why, shard = %self.config.shard, "the shard is quarantined");
                self.note_longest();
                if let Some(serving) = &mut self.serving {
                    serving.engine.quarantine(why.clone());
                }
                self.status.send_replace(Status::Quarantined { why });
            }
            Action::Recovered => {
                tracing::info!(shard = %self.config.shard, "the shard was recovered");
                self.report = Reporting::default();
                self.identity = None;
            }
            Action::Heartbeat { epoch } => self.outbox.heartbeat(self.beat(epoch, false)).await,
            Action::Farewell { epoch } => self.outbox.heartbeat(self.beat(epoch, true)).await,
            Action::Over => self.over = true,
        }
    }

    fn beat(&self, epoch: Epoch, resigned: bool) -> Heartbeat {
        let (coordinator, shard, highest) = (self.me, self.config.shard, self.leadership.highest());
        Heartbeat { coordinator, epoch, shard, resigned, highest }
    }

    /// The takeover is acknowledged. Requests are not served before everything is loaded.
    async fn lead(&mut self, term: Term) {
        self.terms += 1;
        self.measures.took_over();
        let leader = self.leader(&term);
        let engine = Engine::new(self.config.limits.clone(), term);
        self.serving = Some(Serving {
            engine: if self.config.counts { engine.observed() } else { engine },
            holds: Holds::default(),
            number: self.terms,
            records: None,
            requests: None,
            identified: false,
            loaded: false,
        });
        self.work.push(io::identify(self.store.clone()));
        self.work.push(io::follow(self.store.clone(), self.clock.clone(), self.terms));
        self.outbox.leads(&leader, self.clock.now()).await;
    }

    pub(super) fn leader(&self, term: &Term) -> Leader {
        Leader {
            shard: self.config.shard,
            epoch: term.epoch,
            coordinator: self.me,
            host: self.config.host.clone(),
            pid: self.config.pid,
        }
    }

    /// Waits for the writes that are under way, so that what they change is told by who knows it.
    async fn settle(&mut self, until: Timestamp) {
        while self.serving.as_ref().is_some_and(|serving| serving.engine.is_writing()) {
            let patience = until.since(self.clock.now().boot);
            let Some(Some(done)) = within(&self.clock, patience, self.work.next()).await else { break };
            self.handle_done(self.clock.now(), done);
            self.act().await;
        }
    }

    /// A leader that is sure of its leadership would keep it for ever without serving anybody. One that is not may be
    /// without any connection, and tries on.
    pub(super) async fn handle_deaf(&mut self, now: Now, term: u64) {
        let serving = self.serving.as_ref().filter(|serving| serving.number == term);
        match serving.map(|serving| serving.engine.term().acts(now.boot)) {
            Some(true) => self.give_up(now).await,
            Some(false) => self.subscribe(term),
            None => {}
        }
    }

    /// Resigns and ends, so that another can lead.
    pub(super) async fn give_up(&mut self, now: Now) {
        tracing::error!("requests cannot be heard: resigning");
        self.stop(now, oneshot::channel().0).await;
    }

    /// Tells those who wait, falls silent, and writes the resignation.
    pub(super) async fn stop(&mut self, now: Now, told: oneshot::Sender<()>) {
        if let Some(serving) = &mut self.serving {
            serving.requests = None;
            serving.engine.handle_shutdown(now);
        }
        self.act().await;
        self.settle(now.boot + SETTLE_FOR).await;
        self.serving = None;
        self.stopping = Some((now.boot + RESIGN_FOR, told));
        self.leadership.resign(self.clock.now().boot);
    }
}

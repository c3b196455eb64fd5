//! The driver of one shard: it brings what arrives to the leadership and the engine, and does what they want
//! done. It decides nothing about locks itself.
//!
//! One task owns all of it. Writes run beside it, as many as the engine wants, so a slow write on one lock
//! never delays another; their outcomes come back as one of the inputs.

use std::future::{Future, pending};
use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, FuturesUnordered};
use tokio::sync::{mpsc, oneshot, watch};

use super::Status;
use super::config::Config;
use super::discovery;
use super::io::{self, Done};
use super::leadership::{Identity, Leadership};
use super::observer::Look;
use super::outbox::Outbox;
use super::rates::Rates;
use super::report::Reporting;
use super::serving::Serving;
use crate::clock::{Clock, within};
use crate::engine::message::{LockEntry, Now};
use crate::measures::Measures;
use crate::store::{Delivery, Entry, Store, WriteOutcome};
use crate::transport::{Message, Transport, TransportError};
use crate::types::{CoordinatorId, Key, Revision, Timestamp};
use crate::wire::heartbeat::Heartbeat;
use crate::wire::subject::SubjectSpace;

/// How long the last messages may take to leave.
const FLUSH_FOR: std::time::Duration = std::time::Duration::from_secs(1);

/// What the owner of a coordinator may tell it.
pub(super) enum Command {
    /// To tell what it has counted and what it knows.
    Look(Look),
    /// To resign and end; the sender is told when that is done.
    Shutdown(oneshot::Sender<()>),
}

/// Something that happened.
enum Input {
    Command(Option<Command>),
    Done(Done),
    Record(Option<Delivery>),
    Heartbeat(Option<Message>),
    Notice(Option<Message>),
    Inquiry(Option<Message>),
    Request(Option<Message>),
    Discovery(Message),
    Time,
}

type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// One shard of one coordinator.
pub(super) struct Shard<S, T, C> {
    pub(super) config: Config,
    pub(super) me: CoordinatorId,
    pub(super) subjects: SubjectSpace,
    pub(super) outbox: Outbox<T, C>,
    pub(super) serving: Option<Serving>,
    pub(super) measures: Measures,
    /// Requests whose reply subject was refused.
    pub(super) refused_replies: u64,
    pub(super) rates: Rates,
    pub(super) clock: C,
    pub(super) store: S,
    pub(super) transport: T,
    pub(super) leadership: Leadership,
    /// Which store this was at the beginning (S11); none after a recovery, until the next term has asked.
    pub(super) identity: Option<String>,
    pub(super) report: Reporting,
    pub(super) work: FuturesUnordered<Work>,
    commands: mpsc::Receiver<Command>,
    heartbeats: BoxStream<'static, Message>,
    notices: BoxStream<'static, Message>,
    inquiries: BoxStream<'static, Message>,
    discovery: BoxStream<'static, Message>,
    pub(super) status: watch::Sender<Status>,
    pub(super) terms: u64,
    pub(super) stopping: Option<(Timestamp, oneshot::Sender<()>)>,
    pub(super) over: bool,
    /// Whether the leadership was sure when last looked at, for the log.
    sure: bool,
}

impl<S: Store, T: Transport, C: Clock> Shard<S, T, C> {
    /// Subscribes to what a coordinator must always hear.
    pub(super) async fn new(
        (store, transport, clock): (S, T, C),
        config: Config,
        identity: String,
        commands: mpsc::Receiver<Command>,
        status: watch::Sender<Status>,
    ) -> Result<Self, TransportError> {
        let me = CoordinatorId::random();
        let subjects = SubjectSpace::new(config.namespace.clone());
        let outbox = Outbox::new(transport.clone(), clock.clone(), &config);
        let heartbeats = transport.subscribe(subjects.heartbeat(config.shard)).await?;
        let notices = transport.subscribe(outbox.notices()).await?;
        let rates = Rates::new(config.owner_rate);
        let inquiries = transport.subscribe(subjects.inquiry(config.shard)).await?;
        let discovery = discovery::listen(&transport, me).await;
        let leadership = Leadership::new(Identity {
            coordinator: me,
            host: config.host.clone(),
            pid: config.pid,
            leader_lease: config.leader_lease,
        });
        Ok(Self {
            config,
            me,
            subjects,
            outbox,
            serving: None,
            measures: Measures::new(clock.now().wall),
            refused_replies: 0,
            rates,
            clock,
            store,
            transport,
            leadership,
            identity: Some(identity),
            report: Reporting::default(),
            work: FuturesUnordered::new(),
            commands,
            heartbeats,
            notices,
            inquiries,
            discovery,
            status,
            terms: 0,
            stopping: None,
            over: false,
            sure: false,
        })
    }

    /// Runs until the coordinator is told to end.
    pub(super) async fn run(mut self) {
        loop {
            self.act().await;
            let now = self.clock.now();
            if self.is_over(now.boot) {
                break;
            }
            self.note_sureness(now.boot);
            // What is due is done first, or a flood of other inputs could put it off for ever.
            let due = self.next_timeout().is_some_and(|at| at <= now.boot);
            let input = if due { Input::Time } else { self.next_input().await };
            // Whatever arrived, the clock is read after it (S3).
            let now = self.clock.now();
            self.handle(now, input).await;
        }
        // What was said last, the farewell of a leader above all, has to leave before the process ends.
        within(&self.clock, FLUSH_FOR, self.transport.flush()).await;
        self.status.send_replace(Status::Stopped);
        if let Some((_, told)) = self.stopping.take() {
            // Nobody may be waiting for it any more.
            let _ = told.send(());
        }
    }

    /// An operator has to be able to tell why nobody is answered.
    fn note_sureness(&mut self, now: Timestamp) {
        let term = self.serving.as_ref().map(|serving| serving.engine.term());
        let sure = term.is_some_and(|term| term.acts(now));
        if self.sure && !sure && term.is_some() {
            tracing::warn!("silent: no write of the leader's own record was acknowledged in time");
        } else if !self.sure && sure && self.status.borrow().is_leading() {
            tracing::info!("sure of the leadership again");
        }
        self.sure = sure;
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.over || self.stopping.as_ref().is_some_and(|(until, _)| *until <= now)
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        let engine = self.serving.as_ref().and_then(|serving| serving.engine.poll_timeout());
        let stopping = self.stopping.as_ref().map(|(until, _)| *until);
        [self.leadership.poll_timeout(), engine, stopping].into_iter().flatten().min()
    }

    async fn next_input(&mut self) -> Input {
        let timeout = self.next_timeout();
        let clock = self.clock.clone();
        let time = async move {
            match timeout {
                Some(at) => clock.sleep_until(at).await,
                None => pending().await,
            }
        };
        let (mut records, mut requests) = (None, None);
        if let Some(serving) = &mut self.serving {
            records = serving.records.as_mut();
            requests = serving.requests.as_mut();
        }
        tokio::select! {
            biased;
            command = self.commands.recv(), if self.stopping.is_none() => Input::Command(command),
            Some(done) = self.work.next() => Input::Done(done),
            record = next_of(records) => Input::Record(record),
            beat = self.heartbeats.next() => Input::Heartbeat(beat),
            notice = self.notices.next() => Input::Notice(notice),
            inquiry = self.inquiries.next() => Input::Inquiry(inquiry),
            request = next_of(requests) => Input::Request(request),
            Some(message) = self.discovery.next() => Input::Discovery(message),
            () = time => Input::Time,
        }
    }

    async fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Command(Some(Command::Look(look))) => self.look(now, look),
            Input::Command(Some(Command::Shutdown(told))) => self.stop(now, told).await,
            // A coordinator whose owner is gone ends like one that was told to.
            Input::Command(None) => self.stop(now, oneshot::channel().0).await,
            Input::Done(Done::Deaf { term }) => self.handle_deaf(now, term).await,
            Input::Done(done) => self.handle_done(now, done),
            Input::Record(record) => self.handle_record(now, record),
            Input::Heartbeat(Some(message)) => self.handle_heartbeat(now, &message),
            Input::Notice(Some(message)) => self.handle_notice(now, &message),
            Input::Inquiry(Some(message)) => self.handle_inquiry(message).await,
            Input::Request(Some(message)) => self.handle_request(now, message).await,
            Input::Discovery(message) => self.introduce(&message).await,
            Input::Request(None) => self.give_up(now).await,
            Input::Heartbeat(None) | Input::Notice(None) | Input::Inquiry(None) => {
                // The connection is closed for good: nothing can be led without it.
                tracing::error!("the connection is closed");
                self.over = true;
            }
            Input::Time => {
                self.leadership.handle_timeout(now.boot);
                if let Some(serving) = &mut self.serving {
                    serving.engine.handle_timeout(now);
                }
            }
        }
    }

    pub(super) fn handle_done(&mut self, now: Now, done: Done) {
        let current = |serving: &&mut Serving, term: u64| serving.number == term;
        match done {
            Done::Written { term, name, attempt, after, outcome } => {
                self.handle_stored(after, outcome);
                if let Some(serving) = self.serving.as_mut().filter(|serving| current(serving, term)) {
                    serving.engine.handle_written(now, &name, attempt, outcome);
                }
            }
            Done::BatchWritten { term, attempt, after, outcome } => {
                self.handle_stored(after, outcome);
                if let Some(serving) = self.serving.as_mut().filter(|serving| current(serving, term)) {
                    serving.engine.handle_batch_written(now, attempt, outcome);
                }
            }
            Done::Following { term, records } => {
                if let Some(serving) = self.serving.as_mut().filter(|serving| current(serving, term)) {
                    serving.records = Some(records);
                }
            }
            Done::Subscribed { term, requests } => {
                if let Some(serving) = self.serving.as_mut().filter(|serving| current(serving, term)) {
                    serving.requests = Some(requests);
                    let epoch = serving.engine.term().epoch;
                    tracing::info!(%epoch, shard = %self.config.shard, "leading");
                    self.status.send_replace(Status::Leading { epoch });
                }
            }
            Done::TakeoverWritten(outcome) => self.leadership.handle_takeover(now.boot, outcome),
            Done::LeaseWritten { term, after, outcome } => {
                self.handle_stored(after, outcome);
                // What became of a write of an earlier term says nothing about one of this.
                if term == self.terms {
                    self.leadership.handle_lease_written(now.boot, outcome);
                }
            }
            Done::ShardRead(read) => self.leadership.handle_shard_read(now.boot, read),
            Done::LeaseRead { revision, record } => {
                self.leadership.handle_lease_read(now.boot, revision, record);
            }
            // It resigns, or its term is over.
            Done::Deaf { .. } => {}
            Done::Identified(found) => self.handle_identity(found),
        }
    }

    /// A coordinator that stood by while the bucket was made again meets the new one with its takeover, so no
    /// term serves before it has asked.
    fn handle_identity(&mut self, found: Option<String>) {
        if let Some(found) = found {
            let same = *self.identity.get_or_insert_with(|| found.clone()) == found;
            self.leadership.handle_identity(self.clock.now().boot, same);
            if let Some(serving) = &mut self.serving {
                serving.identified = true;
            }
            self.finish_loading();
        } else if self.serving.as_ref().is_some_and(|serving| !serving.identified) {
            self.work.push(io::identify_later(self.store.clone(), self.clock.clone()));
        }
    }

    /// A store that went back in time must not make a token (S11), so this comes before the engine hears of it.
    fn handle_stored(&mut self, after: Revision, outcome: WriteOutcome) {
        let WriteOutcome::Acknowledged(revision) = outcome else { return };
        let went_back = self.leadership.handle_stored(after, revision);
        if let (Some(why), Some(serving)) = (went_back, &mut self.serving) {
            serving.engine.quarantine(why);
        }
    }

    fn handle_record(&mut self, now: Now, record: Option<Delivery>) {
        let Some(serving) = &mut self.serving else { return };
        let entry = match record {
            Some(Delivery::Entry(entry)) => entry,
            Some(Delivery::Interrupted(why)) => {
                tracing::warn!(why, "the standing consumer was interrupted");
                self.work.push(io::identify(self.store.clone()));
                return;
            }
            None => {
                serving.records = None;
                let term = serving.number;
                self.work.push(io::follow(self.store.clone(), self.clock.clone(), term));
                return;
            }
        };
        let Entry { key, revision, value } = entry;
        self.leadership.saw(revision);
        match key {
            // The leader's own write comes back to it, and is not read again.
            Key::Lock(name) if serving.engine.knows(&name, revision) => {
                serving.engine.handle_delivered(now, revision);
            }
            Key::Lock(name) => {
                let content = io::content(value.as_deref());
                serving.engine.handle_entry(now, LockEntry { name, revision, content });
            }
            Key::Epoch => {
                serving.engine.handle_delivered(now, revision);
                self.leadership.handle_epoch_seen(now.boot, revision);
            }
            Key::Lease | Key::Journal => serving.engine.handle_delivered(now, revision),
        }
        self.finish_loading();
    }

    /// All that was written before this term is known as soon as its own epoch has been delivered (S5).
    fn finish_loading(&mut self) {
        let Some(serving) = &mut self.serving else { return };
        if serving.loaded
            || !serving.identified
            || serving.engine.delivered() < serving.engine.term().epoch.revision()
        {
            return;
        }
        serving.loaded = true;
        let term = serving.number;
        self.subscribe(term);
    }

    pub(super) fn subscribe(&self, term: u64) {
        let (transport, clock) = (self.transport.clone(), self.clock.clone());
        self.work.push(io::subscribe(transport, clock, self.subjects.requests(), term));
    }

    fn handle_heartbeat(&mut self, now: Now, message: &Message) {
        match Heartbeat::decode(&message.payload) {
            Ok(beat) if beat.shard == self.config.shard && beat.coordinator != self.me => {
                self.leadership.saw(beat.highest);
                if beat.resigned {
                    self.leadership.handle_farewell();
                } else {
                    self.leadership.handle_heartbeat(now.boot, beat.epoch);
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "not a sign of life"),
        }
    }
}

/// The next item, or never where there is no stream.
async fn next_of<M>(stream: Option<&mut BoxStream<'static, M>>) -> Option<M> {
    match stream {
        Some(stream) => stream.next().await,
        None => pending().await,
    }
}

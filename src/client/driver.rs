//! The background task of a client: it brings what arrives to the [`Core`], and does what that wants done.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::caller::Caller;
use super::core::{Core, CoreConfig, Effect, Handle, LostReason, Outcome, SendNumber};
use super::error::{AcquireError, Contended};
use super::guard::LeaseState;
use super::options::Terms;
use super::{ClientOptions, Progress, report};
use crate::clock::{Clock as _, SystemClock};
use crate::engine::message::{Ask, EventKind};
use crate::transport::{Impatient, Message, SharedTransport, Transport as _, TransportError};
use crate::types::{CoordinatorId, Epoch, LockName, Timestamp};
use crate::wire::Format;
use crate::wire::event::{self, Heard};
use crate::wire::reply::decode;
use crate::wire::request::encode;
use crate::wire::subject::{SubjectSpace, Verb};

/// What guards and futures tell the task.
pub(super) enum Command {
    Acquire(Acquisition),
    /// The future was dropped.
    GiveUp(Handle),
    Release {
        handle: Handle,
        keep: Duration,
        told: Option<oneshot::Sender<Option<Duration>>>,
    },
    /// Give it back with one message.
    Detach {
        handle: Handle,
        keep: Duration,
    },
    Leave(Handle),
    /// Tell when nothing is being released any more.
    Settle(oneshot::Sender<()>),
}

/// One acquisition, and who wants to know of it.
pub(super) struct Acquisition {
    pub(super) handle: Handle,
    pub(super) name: LockName,
    pub(super) terms: Terms,
    pub(super) told: oneshot::Sender<Conclusion>,
    pub(super) progress: mpsc::UnboundedSender<Progress>,
}

/// What became of it.
pub(super) enum Conclusion {
    Granted(Arc<LeaseState>),
    Failed(AcquireError),
}

/// An acquisition without an outcome, and since when.
struct Pending {
    began: Timestamp,
    told: oneshot::Sender<Conclusion>,
    progress: mpsc::UnboundedSender<Progress>,
}

struct Driver {
    core: Core,
    options: ClientOptions,
    subjects: SubjectSpace,
    transport: SharedTransport,
    sender: Impatient<SharedTransport, SystemClock>,
    /// All answers come to this and the number of a sending.
    inbox: String,
    answers: BoxStream<'static, Message>,
    commands: mpsc::UnboundedReceiver<Command>,
    leaders: watch::Receiver<u64>,
    /// What administrators have taken: a lease of this client may be among it.
    revoked: BoxStream<'static, Message>,
    acquiring: HashMap<Handle, Pending>,
    held: HashMap<Handle, Arc<LeaseState>>,
    releasing: HashMap<Handle, (Timestamp, oneshot::Sender<Option<Duration>>)>,
    settling: Vec<oneshot::Sender<()>>,
    /// The epoch that the latest answer spoke for.
    epoch: Option<Epoch>,
    /// All guards and clients are gone: what is being released is waited for, then the task ends.
    closing: bool,
}

/// Something that happened.
enum Input {
    Command(Option<Command>),
    Answer(Option<Message>),
    Leader,
    Revoked(Message),
    Time,
}

/// Starts the task. The inbox is subscribed to before anything can be sent.
pub(super) async fn start(
    transport: &SharedTransport,
    caller: &Caller,
) -> Result<mpsc::UnboundedSender<Command>, TransportError> {
    let inbox = transport.new_inbox();
    let answers = transport.subscribe(format!("{inbox}.*")).await?;
    let subjects = SubjectSpace::new(caller.options().namespace.clone());
    let revoked = transport.subscribe(subjects.events_of_kind(EventKind::Revoked)).await?;
    let (told, commands) = mpsc::unbounded_channel();
    let options = caller.options().clone();
    let config = CoreConfig { patience: options.patience, seed: CoordinatorId::random().0 };
    let driver = Driver {
        core: Core::new(config),
        subjects,
        options,
        transport: transport.clone(),
        sender: Impatient::new(transport.clone(), SystemClock),
        inbox,
        answers,
        commands,
        leaders: caller.shared.leaders.clone(),
        revoked,
        acquiring: HashMap::new(),
        held: HashMap::new(),
        releasing: HashMap::new(),
        settling: Vec::new(),
        epoch: None,
        closing: false,
    };
    // The task holds what announces new leaders.
    tokio::spawn(driver.run(caller.clone()));
    Ok(told)
}

impl Driver {
    async fn run(mut self, _caller: Caller) {
        loop {
            self.tell_settled();
            if self.closing && self.core.is_empty() {
                return;
            }
            let input = self.next_input().await;
            let now = SystemClock::boot();
            let mut reply = Bytes::new();
            match input {
                Input::Command(Some(command)) => self.obey(now, command),
                Input::Command(None) => self.closing = true,
                Input::Answer(Some(message)) => {
                    self.understand(now, &message);
                    reply = message.payload;
                }
                // The connection is closed for good; every lease is lost at its deadline.
                Input::Answer(None) => self.answers = futures_util::stream::pending().boxed(),
                Input::Leader => {
                    let epoch = *self.leaders.borrow();
                    self.core.handle_new_leader(now, epoch);
                }
                Input::Revoked(message) => self.hear_of_revocation(now, &message),
                Input::Time => self.core.handle_timeout(now),
            }
            self.act(&reply).await;
        }
    }

    async fn next_input(&mut self) -> Input {
        let timeout = self.core.poll_timeout();
        if timeout.is_some_and(|at| at <= SystemClock::boot()) {
            return Input::Time;
        }
        let time = async {
            match timeout {
                Some(at) => SystemClock.sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            command = self.commands.recv(), if !self.closing => Input::Command(command),
            answer = self.answers.next() => Input::Answer(answer),
            Ok(()) = self.leaders.changed() => Input::Leader,
            Some(message) = self.revoked.next() => Input::Revoked(message),
            () = time => Input::Time,
        }
    }

    fn obey(&mut self, now: Timestamp, command: Command) {
        match command {
            Command::Acquire(Acquisition { handle, name, terms, told, progress }) => {
                self.acquiring.insert(handle, Pending { began: now, told, progress });
                self.core.acquire(now, handle, name, terms);
            }
            Command::GiveUp(handle) => {
                self.acquiring.remove(&handle);
                self.held.remove(&handle);
                self.core.release(now, handle, Duration::ZERO);
            }
            Command::Release { handle, keep, told } => {
                self.held.remove(&handle);
                told.map(|told| self.releasing.insert(handle, (now, told)));
                self.core.release(now, handle, keep);
            }
            Command::Detach { handle, keep } => {
                self.held.remove(&handle);
                self.core.release_detached(now, handle, keep);
            }
            Command::Leave(handle) => {
                self.held.remove(&handle);
                self.core.leave(handle);
            }
            Command::Settle(told) => self.settling.push(told),
        }
    }

    fn understand(&mut self, now: Timestamp, message: &Message) {
        let number = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
        let Some(number) = number.map(SendNumber) else { return };
        if message.no_responders {
            self.core.handle_nobody(now, number);
            return;
        }
        match decode(&message.payload) {
            Ok((epoch, answer)) => {
                self.epoch = Some(epoch);
                self.core.handle_answer(now, number, epoch, answer);
            }
            Err(error) => tracing::warn!(%error, "an answer cannot be read"),
        }
    }

    /// The next renewal would tell it, up to a third of the lease time later.
    fn hear_of_revocation(&mut self, now: Timestamp, message: &Message) {
        if let Ok(Heard::Lock { event, .. }) = event::decode(&message.payload)
            && event.owner == self.options.owner
        {
            self.core.handle_doubt(now, event.token);
        }
    }

    /// Does what the core wants done; `reply` is the answer that brought it, if one did.
    async fn act(&mut self, reply: &Bytes) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Send { number, name, ask } => {
                    let inbox = format!("{}.{}", self.inbox, number.0);
                    self.send(name.as_ref(), Some(inbox), &ask).await;
                }
                Effect::Tell { name, ask } => self.send(Some(&name), None, &ask).await,
                effect => self.tell(effect, reply),
            }
        }
    }

    async fn send(&mut self, name: Option<&LockName>, inbox: Option<String>, ask: &Ask) {
        let verb = match ask {
            Ask::Acquire(_) => Verb::Acquire,
            Ask::Renew { .. } | Ask::RenewMany { .. } => Verb::Renew,
            _ => Verb::Release,
        };
        let subject = self.subjects.request(verb, None, &self.options.owner, name);
        self.sender.send(subject, inbox, encode(Format::Json, ask)).await;
    }

    fn tell(&mut self, effect: Effect, reply: &Bytes) {
        match effect {
            Effect::Outcome(handle, outcome) => self.tell_outcome(handle, outcome, reply),
            Effect::Progress(handle, progress) => {
                if let Some(pending) = self.acquiring.get(&handle) {
                    // Nobody has to listen.
                    let _ = pending.progress.send(progress);
                }
            }
            Effect::Extended(handle, deadline) => {
                if let Some(state) = self.held.get(&handle) {
                    report::renewed();
                    state.extend(deadline);
                }
            }
            Effect::Lost(handle, why) => {
                if let Some(state) = self.held.remove(&handle) {
                    let why = self.explain(why);
                    report::lost(why);
                    tracing::warn!(?why, token = %state.granted.token, "a lock was lost");
                    state.lose(why);
                }
            }
            Effect::Released(handle, held) => {
                if let Some((began, told)) = self.releasing.remove(&handle) {
                    report::released(held, SystemClock::boot().since(began));
                    // Whoever waited may be gone.
                    let _ = told.send(held);
                }
            }
            Effect::Send { .. } | Effect::Tell { .. } | Effect::Forget(_) => {}
        }
    }

    /// The core knows of answers only; why none came the server may have said.
    fn explain(&self, why: LostReason) -> LostReason {
        let renewals = self.subjects.request(Verb::Renew, None, &self.options.owner, None);
        if why == LostReason::Unreachable && self.transport.refuses(&renewals) {
            LostReason::Forbidden
        } else {
            why
        }
    }

    fn tell_outcome(&mut self, handle: Handle, outcome: Outcome, reply: &Bytes) {
        let Some(Pending { began, told, .. }) = self.acquiring.remove(&handle) else { return };
        report::acquired(&outcome, SystemClock::boot().since(began));
        let error = match outcome {
            Outcome::Granted { granted, deadline } => {
                let state = Arc::new(LeaseState::new(granted, reply.clone(), deadline, self.epoch));
                self.held.insert(handle, Arc::clone(&state));
                // Where the future was dropped at this very moment, its last act gives the lock back.
                let _ = told.send(Conclusion::Granted(state));
                return;
            }
            Outcome::Held { view, waited } => {
                AcquireError::Held(Contended { view, waited, reply: reply.clone() })
            }
            Outcome::Refused(refused) => AcquireError::Refused(refused, reply.clone()),
            Outcome::NoCoordinator => {
                AcquireError::NoCoordinator { namespace: self.options.namespace.to_string() }
            }
            Outcome::NoAnswer => AcquireError::NoAnswer,
        };
        let _ = told.send(Conclusion::Failed(error));
    }

    fn tell_settled(&mut self) {
        if !self.settling.is_empty() && !self.core.is_releasing() {
            for told in self.settling.drain(..) {
                let _ = told.send(());
            }
        }
    }
}

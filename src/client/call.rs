//! One request and its answer, repeated until there is one.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::CallError;
use super::caller::{Answered, Caller};
use super::link::{Exchange, Incoming, SendNumber};
use super::pace::Pace;
use crate::clock::{Clock as _, SystemClock, within};
use crate::engine::message::Code;
use crate::types::{Epoch, LockName, Timestamp};
use crate::wire::reply::{Answer, decode};
use crate::wire::subject::Verb;

/// The sendings of one request, with their times.
pub(super) struct Call<'a> {
    client: &'a Caller,
    exchange: Exchange,
    subject: String,
    sent: HashMap<SendNumber, Timestamp>,
    /// Whether anything but "nobody listens" was heard.
    pub(super) heard: bool,
    began: Timestamp,
    leaders: watch::Receiver<u64>,
}

/// What came of waiting for a while.
pub(super) enum Heard {
    Answer(Answered),
    /// Nobody listens.
    Nobody,
    /// A new leader has appeared: what waits has to be announced to it.
    NewLeader,
    /// The time is over.
    Silence,
}

impl Caller {
    /// Sends a request until it is answered, for as long as the client's patience lasts. Every verb but acquire
    /// may be repeated without a second thought.
    pub(super) async fn call(
        &self,
        verb: Verb,
        name: Option<&LockName>,
        body: Bytes,
    ) -> Result<Answered, CallError> {
        let clock = &SystemClock;
        let until = clock.now().boot + self.shared.options.patience;
        let mut call = Call::new(self, verb, name);
        let mut pace = self.pace(Duration::MAX);
        loop {
            call.send(body.clone()).await?;
            let mut pause = pace.after_silence();
            let resend = loop {
                let left = until.since(clock.now().boot);
                match call.listen(pause.min(left)).await {
                    Heard::Answer(answered) if !is_passing(&answered.answer) => {
                        return refusal_as_error(answered);
                    }
                    Heard::Answer(_) | Heard::Nobody | Heard::NewLeader => pause = pace.at_once(),
                    Heard::Silence => break clock.now().boot < until,
                }
            };
            if !resend {
                return Err(call.failure());
            }
        }
    }

    pub(super) fn pace(&self, alive_every: Duration) -> Pace {
        let seed = crate::types::CoordinatorId::random().0;
        Pace::new(seed, alive_every)
    }
}

impl<'a> Call<'a> {
    pub(super) fn new(client: &'a Caller, verb: Verb, name: Option<&LockName>) -> Self {
        let shared = &client.shared;
        let subject = shared.subjects.request(verb, None, &shared.options.owner, name);
        let exchange = shared.link.exchange();
        let began = SystemClock.now().boot;
        let mut leaders = shared.leaders.clone();
        leaders.mark_unchanged();
        Self { client, exchange, subject, sent: HashMap::new(), heard: false, began, leaders }
    }

    pub(super) async fn send(&mut self, body: Bytes) -> Result<(), CallError> {
        let shared = &self.client.shared;
        // Before it leaves: a lease is counted from here.
        let now = SystemClock.now().boot;
        let number = shared.link.send(&mut self.exchange, &self.subject, body).await?;
        self.sent.insert(number, now);
        Ok(())
    }

    /// Waits at most so long for something to happen. Negative answers of an epoch that is over are not heard.
    pub(super) async fn listen(&mut self, span: Duration) -> Heard {
        let clock = &SystemClock;
        let until = clock.now().boot + span;
        loop {
            let left = until.since(clock.now().boot);
            let next = async {
                tokio::select! {
                    incoming = self.exchange.next() => incoming.map(Ok),
                    changed = self.leaders.changed() => changed.ok().map(Err),
                }
            };
            let incoming = match within(clock, left, next).await {
                None => return Heard::Silence,
                Some(Some(Err(()))) => return Heard::NewLeader,
                Some(Some(Ok(incoming))) => incoming,
                // Both ends live as long as the client.
                Some(None) => return Heard::Silence,
            };
            if let Some(heard) = self.understand(incoming) {
                return heard;
            }
        }
    }

    fn understand(&mut self, incoming: Incoming) -> Option<Heard> {
        let Incoming { number, body } = incoming;
        let Some(raw) = body else { return Some(Heard::Nobody) };
        let sent = *self.sent.get(&number)?;
        match decode(&raw) {
            Ok((epoch, answer)) => {
                self.heard = true;
                let highest = self.client.shared.epoch.fetch_max(epoch.get(), Ordering::Relaxed);
                let outdated = epoch.get() < highest && is_negative(&answer);
                (!outdated).then_some(Heard::Answer(Answered { answer, raw, sent }))
            }
            Err(error) => {
                tracing::warn!(%error, "an answer cannot be read");
                None
            }
        }
    }

    /// Why there is no answer.
    pub(super) fn failure(&self) -> CallError {
        let shared = &self.client.shared;
        if self.heard || self.sent.is_empty() {
            return CallError::NoAnswer { waited: SystemClock.now().boot.since(self.began) };
        }
        CallError::NoCoordinator { namespace: shared.options.namespace.to_string() }
    }
}

/// True for an answer that a newer leader may contradict.
pub(super) const fn is_negative(answer: &Answer) -> bool {
    match answer {
        Answer::Held(_) | Answer::Timeout { .. } | Answer::Free => true,
        Answer::RenewedMany { lost, .. } => !lost.is_empty(),
        Answer::Error(refused) => matches!(refused.code, Some(Code::NotHolder | Code::Finished)),
        _ => false,
    }
}

/// True for a refusal that says "not now".
pub(super) const fn is_passing(answer: &Answer) -> bool {
    match answer {
        Answer::Error(refused) => matches!(refused.code, Some(Code::Unavailable | Code::ShuttingDown)),
        _ => false,
    }
}

pub(super) fn refusal_as_error(answered: Answered) -> Result<Answered, CallError> {
    match answered.answer {
        Answer::Error(refused) => Err(CallError::Refused(refused, answered.raw)),
        _ => Ok(answered),
    }
}

/// The epoch that is known to be current.
impl Caller {
    /// The highest epoch that any answer spoke for, if there was one.
    pub fn epoch(&self) -> Option<Epoch> {
        let epoch = self.shared.epoch.load(Ordering::Relaxed);
        (epoch > 0).then(|| Epoch::new(crate::types::Revision::new(epoch)))
    }
}

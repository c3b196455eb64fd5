//! Acquiring a lock: sent, repeated to stay alive, and taken back when it is no longer wanted.

use std::time::Duration;

use bytes::Bytes;

use super::call::{Call, Heard, is_passing, refusal_as_error};
use super::{AcquireOptions, Answered, CallError, Client, Lease};
use crate::clock::Clock;
use crate::engine::message::{Ask, LeaseRef, LockView};
use crate::transport::Transport;
use crate::types::{LockName, Timestamp, Wait};
use crate::wire::Format;
use crate::wire::reply::{Answer, Granted};
use crate::wire::request::encode;
use crate::wire::subject::Verb;

/// What became of an acquire request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Acquired {
    /// The lock is held.
    Granted(Lease, Bytes),
    /// Others hold it.
    Held(LockView, Bytes),
}

/// What a waiting request has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// One is next.
    pub position: usize,
    /// How many hold the lock.
    pub holder_count: usize,
}

impl<T: Transport, C: Clock> Client<T, C> {
    /// Acquires a lock, and waits for it as long as the options say.
    ///
    /// # Errors
    /// The coordinator refused, or there was no answer; the request is then taken back.
    ///
    /// # Cancel safety
    /// Dropping it leaves the request to itself: it waits until its wait is over, and a lease that it gets ends
    /// by itself.
    pub async fn acquire(&self, name: &LockName, options: &AcquireOptions) -> Result<Acquired, CallError> {
        self.acquire_reporting(name, options, |_| ()).await
    }

    /// As [`Client::acquire`], and tells `report` whenever the coordinator has said where the request stands.
    ///
    /// # Errors
    /// As [`Client::acquire`].
    ///
    /// # Cancel safety
    /// As [`Client::acquire`].
    pub async fn acquire_reporting(
        &self,
        name: &LockName,
        options: &AcquireOptions,
        report: impl FnMut(Progress),
    ) -> Result<Acquired, CallError> {
        let result = self.pursue(name, options, report).await;
        let unwanted = match &result {
            Ok(Acquired::Granted(..)) => false,
            // The request may still be waiting, or travelling.
            Ok(Acquired::Held(..)) => false,
            Err(error) => error.is_retryable() || error.may_have_applied(),
        };
        if unwanted {
            self.take_back(name, options).await;
        }
        result
    }

    async fn pursue(
        &self,
        name: &LockName,
        options: &AcquireOptions,
        mut report: impl FnMut(Progress),
    ) -> Result<Acquired, CallError> {
        let clock = &self.shared.clock;
        let wait_until = clock.now().boot + options.wait.get();
        let give_up = wait_until + self.shared.options.patience;
        let mut call = Call::new(self, Verb::Acquire, Some(name));
        let mut pace = self.pace(options.ttl.get() / 3);
        loop {
            call.send(self.body(name, options, wait_until)).await?;
            let mut pause = pace.after_silence();
            loop {
                let left = give_up.since(clock.now().boot);
                match call.listen(pause.min(left)).await {
                    Heard::Answer(answered) => match answered.answer {
                        Answer::Queued { position, holder_count, .. } => {
                            report(Progress { position, holder_count });
                            pause = pace.after_queued();
                        }
                        ref answer if is_passing(answer) => pause = pace.at_once(),
                        _ => return self.conclude(name, answered),
                    },
                    Heard::Nobody | Heard::NewLeader => pause = pace.at_once(),
                    Heard::Silence => break,
                }
            }
            if clock.now().boot >= give_up {
                return Err(call.failure());
            }
        }
    }

    /// The request as it is sent now: it wants to wait only as long as is left.
    fn body(&self, name: &LockName, options: &AcquireOptions, wait_until: Timestamp) -> Bytes {
        let left = wait_until.since(self.shared.clock.now().boot);
        let ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let wait =
            if options.wait.is_try() { Wait::TRY } else { Wait::from_millis(ms.max(1)).unwrap_or_default() };
        encode(Format::Json, &Ask::Acquire(options.ask(name, wait)))
    }

    fn conclude(&self, name: &LockName, answered: Answered) -> Result<Acquired, CallError> {
        let Answered { answer, raw, sent } = refusal_as_error(answered)?;
        match answer {
            Answer::Granted(Granted { id, token, ttl, waited, .. }) => {
                let deadline = sent + waited + ttl.get() * 99 / 100;
                let lease = Lease { name: name.clone(), id, token, ttl, deadline, waited };
                Ok(Acquired::Granted(lease, raw))
            }
            Answer::Held(view) | Answer::Timeout { view, .. } => Ok(Acquired::Held(view, raw)),
            other => Err(CallError::Protocol(format!("{other:?} is no answer to acquire"))),
        }
    }

    /// A release is final for the id, also for copies of the request that still travel (S10). Nobody waits for
    /// its answer.
    async fn take_back(&self, name: &LockName, options: &AcquireOptions) {
        let lease = LeaseRef { id: options.id.clone(), token: None };
        let body = encode(Format::Json, &Ask::Release { name: name.clone(), lease, keep: Duration::ZERO });
        let shared = &self.shared;
        let subject = shared.subjects.request(Verb::Release, None, &shared.options.owner, Some(name));
        if let Err(error) = shared.link.transport().publish(subject, None, body).await {
            tracing::debug!(%error, "a request could not be taken back");
        }
    }
}

impl Lease {
    /// How its owner names it in requests.
    pub fn to_ref(&self) -> LeaseRef {
        LeaseRef { id: self.id.clone(), token: Some(self.token) }
    }

    /// True while it may be believed in, by the clock that counts suspend.
    pub fn is_valid<C: Clock>(&self, clock: &C) -> bool {
        clock.now().boot < self.deadline
    }
}

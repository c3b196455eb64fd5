//! A lock that is held.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::Client;
use super::core::{Handle, LostReason};
use super::driver::Command;
use super::error::Lost;
use crate::clock::SystemClock;
use crate::engine::message::LeaseRef;
use crate::types::{Epoch, LeaseId, LockName, Timestamp, Token, Ttl};
use crate::wire::reply::Granted;

/// What the background task and the guard share of a lease.
#[derive(Debug)]
pub(super) struct LeaseState {
    pub(super) granted: Granted,
    /// The grant as it came.
    pub(super) reply: Bytes,
    /// The epoch of the leader that granted it.
    epoch: Option<Epoch>,
    /// The deadline, in nanoseconds of the boot clock.
    deadline: AtomicU64,
    lost: CancellationToken,
    reason: Mutex<Option<LostReason>>,
}

impl LeaseState {
    pub(super) fn new(granted: Granted, reply: Bytes, deadline: Timestamp, epoch: Option<Epoch>) -> Self {
        let deadline = AtomicU64::new(nanos(deadline));
        Self { granted, reply, epoch, deadline, lost: CancellationToken::new(), reason: Mutex::new(None) }
    }

    pub(super) fn extend(&self, deadline: Timestamp) {
        self.deadline.fetch_max(nanos(deadline), Ordering::AcqRel);
    }

    pub(super) fn lose(&self, why: LostReason) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.lost.cancel();
    }

    fn deadline(&self) -> Timestamp {
        Timestamp::from_boot(Duration::from_nanos(self.deadline.load(Ordering::Acquire)))
    }

    fn reason(&self) -> LostReason {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(LostReason::Unreachable)
    }
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.since_boot().as_nanos()).unwrap_or(u64::MAX)
}

/// A lock that is held. It is renewed in the background every third of its lease time.
///
/// While [`LockGuard::is_valid`] is true no other client has been granted the lock (unless an administrator took
/// it away, or the store lost acknowledged writes). That says nothing about what happens *after* the check: a
/// process can be paused at any instant. What must not be written by two is written with the
/// [`LockGuard::token`], to a resource that refuses lower ones.
///
/// Dropping the guard gives the lock back in the background. If that does not reach the coordinator, the lease
/// ends by itself after its lease time. A guard may be sent to other tasks and threads.
#[must_use = "if unused the lock is given back at once"]
#[derive(Debug)]
pub struct LockGuard {
    client: Client,
    handle: Handle,
    name: LockName,
    state: Arc<LeaseState>,
    keep: Duration,
    /// Open as long as the lock is held.
    span: Span,
    /// Whether the background task still has to be told of the end.
    armed: bool,
}

/// A lease without its guard: whoever has it renews and releases it by [`super::Caller`].
#[derive(Debug, Clone)]
pub struct Lease {
    /// The lock.
    pub name: LockName,
    /// The acquisition: whoever knows it can renew and release.
    pub id: LeaseId,
    /// The fencing token.
    pub token: Token,
    /// The lease time.
    pub ttl: Ttl,
    /// Until when the lease may be believed in, by the clock that counts suspend.
    pub deadline: Timestamp,
    /// How long the request waited, by the leader's clock.
    pub waited: Duration,
    /// The grant as it came.
    pub reply: Bytes,
}

impl Lease {
    /// How its owner names it in requests.
    pub fn to_ref(&self) -> LeaseRef {
        LeaseRef { id: self.id.clone(), token: Some(self.token) }
    }

    /// True while it may be believed in, by the clock that counts suspend.
    pub fn is_valid(&self) -> bool {
        SystemClock::boot() < self.deadline
    }
}

impl LockGuard {
    pub(super) fn new(
        client: Client,
        handle: Handle,
        name: LockName,
        state: Arc<LeaseState>,
        keep: Duration,
    ) -> Self {
        // The span of whoever acquired it may end long before.
        let span = tracing::info_span!(
            parent: None,
            "hold",
            lock = name.as_str(),
            owner = client.options().owner.as_str(),
            token = state.granted.token.get(),
            epoch = state.epoch.map(Epoch::get),
        );
        span.follows_from(Span::current());
        Self { client, handle, name, state, keep, span, armed: true }
    }

    /// The epoch of the leader that granted it.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.state.epoch
    }

    /// The lock.
    pub const fn name(&self) -> &LockName {
        &self.name
    }

    /// The fencing token: higher than that of every earlier holder. Resources that refuse a lower token than
    /// the highest they have seen are safe from holders that were paused.
    pub fn token(&self) -> Token {
        self.state.granted.token
    }

    /// The id of the acquisition. It is a secret: whoever knows it can release the lock.
    pub fn id(&self) -> &LeaseId {
        &self.state.granted.id
    }

    /// How long the request waited, by the leader's clock.
    pub fn waited(&self) -> Duration {
        self.state.granted.waited
    }

    /// Until when the lock may be believed in if no renewal gets through, by the clock that counts suspend:
    /// the sending of the last request that was answered, plus 0.99 of what it waited and of the lease time.
    /// Renewals put it off.
    pub fn deadline(&self) -> Timestamp {
        self.state.deadline()
    }

    /// How long that is from now; zero when it is over.
    pub fn remaining(&self) -> Duration {
        if self.state.lost.is_cancelled() {
            Duration::ZERO
        } else {
            self.deadline().since(SystemClock::boot())
        }
    }

    /// True while the lock may be believed in. It reads the clock, so it is right also after a pause of which
    /// the background task has not heard yet.
    pub fn is_valid(&self) -> bool {
        !self.remaining().is_zero()
    }

    /// Waits until the lock is lost, and says why. It is lost at its deadline at the latest, which is before the
    /// coordinator can give it to another.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn lost(&self) -> LostReason {
        self.state.lost.cancelled().await;
        self.state.reason()
    }

    /// A token that is cancelled when the lock is lost: to hand to what works under the lock.
    pub fn lost_token(&self) -> CancellationToken {
        self.state.lost.clone()
    }

    /// Runs `work` under the lock, and drops it when the lock is lost.
    ///
    /// # Errors
    /// [`Lost`]: `work` was dropped where it stood, and what it had begun elsewhere may still take effect.
    ///
    /// # Cancel safety
    /// As that of `work`.
    pub async fn run<O>(&self, work: impl Future<Output = O>) -> Result<O, Lost> {
        tokio::select! {
            biased;
            reason = self.lost() => Err(Lost { reason }),
            done = work => Ok(done),
        }
    }

    /// Gives the lock back, and says how long it was held, by the leader's clock; nothing where the lease had
    /// ended before, or no answer came before it ended by itself. It is repeated until it is answered.
    ///
    /// # Cancel safety
    /// The lock is given back also where the future is dropped.
    pub async fn release(mut self) -> Option<Duration> {
        let (told, released) = oneshot::channel();
        self.armed = false;
        let command = Command::Release { handle: self.handle, keep: self.keep, told: Some(told) };
        self.client.commands.send(command).ok()?;
        let span = tracing::info_span!(
            parent: &self.span,
            "release",
            lock = self.name.as_str(),
            owner = self.client.options().owner.as_str(),
            token = self.token().get(),
            epoch = self.epoch().map(Epoch::get),
        );
        released.instrument(span).await.ok().flatten()
    }

    /// Gives the lock back with one message and waits for nothing: half the messages of [`LockGuard::release`], and
    /// no wait for a program that takes one lock after another.
    ///
    /// The message is sent once, in the background, and again only to a coordinator that takes over. If it is lost,
    /// the lock stays held until its lease time is over. Dropping the guard instead repeats the release until it is
    /// answered.
    pub fn release_detached(mut self) {
        self.armed = false;
        // It fails only if the background task is gone; the lease then ends by itself.
        let _ = self.client.commands.send(Command::Detach { handle: self.handle, keep: self.keep });
    }

    /// Leaves the lock held, and no longer renews it: the lease ends by itself after its lease time, unless
    /// whoever is given the [`Lease`] renews or releases it.
    pub fn leave(mut self) -> Lease {
        self.armed = false;
        // It fails only if the background task is gone, which renews nothing any more.
        let _ = self.client.commands.send(Command::Leave(self.handle));
        let granted = &self.state.granted;
        Lease {
            name: self.name.clone(),
            id: granted.id.clone(),
            token: granted.token,
            ttl: granted.ttl,
            deadline: self.deadline(),
            waited: granted.waited,
            reply: self.state.reply.clone(),
        }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if self.armed {
            let command = Command::Release { handle: self.handle, keep: self.keep, told: None };
            // It fails only if the background task is gone; the lease then ends by itself.
            let _ = self.client.commands.send(command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::AcquireOptions;
    use super::*;
    use crate::clock::within;

    #[tokio::test]
    async fn a_lost_lock_can_be_released() {
        let client = Client::in_memory().await.unwrap();
        let options = AcquireOptions::new().ttl(Duration::from_secs(1));
        let guard = client.acquire_with("orders.42", options).await.unwrap();
        client.caller().admin_release(guard.name(), None).await.unwrap();
        assert_eq!((guard.lost().await, guard.is_valid()), (LostReason::Revoked, false));
        // At this moment the background task is giving it back by itself.
        let released = within(&SystemClock, Duration::from_secs(5), guard.release()).await;
        assert_eq!(released, Some(None), "it was not held any more");
    }
}

//! Leader election: a lock whose holder leads, and whose note says where to reach it.

#[cfg(test)]
mod tests;

use std::ops::Deref;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;

use super::{AcquireError, AcquireOptions, CallError, Client, LockGuard, Seen, Watched};
use crate::clock::{Clock as _, SystemClock};
use crate::engine::message::LockView;
use crate::transport::TransportError;
use crate::types::{LockName, NameError, OwnerName, Timestamp, Token};

/// A dead leader is replaced after so long.
const TTL: Duration = Duration::from_secs(15);
/// An observer looks that often although it has heard of no change: events may be lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The pause after a look without an answer.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Candidates of whom one leads at a time, and observers that know which.
///
/// An election is a lock by its name, acquired exclusively, with the address of the leader beside it: `natslock
/// check` and `natslock watch` show it, and plain NATS clients may take part.
///
/// Nobody else is made leader while a [`Leadership`] is valid. That does not stop a leader that was paused from
/// acting once more when it wakes up: what only the leader may do is done with its [`token`](LockGuard::token),
/// towards something that refuses lower ones.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// use futures_util::StreamExt as _;
/// use natslock::client::{Client, Election};
/// let election = Election::new(Client::in_memory().await?, "scheduler")?;
/// let mut leaders = election.observe().await?;
/// assert_eq!(leaders.next().await, Some(None));
///
/// let leadership = election.campaign("10.0.0.7:8080").await?;
/// let leader = leaders.next().await.flatten().expect("somebody leads");
/// assert_eq!((leader.address.as_str(), leader.token), ("10.0.0.7:8080", leadership.token()));
///
/// // The work stops when the leadership is lost.
/// leadership.run(async { /* lead */ }).await?;
/// leadership.resign().await;
/// assert_eq!(leaders.next().await, Some(None));
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Election {
    client: Client,
    name: LockName,
    ttl: Duration,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// In whose name it campaigned.
    pub owner: OwnerName,
    /// Where to reach it, as it said; empty where it said nothing.
    pub address: String,
    /// Its fencing token: higher than that of every earlier leader.
    pub token: Token,
}

impl Election {
    /// The election of this name, for the client's owner.
    ///
    /// # Errors
    /// A name that no lock can have.
    pub fn new(client: Client, name: &str) -> Result<Self, NameError> {
        Ok(Self { client, name: LockName::encode(name)?, ttl: TTL })
    }

    /// How long a leader that has died is in the way, 1 s to 24 h. Default: 15 s. With a shorter time the
    /// leadership is sooner lost in an outage of NATS or of the coordinator.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// Waits until this candidate leads, however long it takes, first come first served. The leadership is kept
    /// alive in the background. The address, up to 256 bytes, is what observers see.
    ///
    /// # Errors
    /// As [`Client::acquire`]. Where no coordinator answered, [`AcquireError::is_retryable`] is true: campaign
    /// again.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the candidate; its place in the queue is lost.
    pub async fn campaign(&self, address: impl Into<String>) -> Result<Leadership, AcquireError> {
        let options = AcquireOptions::new().ttl(self.ttl).note(address);
        let guard = self.client.acquire_with(&self.name.to_string(), options).await?;
        Ok(Leadership { guard })
    }

    /// Who leads at this moment, if anybody does; it may be another one by the time this returns.
    ///
    /// # Errors
    /// No answer.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn leader(&self) -> Result<Option<Leader>, CallError> {
        Ok(self.client.caller().view(&self.name).await?.and_then(leader_of))
    }

    /// Who leads now, or nobody, and then each change, until the connection is closed for good.
    ///
    /// The last item is always true after a moment: it is looked up again after every event, after a change of
    /// coordinators, and every few seconds. Tokens never fall. Those who led only for less time than it takes
    /// to look them up may be skipped, and so may a vacancy between two leaders; observers may learn of a
    /// change at different times. While no coordinator answers, nothing is said.
    ///
    /// # Errors
    /// The subscription could not be made.
    ///
    /// # Cancel safety
    /// Dropping the wait for the next item loses nothing. Dropping the stream ends the subscription.
    pub async fn observe(&self) -> Result<BoxStream<'static, Option<Leader>>, TransportError> {
        let observer = Observer {
            leaders: self.client.caller().shared.leaders.clone(),
            // Whatever changes from here on is heard of: the first look comes after it.
            events: self.client.watch(Watched::Lock(&self.name)).await?,
            election: self.clone(),
            shown: None,
            highest: None,
            look_at: SystemClock::boot(),
        };
        Ok(stream::unfold(observer, Observer::next).boxed())
    }
}

/// The leader is whoever holds the lock.
fn leader_of(view: LockView) -> Option<Leader> {
    let holder = view.holders.into_iter().next()?;
    let address = holder.note.map(|note| note.to_string()).unwrap_or_default();
    Some(Leader { owner: holder.owner, address, token: holder.token })
}

/// A won election: a [`LockGuard`], with its token, its validity and what runs under it.
///
/// Dropping it resigns in the background.
#[must_use = "if unused the leader resigns at once"]
#[derive(Debug)]
pub struct Leadership {
    guard: LockGuard,
}

impl Leadership {
    /// Hands over to the next candidate at once, and says how long this one led; see [`LockGuard::release`].
    ///
    /// # Cancel safety
    /// The leader resigns also where the future is dropped.
    pub async fn resign(self) -> Option<Duration> {
        self.guard.release().await
    }
}

impl Deref for Leadership {
    type Target = LockGuard;

    fn deref(&self) -> &LockGuard {
        &self.guard
    }
}

/// What an observer knows.
struct Observer {
    election: Election,
    events: BoxStream<'static, Seen>,
    /// Changes when a coordinator has taken over.
    leaders: watch::Receiver<u64>,
    /// What was shown last; nothing at the beginning.
    shown: Option<Option<Leader>>,
    highest: Option<Token>,
    look_at: Timestamp,
}

impl Observer {
    /// The next change.
    async fn next(mut self) -> Option<(Option<Leader>, Self)> {
        loop {
            self.wait().await?;
            // What has been heard of until now is answered by one look.
            while let Some(event) = self.events.next().now_or_never() {
                event?;
            }
            let (seen, pause) = match self.election.leader().await {
                Ok(leader) => (Some(leader), LOOK_EVERY),
                Err(CallError::Transport(TransportError::Closed)) => return None,
                Err(error) => {
                    tracing::debug!(%error, "who leads cannot be known");
                    (None, LOOK_AGAIN_AFTER)
                }
            };
            self.look_at = SystemClock::boot() + pause;
            if let Some(leader) = seen.filter(|leader| self.is_news(leader.as_ref())) {
                self.shown = Some(leader.clone());
                self.highest = self.highest.max(leader.as_ref().map(|leader| leader.token));
                return Some((leader, self));
            }
        }
    }

    /// Waits until there may be something new, or it is time to look; nothing where no more can be heard.
    async fn wait(&mut self) -> Option<()> {
        tokio::select! {
            biased;
            event = self.events.next() => event.map(|_| ()),
            Ok(()) = self.leaders.changed() => Some(()),
            () = SystemClock.sleep_until(self.look_at) => Some(()),
        }
    }

    /// A lower token is the answer of a coordinator that was deposed, and does not know it yet.
    fn is_news(&self, leader: Option<&Leader>) -> bool {
        let outdated = leader.is_some_and(|leader| Some(leader.token) < self.highest);
        !outdated && self.shown.as_ref().is_none_or(|shown| shown.as_ref() != leader)
    }
}

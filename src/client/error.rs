//! What can go wrong between a client and its coordinator.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::core::LostReason;
use super::options::OptionsError;
use crate::engine::message::{Code, LockView};
use crate::transport::TransportError;
use crate::types::NameError;
use crate::wire::reply::Refused;

/// A request without the answer it was made for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody listens: no coordinator leads the namespace. Start one, or try again.
    #[error("no coordinator leads namespace `{namespace}`")]
    NoCoordinator {
        /// The namespace.
        namespace: String,
    },
    /// No answer in time. The request may have been carried out, or may be later.
    #[error("no answer within {waited:?}")]
    NoAnswer {
        /// How long was waited.
        waited: Duration,
    },
    /// The coordinator refused: typed, and as it came.
    #[error("{}", .0.message)]
    Refused(Refused, Bytes),
    /// The name of a lock that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The messages do not get through.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The answer makes no sense.
    #[error("the coordinator's answer cannot be read: {0}")]
    Protocol(String),
}

impl CallError {
    /// True where the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoCoordinator { .. } | Self::NoAnswer { .. } => true,
            Self::Refused(refused, _) => is_passing(refused),
            Self::Name(_) | Self::Transport(_) | Self::Protocol(_) => false,
        }
    }

    /// True where the request may have been carried out although no answer came.
    pub const fn may_have_applied(&self) -> bool {
        matches!(self, Self::NoAnswer { .. } | Self::Transport(_))
    }
}

/// A lock that was not acquired. Whatever was sent is being taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// Others hold the lock. Not a failure, but an answer.
    #[error("{0}")]
    Held(Contended),
    /// The coordinator refused: typed, and as it came.
    #[error("{}", .0.message)]
    Refused(Refused, Bytes),
    /// Nobody listens: no coordinator leads the namespace. Start one, or try again.
    #[error("no coordinator leads namespace `{namespace}`")]
    NoCoordinator {
        /// The namespace.
        namespace: String,
    },
    /// No answer in time. Try again.
    #[error("no answer from the coordinator")]
    NoAnswer,
    /// An option outside its limits; nothing was sent.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The client's background task has ended, with its runtime.
    #[error("the client is closed")]
    Closed,
}

impl AcquireError {
    /// True where the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Held(_) | Self::NoCoordinator { .. } | Self::NoAnswer => true,
            Self::Refused(refused, _) => is_passing(refused),
            Self::Options(_) | Self::Closed => false,
        }
    }
}

fn is_passing(refused: &Refused) -> bool {
    matches!(refused.code, Some(Code::Unavailable | Code::ShuttingDown | Code::RateLimited | Code::QueueFull))
}

/// Who had the lock instead.
#[derive(Debug, Clone)]
pub struct Contended {
    /// Who holds it, and how many wait.
    pub view: LockView,
    /// How long was waited, by the leader's clock; zero for a try.
    pub waited: Duration,
    /// The answer as it came.
    pub reply: Bytes,
}

/// ``the lock is held by `worker-7` and 2 others, for another 12 s``.
impl fmt::Display for Contended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(holder) = self.view.holders.first() else {
            return write!(f, "the lock goes to others: {} are before this one", self.view.waiter_count);
        };
        write!(f, "the lock is held by `{}`", holder.owner)?;
        match self.view.holder_count.saturating_sub(1) {
            0 => {}
            1 => f.write_str(" and another one")?,
            others => write!(f, " and {others} others")?,
        }
        match holder.expires_in {
            Some(left) => write!(f, ", for another {:.1} s if it is not renewed", left.as_secs_f64()),
            None => Ok(()),
        }
    }
}

/// The lock was lost while something was done under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lock was lost: {reason:?}")]
pub struct Lost {
    /// Why.
    pub reason: LostReason,
}

#[cfg(test)]
mod tests {
    use super::super::{AcquireOptions, Client};

    #[tokio::test]
    async fn a_held_lock_is_told_with_its_holder() {
        let client = Client::in_memory().await.unwrap();
        let shared = || client.acquire_with("orders.42", AcquireOptions::new().shared());
        let _guards = (shared().await.unwrap(), shared().await.unwrap());
        let told = client.try_acquire("orders.42").await.unwrap_err().to_string();
        let owner = &client.options().owner;
        let begins = format!("the lock is held by `{owner}` and another one, for another ");
        assert!(told.starts_with(&begins) && told.ends_with(" s if it is not renewed"), "{told}");
    }
}

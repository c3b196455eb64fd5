//! What can go wrong between a client and its coordinator. Being told `held` is an answer, not an error.

use std::time::Duration;

use bytes::Bytes;

use crate::engine::message::Code;
use crate::transport::TransportError;
use crate::wire::reply::Refused;

/// A request without the answer it was made for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody listens: no coordinator leads the namespace.
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
    /// The messages do not get through.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The answer makes no sense.
    #[error("the coordinator's answer cannot be read: {0}")]
    Protocol(String),
}

impl CallError {
    /// True where the same request, with the same id, may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoCoordinator { .. } | Self::NoAnswer { .. } => true,
            Self::Refused(refused, _) => {
                matches!(refused.code, Some(Code::Unavailable | Code::ShuttingDown | Code::RateLimited))
            }
            Self::Transport(_) | Self::Protocol(_) => false,
        }
    }

    /// True where the request may have been carried out although no answer came.
    pub const fn may_have_applied(&self) -> bool {
        matches!(self, Self::NoAnswer { .. } | Self::Transport(_))
    }
}

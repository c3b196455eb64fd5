//! What a client and an acquisition may be told.

use std::time::Duration;

use crate::engine::message::Acquire;
use crate::types::{Claim, LeaseId, LockName, Namespace, Note, OwnerName, Ttl, Wait};

/// How a client behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Whose locks. Default: `default`.
    pub namespace: Namespace,
    /// In whose name.
    pub owner: OwnerName,
    /// How long to go on without any answer from a coordinator, beyond what a request itself wants to wait.
    /// Default: 5 s.
    pub patience: Duration,
}

impl ClientOptions {
    /// The defaults, for this owner.
    pub fn new(owner: OwnerName) -> Self {
        Self { namespace: Namespace::default(), owner, patience: Duration::from_secs(5) }
    }

    /// The same for another namespace.
    #[must_use]
    pub fn namespace(self, namespace: Namespace) -> Self {
        Self { namespace, ..self }
    }
}

/// How to acquire a lock.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AcquireOptions {
    /// The acquisition. Default: a new one that nobody can guess.
    pub id: LeaseId,
    /// What is asked for. Default: the whole lock.
    pub claim: Claim,
    /// The lease time. Default: 30 s.
    pub ttl: Ttl,
    /// How long to wait. Default: not at all.
    pub wait: Wait,
    /// Shown beside the holder.
    pub note: Option<Note>,
}

impl Default for AcquireOptions {
    fn default() -> Self {
        Self {
            id: LeaseId::random(),
            claim: Claim::Exclusive,
            ttl: Ttl::default(),
            wait: Wait::TRY,
            note: None,
        }
    }
}

impl AcquireOptions {
    /// The same with this lease time.
    #[must_use]
    pub fn ttl(self, ttl: Ttl) -> Self {
        Self { ttl, ..self }
    }

    /// The same with this wait.
    #[must_use]
    pub fn wait(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }

    /// The same for this claim.
    #[must_use]
    pub fn claim(self, claim: Claim) -> Self {
        Self { claim, ..self }
    }

    /// The same with this note.
    #[must_use]
    pub fn note(self, note: Note) -> Self {
        Self { note: Some(note), ..self }
    }

    pub(super) fn ask(&self, name: &LockName, wait: Wait) -> Acquire {
        Acquire {
            name: name.clone(),
            id: self.id.clone(),
            claim: self.claim,
            ttl: self.ttl,
            wait,
            note: self.note.clone(),
            progress: true,
        }
    }
}

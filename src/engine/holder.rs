//! One lease that is stored: made from an acknowledged write or from a delivered record, and from nothing else.

use std::time::Duration;

use super::message::{Grant, GrantNumber, Now, StoredHolder, StoredToken};
use super::queue::Waiter;
use super::term::Term;
use crate::types::{Claim, IdHash, LeaseId, Note, OwnerName, Revision, Timestamp, Token, Ttl, WallTime};

/// A holder of a lock.
#[derive(Debug)]
pub(super) struct Holder<R> {
    pub(super) key: IdHash,
    pub(super) owner: OwnerName,
    pub(super) claim: Claim,
    token: Token,
    pub(super) ttl: Ttl,
    pub(super) note: Option<Note>,
    granted_at: WallTime,
    /// When this leader granted it; unknown of those it found.
    granted: Option<Timestamp>,
    /// When this leader granted or found it, or was sure again after it had not been.
    pub(super) learnt: Timestamp,
    /// Until when this leader has conferred time, if it has.
    pub(super) conferred: Option<Timestamp>,
    pub(super) tenure: Tenure<R>,
    /// When its owner gave it back.
    pub(super) released_at: Option<Timestamp>,
    pub(super) delivery: Delivery,
    /// When its alarm is set for; none while its lock is on the list of those to be taken away from.
    pub(super) alarm_at: Option<Timestamp>,
}

/// How a lease stands.
#[derive(Debug)]
pub(super) enum Tenure<R> {
    /// Its owner may believe in it.
    Held,
    /// Its owner has released it and asked to keep the lock held.
    Kept {
        /// Until when.
        until: Timestamp,
        /// Whether the record says so already.
        stored: bool,
    },
    /// Its owner has released it; the next write ends it.
    Ending {
        /// Who waits for the answer.
        answers: Vec<(R, LeaseId)>,
    },
    /// Its owner has released it and has been told so, and its id is finished. Only the record still names it,
    /// until the next write.
    Gone {
        /// How long it was held.
        held: Duration,
    },
}

/// What is known of the message that told the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// None was sent by this leader.
    Unsent,
    /// One was, and nothing has been heard of it.
    Once(GrantNumber),
    /// One was, and nobody was there to take it (S9).
    Undelivered,
    /// The owner is known to be there, or more than one was sent: a 503 says nothing.
    Settled,
}

impl<R> Holder<R> {
    /// A waiter whose write is acknowledged.
    pub(super) fn granted(now: Now, waiter: &Waiter<R>, stored: Revision, index: u8) -> Self {
        Self {
            key: waiter.key,
            owner: waiter.owner.clone(),
            claim: waiter.claim,
            token: Token::new(stored, index),
            ttl: waiter.ttl,
            note: waiter.note.clone(),
            granted_at: now.wall,
            granted: Some(now.boot),
            learnt: now.boot,
            conferred: None,
            tenure: Tenure::Held,
            released_at: None,
            delivery: Delivery::Unsent,
            alarm_at: None,
        }
    }

    /// A holder that a delivered record names.
    pub(super) fn found(now: Now, holder: &StoredHolder, stored: Revision) -> Self {
        let tenure = if holder.kept {
            Tenure::Kept { until: now.boot + holder.ttl.get(), stored: true }
        } else {
            Tenure::Held
        };
        Self {
            key: holder.id,
            owner: holder.owner.clone(),
            claim: holder.claim,
            token: holder.token.resolve(stored),
            ttl: holder.ttl,
            note: holder.note.clone(),
            granted_at: holder.granted_at,
            granted: None,
            learnt: now.boot,
            conferred: None,
            tenure,
            released_at: None,
            delivery: Delivery::Settled,
            alarm_at: None,
        }
    }

    pub(super) const fn token(&self) -> Token {
        self.token
    }

    /// Confers the lease time from now on, and says so. The caller has checked with the same `now` that the
    /// leader may act (S3).
    pub(super) fn confer(&mut self, now: Timestamp) {
        let until = now + self.ttl.get();
        self.conferred = Some(self.conferred.map_or(until, |before| before.max(until)));
    }

    /// The grant to send after [`Holder::confer`] with the same `now`.
    pub(super) fn grant(&self, id: LeaseId, waited: Duration) -> Grant {
        Grant { id, token: self.token, ttl: self.ttl, waited, permits: self.claim.permits() }
    }

    /// When the lease ends unless it is renewed (S4); of a kept one, when the keeping ends.
    pub(super) fn ends_at(&self, term: &Term) -> Timestamp {
        match self.tenure {
            Tenure::Kept { until, .. } => until,
            Tenure::Held | Tenure::Ending { .. } | Tenure::Gone { .. } => {
                let earliest = term.earliest_end(self.learnt, self.ttl.get());
                self.conferred.map_or(earliest, |conferred| conferred.max(earliest))
            }
        }
    }

    /// True where its owner may still believe in it.
    pub(super) const fn is_believed(&self) -> bool {
        matches!(self.tenure, Tenure::Held)
    }

    /// True where the next write by its owner's own request ends it.
    pub(super) const fn is_ending(&self) -> bool {
        matches!(self.tenure, Tenure::Ending { .. } | Tenure::Gone { .. })
    }

    /// True where it is over for everybody but the store: it is shown to nobody and in nobody's way.
    pub(super) const fn is_gone(&self) -> bool {
        matches!(self.tenure, Tenure::Gone { .. })
    }

    /// How long the lock is held if nothing is heard any more, as far as that is known.
    pub(super) fn expires_in(&self, now: Timestamp) -> Option<Duration> {
        match self.tenure {
            Tenure::Kept { until, .. } => Some(until.since(now)),
            Tenure::Held | Tenure::Ending { .. } | Tenure::Gone { .. } => {
                self.conferred.map(|until| until.since(now))
            }
        }
    }

    /// How long it has been held, for people.
    pub(super) fn held(&self, now: Now) -> Duration {
        match (&self.tenure, self.granted) {
            (Tenure::Gone { held }, _) => *held,
            (_, Some(granted)) => now.boot.since(granted),
            (_, None) => Duration::from_millis(now.wall.0.saturating_sub(self.granted_at.0)),
        }
    }

    /// As it stands in the next record.
    pub(super) fn to_stored(&self, now: Now) -> StoredHolder {
        let (ttl, kept) = match self.tenure {
            Tenure::Kept { until, .. } => (kept_ttl(until.since(now.boot)), true),
            Tenure::Held | Tenure::Ending { .. } | Tenure::Gone { .. } => (self.ttl, false),
        };
        StoredHolder {
            id: self.key,
            owner: self.owner.clone(),
            claim: self.claim,
            token: StoredToken::Known(self.token),
            ttl,
            kept,
            granted_at: self.granted_at,
            note: self.note.clone(),
        }
    }
}

/// What is left of the keeping, as a lease time: never less than the least there is.
fn kept_ttl(left: Duration) -> Ttl {
    let ms = u64::try_from(left.as_millis()).unwrap_or(Ttl::MS_MAX).clamp(Ttl::MS_MIN, Ttl::MS_MAX);
    Ttl::from_millis(ms).unwrap_or_default()
}

/// A waiter as it stands in the record that makes it a holder.
pub(super) fn beginning<R>(now: Now, waiter: &Waiter<R>, index: u8) -> StoredHolder {
    StoredHolder {
        id: waiter.key,
        owner: waiter.owner.clone(),
        claim: waiter.claim,
        token: StoredToken::Index(index),
        ttl: waiter.ttl,
        kept: false,
        granted_at: now.wall,
        note: waiter.note.clone(),
    }
}

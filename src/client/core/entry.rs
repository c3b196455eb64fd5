//! The states of one acquisition.

use std::time::Duration;

use super::{Outcome, SendNumber};
use crate::client::options::Terms;
use crate::client::pace::Pace;
use crate::engine::message::{Acquire, LeaseRef};
use crate::types::{LeaseId, LockName, Timestamp, Token, Ttl};

/// Sendings of one request whose answers are awaited; the oldest are given up first.
const NUMBERS_MAX: usize = 32;

/// One acquisition.
#[derive(Debug)]
pub(super) enum Entry {
    Acquiring(Acquiring),
    Held(Held),
    Releasing(Releasing),
}

impl Entry {
    /// When something is to be done about it.
    pub(super) fn alarm(&self) -> Timestamp {
        match self {
            Self::Acquiring(acquiring) => acquiring.next_send.min(acquiring.give_up_at()),
            Self::Held(held) => held.renew_at.min(held.deadline),
            Self::Releasing(releasing) => releasing.next_send.min(releasing.until),
        }
    }

    /// A leader has taken over: do what is next by then.
    pub(super) fn announce(&mut self, now: Timestamp, soon: Timestamp) {
        if let Self::Acquiring(acquiring) = self {
            acquiring.news_at = now;
        }
        self.hasten(soon);
    }

    /// Do what is next by then.
    pub(super) fn hasten(&mut self, soon: Timestamp) {
        let next = match self {
            Self::Acquiring(acquiring) => &mut acquiring.next_send,
            Self::Held(held) => &mut held.renew_at,
            Self::Releasing(releasing) => &mut releasing.next_send,
        };
        *next = soon.min(*next);
    }
}

/// A lock that is asked for.
#[derive(Debug)]
pub(super) struct Acquiring {
    pub(super) name: LockName,
    pub(super) terms: Terms,
    /// Until when to wait, if not for ever.
    wait_until: Option<Timestamp>,
    /// Until when to go on if nobody answers at all.
    unheard_until: Timestamp,
    patience: Duration,
    /// Whether a coordinator has answered.
    pub(super) heard: bool,
    /// Whether the server has said that nobody listens.
    pub(super) nobody: bool,
    pub(super) next_send: Timestamp,
    /// When a leader was last heard to take over: it does not know of what was sent before.
    pub(super) news_at: Timestamp,
    pub(super) pace: Pace,
    pub(super) numbers: Vec<SendNumber>,
}

impl Acquiring {
    pub(super) fn new(now: Timestamp, name: LockName, terms: Terms, patience: Duration, pace: Pace) -> Self {
        Self {
            name,
            wait_until: terms.wait.map(|wait| now + wait),
            terms,
            unheard_until: now + patience,
            patience,
            heard: false,
            nobody: false,
            next_send: now,
            news_at: now,
            pace,
            numbers: Vec::new(),
        }
    }

    pub(super) fn give_up_at(&self) -> Timestamp {
        if !self.heard {
            return self.unheard_until;
        }
        // For ever, as far as a lease is concerned.
        self.wait_until.map_or(Timestamp::from_boot(Duration::MAX), |until| until + self.patience)
    }

    pub(super) const fn waits_for_ever(&self) -> bool {
        self.wait_until.is_none()
    }

    pub(super) const fn unheard(&self) -> Outcome {
        if self.nobody { Outcome::NoCoordinator } else { Outcome::NoAnswer }
    }

    /// The request as it is sent now: it wants to wait only as long as is left.
    pub(super) fn ask(&self, now: Timestamp) -> Acquire {
        let left = self.wait_until.map_or(Duration::MAX, |until| until.since(now));
        self.terms.ask(&self.name, left)
    }

    pub(super) fn sent(&mut self, now: Timestamp, number: SendNumber) {
        remember(&mut self.numbers, number);
        self.next_send = now + self.pace.after_silence();
    }
}

/// A lock that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: LockName,
    pub(super) id: LeaseId,
    pub(super) token: Token,
    pub(super) ttl: Ttl,
    /// Until when it may be believed in.
    pub(super) deadline: Timestamp,
    pub(super) renew_at: Timestamp,
}

/// A lease that is no longer wanted, or was lost.
#[derive(Debug)]
pub(super) struct Releasing {
    pub(super) name: LockName,
    pub(super) lease: LeaseRef,
    pub(super) keep: Duration,
    pub(super) ttl: Ttl,
    /// When the lease has ended by itself.
    pub(super) until: Timestamp,
    pub(super) next_send: Timestamp,
    pub(super) pace: Pace,
    pub(super) numbers: Vec<SendNumber>,
    /// Whether somebody wants to know.
    pub(super) reports: bool,
}

impl Releasing {
    pub(super) fn new(now: Timestamp, name: LockName, lease: LeaseRef, ttl: Ttl, pace: Pace) -> Self {
        Self {
            name,
            lease,
            keep: Duration::ZERO,
            ttl,
            until: now + ttl.get(),
            next_send: now,
            pace,
            numbers: Vec::new(),
            reports: false,
        }
    }

    pub(super) fn sent(&mut self, now: Timestamp, number: SendNumber) {
        remember(&mut self.numbers, number);
        self.next_send = now + self.pace.after_silence();
    }
}

fn remember(numbers: &mut Vec<SendNumber>, number: SendNumber) {
    if numbers.len() >= NUMBERS_MAX {
        numbers.remove(0);
    }
    numbers.push(number);
}

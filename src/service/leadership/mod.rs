//! Who leads a shard (S3, S4, S11): a pure step function. It reads no clock and does no IO; the driver in
//! `shard.rs` feeds it and does what it asks for.
//!
//! ```text
//!             silence for a second, or nobody ever led, or the leader resigned
//!   Watching ----------------------------------------------------------------> Reading the shard's records
//!      ^                                                                              |
//!      |  lost the race                                                               v
//!      +--------------------------------------------------------------------------- Taking
//!      ^                                                                              | acknowledged
//!      |  deposed                                                                     v
//!      +--------------------------------------------------------------------------- Leading -> Resigning -> Over
//! ```
//!
//! Safety never depends on *when* a takeover happens: the takeover is one batch that expects the `epoch` record
//! it has read, a deposed leader's time is bounded by its own clock, and the new leader waits that time out
//! before it expires anybody.

mod action;
mod lease;
mod takeover;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use self::lease::Leading;
use self::takeover::Taking;
use super::config::{HEARTBEAT_EVERY, TAKEOVER_AFTER};
use crate::mutant::{self, Mutant};
use crate::types::{AttemptId, Epoch, Revision, Timestamp};

pub use self::action::{Action, Identity, ShardRead};

/// The pause before something that did not answer is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// A clock's rate is off by at most so much; a deposed leader's time is reckoned this much longer.
const DRIFT_PERCENT: u32 = 1;
/// After how many short terms in a row the pause before a takeover stops doubling.
const BACKOFF_DOUBLINGS_MAX: u32 = 4;

#[derive(Debug)]
enum State {
    Watching { until: Timestamp },
    Reading { first: bool, retry_at: Option<Timestamp> },
    Taking(Taking),
    Leading(Leading),
    Resigning(Leading),
    Over,
}

/// The leadership of one shard as one coordinator sees it.
#[derive(Debug)]
pub struct Leadership {
    me: Identity,
    state: State,
    actions: VecDeque<Action>,
    attempts: u64,
    terms: u64,
    short_terms: u32,
    /// The highest revision seen.
    highest: Revision,
    /// The latest term of another coordinator that was heard of.
    heard: Epoch,
    /// Why the store cannot be trusted, if it was found out that it cannot.
    quarantined: Option<Quarantine>,
    /// Where the revisions of the shard began anew, as far as is known: handed on with every takeover.
    recovered: Revision,
}

/// A store that is not trusted (S11), until it is recovered above everything that was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// What was found.
    pub why: String,
    /// The highest revision that had been seen until then: tokens up to it may be out.
    pub highest: Revision,
}

impl Leadership {
    /// A coordinator that has just begun: it looks at the shard at once.
    pub fn new(me: Identity) -> Self {
        let actions = VecDeque::from([Action::ReadShard]);
        Self {
            me,
            state: State::Reading { first: true, retry_at: None },
            actions,
            attempts: 0,
            terms: 0,
            short_terms: 0,
            highest: Revision::NONE,
            heard: Epoch::new(Revision::NONE),
            quarantined: None,
            recovered: Revision::NONE,
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.state {
            State::Watching { until } => Some(*until),
            State::Reading { retry_at, .. } => *retry_at,
            State::Taking(taking) => taking.retry_at,
            State::Leading(leading) => {
                let lease = leading.lease_due().unwrap_or(leading.next_heartbeat);
                Some(leading.next_heartbeat.min(lease))
            }
            State::Resigning(leading) => leading.lease_due(),
            State::Over => None,
        }
    }

    /// The highest revision seen so far.
    pub const fn highest(&self) -> Revision {
        self.highest
    }

    /// The latest term of another coordinator that was heard of.
    pub const fn heard(&self) -> Epoch {
        self.heard
    }

    /// Why the store is not trusted, if it is not.
    pub const fn quarantined(&self) -> Option<&Quarantine> {
        self.quarantined.as_ref()
    }

    /// A write that was sent when `after` had been seen already is stored at `revision`. Says why the store
    /// cannot be trusted any more, if that is so; the engine has to know before it hears of the write (S11).
    pub fn handle_stored(&mut self, after: Revision, revision: Revision) -> Option<String> {
        let went_back = revision <= after && !mutant::is(Mutant::SkipQuarantine);
        self.saw(revision);
        went_back.then(|| {
            let why = format!("its sequence went back to {revision}, {after} was seen before");
            self.quarantine(why.clone());
            why
        })
    }

    /// A revision was seen, in an acknowledgement or a delivery.
    pub fn saw(&mut self, revision: Revision) {
        self.highest = self.highest.max(revision);
    }

    pub fn handle_timeout(&mut self, now: Timestamp) {
        match &mut self.state {
            State::Watching { until } if *until <= now => self.read(false),
            State::Reading { first, retry_at: Some(at) } if *at <= now => {
                let first = *first;
                self.read(first);
            }
            State::Taking(taking) if taking.retry_at.is_some_and(|at| at <= now) => self.send_takeover(),
            State::Leading(leading) => {
                if leading.next_heartbeat <= now {
                    leading.next_heartbeat = now + HEARTBEAT_EVERY;
                    self.actions.push_back(Action::Heartbeat { epoch: leading.epoch });
                }
                self.write_lease_if_due(now);
            }
            State::Resigning(_) => self.write_lease_if_due(now),
            _ => {}
        }
    }

    /// Another coordinator has sent a sign of life. One that has begun to lead may know nothing but a bucket that
    /// was made again, and grant what others still hold: whoever hears of a new term looks which bucket it is in.
    pub fn handle_heartbeat(&mut self, now: Timestamp, epoch: Epoch) {
        let is_news = epoch > self.heard;
        self.heard = self.heard.max(epoch);
        match &mut self.state {
            State::Watching { until } => *until = (*until).max(now + TAKEOVER_AFTER),
            State::Leading(leading) if epoch > leading.epoch => {
                self.step_down(now, format!("another coordinator leads in epoch {epoch}"));
            }
            _ => {}
        }
        if is_news {
            self.actions.push_back(Action::CheckIdentity);
        }
    }

    /// The leader has resigned: whoever stands by need not wait for silence.
    pub fn handle_farewell(&mut self) {
        if let State::Watching { .. } = self.state {
            self.read(false);
        }
    }

    /// The standing consumer has delivered an `epoch` record.
    pub fn handle_epoch_seen(&mut self, now: Timestamp, revision: Revision) {
        if let State::Leading(leading) | State::Resigning(leading) = &self.state
            && revision > leading.epoch.revision()
        {
            self.step_down(now, format!("epoch {revision} has begun"));
        }
    }

    /// The store was found to be another one than at the beginning, or the same.
    pub fn handle_identity(&mut self, now: Timestamp, same: bool) {
        if !same {
            self.quarantine("the bucket was deleted and made again".into());
        } else if let State::Leading(leading) = &self.state
            && leading.has_vanished(now)
        {
            self.quarantine("its records were deleted, the leader's own among them".into());
        }
    }

    /// Gives the leadership back. The driver has dropped the engine: nothing is granted or renewed any more.
    pub fn resign(&mut self, now: Timestamp) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Leading(leading) if self.quarantined.is_none() => {
                self.state = State::Resigning(leading);
                self.write_lease_if_due(now);
            }
            _ => self.actions.push_back(Action::Over),
        }
    }

    fn read(&mut self, first: bool) {
        self.state = State::Reading { first, retry_at: None };
        self.actions.push_back(Action::ReadShard);
    }

    fn watch(&mut self, now: Timestamp) {
        let pause = TAKEOVER_AFTER * (1 << self.short_terms.min(BACKOFF_DOUBLINGS_MAX));
        self.state = State::Watching { until: now + pause };
    }

    fn next_attempt(&mut self) -> AttemptId {
        self.attempts += 1;
        AttemptId { coordinator: self.me.coordinator, number: self.attempts }
    }

    fn quarantine(&mut self, why: String) {
        if mutant::is(Mutant::SkipQuarantine) {
            return;
        }
        let is_news = self.quarantined.is_none();
        let highest = self.highest;
        let why = self.quarantined.get_or_insert(Quarantine { why, highest }).why.clone();
        self.actions.push_back(Action::Quarantine { why });
        if is_news {
            self.begin_marked_term();
        }
    }

    /// Ends a term whose `epoch` record does not say that the shard is quarantined, whoever leads in it, to begin
    /// one whose record does: a coordinator that knows nothing of it must not lead the shard as if nothing had happened.
    fn begin_marked_term(&mut self) {
        match &self.state {
            State::Leading(_) | State::Resigning(_) => {
                self.begin_anew("to mark the shard as quarantined".into());
            }
            State::Watching { .. } => self.read(false),
            _ => {}
        }
    }

    /// Ends this term to begin another one at once, or to be over where the leader resigns.
    fn begin_anew(&mut self, why: String) {
        if let State::Resigning(_) = self.state {
            self.state = State::Over;
            self.actions.push_back(Action::Over);
        } else {
            self.actions.push_back(Action::StepDown { why });
            self.read(false);
        }
    }

    fn step_down(&mut self, now: Timestamp, why: String) {
        if let State::Resigning(_) = self.state {
            self.state = State::Over;
            self.actions.push_back(Action::Over);
            return;
        }
        if let State::Leading(leading) = &self.state
            && now.since(leading.began) < self.me.leader_lease
        {
            self.short_terms += 1;
        }
        self.watch(now);
        self.actions.push_back(Action::StepDown { why });
    }
}

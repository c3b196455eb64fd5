//! What a client does about its leases: when to ask, when to ask again, until when to believe. Synchronous,
//! without IO or clock, so that the simulator runs the very same code.
//!
//! The driver (`client/driver.rs`) calls one `handle_*` function or command, then does every effect of
//! [`Core::poll_effect`], and calls [`Core::handle_timeout`] at [`Core::poll_timeout`].
//!
//! Three rules carry the safety of it:
//!
//! - A deadline is counted from the *sending* of the request that was answered. Each sending has a number of
//!   its own, which comes back with the answer; an answer to an unknown number confers nothing.
//! - A lease is lost at its own deadline, whatever the network does, which is before the coordinator can give
//!   the lock away.
//! - What is no longer wanted is released until that is answered, or until it has ended by itself; and once more
//!   to each new leader of the following lease time.

mod answers;
mod entry;
mod released;
mod renewals;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use self::entry::{Acquiring, Entry, Held, Releasing};
use self::released::Released;
use super::pace::Pace;
use crate::engine::message::{Ask, LeaseRef, LockView};
use crate::mutant::{self, Mutant};
use crate::types::{LeaseId, LockName, Timestamp, Token, Ttl};
use crate::wire::reply::{Granted, Refused};

use super::options::Terms;

/// A waiter repeats its request at least that often, also where its lease time is long: a new leader that it has
/// not heard of does not know it, and a grant may be lost.
const REPEAT_EVERY_MAX: Duration = Duration::from_secs(10);

/// Names one acquisition within a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u64);

/// Names one sending of a request: the last token of its reply subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendNumber(pub u64);

/// Why a lease is no longer held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostReason {
    /// Its deadline passed without an answer to a renewal: the coordinator could not be reached, or this
    /// process was paused.
    Unreachable,
    /// The same, and the NATS server has said why: it no longer lets this client in, or no longer renew.
    Forbidden,
    /// The coordinator says that it was not renewed in time.
    Expired,
    /// An administrator took it.
    Revoked,
    /// It was released, by this client or by whoever else knows its id.
    Released,
}

/// What became of an acquisition.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is held until the deadline, which renewals put off.
    Granted {
        /// What was granted.
        granted: Granted,
        /// Until when it may be believed in.
        deadline: Timestamp,
    },
    /// Others hold the lock; nothing is waited for any more.
    Held {
        /// Who.
        view: LockView,
        /// How long was waited, by the leader's clock; zero for a try.
        waited: Duration,
    },
    /// The coordinator refused.
    Refused(Refused),
    /// Nobody leads the namespace.
    NoCoordinator,
    /// No answer in time; the request is being taken back.
    NoAnswer,
}

/// What the driver has to do.
#[derive(Debug)]
pub enum Effect {
    /// Send a request, with this number in its reply subject. The core has counted it as sent at the time of
    /// the call; sending it later is safe, as the lease is then only believed in for a shorter time.
    Send {
        /// Its number.
        number: SendNumber,
        /// The lock that stands in the subject.
        name: Option<LockName>,
        /// What is asked.
        ask: Ask,
    },
    /// Send a release that wants no answer.
    Tell {
        /// The lock that stands in the subject.
        name: LockName,
        /// What is asked.
        ask: Ask,
    },
    /// An acquisition has an outcome.
    Outcome(Handle, Outcome),
    /// A request waits.
    Progress(Handle, super::Progress),
    /// A lease may be believed in until then.
    Extended(Handle, Timestamp),
    /// A lease is lost.
    Lost(Handle, LostReason),
    /// A release is answered (how long the lock was held), or its time is over.
    Released(Handle, Option<Duration>),
    /// Nothing more is known of this sending; its answers need not be kept.
    Forget(SendNumber),
}

/// A sending that may be answered.
#[derive(Debug)]
struct Sent {
    at: Timestamp,
    about: About,
}

#[derive(Debug)]
enum About {
    One(Handle),
    Many(Vec<(LeaseId, Handle)>),
}

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// How long to go on without any answer.
    pub patience: Duration,
    /// Makes the pauses of different clients differ.
    pub seed: u64,
}

/// The leases of one client.
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    entries: BTreeMap<Handle, Entry>,
    alarms: BTreeSet<(Timestamp, Handle)>,
    sent: BTreeMap<SendNumber, Sent>,
    /// The highest epoch that any answer spoke for.
    epoch: u64,
    /// The highest epoch that was announced, by whom is not known.
    announced: u64,
    released: Released,
    pace: Pace,
    next_number: u64,
    effects: VecDeque<Effect>,
}

impl Core {
    /// A client without leases.
    pub fn new(config: CoreConfig) -> Self {
        let pace = Pace::new(config.seed, Duration::MAX);
        Self {
            config,
            entries: BTreeMap::new(),
            alarms: BTreeSet::new(),
            sent: BTreeMap::new(),
            epoch: 0,
            announced: 0,
            released: Released::default(),
            pace,
            next_number: 0,
            effects: VecDeque::new(),
        }
    }

    /// Begins to acquire a lock. The handle is the caller's, and is used once.
    pub fn acquire(&mut self, now: Timestamp, handle: Handle, name: LockName, terms: Terms) {
        let pace = self.pace.fork((terms.ttl.get() / 3).min(REPEAT_EVERY_MAX));
        let acquiring = Acquiring::new(now, name, terms, self.config.patience, pace);
        self.put(handle, Entry::Acquiring(acquiring));
        self.handle_timeout(now);
    }

    /// Forgets a lease without giving it back: it ends by itself.
    pub fn leave(&mut self, handle: Handle) {
        self.take(handle);
    }

    /// Gives a lease back, or an acquisition up; final. `Effect::Released` follows where a lease was held.
    pub fn release(&mut self, now: Timestamp, handle: Handle, keep: Duration) {
        let Some(entry) = self.take(handle) else {
            self.effects.push_back(Effect::Released(handle, None));
            return;
        };
        let releasing = match entry {
            // It was lost, and is being given back already: whoever asks is told when that is answered.
            Entry::Releasing(releasing) => Releasing { reports: true, ..releasing },
            Entry::Acquiring(acquiring) => self.give_up(now, acquiring),
            Entry::Held(held) => {
                let lease = LeaseRef { id: held.id, token: Some(held.token) };
                let pace = self.pace.fork(held.ttl.get());
                let releasing = Releasing::new(now, held.name, lease, held.ttl, pace);
                Releasing { keep, until: releasing.until.max(now + keep), reports: true, ..releasing }
            }
        };
        self.put(handle, Entry::Releasing(releasing));
        self.handle_timeout(now);
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// True while something that was released or given up is not answered.
    pub fn is_releasing(&self) -> bool {
        self.entries.values().any(|entry| matches!(entry, Entry::Releasing(_)))
    }

    /// How many leases, acquisitions and releases there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True where nothing is held, asked for or being released.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The time of `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(&(at, handle)) = self.alarms.first() {
            if at > now {
                break;
            }
            match self.take(handle) {
                Some(Entry::Acquiring(acquiring)) => self.pursue(now, handle, acquiring),
                Some(Entry::Releasing(releasing)) => self.insist(now, handle, releasing),
                Some(Entry::Held(held)) => self.keep(now, handle, held),
                None => {
                    self.alarms.remove(&(at, handle));
                }
            }
        }
    }

    /// A leader has taken over, in this epoch or in an unknown one (0): what waits is announced to it, what is held
    /// is renewed, what is being released or was lately is released again. Not all at the same instant.
    pub fn handle_new_leader(&mut self, now: Timestamp, epoch: u64) {
        self.announced = self.announced.max(epoch);
        let handles: Vec<_> = self.entries.keys().copied().collect();
        for handle in handles {
            if mutant::is(Mutant::NoReannounce) {
                break;
            }
            let soon = now + self.pace.at_once();
            if let Some(mut entry) = self.take(handle) {
                entry.announce(now, soon);
                self.put(handle, entry);
            }
        }
        self.repeat_releases(now);
    }

    /// Somebody says that the lease with this token is over. Anybody can say so, and the coordinator knows: it is
    /// asked at once.
    pub fn handle_doubt(&mut self, now: Timestamp, token: Token) {
        let doubted = |entry: &Entry| matches!(entry, Entry::Held(held) if held.token == token);
        let handles = self.entries.iter().filter(|(_, entry)| doubted(entry)).map(|(handle, _)| *handle);
        for handle in handles.collect::<Vec<_>>() {
            if let Some(mut entry) = self.take(handle) {
                entry.hasten(now);
                self.put(handle, entry);
            }
        }
        self.handle_timeout(now);
    }

    fn take(&mut self, handle: Handle) -> Option<Entry> {
        let entry = self.entries.remove(&handle)?;
        self.alarms.remove(&(entry.alarm(), handle));
        Some(entry)
    }

    fn put(&mut self, handle: Handle, entry: Entry) {
        self.alarms.insert((entry.alarm(), handle));
        self.entries.insert(handle, entry);
    }

    fn send(&mut self, now: Timestamp, about: About, name: Option<LockName>, ask: Ask) -> SendNumber {
        self.next_number += 1;
        let number = SendNumber(self.next_number);
        self.sent.insert(number, Sent { at: now, about });
        self.effects.push_back(Effect::Send { number, name, ask });
        number
    }

    /// No answer to these sendings means anything any more.
    fn forget(&mut self, numbers: Vec<SendNumber>) {
        for number in numbers {
            self.sent.remove(&number);
            self.effects.push_back(Effect::Forget(number));
        }
    }

    /// Sends an acquire request, or gives it up.
    fn pursue(&mut self, now: Timestamp, handle: Handle, mut acquiring: Acquiring) {
        if acquiring.give_up_at() <= now {
            let outcome = if acquiring.heard { Outcome::NoAnswer } else { acquiring.unheard() };
            self.effects.push_back(Effect::Outcome(handle, outcome));
            let releasing = self.give_up(now, acquiring);
            self.put(handle, Entry::Releasing(releasing));
            return;
        }
        let ask = Ask::Acquire(acquiring.ask(now));
        let number = self.send(now, About::One(handle), Some(acquiring.name.clone()), ask);
        acquiring.sent(now, number);
        self.put(handle, Entry::Acquiring(acquiring));
    }

    /// The acquisition is no longer wanted: a release is final for its id, also for copies that still travel.
    fn give_up(&mut self, now: Timestamp, acquiring: Acquiring) -> Releasing {
        self.forget(acquiring.numbers);
        let lease = LeaseRef { id: acquiring.terms.id, token: None };
        let ttl = acquiring.terms.ttl;
        Releasing::new(now, acquiring.name, lease, ttl, self.pace.fork(ttl.get()))
    }

    /// Sends a release, or lets the lease end by itself.
    fn insist(&mut self, now: Timestamp, handle: Handle, mut releasing: Releasing) {
        if releasing.until <= now {
            self.settle(handle, releasing, None);
            return;
        }
        let (name, lease, keep) = (releasing.name.clone(), releasing.lease.clone(), releasing.keep);
        let ask = Ask::Release { name: name.clone(), lease, keep };
        let number = self.send(now, About::One(handle), Some(name), ask);
        releasing.sent(now, number);
        self.put(handle, Entry::Releasing(releasing));
    }

    fn settle(&mut self, handle: Handle, releasing: Releasing, held: Option<Duration>) {
        self.forget(releasing.numbers);
        if releasing.reports {
            self.effects.push_back(Effect::Released(handle, held));
        }
    }

    /// A lease that is lost is released all the same: it may still stand in the coordinator's way.
    fn lose(&mut self, now: Timestamp, handle: Handle, held: Held, why: LostReason) {
        self.effects.push_back(Effect::Lost(handle, why));
        let lease = LeaseRef { id: held.id, token: Some(held.token) };
        let pace = self.pace.fork(held.ttl.get());
        self.put(handle, Entry::Releasing(Releasing::new(now, held.name, lease, held.ttl, pace)));
    }
}

/// Until when a lease may be believed in that was conferred by the answer to a request sent at `sent`: 1 % less
/// than the leader reckons, because clocks may differ by that much. The wait is as the leader's clock has it, too:
/// of a wait of 100 s a slower clock of the client's would add a second to the lease.
fn deadline(sent: Timestamp, waited: Duration, ttl: Ttl) -> Timestamp {
    let span = if mutant::is(Mutant::WaitWithoutDrift) {
        waited + ttl.get() * 99 / 100
    } else {
        (waited + ttl.get()) * 99 / 100
    };
    sent + span
}

/// How a lease is named in a renewal.
fn lease_ref(id: &LeaseId, token: Token) -> LeaseRef {
    LeaseRef { id: id.clone(), token: Some(token) }
}

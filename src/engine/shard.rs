//! The engine itself: what it knows, and how a request finds its way.

use super::books::Books;
use super::fact::Fact;
use super::limits::Limits;
use super::lock::Lock;
use super::locks::Locks;
use super::message::{Ask, Code, Now, Output, Refusal, Request};
use super::parked::Parked;
use super::takeaway::BatchFlight;
use super::term::Term;
use crate::types::{LockName, Revision, Timestamp};

/// The locks of one shard during one term. `R` says where an answer goes.
#[derive(Debug)]
pub struct Engine<R> {
    pub(super) locks: Locks<R>,
    pub(super) books: Books<R>,
    pub(super) batch: Option<BatchFlight>,
    pub(super) parked: Vec<Parked<R>>,
}

/// How many hold and wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Leases.
    pub holders: usize,
    /// Places in queues.
    pub waiters: usize,
}

impl<R: Clone> Engine<R> {
    /// An engine that knows no lock yet: records come by [`Engine::handle_entry`].
    pub fn new(limits: Limits, term: Term) -> Self {
        Self { locks: Locks::default(), books: Books::new(limits, term), batch: None, parked: Vec::new() }
    }

    /// The same, and it tells what happens: [`Engine::take_facts`] has to be called again and again.
    #[must_use]
    pub fn observed(mut self) -> Self {
        self.books.facts = Some(Vec::new());
        self
    }

    /// What has happened since this was last called, in order.
    pub fn take_facts(&mut self) -> impl Iterator<Item = Fact> {
        self.books.facts.iter_mut().flat_map(|facts| facts.drain(..))
    }

    /// How many hold and wait in the whole shard.
    pub const fn census(&self) -> Census {
        Census { holders: self.books.holding, waiters: self.books.waiting }
    }

    /// How many hold this lock and wait for it.
    pub fn census_of(&self, name: &LockName) -> Census {
        self.locks.get(name).map_or_else(Census::default, |lock| Census {
            holders: lock.present().count(),
            waiters: lock.queue.len(),
        })
    }

    /// True where a record of this lock with this revision is no news: [`Engine::handle_delivered`] does for it.
    pub fn knows(&self, name: &LockName, revision: Revision) -> bool {
        self.locks.get(name).is_some_and(|lock| lock.stored >= revision)
    }

    /// The term that the engine serves.
    pub const fn term(&self) -> &Term {
        &self.books.term
    }

    /// What bounds it.
    pub const fn limits(&self) -> &Limits {
        &self.books.limits
    }

    /// The highest revision that the standing consumer has delivered.
    pub const fn delivered(&self) -> Revision {
        self.books.delivered
    }

    /// The longest lease time of all leases that this term has found or granted.
    pub const fn longest_lease(&self) -> std::time::Duration {
        self.books.longest
    }

    /// A request has arrived; `now` was read after that.
    ///
    /// While the leadership is not sure (S3) it is dropped without a word: the client repeats it.
    pub fn handle(&mut self, now: Now, request: Request<R>) {
        self.books.begin(now);
        self.dispatch(request);
        self.take_away();
    }

    /// The leader is sure of its leadership until `until`, which only ever rises.
    pub fn extend(&mut self, now: Now, until: Timestamp) {
        self.books.begin(now);
        self.books.term.act_until = self.books.term.act_until.max(until);
        self.books.acting = self.books.term.acts(now.boot);
        if self.books.acting && std::mem::take(&mut self.books.lapsed) {
            self.recover();
        }
        self.take_away();
    }

    /// The store went back in time or was replaced (S11): from now on nothing is granted, renewed or released.
    pub fn quarantine(&mut self, reason: String) {
        self.books.quarantine.get_or_insert(reason);
    }

    /// Why the shard is quarantined, if it is.
    pub fn quarantined(&self) -> Option<&str> {
        self.books.quarantine.as_deref()
    }

    /// Tells everybody who waits that this leader is leaving, so that they ask the next one at once.
    pub fn handle_shutdown(&mut self, now: Now) {
        self.books.begin(now);
        let leaving = Refusal::new(
            Code::ShuttingDown,
            "the coordinator is shutting down; repeat the request with the same id to reach the next one",
        )
        .retry_after(std::time::Duration::from_millis(100));
        self.books.limits.put_off_for = std::time::Duration::ZERO;
        self.write_all_put_off();
        self.locks.for_each_mut(|lock| {
            self.books.about = Some(lock.name.clone());
            let keys: Vec<_> = lock.queue.iter().map(|waiter| waiter.key).collect();
            for key in keys {
                if let Some(waiter) = lock.dismiss(&key, &mut self.books) {
                    self.books.refuse(waiter.reply, leaving.clone());
                }
            }
        });
    }

    /// True where a write of a lock has no outcome yet.
    pub fn is_writing(&self) -> bool {
        self.batch.is_some() || self.locks.iter().any(|lock| !lock.is_idle())
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output<R>> {
        self.books.outputs.pop_front()
    }

    /// When [`Engine::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.books.deadlines.next()
    }

    pub(super) fn dispatch(&mut self, request: Request<R>) {
        if !self.books.acting {
            return;
        }
        self.books.about = request.ask.name().cloned();
        if let Some(reason) = &self.books.quarantine
            && !matches!(request.ask, Ask::Check { .. } | Ask::List { .. })
        {
            let message = format!("the shard is quarantined until an operator recovers it: {reason}");
            if let Some(to) = request.reply {
                self.books.refuse_with(to, Code::Quarantined, message);
            }
            return;
        }
        if confers(&request.ask) && self.books.term.is_under_embargo(self.books.now.boot) {
            if let Some(to) = request.reply {
                self.books.refuse_for_embargo(to);
            }
            return;
        }
        if let Some(request) = self.park_if_unsure(request) {
            self.carry_out(request);
        }
    }

    pub(super) fn carry_out(&mut self, request: Request<R>) {
        let Request { owner, reply, ask } = request;
        self.books.about = ask.name().cloned();
        match (ask, reply) {
            (Ask::Release { name, lease, keep }, reply) => self.release(owner, reply, name, lease, keep),
            // Nobody would hear the answer, so nothing is done.
            (_, None) => {}
            (Ask::Acquire(acquire), Some(to)) => self.acquire(owner, to, acquire),
            (Ask::Renew { name, lease }, Some(to)) => self.renew(&owner, to, &name, &lease),
            (Ask::RenewMany { leases }, Some(to)) => self.renew_many(&owner, to, leases),
            (Ask::Check { name, limit }, Some(to)) => self.check(to, &name, limit),
            (Ask::List { prefix, limit, after }, Some(to)) => self.list(to, &prefix, limit, after.as_ref()),
            (Ask::AdminRelease { name, reason }, Some(to)) => self.admin_release(to, &name, reason),
        }
    }

    /// The leader is sure again after a time when it was not. It could not hear renewals meanwhile, so nobody
    /// is expired for having been silent.
    fn recover(&mut self) {
        self.books.due.clear();
        self.books.due.extend(self.locks.iter().filter(|l| !l.admins.is_empty()).map(|l| l.name.clone()));
        self.locks.for_each_mut(|lock| {
            for index in 0..lock.holders.len() {
                lock.holders[index].learnt = self.books.now.boot;
                lock.watch_lease(index, &mut self.books);
            }
            let repeaters = lock.queue.iter().filter(|waiter| waiter.heard.is_some());
            for key in repeaters.map(|waiter| waiter.key).collect::<Vec<_>>() {
                if let Some(waiter) = lock.queue.get_mut(&key) {
                    waiter.heard = Some(self.books.now.boot);
                }
                lock.watch_waiter(&key, &mut self.books);
            }
            lock.advance(&mut self.books);
        });
    }

    /// Forgets a lock that nothing needs to be remembered of.
    pub(super) fn tidy(&mut self, name: &LockName) {
        if self.locks.get(name).is_some_and(Lock::is_blank) {
            self.locks.remove(name);
        }
    }
}

/// True for what makes somebody believe in a lease, or makes a place in a queue that leads there.
const fn confers(ask: &Ask) -> bool {
    matches!(ask, Ask::Acquire(_) | Ask::Renew { .. } | Ask::RenewMany { .. })
}

//! Requests that wait until enough is known to answer them (S8).
//!
//! Before the leader says that an id holds nothing, it must know all that was written before: a leader that
//! was deposed may have granted it lawfully. And after a refused write it must look again before it says
//! anything about that lock.

use super::Engine;
use super::acquire::in_doubt_refusal;
use super::deadlines::Alarm;
use super::limits::PARKED_FOR;
use super::lock::Place;
use super::message::{Ask, EntryContent, LeaseRef, Request, Ticket};
use crate::mutant::{self, Mutant};
use crate::types::{IdHash, LockName, OwnerName, Revision, Timestamp};

/// One such request.
#[derive(Debug)]
pub(super) struct Parked<R> {
    request: Request<R>,
    until: Timestamp,
    /// Asked for where only a proof helps, and what it turned out to be.
    proof: Option<(Ticket, Option<Revision>)>,
}

/// What an answer depends on.
struct Subject<'a> {
    name: &'a LockName,
    lease: Option<&'a LeaseRef>,
}

/// Why a request cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// What is missing is on its way.
    Later,
    /// The record that made the token was overwritten before the standing consumer came to it, and by what is
    /// still to come: all that was written before now must be known.
    Skipped,
}

impl<R: Clone> Engine<R> {
    /// Gives the request back if it can be answered now.
    pub(super) fn park_if_unsure(&mut self, request: Request<R>) -> Option<Request<R>> {
        let Some(doubt) = self.doubt(&request) else { return Some(request) };
        if !mutant::is(Mutant::PutOffIsSilent) {
            self.note_alive(&request);
        }
        if self.parked.len() >= self.books.limits.parked_max {
            if let Some(to) = request.reply {
                self.books.refuse(to, in_doubt_refusal());
            }
            return None;
        }
        let until = self.books.now.boot + PARKED_FOR;
        self.books.alarm(until, Alarm::Parked);
        let proof = (doubt == Doubt::Skipped).then(|| (self.books.ask_to_confirm(), None));
        self.parked.push(Parked { request, until, proof });
        None
    }

    /// Whoever repeats a waiting request is there, though the repeat cannot be looked at yet: it is not dropped for
    /// its silence, and keeps its place (S9).
    fn note_alive(&mut self, request: &Request<R>) {
        let id = match &request.ask {
            Ask::Acquire(acquire) => &acquire.id,
            Ask::Renew { lease, .. } => &lease.id,
            _ => return,
        };
        let key = id.hash(&request.owner);
        let Some(lock) = self.books.ids.get(&key).and_then(|name| self.locks.get_mut(name)) else { return };
        if let Some(waiter) = lock.queue.get_mut(&key) {
            waiter.heard = Some(self.books.now.boot);
            lock.watch_waiter(&key, &mut self.books);
        }
    }

    /// A proof has come for those who asked for it up to now.
    pub(super) fn prove_parked(&mut self, ticket: Ticket, revision: Revision) {
        for (asked, proven) in self.parked.iter_mut().filter_map(|parked| parked.proof.as_mut()) {
            if *asked <= ticket {
                proven.get_or_insert(revision);
            }
        }
    }

    /// Tries them again, in the order in which they came.
    pub(super) fn retry_parked(&mut self) {
        if self.parked.is_empty() {
            return;
        }
        let now = self.books.now.boot;
        for mut parked in std::mem::take(&mut self.parked) {
            let doubt = self.doubt(&parked.request);
            let proven = parked.proof.and_then(|(_, proven)| proven);
            let proven = proven.is_some_and(|proven| proven <= self.books.delivered);
            if doubt == Some(Doubt::Skipped) && proven && self.books.may_confer() {
                self.carry_out(parked.request);
            } else if doubt.is_none() {
                self.dispatch(parked.request);
            } else if parked.until > now {
                if doubt == Some(Doubt::Skipped) && parked.proof.is_none() {
                    parked.proof = Some((self.books.ask_to_confirm(), None));
                }
                self.parked.push(parked);
            } else if let Some(to) = parked.request.reply {
                self.books.refuse(to, in_doubt_refusal());
            }
        }
    }

    fn doubt(&self, request: &Request<R>) -> Option<Doubt> {
        let subject = subject(&request.ask)?;
        if self.books.confirming.contains(subject.name) {
            return Some(Doubt::Later);
        }
        let lease = subject.lease?;
        let key = self.key(lease, &request.owner);
        if self.is_news(&key, lease) {
            return Some(Doubt::Later);
        }
        // A release is final whatever is found; a renewal must not be refused to one who holds.
        let renews = matches!(request.ask, Ask::Renew { .. });
        (renews && self.is_skipped(&key, lease, subject.name)).then_some(Doubt::Skipped)
    }

    /// True where the token was made by a record that is newer than what is known of its lock: the standing
    /// consumer is beyond it and has not delivered it.
    fn is_skipped(&self, key: &IdHash, lease: &LeaseRef, name: &LockName) -> bool {
        let lock = self.locks.get(name);
        let known = lock.map_or(Revision::NONE, |lock| lock.stored);
        let place = lock.and_then(|lock| lock.place(key));
        let held = matches!(place, Some(Place::Holding(_) | Place::Beginning));
        !held
            && self.books.finished.get(key).is_none()
            && lease.token.is_some_and(|token| token.revision() > known)
    }

    fn key(&self, lease: &LeaseRef, owner: &OwnerName) -> IdHash {
        lease.id.hash(owner)
    }

    /// True where a renewal of this lease cannot be answered yet.
    pub(super) fn is_unsure_of(&self, key: &IdHash, lease: &LeaseRef) -> bool {
        let name = self.books.ids.get(key);
        name.is_some_and(|name| self.books.confirming.contains(name)) || self.is_news(key, lease)
    }

    /// True where the request carries a token that the standing consumer has not reached, or where the consumer
    /// has delivered a record that names it and is still to be taken, of a lease that is not known as held or
    /// finished here.
    fn is_news(&self, key: &IdHash, lease: &LeaseRef) -> bool {
        let named = lease.token.map_or(Revision::NONE, |token| token.revision());
        if self.books.finished.get(key).is_some() {
            return false;
        }
        let lock = self.books.ids.get(key).and_then(|name| self.locks.get(name));
        match lock.and_then(|lock| lock.place(key)) {
            Some(Place::Holding(_)) => false,
            Some(Place::Beginning) => named > self.books.delivered,
            Some(Place::Waiting) | None => named > self.books.delivered || self.is_ahead(key),
        }
    }

    /// True where a delivered record that names this lease waits for the outcome of its lock's own write.
    fn is_ahead(&self, key: &IdHash) -> bool {
        let seen = self.books.ahead.iter().filter_map(|name| self.locks.get(name)?.seen.as_ref());
        seen.filter_map(|entry| match &entry.content {
            EntryContent::Record(record) => Some(record),
            EntryContent::Deleted | EntryContent::Garbled(_) => None,
        })
        .any(|record| record.holders.iter().any(|holder| holder.id == *key))
    }

    pub(super) fn parked_len(&self) -> usize {
        self.parked.len()
    }
}

const fn subject(ask: &Ask) -> Option<Subject<'_>> {
    match ask {
        Ask::Acquire(acquire) => Some(Subject { name: &acquire.name, lease: None }),
        Ask::Renew { name, lease } | Ask::Release { name, lease, .. } => {
            Some(Subject { name, lease: Some(lease) })
        }
        Ask::Check { name, .. } | Ask::AdminRelease { name, .. } => Some(Subject { name, lease: None }),
        Ask::RenewMany { .. } | Ask::List { .. } => None,
    }
}

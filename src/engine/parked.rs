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
use super::message::{Ask, EntryContent, LeaseRef, Request};
use crate::types::{IdHash, LockName, OwnerName, Revision, Timestamp};

/// One such request.
#[derive(Debug)]
pub(super) struct Parked<R> {
    request: Request<R>,
    until: Timestamp,
}

/// What an answer depends on.
struct Subject<'a> {
    name: &'a LockName,
    lease: Option<&'a LeaseRef>,
}

impl<R: Clone> Engine<R> {
    /// Gives the request back if it can be answered now.
    pub(super) fn park_if_unsure(&mut self, request: Request<R>) -> Option<Request<R>> {
        if !self.must_wait(&request) {
            return Some(request);
        }
        if self.parked.len() >= self.books.limits.parked_max {
            if let Some(to) = request.reply {
                self.books.refuse(to, in_doubt_refusal());
            }
            return None;
        }
        let until = self.books.now.boot + PARKED_FOR;
        self.books.alarm(until, Alarm::Parked);
        self.parked.push(Parked { request, until });
        None
    }

    /// Tries them again, in the order in which they came.
    pub(super) fn retry_parked(&mut self) {
        if self.parked.is_empty() {
            return;
        }
        let now = self.books.now.boot;
        for parked in std::mem::take(&mut self.parked) {
            if !self.must_wait(&parked.request) {
                self.dispatch(parked.request);
            } else if parked.until > now {
                self.parked.push(parked);
            } else if let Some(to) = parked.request.reply {
                self.books.refuse(to, in_doubt_refusal());
            }
        }
    }

    fn must_wait(&self, request: &Request<R>) -> bool {
        let Some(subject) = subject(&request.ask) else { return false };
        if self.books.confirming.contains(subject.name) {
            return true;
        }
        subject.lease.is_some_and(|lease| {
            let key = self.key(lease, &request.owner);
            self.is_news(&key, lease)
        })
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

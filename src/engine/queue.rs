//! Those who wait for one lock, first come first served.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::message::Acquire;
use crate::types::{Claim, IdHash, LeaseId, Note, OwnerName, Timestamp, Ttl};

/// One who waits.
#[derive(Debug, Clone)]
pub(super) struct Waiter<R> {
    pub(super) key: IdHash,
    pub(super) id: LeaseId,
    pub(super) owner: OwnerName,
    pub(super) claim: Claim,
    pub(super) ttl: Ttl,
    pub(super) note: Option<Note>,
    /// Where the answer to the latest request for it goes.
    pub(super) reply: R,
    /// When that request was received.
    pub(super) received: Timestamp,
    /// When the first was.
    pub(super) since: Timestamp,
    /// Whether it met one that it cannot hold the lock with, or that stood before it.
    pub(super) contended: bool,
    /// When its turn came: when the write that begins its lease was made.
    pub(super) turn_at: Option<Timestamp>,
    /// Until when the latest request is prepared to wait.
    pub(super) wait_until: Timestamp,
    /// When it last repeated or renewed itself, if it ever did.
    pub(super) heard: Option<Timestamp>,
    /// It does not wait: it is here only until the lock's state is certain.
    pub(super) tries: bool,
    /// When its alarm is set for.
    pub(super) alarm_at: Timestamp,
}

impl<R> Waiter<R> {
    pub(super) fn new(now: Timestamp, owner: OwnerName, reply: R, key: IdHash, ask: Acquire) -> Self {
        Self {
            key,
            id: ask.id,
            owner,
            claim: ask.claim,
            ttl: ask.ttl,
            note: ask.note,
            reply,
            received: now,
            since: now,
            contended: false,
            turn_at: None,
            wait_until: now + ask.wait.get(),
            heard: None,
            tries: ask.wait.is_try(),
            alarm_at: now,
        }
    }

    /// The same acquisition was asked for again: from now on that request is the one to answer.
    pub(super) fn asked_again(&mut self, now: Timestamp, reply: R, ask: &Acquire) {
        self.reply = reply;
        self.received = now;
        self.heard = Some(now);
        self.wait_until = now + ask.wait.get();
        self.tries = ask.wait.is_try();
    }

    /// How long it stood in the queue behind others, if it did.
    pub(super) fn stood(&self, now: Timestamp) -> Option<Duration> {
        self.contended.then(|| self.turn_at.unwrap_or(now).since(self.since))
    }

    /// When to look at it again: at the end of its wait, or when it has been silent for its lease time.
    pub(super) fn due_at(&self) -> Timestamp {
        match self.heard {
            Some(heard) => self.wait_until.min(heard + self.ttl.get()),
            None => self.wait_until,
        }
    }
}

/// So many are looked through faster than an index is kept, and most queues are no longer.
const FEW: usize = 8;

/// The queue of one lock, which takes no room while nobody waits.
#[derive(Debug)]
pub(super) struct WaitQueue<R>(Option<Box<Places<R>>>);

/// The places count up at the back and down at the front, so that those whose grant could not be written return to
/// where they were.
#[derive(Debug)]
struct Places<R> {
    waiters: BTreeMap<i64, Box<Waiter<R>>>,
    /// Where each is, if there are more than a few.
    index: HashMap<IdHash, i64>,
    /// The places of those who only try: they are few, and looked for after every write.
    trying: BTreeSet<i64>,
}

impl<R> Default for WaitQueue<R> {
    fn default() -> Self {
        Self(None)
    }
}

impl<R> Default for Places<R> {
    fn default() -> Self {
        Self { waiters: BTreeMap::new(), index: HashMap::new(), trying: BTreeSet::new() }
    }
}

impl<R> WaitQueue<R> {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |places| places.waiters.len())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiter<R>> {
        self.0.iter().flat_map(|places| places.waiters.values().map(Box::as_ref))
    }

    pub(super) fn contains(&self, key: &IdHash) -> bool {
        self.0.as_ref().is_some_and(|places| places.place_of(key).is_some())
    }

    pub(super) fn get(&self, key: &IdHash) -> Option<&Waiter<R>> {
        let places = self.0.as_ref()?;
        places.waiters.get(&places.place_of(key)?).map(Box::as_ref)
    }

    /// What decides about its place is not to be changed by this.
    pub(super) fn get_mut(&mut self, key: &IdHash) -> Option<&mut Waiter<R>> {
        let places = self.0.as_mut()?;
        let place = places.place_of(key)?;
        places.waiters.get_mut(&place).map(Box::as_mut)
    }

    /// The same acquisition was asked for again.
    pub(super) fn ask_again(&mut self, key: &IdHash, now: Timestamp, reply: R, ask: &Acquire) {
        if let Some(places) = &mut self.0 {
            places.ask_again(key, now, reply, ask);
        }
    }

    /// Those who only try, in order.
    pub(super) fn trying(&self) -> Vec<IdHash> {
        let Some(places) = &self.0 else { return Vec::new() };
        places.trying.iter().filter_map(|place| Some(places.waiters.get(place)?.key)).collect()
    }

    /// One is next. Linear in the number of waiters in front or behind, whichever is less.
    pub(super) fn position(&self, key: &IdHash) -> Option<usize> {
        self.0.as_ref()?.position(key)
    }

    pub(super) fn push_back(&mut self, waiter: Waiter<R>) {
        let places = self.0.get_or_insert_default();
        let place = places.waiters.last_key_value().map_or(0, |(place, _)| place + 1);
        places.put(place, waiter);
    }

    pub(super) fn push_front(&mut self, waiter: Waiter<R>) {
        let places = self.0.get_or_insert_default();
        let place = places.waiters.first_key_value().map_or(0, |(place, _)| place - 1);
        places.put(place, waiter);
    }

    pub(super) fn pop_front(&mut self) -> Option<Waiter<R>> {
        let (place, _) = self.0.as_ref()?.waiters.first_key_value()?;
        let place = *place;
        self.take(place)
    }

    pub(super) fn remove(&mut self, key: &IdHash) -> Option<Waiter<R>> {
        let place = self.0.as_ref()?.place_of(key)?;
        self.take(place)
    }

    fn take(&mut self, place: i64) -> Option<Waiter<R>> {
        let places = self.0.as_mut()?;
        let waiter = places.take(place)?;
        if places.waiters.is_empty() {
            self.0 = None;
        }
        Some(waiter)
    }
}

impl<R> Places<R> {
    fn place_of(&self, key: &IdHash) -> Option<i64> {
        if self.waiters.len() > FEW {
            return self.index.get(key).copied();
        }
        self.waiters.iter().find(|(_, waiter)| waiter.key == *key).map(|(place, _)| *place)
    }

    fn ask_again(&mut self, key: &IdHash, now: Timestamp, reply: R, ask: &Acquire) {
        let Some(place) = self.place_of(key) else { return };
        let Some(waiter) = self.waiters.get_mut(&place) else { return };
        waiter.asked_again(now, reply, ask);
        if waiter.tries {
            self.trying.insert(place);
        } else {
            self.trying.remove(&place);
        }
    }

    fn position(&self, key: &IdHash) -> Option<usize> {
        let place = self.place_of(key)?;
        let ends = self.waiters.first_key_value().zip(self.waiters.last_key_value());
        let nearer_front = ends.is_some_and(|((first, _), (last, _))| place - first < last - place);
        Some(if nearer_front {
            self.waiters.range(..=place).count()
        } else {
            self.waiters.len() - self.waiters.range(place + 1..).count()
        })
    }

    fn put(&mut self, place: i64, waiter: Waiter<R>) {
        if waiter.tries {
            self.trying.insert(place);
        }
        if self.waiters.len() > FEW {
            self.index.insert(waiter.key, place);
        }
        self.waiters.insert(place, Box::new(waiter));
        if self.waiters.len() == FEW + 1 {
            self.index = self.waiters.iter().map(|(place, waiter)| (waiter.key, *place)).collect();
        }
    }

    fn take(&mut self, place: i64) -> Option<Waiter<R>> {
        let waiter = self.waiters.remove(&place)?;
        self.trying.remove(&place);
        if self.waiters.len() == FEW {
            self.index = HashMap::new();
        } else {
            self.index.remove(&waiter.key);
        }
        Some(*waiter)
    }
}

//! Who stands where in the queue of a lock, as an onlooker at each leader's door sees it (I8).
//!
//! Who has asked a leader waits there until it is answered, begins, releases, or has been silent for as long as
//! it may be. The onlooker does not judge whose time is over to the half second, nor those whom the record of
//! another leader has named: they may hold there what they wait for here.

use std::collections::BTreeMap;
use std::time::Duration;

use natslock::engine::message::{Ask, Code, LockWrite, Reply, StoredToken};
use natslock::types::{Epoch, IdHash, LeaseId, LockName, OwnerName, Timestamp};

use super::net::To;
use super::witness::Verdict;

/// Nearer to the end of a wait than this nobody knows whether it is over.
const NEAR: Duration = Duration::from_millis(500);
/// Nothing of an id travels any more when it has not been heard of for so long.
const FORGET_AFTER: Duration = Duration::from_secs(120);

#[derive(Debug)]
struct Place {
    id: LeaseId,
    order: u64,
    /// Until when it surely waits.
    sure_until: Timestamp,
    /// It is not known where it stands, or it does not wait any more.
    aside: bool,
    tries: bool,
    /// The leader has said that it waits.
    queued: bool,
    /// The requests for it.
    sendings: Vec<To>,
    heard: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Queues {
    places: BTreeMap<(Epoch, LockName), BTreeMap<IdHash, Place>>,
    next: u64,
}

impl Queues {
    /// A request has come to the leader of this epoch.
    pub(super) fn asked(&mut self, epoch: Epoch, owner: &OwnerName, (ask, to): (&Ask, To), now: Timestamp) {
        match ask {
            Ask::Acquire(acquire) => {
                self.next += 1;
                let order = self.next;
                let places = self.places.entry((epoch, acquire.name.clone())).or_default();
                if order.is_multiple_of(64) {
                    places.retain(|_, place| now.since(place.heard) < FORGET_AFTER);
                }
                let key = acquire.id.hash(owner);
                let (tries, waits_until) = (acquire.wait.is_try(), now + acquire.wait.get());
                let Some(place) = places.get_mut(&key) else {
                    let (sure_until, sendings) = (waits_until, vec![to]);
                    let id = acquire.id.clone();
                    let (aside, queued) = (false, false);
                    let place = Place { id, order, sure_until, aside, tries, queued, sendings, heard: now };
                    places.insert(key, place);
                    return;
                };
                place.sendings.push(to);
                place.heard = now;
                place.tries = tries;
                place.aside |= now + NEAR >= place.sure_until || tries;
                place.sure_until = waits_until.min(now + acquire.ttl.get());
            }
            Ask::Release { name, lease, .. } => self.set_aside(epoch, name, &lease.id.hash(owner)),
            _ => {}
        }
    }

    fn set_aside(&mut self, epoch: Epoch, name: &LockName, key: &IdHash) {
        if let Some(place) = self.places.get_mut(&(epoch, name.clone())).and_then(|p| p.get_mut(key)) {
            place.aside = true;
        }
    }

    fn of_epoch(&mut self, epoch: Epoch) -> impl Iterator<Item = &mut Place> {
        let of_epoch = self.places.iter_mut().filter(move |((of, _), _)| *of == epoch);
        of_epoch.flat_map(|(_, places)| places.values_mut())
    }

    /// The leader is not sure of its leadership: who only tries, and what it has put off, may be dropped without a
    /// word.
    pub(super) fn lapse(&mut self, epoch: Epoch) {
        self.of_epoch(epoch).for_each(|place| place.aside |= place.tries || !place.queued);
    }

    /// The term is over.
    pub(super) fn end(&mut self, epoch: Epoch) {
        self.places.retain(|(of, _), _| *of != epoch);
    }

    /// An answer: it ends the wait, or says that it goes on. Of one who is known to wait, "not now" only says
    /// that this repeat is not looked at.
    pub(super) fn answered(&mut self, epoch: Epoch, reply: &Reply, to: To) {
        let (waits, passing) = match reply {
            Reply::Queued { .. } => (true, false),
            Reply::Error(refusal) => (false, refusal.code == Code::Unavailable),
            Reply::Held(_) | Reply::Timeout { .. } | Reply::Granted(_) => (false, false),
            _ => return,
        };
        for place in self.of_epoch(epoch).filter(|place| place.sendings.contains(&to)) {
            place.queued |= waits;
            let put_off = passing && place.queued && !place.tries;
            place.aside |= !(waits || put_off);
        }
    }

    /// A write leaves the leader: nobody whom it begins has overtaken one who surely waits.
    pub(super) fn begins(
        &mut self,
        epoch: Epoch,
        write: &LockWrite,
        now: Timestamp,
        elsewhere: impl Fn(&IdHash) -> bool,
    ) -> Verdict {
        let Some(places) = self.places.get_mut(&(epoch, write.name.clone())) else { return Ok(()) };
        let begun = write.record.holders.iter().filter(|h| matches!(h.token, StoredToken::Index(_)));
        let begun: Vec<IdHash> = begun.map(|holder| holder.id).collect();
        let last = begun.iter().filter_map(|key| places.get(key)).filter(|p| !p.aside).map(|p| p.order).max();
        for key in &begun {
            if let Some(place) = places.get_mut(key) {
                place.aside = true;
            }
        }
        let Some(last) = last else { return Ok(()) };
        let overtaken = places.iter().find(|(key, place)| {
            !place.aside && place.order < last && place.sure_until > now + NEAR && !elsewhere(key)
        });
        overtaken.map_or(Ok(()), |(_, place)| {
            let name = write.name.as_str();
            Err(format!(
                "I8: in {name} number {last} begins before number {} of {}, last heard of at {}: {begun:?}",
                place.order,
                place.id.reveal(),
                place.heard
            ))
        })
    }
}

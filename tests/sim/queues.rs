//! Who stands where in the queue of a lock, as an onlooker at the leader's door sees it (I8).

use std::collections::BTreeMap;
use std::time::Duration;

use natslock::engine::message::{Ask, LockWrite, Reply, StoredToken};
use natslock::types::{Epoch, IdHash, LockName, OwnerName, Timestamp};

use super::net::To;
use super::witness::Verdict;

/// Nearer to the end of a wait than this nobody knows whether it is over.
const NEAR: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Place {
    order: u64,
    /// Until when it surely waits.
    sure_until: Timestamp,
    /// It is not known where it stands, or it does not wait any more.
    aside: bool,
    /// The requests for it.
    sendings: Vec<To>,
}

#[derive(Debug, Default)]
pub(super) struct Queues {
    epoch: Option<Epoch>,
    places: BTreeMap<(Epoch, LockName), BTreeMap<IdHash, Place>>,
    next: u64,
}

impl Queues {
    /// A request has come to the leader of this epoch.
    pub(super) fn asked(&mut self, epoch: Epoch, owner: &OwnerName, (ask, to): (&Ask, To), now: Timestamp) {
        if self.epoch.is_none_or(|latest| latest < epoch) {
            self.epoch = Some(epoch);
            self.places.clear();
        }
        if self.epoch > Some(epoch) {
            // Nobody is watched any more but the latest leader.
            return;
        }
        match ask {
            Ask::Acquire(acquire) => {
                self.next += 1;
                let order = self.next;
                let places = self.places.entry((epoch, acquire.name.clone())).or_default();
                let key = acquire.id.hash(owner);
                let waits_until = now + acquire.wait.get();
                let Some(place) = places.get_mut(&key) else {
                    places.insert(
                        key,
                        Place { order, sure_until: waits_until, aside: false, sendings: vec![to] },
                    );
                    return;
                };
                place.sendings.push(to);
                place.aside |= now + NEAR >= place.sure_until || acquire.wait.is_try();
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

    /// The leader is not sure of its leadership: what it has not answered it may drop without a word.
    pub(super) fn lapse(&mut self, epoch: Epoch) {
        for (_, places) in self.places.iter_mut().filter(|((e, _), _)| *e == epoch) {
            places.values_mut().for_each(|place| place.aside = true);
        }
    }

    /// An answer that ends a wait.
    pub(super) fn answered(&mut self, epoch: Epoch, reply: &Reply, to: To) {
        if !matches!(reply, Reply::Held(_) | Reply::Timeout { .. } | Reply::Error(_) | Reply::Granted(_)) {
            return;
        }
        for ((_, _), places) in self.places.iter_mut().filter(|((e, _), _)| *e == epoch) {
            for place in places.values_mut() {
                place.aside |= place.sendings.contains(&to);
            }
        }
    }

    /// A write leaves the leader: nobody whom it begins has overtaken one who surely waits.
    pub(super) fn begins(
        &mut self,
        epoch: Epoch,
        write: &LockWrite,
        now: Timestamp,
        held: impl Fn(&IdHash) -> bool,
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
            !held(key) && !place.aside && place.order < last && place.sure_until > now + NEAR
        });
        overtaken.map_or(Ok(()), |(key, place)| {
            let name = write.name.as_str();
            Err(format!(
                "I8: in {name} number {last} begins before number {} of {key:?}: {begun:?}",
                place.order
            ))
        })
    }
}

//! What must hold, whatever any one of the parties knows.
//!
//! After the storage has lost acknowledged writes, nothing is excused but what the loss itself explains: a lease
//! whose write is gone is an orphan, and only a leader that has answered for it must respect it. Where a takeover
//! was among what is lost, two leaders may each be right, so what either has answered is not compared.

use std::collections::{BTreeMap, BTreeSet};

use natslock::engine::message::{Grant, LockRecord, Reply, StoredHolder, StoredToken};
use natslock::types::{Claim, Epoch, IdHash, Key, LockName, Revision, Timestamp, Token};

use super::client::{Task, lock_of};
use super::stream::time;
use super::world::World;

pub(super) type Verdict = Result<(), String>;

/// A client that thinks it holds a lock.
#[derive(Debug, Clone)]
struct Belief {
    claim: Claim,
    token: Token,
    node: usize,
    /// By the clock of its machine.
    until: Timestamp,
    /// By the answer of which leader, sent in which generation of the storage.
    told: Told,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    pub(super) epoch: u64,
    pub(super) sent_in: u32,
}

/// What the storage has lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    pub(super) kept_up_to: Revision,
    pub(super) took_over: bool,
    /// It was made again.
    pub(super) again: bool,
}

#[derive(Debug, Default)]
pub(super) struct Witness {
    beliefs: BTreeMap<(LockName, IdHash), Belief>,
    /// Who wants a lease to end, and since when.
    pub(super) released: BTreeMap<IdHash, u64>,
    /// Whose owner is gone without a word, and since when.
    pub(super) dead: BTreeMap<IdHash, u64>,
    /// When a lease last began.
    pub(super) began: BTreeMap<IdHash, u64>,
    /// To whom each token was issued, in which generation.
    issued: BTreeMap<(LockName, Token), Vec<(IdHash, u32)>>,
    highest: BTreeMap<LockName, Token>,
    begun: BTreeMap<(Epoch, IdHash), Revision>,
    /// Who was named by a record of which epoch.
    named: BTreeSet<(IdHash, Epoch)>,
    /// In which generation, and in which bucket, the latest write with this revision was made.
    pub(super) made: BTreeMap<Revision, (u32, u64)>,
    losses: Vec<(u32, Loss)>,
}

impl Witness {
    /// The owner no longer believes.
    pub(super) fn end(&mut self, lock: &LockName, key: &IdHash) {
        self.beliefs.remove(&(lock.clone(), *key));
    }

    /// The owner wants it to end.
    pub(super) fn release(&mut self, key: IdHash, now: u64) {
        self.released.entry(key).or_insert(now);
    }

    /// True where a record of another leader has named it: it may hold there what it waits for here.
    pub(super) fn is_named_beside(&self, key: &IdHash, epoch: Epoch) -> bool {
        let first = (*key, Epoch::new(Revision::NONE));
        self.named.range(first..).take_while(|(named, _)| named == key).any(|(_, by)| *by != epoch)
    }

    /// The process is gone, and what it believed.
    pub(super) fn forget(&mut self, node: usize, now: u64) {
        let gone: Vec<IdHash> =
            self.beliefs.iter().filter(|(_, b)| b.node == node).map(|((_, key), _)| *key).collect();
        for key in gone {
            self.die(key, now);
        }
        self.beliefs.retain(|_, belief| belief.node != node);
    }

    /// The owner will not be heard of any more.
    pub(super) fn die(&mut self, key: IdHash, now: u64) {
        self.dead.entry(key).or_insert(now);
    }

    /// The storage has lost something; how many of those who believe have lost their lease with it.
    pub(super) fn lose(&mut self, generation: u32, loss: Loss) -> u64 {
        let orphaned = |(key, belief): &(&(LockName, IdHash), &Belief)| !self.is_orphan(key, belief.token);
        let before = self.beliefs.iter().filter(orphaned).count();
        self.losses.push((generation, loss));
        let orphaned = |(key, belief): &(&(LockName, IdHash), &Belief)| !self.is_orphan(key, belief.token);
        let after = self.beliefs.iter().filter(orphaned).count();
        self.begun.retain(|_, revision| *revision <= loss.kept_up_to);
        if !loss.again {
            // What comes next may have the numbers of what is lost.
            for (lock, highest) in &mut self.highest {
                let of_lock =
                    self.issued.range((lock.clone(), Token::from_raw(0))..=(lock.clone(), *highest));
                let kept = of_lock.map(|((_, token), _)| *token).filter(|t| t.revision() <= loss.kept_up_to);
                *highest = kept.max().unwrap_or_else(|| Token::from_raw(0));
            }
        }
        (before - after) as u64
    }

    /// True where the write that made this lease is lost.
    fn is_orphan(&self, (lock, key): &(LockName, IdHash), token: Token) -> bool {
        let issued = self.issued.get(&(lock.clone(), token));
        let Some((_, issued_in)) = issued.and_then(|to| to.iter().rev().find(|(id, _)| id == key)) else {
            return false;
        };
        let lost = |(lost_in, loss): &(u32, Loss)| lost_in > issued_in && loss.kept_up_to < token.revision();
        self.losses.iter().any(lost)
    }

    /// True where a takeover was lost, and the answer is from before or from the leader that was lost.
    fn is_excused(&self, told: Told) -> bool {
        self.losses.iter().any(|(lost_in, loss)| {
            loss.took_over && (told.sent_in < *lost_in || told.epoch > loss.kept_up_to.get())
        })
    }
}

/// True where all of them may hold the lock together.
fn fit(claims: &[Claim]) -> bool {
    let permits: u32 = claims.iter().filter_map(|c| c.permits()).map(|p| u32::from(p.permits())).sum();
    let capacity = claims.iter().filter_map(|c| c.permits()).map(|p| u32::from(p.capacity())).min();
    let exclusive = claims.contains(&Claim::Exclusive);
    let shared = claims.contains(&Claim::Shared);
    match capacity {
        _ if exclusive => claims.len() == 1,
        Some(capacity) => !shared && permits <= capacity,
        None => true,
    }
}

impl World {
    fn is_live(&self, belief: &Belief) -> bool {
        self.nodes[belief.node].clock.when(belief.until) > self.now + 4
    }

    /// True where its owner believes in a lease that the storage has not lost.
    pub(super) fn believes(&self, lock: &LockName, key: &IdHash) -> bool {
        let place = (lock.clone(), *key);
        let belief = self.witness.beliefs.get(&place);
        belief.is_some_and(|belief| self.is_live(belief) && !self.witness.is_orphan(&place, belief.token))
    }

    /// P1: those who believe in a lock at the same time may hold it together: all whose leases are stored, and
    /// all for whom the same leader has answered.
    fn exclusion(&self, lock: &LockName, told: Told) -> Verdict {
        if self.witness.is_excused(told) {
            return Ok(());
        }
        let of_lock = self.witness.beliefs.iter().filter(|((name, _), belief)| {
            name == lock && self.is_live(belief) && !self.witness.is_excused(belief.told)
        });
        let live: Vec<_> = of_lock.collect();
        let stored = live.iter().filter(|(place, belief)| !self.witness.is_orphan(place, belief.token));
        let stored: Vec<Claim> = stored.map(|(_, belief)| belief.claim).collect();
        let answered = live.iter().filter(|(_, belief)| belief.told.epoch == told.epoch);
        let answered: Vec<Claim> = answered.map(|(_, belief)| belief.claim).collect();
        if fit(&stored) && fit(&answered) {
            return Ok(());
        }
        Err(format!("P1 exclusion: {} has these believers: {live:?}", lock.as_str()))
    }

    /// A grant has come to its owner.
    pub(super) fn believe(
        &mut self,
        node: usize,
        task: &Task,
        (token, until): (Token, Timestamp),
        told: Told,
    ) -> Verdict {
        let place = (task.lock.clone(), task.key);
        self.witness.beliefs.insert(place.clone(), Belief { claim: task.claim, token, node, until, told });
        if !self.witness.is_orphan(&place, token) && !self.is_recorded(&task.lock, &task.key, token) {
            return Err(format!(
                "P3: {} was granted {} with token {token}, which the store does not say (any more)",
                task.id.reveal(),
                task.lock.as_str()
            ));
        }
        self.exclusion(&task.lock, told)
    }

    fn is_recorded(&mut self, lock: &LockName, key: &IdHash, token: Token) -> bool {
        self.record(lock).is_some_and(|(revision, record)| {
            record.holders.iter().any(|h| h.id == *key && h.token.resolve(revision) == token)
        })
    }

    /// What is stored of a lock.
    pub(super) fn record(&mut self, lock: &LockName) -> Option<(Revision, LockRecord)> {
        let entry = self.stream.core.read(time(self.now), &Key::Lock(lock.clone()))?;
        Some((entry.revision, natslock::wire::record::decode_lock(&entry.value?).unwrap()))
    }

    pub(super) fn believe_longer(&mut self, task: &Task, until: Timestamp, told: Told) -> Verdict {
        if let Some(belief) = self.witness.beliefs.get_mut(&(task.lock.clone(), task.key)) {
            belief.until = belief.until.max(until);
            belief.told = told;
        }
        self.exclusion(&task.lock, told)
    }

    /// I9: what somebody believes in is stored, or the storage has lost it, which is not silent where a leader
    /// knew it (S11).
    pub(super) fn check_beliefs(&mut self) -> Verdict {
        let places: Vec<_> = self.witness.beliefs.iter().map(|(place, b)| (place.clone(), b.token)).collect();
        for (place, token) in places {
            if self.believes(&place.0, &place.1) && !self.is_recorded(&place.0, &place.1, token) {
                let name = place.0.as_str();
                return Err(format!("I9: {:?} believes in {token} of {name}, which has vanished", place.1));
            }
        }
        Ok(())
    }

    /// A lock's record was written.
    pub(super) fn stored(
        &mut self,
        lock: &LockName,
        before: Option<&(Revision, LockRecord)>,
        (revision, record): (Revision, &LockRecord),
        guarded: bool,
    ) -> Verdict {
        self.note_tokens(lock, revision, record)?;
        let Some((stood, before)) = before else { return Ok(()) };
        for holder in &before.holders {
            let token = holder.token.resolve(*stood);
            let stays = |h: &StoredHolder| h.id == holder.id && h.token.resolve(revision) == token;
            if record.holders.iter().any(stays) {
                continue;
            }
            let name = lock.as_str();
            if !guarded && !self.witness.released.contains_key(&holder.id) {
                return Err(format!("S6: a plain write took {name} from {}, who never asked", holder.owner));
            }
            let belief = self.witness.beliefs.get(&(lock.clone(), holder.id));
            if belief.is_some_and(|b| b.token == token && self.is_live(b) && !self.witness.is_excused(b.told))
            {
                return Err(format!("P3: {name} was taken from {}, who believes in {token}", holder.owner));
            }
        }
        Ok(())
    }

    /// P2: tokens rise and are never issued twice, but where what is lost cannot be known. I7: one grant for an
    /// id in an epoch.
    fn note_tokens(&mut self, lock: &LockName, revision: Revision, record: &LockRecord) -> Verdict {
        let (generation, now) = (self.stream.generation, self.now);
        let witness = &mut self.witness;
        for holder in &record.holders {
            let token = holder.token.resolve(revision);
            let name = lock.as_str();
            if matches!(holder.token, StoredToken::Known(_)) {
                let issued = witness.issued.get(&(lock.clone(), token));
                if !issued.is_some_and(|to| to.iter().any(|(id, _)| *id == holder.id)) {
                    return Err(format!("P2: {name} has a token {token} from nowhere"));
                }
                continue;
            }
            let highest = witness.highest.entry(lock.clone()).or_insert_with(|| Token::from_raw(0));
            if *highest >= token {
                return Err(format!("P2: token {token} of {name} after {highest}"));
            }
            *highest = token;
            witness.issued.entry((lock.clone(), token)).or_default().push((holder.id, generation));
            witness.named.insert((holder.id, record.epoch));
            witness.began.insert(holder.id, now);
            if witness.begun.insert((record.epoch, holder.id), revision).is_some() {
                return Err(format!(
                    "I7: {} was granted {name} twice in epoch {}",
                    holder.owner, record.epoch
                ));
            }
        }
        Ok(())
    }

    /// S2, S11: a grant that leaves is stored, in the bucket that its coordinator began with, and is later than
    /// all that this coordinator has granted of the lock.
    pub(super) fn check_grant(&mut self, node: usize, grant: &Grant) -> Verdict {
        let Some(_) = self.witness.made.get(&grant.token.revision()) else {
            return Err(format!("S2: token {} was granted and never stored", grant.token));
        };
        let coord = &self.coords[node];
        // While a leader that began before has not noticed yet, it goes on from what it knows.
        let began = coord.epoch().and_then(|epoch| self.witness.made.get(&epoch.revision()));
        let another = began.is_some_and(|(_, identity)| *identity != coord.identity());
        if another || coord.quarantined {
            return Err(format!("S11: coordinator {node} grants {} from another bucket", grant.token));
        }
        let before = self.coords[node].granted.insert(lock_of(&grant.id), grant.token);
        if before.is_some_and(|before| before >= grant.token) {
            return Err(format!("S11: coordinator {node} grants {} after {before:?}", grant.token));
        }
        Ok(())
    }

    /// S11: a quarantined coordinator confers nothing.
    pub(super) fn check_silence(&self, node: usize, reply: &Reply) -> Verdict {
        let confers = match reply {
            Reply::Granted(_) | Reply::Renewed { .. } => true,
            Reply::RenewedMany { renewed, .. } => !renewed.is_empty(),
            _ => false,
        };
        if confers && self.coords[node].quarantined {
            return Err(format!("S11: coordinator {node} confers time though it is quarantined"));
        }
        Ok(())
    }
}

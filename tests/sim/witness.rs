//! What must hold, whatever any one of the parties knows.

use std::collections::{BTreeMap, BTreeSet};

use natslock::engine::message::{Grant, LockRecord, StoredToken};
use natslock::types::{Claim, Epoch, IdHash, LockName, Revision, Timestamp, Token};

use super::client::Task;
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
}

#[derive(Debug, Default)]
pub(super) struct Witness {
    beliefs: BTreeMap<(LockName, IdHash), Belief>,
    released: BTreeSet<IdHash>,
    issued: BTreeMap<(LockName, Token), IdHash>,
    highest: BTreeMap<LockName, Token>,
    begun: BTreeSet<(Epoch, IdHash)>,
    /// Those that a record has named: they do not wait any more, whatever they ask for.
    named: BTreeSet<IdHash>,
    /// In which generation, and in which bucket, the latest write with this revision was made.
    pub(super) made: BTreeMap<Revision, (u32, u64)>,
    /// What was written is gone, and its numbers were used again.
    pub(super) rolled_back: bool,
}

impl Witness {
    /// The owner no longer believes.
    pub(super) fn end(&mut self, lock: &LockName, key: &IdHash) {
        self.beliefs.remove(&(lock.clone(), *key));
    }

    /// The owner wants it to end.
    pub(super) fn release(&mut self, key: IdHash) {
        self.released.insert(key);
    }

    pub(super) fn has_held(&self, key: &IdHash) -> bool {
        self.named.contains(key)
    }

    /// The process is gone, and what it believed.
    pub(super) fn forget(&mut self, node: usize) {
        self.beliefs.retain(|_, belief| belief.node != node);
    }

    /// What was acknowledged may be gone: nobody is promised anything any more but that tokens rise (S11).
    pub(super) fn storage_went_back(&mut self, _generation: u32) {
        self.beliefs.clear();
    }
}

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

    pub(super) fn believes(&self, lock: &LockName, key: &IdHash) -> bool {
        self.witness.beliefs.get(&(lock.clone(), *key)).is_some_and(|belief| self.is_live(belief))
    }

    /// P1: those who believe in a lock at the same time may hold it together.
    fn exclusion(&self, lock: &LockName) -> Verdict {
        let of_lock =
            self.witness.beliefs.iter().filter(|((name, _), belief)| name == lock && self.is_live(belief));
        let live: Vec<&Belief> = of_lock.map(|(_, belief)| belief).collect();
        let claims: Vec<Claim> = live.iter().map(|belief| belief.claim).collect();
        if self.stream.generation > 0 || fit(&claims) {
            return Ok(());
        }
        Err(format!("P1 exclusion: {} has these believers: {live:?}", lock.as_str()))
    }

    pub(super) fn believe(&mut self, node: usize, task: &Task, token: Token, until: Timestamp) -> Verdict {
        let belief = Belief { claim: task.claim, token, node, until };
        self.witness.beliefs.insert((task.lock.clone(), task.key), belief);
        if self.stream.generation == 0 && !self.is_recorded(&task.lock, &task.key, token) {
            return Err(format!(
                "P3: {} was granted {} with token {token}, which the store does not say (any more)",
                task.id.reveal(),
                task.lock.as_str()
            ));
        }
        self.exclusion(&task.lock)
    }

    fn is_recorded(&mut self, lock: &LockName, key: &IdHash, token: Token) -> bool {
        let now = Timestamp::from_boot(std::time::Duration::from_micros(self.now));
        let entry = self.stream.core.read(now, &natslock::types::Key::Lock(lock.clone()));
        let Some(entry) = entry else { return false };
        let record = natslock::wire::record::decode_lock(&entry.value.unwrap()).unwrap();
        record.holders.iter().any(|h| h.id == *key && h.token.resolve(entry.revision) == token)
    }

    pub(super) fn believe_longer(&mut self, task: &Task, until: Timestamp) -> Verdict {
        if let Some(belief) = self.witness.beliefs.get_mut(&(task.lock.clone(), task.key)) {
            belief.until = belief.until.max(until);
        }
        self.exclusion(&task.lock)
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
        let Some((stood, before)) = before.filter(|_| self.stream.generation == 0) else { return Ok(()) };
        for holder in &before.holders {
            let token = holder.token.resolve(*stood);
            let stays = |h: &natslock::engine::message::StoredHolder| {
                h.id == holder.id && h.token.resolve(revision) == token
            };
            if record.holders.iter().any(stays) {
                continue;
            }
            let name = lock.as_str();
            if !guarded && !self.witness.released.contains(&holder.id) {
                return Err(format!("S6: a plain write took {name} from {}, who never asked", holder.owner));
            }
            let belief = self.witness.beliefs.get(&(lock.clone(), holder.id));
            if belief.is_some_and(|belief| belief.token == token && self.is_live(belief)) {
                return Err(format!("P3: {name} was taken from {}, who believes in {token}", holder.owner));
            }
        }
        Ok(())
    }

    /// P2: tokens rise and are never issued twice. I7: one grant for an id in an epoch.
    fn note_tokens(&mut self, lock: &LockName, revision: Revision, record: &LockRecord) -> Verdict {
        let witness = &mut self.witness;
        for holder in &record.holders {
            let token = holder.token.resolve(revision);
            let name = lock.as_str();
            if matches!(holder.token, StoredToken::Known(_)) {
                let known = witness.issued.get(&(lock.clone(), token));
                if known != Some(&holder.id) && !witness.rolled_back {
                    return Err(format!("P2: {name} has a token {token} from nowhere"));
                }
                continue;
            }
            let highest = witness.highest.entry(lock.clone()).or_insert(Token::from_raw(0));
            if *highest >= token && !witness.rolled_back {
                return Err(format!("P2: token {token} of {name} after {highest}"));
            }
            *highest = (*highest).max(token);
            witness.issued.insert((lock.clone(), token), holder.id);
            witness.named.insert(holder.id);
            let again = !witness.begun.insert((record.epoch, holder.id));
            if again && self.stream.generation == 0 {
                return Err(format!(
                    "I7: {} was granted {name} twice in epoch {}",
                    holder.owner, record.epoch
                ));
            }
        }
        Ok(())
    }

    /// S11: a coordinator that could know that the storage went back, or is another, grants nothing from it.
    pub(super) fn check_generation(&mut self, node: usize, grant: &Grant) -> Verdict {
        let revision = grant.token.revision();
        let Some(&(generation, _)) = self.witness.made.get(&revision) else {
            return Err(format!("S2: token {} was granted and never stored", grant.token));
        };
        let coord = &self.coords[node];
        // While a leader that began before has not noticed yet, it goes on from what it knows.
        let began = coord.epoch().and_then(|epoch| self.witness.made.get(&epoch.revision()));
        if began.is_some_and(|(_, identity)| *identity != coord.identity()) {
            return Err(format!(
                "S11: coordinator {node} grants {} from a bucket made since it began",
                grant.token
            ));
        }
        // What was sent before the storage went back and arrives after it cannot be told from what was lost.
        let mix = &self.mix;
        let exact = !(mix.cut || mix.delay || mix.late_write || mix.pause || mix.suspend);
        let knew = coord.told.iter().find(|(told, highest)| **told < generation && **highest >= revision);
        if let Some((_, highest)) = knew.filter(|_| exact) {
            return Err(format!(
                "S11: coordinator {node} grants token {} though it has seen {highest} before",
                grant.token
            ));
        }
        let Some(lock) = self.clients.iter().flat_map(|c| c.tasks.values()).find(|t| t.id == grant.id) else {
            return Ok(());
        };
        let before = self.coords[node].granted.insert(lock.lock.clone(), grant.token);
        if before.is_some_and(|before| before >= grant.token) {
            return Err(format!("S11: coordinator {node} grants {} after {before:?}", grant.token));
        }
        Ok(())
    }
}

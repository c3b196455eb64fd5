//! What must hold across clients, leaders and the store, whatever any one of them knows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use natslock::engine::message::{EntryContent, Grant, GrantNumber, LockRecord};
use natslock::types::{Claim, Epoch, IdHash, LockName, OwnerName, Revision, Timestamp, Token, Ttl};

use super::store::Change;

/// One acquisition, as a client knows it.
pub(crate) type Lease = (LockName, IdHash);

/// A client that thinks it holds a lock.
#[derive(Debug, Clone)]
struct Belief {
    claim: Claim,
    token: Token,
    until: Timestamp,
    /// The leader that granted it last, and the one message that it rests on, if it is only one.
    by: usize,
    only: Option<GrantNumber>,
}

/// Sees everything and keeps quiet until a rule is broken: then a method answers with what happened.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    beliefs: BTreeMap<Lease, Belief>,
    /// Whose owner has asked to release them.
    released: HashSet<IdHash>,
    /// Locks that an administrator or a foreign tool has meddled with: nothing is promised to their holders.
    meddled: HashSet<LockName>,
    /// Locks in a batch that was refused for nothing.
    pub(super) denied: HashSet<LockName>,
    /// Each token that a stored write made, and for whom.
    issued: HashMap<(LockName, Token), IdHash>,
    highest: HashMap<LockName, Token>,
    /// The highest epoch that each owner has heard of.
    heard: HashMap<OwnerName, Epoch>,
}

type Verdict = Result<(), String>;

fn rule(holds: bool, broken: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(broken()) }
}

/// What a client may count on, from its own send time.
fn trusted(ttl: Ttl) -> Duration {
    ttl.get().mul_f64(0.99)
}

impl Witness {
    pub(crate) fn meddle(&mut self, name: &LockName) {
        self.meddled.insert(name.clone());
        self.beliefs.retain(|(lock, _), _| lock != name);
    }

    /// The owner sends its release: from now on it believes nothing.
    pub(crate) fn release(&mut self, lease: &Lease) {
        self.released.insert(lease.1);
        self.beliefs.remove(lease);
    }

    pub(crate) fn is_released(&self, id: &IdHash) -> bool {
        self.released.contains(id)
    }

    /// The token of a lease that its owner believes in.
    pub(crate) fn believed(&self, now: Timestamp, lease: &Lease) -> Option<Token> {
        self.beliefs.get(lease).filter(|belief| belief.until > now).map(|belief| belief.token)
    }

    /// True where it believes because this leader has said so.
    pub(crate) fn believes_by(&self, now: Timestamp, lease: &Lease, leader: usize) -> bool {
        self.beliefs.get(lease).is_some_and(|belief| belief.until > now && belief.by == leader)
    }

    /// A record was stored: tokens rise (S11), nobody loses a lease by a plain write without having asked
    /// (S6), nobody loses one that he believes in, and a holder's record stays as it is.
    pub(crate) fn stored(&mut self, now: Timestamp, change: &Change, guarded: bool) -> Verdict {
        let Change { name, before, record, revision } = change;
        self.note_tokens(name, record, *revision)?;
        let Some((stood, EntryContent::Record(before))) = before else { return Ok(()) };
        for holder in &before.holders {
            let token = holder.token.resolve(*stood);
            let same = |h: &&natslock::engine::message::StoredHolder| {
                h.id == holder.id && h.token.resolve(*revision) == token
            };
            if let Some(kept) = record.holders.iter().find(same) {
                let believed = self.believed(now, &(name.clone(), holder.id)) == Some(token);
                let rewritten = holder.claim == Claim::Exclusive && !kept.kept;
                let caused = self.meddled.contains(name) || self.denied.contains(name);
                rule(!rewritten || !believed || caused, || {
                    format!("the record of {name} was rewritten under its holder")
                })?;
                continue;
            }
            let lease = (name.clone(), holder.id);
            rule(guarded || self.released.contains(&holder.id) || self.meddled.contains(name), || {
                format!("S6: a plain write ended {holder:?}, whose owner never asked for that")
            })?;
            rule(self.believed(now, &lease).is_none_or(|believed| believed != token), || {
                format!("{name} was taken from {}, who believes in token {token}", holder.owner)
            })?;
        }
        Ok(())
    }

    /// A test writes this in the name of another leader.
    pub(crate) fn found(&mut self, name: &LockName, record: &LockRecord, revision: Revision) -> Verdict {
        self.released.extend(record.holders.iter().filter(|holder| holder.kept).map(|holder| holder.id));
        self.note_tokens(name, record, revision)
    }

    fn note_tokens(&mut self, name: &LockName, record: &LockRecord, revision: Revision) -> Verdict {
        for holder in &record.holders {
            let token = holder.token.resolve(revision);
            if token.revision() != revision {
                let known = self.issued.get(&(name.clone(), token));
                rule(known == Some(&holder.id), || format!("S11: {name} has a token {token} from nowhere"))?;
                continue;
            }
            let highest = self.highest.entry(name.clone()).or_insert(Token::from_raw(0));
            rule(*highest < token, || format!("S11: token {token} of {name} after {highest}"))?;
            *highest = token;
            self.issued.insert((name.clone(), token), holder.id);
        }
        Ok(())
    }

    /// A grant leaves: its record is stored (S2).
    pub(crate) fn granted(&self, lease: &Lease, grant: &Grant) -> Verdict {
        let stored = self.issued.get(&(lease.0.clone(), grant.token));
        rule(stored == Some(&lease.1), || {
            format!("S2: token {} of {} was granted and is not stored", grant.token, lease.0)
        })
    }

    /// A grant that answers a request sent at `sent` has arrived: nobody else may believe in the lock.
    pub(crate) fn received(
        &mut self,
        now: Timestamp,
        sent: Timestamp,
        lease: &Lease,
        claim: Claim,
        grant: &Grant,
        by: (usize, Option<GrantNumber>),
    ) -> Verdict {
        if self.released.contains(&lease.1) || self.meddled.contains(&lease.0) {
            return Ok(());
        }
        let until = sent + grant.waited + trusted(grant.ttl);
        let before = self.beliefs.get(lease);
        if before.is_some_and(|before| before.token > grant.token) {
            return Ok(());
        }
        let (by, number) = by;
        let only = if before.is_none() { number } else { None };
        let until = before.map_or(until, |before| before.until.max(until));
        self.beliefs.insert(lease.clone(), Belief { claim, token: grant.token, until, by, only });
        self.excludes(now, &lease.0)
    }

    /// A renewal that was sent at `sent` has been answered.
    pub(crate) fn renewed(&mut self, now: Timestamp, sent: Timestamp, lease: &Lease, ttl: Ttl) -> Verdict {
        // Those who wait renew themselves too, and believe nothing.
        let Some(belief) = self.beliefs.get_mut(lease) else { return Ok(()) };
        belief.until = belief.until.max(sent + trusted(ttl));
        belief.only = None;
        self.excludes(now, &lease.0)
    }

    /// The grant never arrived.
    pub(crate) fn undelivered(&mut self, leader: usize, number: GrantNumber) {
        self.beliefs.retain(|_, belief| (belief.by, belief.only) != (leader, Some(number)));
    }

    /// A client is told in this epoch that its lease is over: nobody who believes in one is told so.
    pub(crate) fn told_lost(
        &mut self,
        now: Timestamp,
        epoch: Epoch,
        owner: &OwnerName,
        lease: &Lease,
    ) -> Verdict {
        let heard = self.heard.get(owner).copied().unwrap_or(epoch);
        if epoch < heard {
            return Ok(());
        }
        let believed = self.believed(now, lease);
        rule(believed.is_none(), || {
            format!("{owner} believes in {} and is told in epoch {epoch} that it is lost", lease.0)
        })?;
        self.beliefs.remove(lease);
        Ok(())
    }

    pub(crate) fn heard(&mut self, owner: &OwnerName, epoch: Epoch) {
        let heard = self.heard.entry(owner.clone()).or_insert(epoch);
        *heard = (*heard).max(epoch);
    }

    fn excludes(&self, now: Timestamp, name: &LockName) -> Verdict {
        let live: Vec<_> =
            self.beliefs.iter().filter(|((lock, _), belief)| lock == name && belief.until > now).collect();
        let claims: Vec<Claim> = live.iter().map(|(_, belief)| belief.claim).collect();
        rule(fit_together(&claims), || format!("{name} has these believers at {now}: {live:?}"))
    }
}

/// True where all of them may hold one lock at a time.
pub(crate) fn fit_together(claims: &[Claim]) -> bool {
    let permits: u32 = claims.iter().filter_map(|c| c.permits()).map(|p| u32::from(p.permits())).sum();
    let capacity = claims.iter().filter_map(|c| c.permits()).map(|p| u32::from(p.capacity())).min();
    let counting = claims.iter().filter(|claim| claim.permits().is_some()).count();
    let exclusive = claims.iter().filter(|claim| **claim == Claim::Exclusive).count();
    if exclusive > 0 {
        claims.len() == 1
    } else {
        counting == 0 || (counting == claims.len() && capacity.is_some_and(|capacity| permits <= capacity))
    }
}

//! What must hold between any two calls. Each has a name and a number, and is checked after every step of
//! every test and simulation.

use std::collections::{HashMap, HashSet};

use super::accounts::Account;
use super::deadlines::Alarm;
use super::holder::{Delivery, Holder};
use super::lock::{Lock, Phase};
use super::plan::{Taken, may_begin};
use super::{Census, Engine};
use crate::types::{Claim, OwnerName, Timestamp};

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is broken: {detail}")]
pub struct Violation {
    /// Its name and number.
    pub name: &'static str,
    /// What was found.
    pub detail: String,
}

fn holds(name: &'static str, ok: bool, detail: impl FnOnce() -> String) -> Result<(), Violation> {
    if ok { Ok(()) } else { Err(Violation { name, detail: detail() }) }
}

/// Checks all of them. Linear in what the engine knows.
///
/// # Errors
/// The first that is broken.
pub fn check<R: Clone>(engine: &Engine<R>) -> Result<(), Violation> {
    let mut alarms = Vec::new();
    for lock in engine.locks.iter() {
        exclusion(lock)?;
        tokens(lock)?;
        no_lost_wake_up(engine, lock)?;
        limits(engine, lock)?;
        no_forgotten_lease(engine, lock)?;
        phases(engine, lock)?;
        collect_alarms(lock, &mut alarms);
    }
    one_place(engine)?;
    bounded(engine)?;
    counted(engine)?;
    alarms_are_set(engine, alarms)
}

/// I1: those who hold a lock may hold it together, and so may those of the record on its way.
fn exclusion<R: Clone>(lock: &Lock<R>) -> Result<(), Violation> {
    let together = |claims: &[Claim]| {
        let mut taken = Taken::default();
        claims.iter().all(|claim| {
            let fits = taken.admits(*claim);
            taken.add(*claim);
            fits
        })
    };
    let held: Vec<_> = lock.holders.iter().map(|holder| holder.claim).collect();
    holds("I1 exclusion", together(&held), || format!("{} is held by {held:?}", lock.name.as_str()))?;
    let Some(flight) = lock.flight() else { return Ok(()) };
    let next: Vec<_> = flight.write.record.holders.iter().map(|holder| holder.claim).collect();
    holds("I1 exclusion", together(&next), || format!("{} is written as {next:?}", lock.name.as_str()))
}

/// I2: a token belongs to a write that is stored, and no two leases share one.
fn tokens<R: Clone>(lock: &Lock<R>) -> Result<(), Violation> {
    let mut seen = HashSet::new();
    for holder in &lock.holders {
        let token = holder.token();
        let fresh = seen.insert(token);
        let stored = token.revision() <= lock.stored;
        holds("I2 tokens", fresh && stored, || {
            format!("token {token} in {} stored at {}", lock.name.as_str(), lock.stored)
        })?;
    }
    Ok(())
}

/// I3: a live id is in exactly one place, and its owner is charged for it, and for all that its quotas bound.
fn one_place<R: Clone>(engine: &Engine<R>) -> Result<(), Violation> {
    let mut places = 0;
    let mut owners: HashMap<&OwnerName, Account> = HashMap::new();
    for lock in engine.locks.iter() {
        for waiter in lock.queue.iter().filter(|waiter| waiter.contended) {
            owners.entry(&waiter.owner).or_default().waiting += 1;
        }
        if let Some(owner) = lock.left_by.as_ref().filter(|owner| lock.was_left_by(owner)) {
            owners.entry(owner).or_default().left += 1;
        }
        let beginning = lock.flight().into_iter().flat_map(|flight| flight.commit.beginning());
        let waiting = lock.queue.iter().chain(beginning).map(|waiter| (waiter.key, &waiter.owner));
        let holding = lock.present().map(|holder| (holder.key, &holder.owner));
        for (key, owner) in holding.chain(waiting) {
            // One that is in two places is booked once, so the count shows it.
            places += 1;
            let account = owners.entry(owner).or_default();
            account.ids += 1;
            *account.names.entry(lock.name.clone()).or_default() += 1;
            let known = engine.books.ids.get(&key) == Some(&lock.name);
            holds("I3 one place", known, || format!("{key:?} of {} is not booked", lock.name.as_str()))?;
        }
    }
    holds("I3 one place", places == engine.books.ids.len(), || {
        format!("{} ids are booked, {places} are there", engine.books.ids.len())
    })?;
    let booked = engine.books.accounts.iter();
    let same =
        booked.clone().count() == owners.len() && booked.clone().all(|(o, a)| owners.get(o) == Some(a));
    holds("I3 one place", same, || {
        format!("{:?} are booked, {owners:?} are there", booked.collect::<Vec<_>>())
    })
}

/// I9: the figures of who holds and who waits are those of the locks.
fn counted<R: Clone>(engine: &Engine<R>) -> Result<(), Violation> {
    let holders = engine.locks.iter().map(|lock| lock.present().count()).sum();
    let waiters = engine.locks.iter().map(|lock| lock.queue.len()).sum();
    let there = Census { holders, waiters };
    holds("I9 counted", engine.census() == there, || {
        format!("{:?} are counted, {there:?} are there", engine.census())
    })
}

/// I4: a lock that stands still has nobody waiting who could hold it, and nobody leaving but those who have been
/// told and whose write is put off; unless the next batch comes to it.
fn no_lost_wake_up<R: Clone>(engine: &Engine<R>, lock: &Lock<R>) -> Result<(), Violation> {
    if engine.batch.is_some() && engine.books.due.contains(&lock.name) {
        return Ok(());
    }
    if !lock.is_idle() || !engine.books.acting || engine.books.lapsed || engine.books.quarantine.is_some() {
        return Ok(());
    }
    let taken = Taken::by(lock.holders.iter().map(|holder| holder.claim));
    let limit = engine.books.limits.holders_per_lock_max;
    let ready = may_begin(taken, lock.queue.iter().map(|waiter| waiter.claim), limit);
    let late = |holder: &Holder<R>| holder.is_ending() && !(holder.is_gone() && lock.write_at.is_some());
    let leaving = lock.holders.iter().any(late);
    let trying = lock.queue.iter().any(|waiter| waiter.tries);
    holds("I4 no lost wake-up", ready == 0 && !leaving && !trying, || {
        format!("{}: {ready} could begin, leaving {leaving}, trying {trying}", lock.name.as_str())
    })
}

/// I5: every queue and every memory is within its limit.
fn limits<R: Clone>(engine: &Engine<R>, lock: &Lock<R>) -> Result<(), Violation> {
    let limits = &engine.books.limits;
    let beginning = lock.flight().map_or(0, |flight| flight.commit.beginning().count());
    let (holders, waiters) = (lock.holders.len(), lock.queue.len());
    // Those whose grant could not be written return to a queue that may have filled up behind them.
    let fits = holders <= limits.holders_per_lock_max
        && waiters <= limits.waiters_per_lock_max + crate::types::LEASES_PER_WRITE_MAX;
    holds("I5 bounded", fits, || {
        format!("{} has {holders} holders, {waiters} waiters, {beginning} beginning", lock.name.as_str())
    })
}

fn bounded<R: Clone>(engine: &Engine<R>) -> Result<(), Violation> {
    let limits = &engine.books.limits;
    let finished = engine.books.finished.len();
    let fits = finished <= limits.finished_max.max(1) && engine.parked_len() <= limits.parked_max;
    holds("I5 bounded", fits, || format!("{finished} finished, {} parked", engine.parked_len()))
}

/// I6: every lease ends some day: it has an alarm, or is about to be taken away, or is ending.
fn no_forgotten_lease<R: Clone>(engine: &Engine<R>, lock: &Lock<R>) -> Result<(), Violation> {
    for holder in &lock.holders {
        let cared_for = holder.alarm_at.is_some()
            || engine.books.due.contains(&lock.name)
            || !lock.is_idle()
            || holder.is_ending();
        holds("I6 no forgotten lease", cared_for, || format!("{:?} of {}", holder.key, lock.name.as_str()))?;
        if let Delivery::Once(number) = holder.delivery {
            let known = engine.books.deliveries.contains_key(&number);
            holds("I6 no forgotten lease", known, || format!("grant {number:?} is not awaited"))?;
        }
    }
    Ok(())
}

/// I7: one batch is on its way at a time, and what is frozen for it or for a proof is known as such.
fn phases<R: Clone>(engine: &Engine<R>, lock: &Lock<R>) -> Result<(), Violation> {
    let batched = engine.batch.as_ref().is_some_and(|f| f.batch.writes.iter().any(|w| w.name == lock.name));
    let ok = match &lock.phase {
        Phase::InBatch(_) => batched,
        Phase::Confirming(..) => engine.books.confirming.contains(&lock.name),
        Phase::Idle | Phase::Writing(_) => !batched,
    };
    holds("I7 one batch", ok, || format!("{} is in a wrong phase", lock.name.as_str()))
}

fn collect_alarms<R: Clone>(lock: &Lock<R>, alarms: &mut Vec<(Timestamp, Alarm)>) {
    let name = || lock.name.clone();
    let leases = lock.holders.iter().filter_map(|holder| holder.alarm_at.map(|at| (at, holder.key)));
    alarms.extend(leases.map(|(at, key)| (at, Alarm::Lease(name(), key))));
    let waits = lock.queue.iter().filter(|waiter| !waiter.tries);
    alarms.extend(waits.map(|waiter| (waiter.alarm_at, Alarm::Wait(name(), waiter.key))));
    if let Some(flight) = lock.flight() {
        alarms.extend(flight.retry_at.map(|at| (at, Alarm::Retry(name()))));
        alarms.extend(flight.doubt_at.map(|at| (at, Alarm::Doubt(name()))));
    }
    alarms.extend(lock.write_at.map(|at| (at, Alarm::PutOff(name()))));
    alarms.extend(lock.forget_at.map(|at| (at, Alarm::Forget(name()))));
}

/// I8: the alarms that are set are those that somebody remembers, so none leaks and none is missing.
fn alarms_are_set<R: Clone>(
    engine: &Engine<R>,
    mut alarms: Vec<(Timestamp, Alarm)>,
) -> Result<(), Violation> {
    if let Some(at) = engine.batch.as_ref().and_then(|flight| flight.retry_at) {
        alarms.push((at, Alarm::RetryBatch));
    }
    alarms.sort_unstable();
    let set = || engine.books.deadlines.iter().filter(|(_, alarm)| *alarm != Alarm::Parked);
    holds("I8 alarms", set().eq(&alarms), || {
        let missing: Vec<_> = alarms.iter().filter(|alarm| !set().any(|set| set == *alarm)).collect();
        let leaked: Vec<_> = set().filter(|set| !alarms.contains(set)).collect();
        format!("missing {missing:?}, leaked {leaked:?}")
    })
}

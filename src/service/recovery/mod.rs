//! Recovering a shard whose store went back in time, was emptied or was made again (S11).
//!
//! What has to be true afterwards: no token repeats; whoever the records name still excludes all others; whoever
//! was granted a lock by a write that the store has lost is waited out; the coordinators go on by themselves, but
//! only those that know of the recovery. How each is reached:
//!
//! - **Tokens.** The revisions begin anew at a *floor*: above everything that anybody knows, and above what a
//!   shard could have written since 1970. The only way to raise a stream's sequence is to purge it.
//! - **Records.** Before the purge the locks' records are kept in a bucket beside the shard's, with the tokens
//!   written out; after it they are written again. A record that does not decode stays what it is.
//! - **Lost leases.** The last write is a takeover in the recovery's own name. Its `lease` record carries an
//!   *embargo*: nothing is granted or renewed until it is over, however often the leader changes. A renewal would
//!   do harm, too: the record may name a holder whose lease had ended, and the lock may have been granted to
//!   somebody else by a write that is lost.
//! - **Coordinators.** One that has found the store wrong says so in its next `epoch` record, and whoever takes
//!   over is bound by it, restarted or not. The recovery's `epoch` record ends that for every coordinator that
//!   has seen nothing above it; a coordinator that has seen more quarantines the shard again. No message tells
//!   anybody anything: the records do.
//!
//! What is done is decided anew before each step, from what the store says then ([`next`]). So a recovery that
//! dies half-way is finished by the next one, and two at once do the same steps:
//!
//! - The bucket beside is made by the first of them, and *its* first revision is the floor for both. A purge up
//!   to the same floor a second time removes nothing, however late it comes.
//! - Records are written only where there are none, and the last write expects the `epoch` record that was read.
//! - From the first step to the last one the bucket is *set aside*: a term that begins meanwhile, on records that
//!   are not complete, finds no identity and serves nobody.
//! - One that has slept while another finished finds an `epoch` record of a recovery later than its plan, and only
//!   tidies up. At the worst it writes a record again that had become free: its holder's lease runs out.
//!
//! A leader that sleeps through all of it and wakes finds its `lease` record replaced, and is deposed like any
//! other. What it confers before that is bounded by its leadership, which the embargo includes. A write of its
//! that arrives late is a compare-and-set like any other: it can take a lock that is free, never one that a record
//! names somebody for; and it confers nothing once its leadership has lapsed.

mod ask;
mod plan;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::engine::message::StoredToken;
use crate::service::LEADER_LEASE_MAX;
use crate::store::{Batch, Entry, Extent, Repair, StoreError, Write, WriteOutcome};
use crate::types::{AttemptId, CoordinatorId, Epoch, Key, Revision, WallTime};
use crate::wire::record::{EpochRecord, JournalRecord, LeaseRecord, decode_lock, encode_lock};
use crate::wire::report::Report;

pub use self::ask::ask_around;
pub use self::plan::{Findings, FoundLock, Plan, Wish, embargo, first_revision, recovered};

/// The pause before something that did not answer is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// After so many failures in a row the recovery gives up; it can be run again.
const FAILURES_MAX: u32 = 50;
/// The same for refusals, which nothing mends but another recovery that has finished meanwhile and removed the
/// bucket beside.
const REFUSALS_MAX: u32 = 2;

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make the bucket beside: with it a recovery begins.
    MakeCopy,
    /// Let no new term serve.
    SetAside,
    /// Keep the records in the bucket beside.
    Save,
    /// Let the revisions begin anew.
    Raise,
    /// Write the records again.
    Restore,
    /// Take over and resign, with an embargo.
    Finish,
    /// Let terms serve.
    Readmit,
    /// Remove the bucket beside.
    RemoveCopy,
    /// Nothing.
    Done,
}

/// What decides about the next step.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// Where the revisions are.
    pub extent: Extent,
    /// The floor of the bucket beside, where there is one, and whether all records are in it.
    pub copy: Option<(Revision, bool)>,
    /// The latest recovery that is finished.
    pub recovered: Revision,
    /// This recovery has written the records again.
    pub restored: bool,
}

/// The next step of a recovery that was planned when `before` was the latest one.
pub fn next(state: &State, before: Revision) -> Step {
    let is_finished =
        state.recovered > before || state.copy.is_some_and(|(floor, _)| state.recovered >= floor);
    match state.copy {
        _ if is_finished && state.extent.aside => Step::Readmit,
        Some(_) if is_finished => Step::RemoveCopy,
        None if is_finished => Step::Done,
        None => Step::MakeCopy,
        Some(_) if !state.extent.aside => Step::SetAside,
        Some((_, false)) => Step::Save,
        Some((floor, true)) if state.extent.last.get() + 1 < floor.get() => Step::Raise,
        Some(_) if !state.restored => Step::Restore,
        Some(_) => Step::Finish,
    }
}

/// Looks at a shard's store; `reports` were given before.
///
/// # Errors
/// The store did not answer, or its `epoch` record does not decode.
pub async fn survey<S: Repair>(
    store: &S,
    reports: Vec<Report>,
    now: WallTime,
) -> Result<Findings, StoreError> {
    let copy = match store.copy().await? {
        Some(copy) => Some(copy.extent().await?.begun),
        None => None,
    };
    let mut locks: Vec<FoundLock> = Vec::new();
    for Entry { key, revision, value } in store.records().await? {
        let (Key::Lock(name), Some(value)) = (key, value) else { continue };
        let holders = decode_lock(&value).ok().map(|record| record.holders);
        locks.push(FoundLock { name, revision, holders });
    }
    Ok(Findings { extent: store.extent().await?, copy, epoch: read_epoch(store).await?, locks, reports, now })
}

/// One recovery.
#[derive(Debug)]
pub struct Recovery<S, C> {
    store: S,
    clock: C,
    plan: Plan,
    /// The recovery appears as a coordinator of its own.
    me: CoordinatorId,
    host: String,
    attempts: u64,
    restored: bool,
}

impl<S: Repair, C: Clock> Recovery<S, C> {
    /// The recovery of a store by this plan, carried out on this host.
    pub fn new(store: S, clock: C, plan: Plan, host: String) -> Self {
        Self { store, clock, plan, me: CoordinatorId::random(), host, attempts: 0, restored: false }
    }

    /// Carries it out; `told` hears of each step before it is done. It can be run again if it fails or dies.
    ///
    /// # Errors
    /// The store does not answer for long, or refuses.
    ///
    /// # Cancel safety
    /// Dropping it leaves the shard set aside until the next recovery has finished what this one began.
    pub async fn carry_out(&mut self, mut told: impl FnMut(Step)) -> Result<(), StoreError> {
        let mut failures = 0;
        let mut last = None;
        loop {
            let error = match self.look().await {
                Ok((Step::Done, _)) => return Ok(()),
                Ok((step, copy)) => {
                    if last.replace(step) != Some(step) {
                        told(step);
                    }
                    self.take(step, copy).await.err()
                }
                Err(error) => Some(error),
            };
            match error {
                None => failures = 0,
                Some(error) => {
                    let most = if error.is_retryable() { FAILURES_MAX } else { REFUSALS_MAX };
                    if failures >= most {
                        return Err(error);
                    }
                    failures += 1;
                    self.clock.sleep_until(self.clock.now().boot + RETRY_AFTER).await;
                }
            }
        }
    }

    async fn look(&self) -> Result<(Step, Option<S>), StoreError> {
        let copy = self.store.copy().await?;
        let copied = match &copy {
            Some(copy) => Some((copy.extent().await?.begun, copy.read(Key::Journal).await?.is_some())),
            None => None,
        };
        let epoch = read_epoch(&self.store).await?;
        let state = State {
            extent: self.store.extent().await?,
            copy: copied,
            recovered: recovered(epoch.as_ref()),
            restored: self.restored,
        };
        Ok((next(&state, self.plan.recovered), copy))
    }

    async fn take(&mut self, step: Step, copy: Option<S>) -> Result<(), StoreError> {
        let store = self.store.clone();
        match (step, copy) {
            (Step::MakeCopy, _) => store.make_copy(self.plan.floor).await.map(drop),
            (Step::SetAside, _) => store.set_aside(true).await,
            (Step::Save, Some(copy)) => self.save(&copy).await,
            (Step::Raise, Some(copy)) => store.raise(copy.extent().await?.begun).await,
            (Step::Restore, Some(copy)) => {
                self.write_where_absent(&store, copy.records().await?).await?;
                self.restored = true;
                Ok(())
            }
            (Step::Finish, _) => self.finish().await,
            (Step::Readmit, _) => store.set_aside(false).await,
            (Step::RemoveCopy, _) => store.remove_copy().await,
            _ => Ok(()),
        }
    }

    /// The journal behind the records says that they are all there.
    async fn save(&mut self, copy: &S) -> Result<(), StoreError> {
        let records: Vec<Entry> = self.store.records().await?.into_iter().filter_map(kept).collect();
        let locks = records.len();
        self.write_where_absent(copy, records).await?;
        let journal = JournalRecord { attempt: self.attempt(), epoch: Epoch::new(Revision::NONE), locks };
        put(copy, Key::Journal, journal.encode()).await
    }

    async fn write_where_absent(&self, store: &S, records: Vec<Entry>) -> Result<(), StoreError> {
        for Entry { key, value, .. } in records {
            if let (Key::Lock(_), Some(value)) = (&key, value) {
                put(store, key, value).await?;
            }
        }
        Ok(())
    }

    /// A refusal means that somebody took over meanwhile, and no answer that it may have been done: the next look
    /// tells.
    async fn finish(&mut self) -> Result<(), StoreError> {
        let read = read_epoch(&self.store).await?;
        let attempt = self.attempt();
        let epoch = EpochRecord {
            coordinator: self.me,
            attempt,
            highest: self.plan.known,
            quarantine: None,
            recovers: true,
            recovered: recovered(read.as_ref()),
        };
        let lease = LeaseRecord {
            coordinator: self.me,
            host: self.host.clone(),
            pid: std::process::id(),
            epoch: Epoch::new(Revision::NONE),
            // Of the leaders that are deposed by this nobody knows how long theirs are.
            t_l: LEADER_LEASE_MAX,
            attempt,
            resigned: true,
            embargo: self.plan.embargo,
        };
        let expected = Some(read.map_or(Revision::NONE, |(revision, _)| revision));
        let write = |key, expected, value| Write { key, expected, value, ttl_seconds: None };
        let writes =
            vec![write(Key::Epoch, expected, epoch.encode()), write(Key::Lease, None, lease.encode())];
        settled(self.store.write_batch(Batch { writes, guard: None }).await)
    }

    fn attempt(&mut self) -> AttemptId {
        self.attempts += 1;
        AttemptId { coordinator: self.me, number: self.attempts }
    }
}

/// A record as it is kept: with tokens that do not depend on its revision. Whoever holds nothing is not kept.
fn kept(entry: Entry) -> Option<Entry> {
    let (Key::Lock(_), Some(value)) = (&entry.key, &entry.value) else { return None };
    // What does not decode stays what it is.
    let Ok(mut record) = decode_lock(value) else { return Some(entry) };
    if record.is_free() {
        return None;
    }
    for holder in &mut record.holders {
        holder.token = StoredToken::Known(holder.token.resolve(entry.revision));
    }
    Some(Entry { value: Some(encode_lock(&record)), ..entry })
}

/// Writes a record where there is none, as often as it takes.
async fn put<S: Repair>(store: &S, key: Key, value: Bytes) -> Result<(), StoreError> {
    settled(store.write(Write { key, expected: Some(Revision::NONE), value, ttl_seconds: None }).await)
}

/// A write that was refused because something is there needs no second try.
fn settled(outcome: WriteOutcome) -> Result<(), StoreError> {
    match outcome {
        WriteOutcome::Acknowledged(_) | WriteOutcome::Mismatch(_) => Ok(()),
        WriteOutcome::NotNow | WriteOutcome::Unknown => {
            Err(StoreError::Unavailable("it takes no writes now".into()))
        }
    }
}

async fn read_epoch<S: Repair>(store: &S) -> Result<Option<(Revision, EpochRecord)>, StoreError> {
    let Some(entry) = store.read(Key::Epoch).await? else { return Ok(None) };
    let Some(value) = entry.value else { return Ok(None) };
    let garbled = |error| StoreError::Refused(format!("the epoch record cannot be read: {error}"));
    Ok(Some((entry.revision, EpochRecord::decode(&value).map_err(garbled)?)))
}

//! What bounds the engine (S12).

use std::time::Duration;

/// The limits of one shard. Over a limit a request is refused, and nothing else changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Waiters of one lock.
    pub waiters_per_lock_max: usize,
    /// Holders of one lock.
    pub holders_per_lock_max: usize,
    /// Leases and places in queues of one owner.
    pub leases_per_owner_max: usize,
    /// Places in queues of one owner, of all locks together, where it met others that it waits for.
    pub waiters_per_owner_max: usize,
    /// Names that one owner uses: those of its leases and places in queues, and those of free locks that it left
    /// last, for as long as the store keeps their records (two minutes).
    pub names_per_owner_max: usize,
    /// Leases and places in queues of the shard.
    pub leases_max: usize,
    /// Finished ids that are remembered.
    pub finished_max: usize,
    /// For how long a finished id is remembered.
    pub finished_for: Duration,
    /// Requests that wait for the standing consumer (S8).
    pub parked_max: usize,
    /// For how long, and less than twice as long, the write of a release is put off that lets nobody begin
    /// (`engine/put_off.rs`); it is answered before. Zero: nothing is answered before it is written.
    pub put_off_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiters_per_lock_max: 10_000,
            holders_per_lock_max: 1_000,
            leases_per_owner_max: 100_000,
            waiters_per_owner_max: 100_000,
            names_per_owner_max: 1_000_000,
            leases_max: 1_000_000,
            finished_max: 100_000,
            finished_for: Duration::from_secs(15 * 60),
            parked_max: 10_000,
            put_off_for: Duration::from_millis(5),
        }
    }
}

/// How long a request waits for the standing consumer before it is answered `unavailable`.
pub(super) const PARKED_FOR: Duration = Duration::from_secs(1);
/// So many refusals in a row that nothing explains are answered by the next write at once: the first says that the
/// store has removed a free record, or that a server woke which does not know it.
pub(super) const DENIALS_FREE: u32 = 2;
/// How long a write may be in doubt before those who only tried are told `unavailable`.
pub(super) const DOUBT_AFTER: Duration = Duration::from_secs(2);
/// The pause before a write that was refused for now is sent again: doubled each time, up to the longest.
pub(super) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest such pause.
pub(super) const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);
/// The most locks in one batch: the server takes 1 000 messages, one of which is the journal's.
pub(super) const BATCH_LOCKS_MAX: usize = 999;
/// How long after its removal by the store a free record's revision is forgotten here too.
pub(super) const FORGET_SLACK: Duration = Duration::from_secs(1);
/// The longest time after which one who asks during an embargo is told to ask again.
pub(super) const EMBARGO_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How many wait for the answer to one release or to one administrator's wish: repeats of those who have not
/// heard yet. The oldest are forgotten first; they have been repeated since.
pub(super) const ANSWERS_MAX: usize = 16;

/// Adds one that waits for an answer, within that limit.
pub(super) fn await_answer<A>(answers: &mut Vec<A>, one: A) {
    if answers.len() >= ANSWERS_MAX {
        answers.remove(0);
    }
    answers.push(one);
}

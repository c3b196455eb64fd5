//! Deliberate defects, one at a time, so that the simulator can prove that it would notice them. Without the
//! feature `mutants` the question is answered `false` at compile time and nothing of this is left.

/// A defect. Each breaks one rule of DESIGN.md section 4 or of PROTOCOL.md section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// S4: a new leader does not wait for what its predecessor may have conferred.
    SkipOverlap,
    /// S4: a resignation writes no overlap instead of the one that remains.
    ResignWithoutOverlap,
    /// S4: a holder that was found does not get its full lease time.
    FoundWithoutLease,
    /// S3: the answer to a `lease` write of an earlier term is taken for one to this term's.
    HearOldTerms,
    /// S6: the guarded batch is not guarded.
    SkipEpochGuard,
    /// S6: leases are taken away by a plain compare-and-set.
    PlainTakeAway,
    /// S6: a lock in the batch goes on answering renewals.
    RenewWhileExpiring,
    /// S3: a grant leaves though the leadership has lapsed.
    GrantAfterLapse,
    /// S3: a leader that is not sure answers all the same.
    AnswerWhileUnsure,
    /// A lease is counted from the receipt of the answer.
    CountFromReceipt,
    /// The wait is taken as if the leader's clock were the client's.
    WaitWithoutDrift,
    /// A repeat of a granted acquire gets the same answer, and its lease is not prolonged.
    RepeatIsNoRenewal,
    /// A repeat of a granted acquire gets the time since the first as `waited_ms`.
    RepeatWithOldWait,
    /// A renewal is answered and does not move the leader's deadline.
    RenewalConfersNothing,
    /// S7: a batch without an answer is taken for one that failed.
    TimeoutIsFailure,
    /// S7: "not now" is taken for a batch that failed.
    NotNowIsFailure,
    /// S5: a term begins with what a read says.
    LoadByRead,
    /// S8: a renewal is answered from whatever is known.
    AnswerFromStaleCache,
    /// S8: a refused write is taken back without looking what is there.
    RefusedIsKnown,
    /// Whoever asks releases.
    AcceptWrongId,
    /// S10: finished ids are forgotten at once.
    ForgetFinished,
    /// S9: a waiter does not announce itself again.
    NoReannounce,
    /// S9: a waiter whose repeats are put off is taken to be silent.
    PutOffIsSilent,
    /// S9: any 503 takes the lease away.
    HonourAny503,
    /// S1: the clock stands still while the machine sleeps.
    ClockStopsInSuspend,
    /// S11: a store that went back in time goes unnoticed.
    SkipQuarantine,
    /// S11: a refusal that names an older revision is taken for a proof that the store went back.
    BelieveDenial,
    /// PROTOCOL.md section 3: a client believes the denial of a deposed leader.
    HearOldEpochs,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 28] = [
        Self::SkipOverlap,
        Self::ResignWithoutOverlap,
        Self::FoundWithoutLease,
        Self::HearOldTerms,
        Self::SkipEpochGuard,
        Self::PlainTakeAway,
        Self::RenewWhileExpiring,
        Self::GrantAfterLapse,
        Self::AnswerWhileUnsure,
        Self::CountFromReceipt,
        Self::WaitWithoutDrift,
        Self::RepeatIsNoRenewal,
        Self::RepeatWithOldWait,
        Self::RenewalConfersNothing,
        Self::TimeoutIsFailure,
        Self::NotNowIsFailure,
        Self::LoadByRead,
        Self::AnswerFromStaleCache,
        Self::RefusedIsKnown,
        Self::AcceptWrongId,
        Self::ForgetFinished,
        Self::NoReannounce,
        Self::PutOffIsSilent,
        Self::HonourAny503,
        Self::ClockStopsInSuspend,
        Self::SkipQuarantine,
        Self::BelieveDenial,
        Self::HearOldEpochs,
    ];
}

#[cfg(feature = "mutants")]
mod active {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Makes this thread run with a defect, or with none.
    pub fn activate(mutant: Option<Mutant>) {
        ACTIVE.set(mutant);
    }

    /// True where this thread runs with this defect.
    pub fn is(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant)
    }
}

#[cfg(not(feature = "mutants"))]
mod active {
    use super::Mutant;

    /// False: there are no defects in this build.
    #[inline]
    pub const fn is(_: Mutant) -> bool {
        false
    }
}

pub use self::active::*;

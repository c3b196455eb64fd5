//! What the model checks: the rules of DESIGN.md section 4 and PROTOCOL.md section 3, each of which can be
//! switched off, and the bounds within which it looks.

use super::properties::Break;

/// A lock's lease time, in ticks.
pub(super) const TTL: u8 = 2;
/// A confirmation lease, in ticks: see [`Confirm`].
pub(super) const CONFIRM: u8 = 1;

/// One rule. [`Setup::without`] is the protocol without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A grant says which request it answers, and the client counts from the sending of that one.
    GrantNamesRequest,
    /// A client counts from its own sending, never from the receipt of the answer.
    CountFromSending,
    /// A repeat of an acquire that is granted is a renewal.
    RepeatIsRenewal,
    /// A client ignores what a lower epoch than the highest it has seen denies.
    OldEpochsDenyNothing,
    /// S3 for grants whose write is acknowledged only now.
    GrantsObeyLease,
    /// S3 for answers to repeats.
    RepeatsObeyLease,
    /// S3 for renewals.
    RenewalsObeyLease,
    /// S4: nobody is expired before the predecessor's time is over.
    Overlap,
    /// S4: a holder that was found gets its full lease time.
    FoundHolderGetsLease,
    /// S4: a resignation writes the overlap that remains.
    ResignationKeepsOverlap,
    /// S4: a leader writes the overlap that it inherited where that is longer than its own.
    OverlapIsInherited,
    /// S6: what takes a lease away expects the `epoch` record.
    GuardedBatch,
    /// S6: a lease that is being taken away is not renewed.
    FrozenWhileTakenAway,
    /// S7: a write without an answer is sent again, and is not taken for one that failed.
    InDoubtIsNotFailed,
    /// S8: renewals carry the token, and the leader waits until it has heard of it.
    TokenInRenewal,
    /// S8: after a refused write the leader looks what is there.
    LookAgainWhenRefused,
    /// S9: a waiter repeats its request.
    WaitersRepeat,
    /// S9: a 503 counts only where it is about the only copy, of which nothing has come back.
    NoticeOfOnlyCopy,
}

/// A feature that DESIGN.md has dropped (finding 6 of research/model.md): a grant is good for a short time until its
/// owner confirms it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirm {
    /// The grant says how short the lease is.
    Stated,
    /// The leader alone knows.
    Unstated,
}

/// How far the model looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) ticks: u8,
    /// How many of the two clients ever acquire.
    pub(super) clients: u8,
    /// How much goes wrong in one run.
    pub(super) faults: u8,
    /// Acquisitions of each client.
    pub(super) ids: u8,
    /// Acquisitions that are given up while they wait.
    pub(super) cancels: u8,
    pub(super) takeovers: u8,
    pub(super) resignations: u8,
    /// The leadership lease of each term, in ticks.
    pub(super) leader_lease: [u8; 4],
    pub(super) confirm: Option<Confirm>,
    /// S2's parenthesis: a release without a waiter is answered before its *free* write, which is put off to the
    /// next tick or the next request; clients repeat what was released to a new leader.
    pub(super) early_release: bool,
    /// What may go wrong.
    pub(super) kinds: &'static [Fault],
    /// Whether P4 is looked at.
    pub(super) heals: bool,
    /// What may be broken: P3 is broken before P1 and P2 are, as a rule.
    pub(super) overlooks: &'static [Break],
}

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Lose,
    /// A message arrives late; a write lands late, and its leader has no answer.
    Delay,
    Duplicate,
    /// Nobody takes the grant, and the leader is told.
    Bounce,
    /// The answer to a write is lost.
    NoAnswer,
    Pause,
    /// From now on this leader reaches its `lease` record no more, and hears no news of the store.
    Cut,
    /// From now on this leader hears no requests.
    Deafen,
}

/// All of it.
const ALL: &[Fault] = &[
    Fault::Lose,
    Fault::Delay,
    Fault::Duplicate,
    Fault::Bounce,
    Fault::NoAnswer,
    Fault::Pause,
    Fault::Cut,
    Fault::Deafen,
];

impl Bounds {
    pub(super) const fn new(faults: u8, ids: u8, takeovers: u8, ticks: u8) -> Self {
        Self {
            ticks,
            clients: 2,
            faults,
            ids,
            cancels: 0,
            takeovers,
            resignations: 0,
            leader_lease: [2; 4],
            confirm: None,
            early_release: false,
            kinds: ALL,
            heals: true,
            overlooks: &[],
        }
    }
}

/// What is explored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) bounds: Bounds,
    off: Option<Rule>,
}

impl Setup {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self { bounds, off: None }
    }

    pub(super) const fn without(bounds: Bounds, rule: Rule) -> Self {
        Self { bounds, off: Some(rule) }
    }

    pub(super) fn keeps(&self, rule: Rule) -> bool {
        self.off != Some(rule)
    }

    /// True where this may go wrong.
    pub(super) fn allows(&self, fault: Fault) -> bool {
        self.bounds.kinds.contains(&fault)
    }

    pub(super) fn leader_lease(&self, term: u8) -> u8 {
        self.bounds.leader_lease[usize::from(term).min(3)]
    }
}

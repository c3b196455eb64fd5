//! What goes into the engine and what comes out of it.

use std::time::Duration;

use crate::types::{
    AttemptId, Claim, Epoch, IdHash, LeaseId, LockName, Mode, Note, OwnerName, Permits, Revision, Timestamp,
    Token, Ttl, Wait, WallTime,
};

/// The two clocks, read once for one decision.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The clock that counts suspend: every decision is made by it.
    pub boot: Timestamp,
    /// The wall clock: shown to people, decides nothing.
    pub wall: WallTime,
}

/// A request, and where its answer goes. `R` is whatever the caller needs to find the requester again.
#[derive(Debug, Clone)]
pub struct Request<R> {
    /// Who asks.
    pub owner: OwnerName,
    /// Where the answer goes; only a release is carried out without.
    pub reply: Option<R>,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked.
#[derive(Debug, Clone)]
pub enum Ask {
    /// To hold a lock.
    Acquire(Acquire),
    /// To keep one lease, or one place in a queue, alive.
    Renew {
        /// The lock.
        name: LockName,
        /// The lease.
        lease: LeaseRef,
    },
    /// To keep many leases of the owner alive.
    RenewMany {
        /// The leases, of any locks.
        leases: Vec<LeaseRef>,
    },
    /// To give a lock back, or to stop waiting for it. Final for the id.
    Release {
        /// The lock.
        name: LockName,
        /// The lease.
        lease: LeaseRef,
        /// How much longer the lock stays held after the lease has ended.
        keep: Duration,
    },
    /// Who holds a lock, and who waits.
    Check {
        /// The lock.
        name: LockName,
        /// At most so many holders and waiters.
        limit: usize,
    },
    /// The held and waited-for locks.
    List {
        /// Only names that begin so, in encoded form.
        prefix: String,
        /// At most so many locks.
        limit: usize,
        /// Only names behind this one.
        after: Option<LockName>,
    },
    /// To end every lease of a lock without its holders' consent.
    AdminRelease {
        /// The lock.
        name: LockName,
        /// Why, for the event.
        reason: Option<String>,
    },
}

impl Ask {
    /// The one lock that it is about, if it is about one.
    pub const fn name(&self) -> Option<&LockName> {
        match self {
            Self::Acquire(acquire) => Some(&acquire.name),
            Self::Renew { name, .. }
            | Self::Release { name, .. }
            | Self::Check { name, .. }
            | Self::AdminRelease { name, .. } => Some(name),
            Self::RenewMany { .. } | Self::List { .. } => None,
        }
    }
}

/// The fields of an acquire request.
#[derive(Debug, Clone)]
pub struct Acquire {
    /// The lock.
    pub name: LockName,
    /// The acquisition.
    pub id: LeaseId,
    /// What is asked for.
    pub claim: Claim,
    /// The lease time.
    pub ttl: Ttl,
    /// How long to wait.
    pub wait: Wait,
    /// Shown beside the holder.
    pub note: Option<Note>,
    /// Whether a `queued` reply is wanted.
    pub progress: bool,
}

/// A lease as its owner names it.
#[derive(Debug, Clone)]
pub struct LeaseRef {
    /// The acquisition.
    pub id: LeaseId,
    /// The token it was granted with, where the owner knows it.
    pub token: Option<Token>,
}

/// An answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The lock is held.
    Granted(Grant),
    /// The request waits.
    Queued {
        /// The acquisition.
        id: LeaseId,
        /// One is next.
        position: usize,
        /// How many hold the lock.
        holder_count: usize,
    },
    /// Others hold it: the answer to a try, and of check.
    Held(LockView),
    /// Others held it all the time.
    Timeout {
        /// Who.
        view: LockView,
        /// Since the receipt of the request that this answers.
        waited: Duration,
    },
    /// The lease, or the place in the queue, was kept alive.
    Renewed {
        /// The acquisition.
        id: LeaseId,
        /// Its lease time.
        ttl: Ttl,
        /// From now, by the leader's clock.
        expires_in: Duration,
    },
    /// The answer to a renewal of many.
    RenewedMany {
        /// Those that were kept alive.
        renewed: Vec<LeaseId>,
        /// Those that are over.
        lost: Vec<(LeaseId, LostReason)>,
    },
    /// The lease has ended.
    Released {
        /// The acquisition; absent in the answer to an administrator.
        id: Option<LeaseId>,
        /// How long it was held.
        held: Duration,
    },
    /// Nobody holds or waits.
    Free,
    /// A page of locks.
    List {
        /// In byte order of the encoded name.
        locks: Vec<(LockName, LockView)>,
        /// The last name of this page where another follows.
        next: Option<LockName>,
    },
    /// A refusal.
    Error(Refusal),
}

/// A granted lease. The engine makes one from an acknowledged write only; see `engine::commit`.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The acquisition.
    pub id: LeaseId,
    /// The fencing token.
    pub token: Token,
    /// The lease time.
    pub ttl: Ttl,
    /// From the receipt of the request that this answers to the decision, by the leader's clock.
    pub waited: Duration,
    /// The permits of a counting lock.
    pub permits: Option<Permits>,
}

/// Why a lease is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostReason {
    /// It was not renewed in time.
    Expired,
    /// An administrator took it.
    Revoked,
    /// Its owner released it.
    Released,
    /// The leader never heard of it; acquire again with the same id.
    Unknown,
}

impl LostReason {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Released => "released",
            Self::Unknown => "unknown",
        }
    }
}

/// Who holds a lock and who waits for it.
#[derive(Debug, Clone)]
pub struct LockView {
    /// The mode it is held in, or would be by the first waiter.
    pub mode: Mode,
    /// The first holders.
    pub holders: Vec<HolderView>,
    /// All of them.
    pub holder_count: usize,
    /// The first waiters, in order; empty in answers that do not list them.
    pub waiters: Vec<WaiterView>,
    /// All of them.
    pub waiter_count: usize,
}

/// One holder as others see it.
#[derive(Debug, Clone)]
pub struct HolderView {
    /// Who.
    pub owner: OwnerName,
    /// The fencing token.
    pub token: Token,
    /// The mode of the lease.
    pub mode: Mode,
    /// The permits of a counting lock.
    pub permits: Option<u16>,
    /// How long already.
    pub held: Duration,
    /// From now; unknown after a takeover until the first renewal.
    pub expires_in: Option<Duration>,
    /// What the holder wrote beside it.
    pub note: Option<Note>,
}

/// One waiter as others see it.
#[derive(Debug, Clone)]
pub struct WaiterView {
    /// Who.
    pub owner: OwnerName,
    /// The mode that is waited for.
    pub mode: Mode,
    /// How long already.
    pub waited: Duration,
    /// One is next.
    pub position: usize,
}

/// The error codes of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The request makes no sense.
    BadRequest,
    /// Another protocol version.
    UnsupportedVersion,
    /// A lock or owner name that is none.
    InvalidName,
    /// A lease time outside its limits.
    InvalidTtl,
    /// A wait outside its limits.
    InvalidWait,
    /// A body over its limit.
    TooLarge,
    /// The name belongs to another shard.
    WrongShard,
    /// Not allowed.
    Forbidden,
    /// Over a rate or a quota.
    RateLimited,
    /// Over the length of a queue.
    QueueFull,
    /// The id is in use for something else.
    IdConflict,
    /// The id was released or lost.
    Finished,
    /// The id holds nothing here.
    NotHolder,
    /// Not now.
    Unavailable,
    /// The lock or the shard needs an operator.
    Quarantined,
    /// The leader is leaving.
    ShuttingDown,
}

impl Code {
    /// All of them, in the order of the protocol.
    pub const ALL: [Self; 16] = [
        Self::BadRequest,
        Self::UnsupportedVersion,
        Self::InvalidName,
        Self::InvalidTtl,
        Self::InvalidWait,
        Self::TooLarge,
        Self::WrongShard,
        Self::Forbidden,
        Self::RateLimited,
        Self::QueueFull,
        Self::IdConflict,
        Self::Finished,
        Self::NotHolder,
        Self::Unavailable,
        Self::Quarantined,
        Self::ShuttingDown,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnsupportedVersion => "unsupported_version",
            Self::InvalidName => "invalid_name",
            Self::InvalidTtl => "invalid_ttl",
            Self::InvalidWait => "invalid_wait",
            Self::TooLarge => "too_large",
            Self::WrongShard => "wrong_shard",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::QueueFull => "queue_full",
            Self::IdConflict => "id_conflict",
            Self::Finished => "finished",
            Self::NotHolder => "not_holder",
            Self::Unavailable => "unavailable",
            Self::Quarantined => "quarantined",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// A refusal: what was wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// For a person, with the values in it.
    pub message: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The limit that was met.
    pub limit: Option<u64>,
}

impl Refusal {
    /// A refusal without a retry time or a limit.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, limit: None }
    }

    /// The same with the limit that was met.
    #[must_use]
    pub fn limit(self, limit: u64) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// The same with the time after which to try again.
    #[must_use]
    pub fn retry_after(self, span: Duration) -> Self {
        Self { retry_after: Some(span), ..self }
    }
}

/// What the engine wants done. The order of a list of outputs is the order to do them in.
#[derive(Debug)]
pub enum Output<R> {
    /// To answer. It reports acknowledged state, or refuses; it may go out at once.
    Reply {
        /// To whom.
        to: R,
        /// What.
        reply: Reply,
    },
    /// To deliver a grant, with a way to learn that nobody was there to take it
    /// (`Engine::handle_undelivered`). The write behind it is acknowledged.
    Grant {
        /// To whom.
        to: R,
        /// What.
        grant: Grant,
        /// Names this sending.
        number: GrantNumber,
    },
    /// To write one record; the outcome goes to `Engine::handle_written`.
    Write(LockWrite),
    /// To write a guarded batch; the outcome goes to `Engine::handle_batch_written`.
    Batch(GuardedBatch),
    /// To tell everybody. The write behind it is acknowledged.
    Event(Event),
    /// To write the `lease` record after this instant and report its acknowledged revision to
    /// `Engine::handle_confirmed`.
    Confirm(Ticket),
}

/// Names one sending of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantNumber(pub u64);

/// Names one wish to have the leadership confirmed. Later tickets are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A compare-and-set of one lock's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockWrite {
    /// The lock.
    pub name: LockName,
    /// The revision that must still be there; `Revision::NONE` for no record.
    pub expected: Revision,
    /// What is written. Its attempt id names the write: a repeat is the same.
    pub record: LockRecord,
}

/// A batch that takes leases away: all or nothing, and only while the `epoch` record is at `guard` (S6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardedBatch {
    /// Names the batch; it stands in each record of it and in the journal.
    pub attempt: AttemptId,
    /// The revision that the `epoch` record must still have.
    pub guard: Revision,
    /// The locks' writes. The store puts the journal's behind them.
    pub writes: Vec<LockWrite>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Stored, at this revision. Of a batch: the revision of its last record, the journal's.
    Acknowledged(Revision),
    /// Refused: another revision than the expected one is there. With its number where the store names it
    /// (zero: no record).
    Mismatch(Option<Revision>),
    /// Refused for now; nothing was written by this copy of the write.
    NotNow,
    /// No answer: done or not done, nobody knows.
    Unknown,
}

/// What is stored of a lock. No holders: the lock is free, and the record may vanish by itself after
/// `FREE_RECORD_TTL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRecord {
    /// Who wrote it.
    pub attempt: AttemptId,
    /// In which epoch.
    pub epoch: Epoch,
    /// Who holds the lock.
    pub holders: Vec<StoredHolder>,
}

/// How long a record without holders is kept by the store.
pub const FREE_RECORD_TTL: Duration = Duration::from_secs(120);

impl LockRecord {
    /// True where nobody holds the lock.
    pub fn is_free(&self) -> bool {
        self.holders.is_empty()
    }
}

/// A holder as it is stored. Durations, never deadlines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHolder {
    /// The acquisition.
    pub id: IdHash,
    /// Who.
    pub owner: OwnerName,
    /// What is held.
    pub claim: Claim,
    /// The token, or what will make it.
    pub token: StoredToken,
    /// The lease time; of a kept lock, how long it is kept.
    pub ttl: Ttl,
    /// True where the owner has released it and asked to keep it held for `ttl`.
    pub kept: bool,
    /// When, for people.
    pub granted_at: WallTime,
    /// What the holder wrote beside it.
    pub note: Option<Note>,
}

/// A token in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredToken {
    /// Granted by an earlier write.
    Known(Token),
    /// Granted by this very write, whose revision is known only when it is stored.
    Index(u8),
}

impl StoredToken {
    /// The token, in a record that was stored with this revision.
    pub const fn resolve(self, stored: Revision) -> Token {
        match self {
            Self::Known(token) => token,
            Self::Index(index) => Token::new(stored, index),
        }
    }
}

/// A record of a lock as the standing consumer of the bucket delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockEntry {
    /// The lock.
    pub name: LockName,
    /// Its revision.
    pub revision: Revision,
    /// What is stored.
    pub content: EntryContent,
}

/// What a stored record turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryContent {
    /// A record of ours.
    Record(LockRecord),
    /// A delete marker that a foreign tool made.
    Deleted,
    /// Something that does not decode: the lock is quarantined.
    Garbled(String),
}

/// Something that everybody may know.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To which lock.
    pub name: LockName,
    /// Whose lease.
    pub owner: OwnerName,
    /// With which token.
    pub token: Token,
    /// The mode of the lease.
    pub mode: Mode,
    /// How long it was held, where it ended.
    pub held: Option<Duration>,
    /// To whom the lock was handed over.
    pub next_owner: Option<OwnerName>,
    /// How many wait.
    pub waiter_count: usize,
    /// Why it ended.
    pub reason: Option<String>,
    /// When, by the leader's wall clock.
    pub at: WallTime,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A lease began.
    Granted,
    /// A lease ended, for whatever reason: the release channel.
    Released,
    /// A lease ended because it was not renewed.
    Expired,
    /// A lease was ended by an administrator.
    Revoked,
}

impl EventKind {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

//! What the leadership wants done, and what it is told.

use std::time::Duration;

use crate::engine::Term;
use crate::engine::message::Ticket;
use crate::types::{CoordinatorId, Epoch, Revision, Timestamp};
use crate::wire::record::{EpochRecord, LeaseRecord};

/// What the step function needs to know of its coordinator.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Who it is.
    pub coordinator: CoordinatorId,
    /// On which host, for people.
    pub host: String,
    /// In which process, for people.
    pub pid: u32,
    /// T_L.
    pub leader_lease: Duration,
}

/// What the driver has to do, in this order.
#[derive(Debug)]
pub enum Action {
    /// Read the `epoch` record and after it the `lease` record; `handle_shard_read`.
    ReadShard,
    /// Write both as one batch; `handle_takeover`.
    Takeover { expected: Revision, epoch: EpochRecord, lease: LeaseRecord },
    /// Write the `lease` record; `handle_lease_written`.
    WriteLease { expected: Revision, lease: LeaseRecord },
    /// Read the record with this revision; `handle_lease_read`.
    ReadLease { revision: Revision },
    /// The term has begun: make an engine, load it, serve.
    Lead(Term),
    /// The leadership is sure until then.
    Extend { until: Timestamp },
    /// A wish of the engine is fulfilled.
    Confirmed { ticket: Ticket, revision: Revision },
    /// The term is over: drop the engine and whatever it was doing.
    StepDown { why: String },
    /// The store went back in time or was replaced.
    Quarantine { why: String },
    /// The shard was recovered since this coordinator looked last: whichever bucket it is now, it is the right one.
    Recovered,
    /// Find out whether the store still is the same one.
    CheckIdentity,
    /// Send a sign of life.
    Heartbeat { epoch: Epoch },
    /// Tell the others that the resignation is written.
    Farewell { epoch: Epoch },
    /// The resignation is written, or not needed.
    Over,
}

/// The last records of a shard that nobody has to trust: the takeover expects what was read.
#[derive(Debug, Clone)]
pub struct ShardRead {
    /// The `epoch` record.
    pub epoch: Option<(Revision, EpochRecord)>,
    /// The `lease` record, read after it.
    pub lease: Option<(Revision, LeaseRecord)>,
}

//! Values and their parsing: no clock, no IO, no serde.
//!
//! Everything that arrives from outside is parsed into one of these types once, at the edge; the rest of the
//! crate trusts them.

mod claim;
mod encode;
mod id;
mod key;
mod name;
mod number;
mod span;
mod time;

pub use claim::{CAPACITY_MAX, Claim, Mode, Permits, PermitsError};
pub use id::{AttemptId, CoordinatorId, ID_BYTES_MAX, IdHash, LeaseId, LeaseIdError};
pub use key::{Key, KeyError};
pub use name::{LockName, NAME_BYTES_MAX, NameError, Namespace, OWNER_BYTES_MAX, OwnerName, ShardId};
pub use number::{Epoch, LEASES_PER_WRITE_MAX, Revision, Token};
pub use span::{NOTE_BYTES_MAX, Note, NoteError, SpanError, Ttl, WAIT_MS_MAX, Wait};
pub use time::{Timestamp, WallTime};

//! What the leader of a shard tells the other coordinators four times a second, in MessagePack.

use bytes::Bytes;
use serde::Serialize;

use crate::types::{CoordinatorId, Epoch, Revision, ShardId};

use super::format::{self, Format};
use super::value::{self, DecodeError};

/// A leader's sign of life. It proves nothing: who leads is decided by the store alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who leads.
    pub coordinator: CoordinatorId,
    /// Since which epoch.
    pub epoch: Epoch,
    /// Which shard.
    pub shard: ShardId,
    /// True in the last one, after the leader has resigned: its successor need not wait for silence.
    pub resigned: bool,
    /// The highest revision that it has seen: whoever takes over notices a store that went back in time (S11).
    pub highest: Revision,
}

#[derive(Serialize)]
struct HeartbeatBody {
    coordinator: u64,
    epoch: u64,
    shard: u16,
    resigned: bool,
    highest: u64,
}

impl Heartbeat {
    /// Encodes it.
    pub fn encode(&self) -> Bytes {
        let (coordinator, epoch, shard) = (self.coordinator.0, self.epoch.get(), self.shard.0);
        let (resigned, highest) = (self.resigned, self.highest.get());
        format::encode(Format::MessagePack, &HeartbeatBody { coordinator, epoch, shard, resigned, highest })
    }

    /// Decodes one. Unknown fields are ignored.
    ///
    /// # Errors
    /// The bytes are no heartbeat.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let fields = value::parse(Format::MessagePack, payload)?;
        Ok(Self {
            coordinator: CoordinatorId(fields.need_unsigned("coordinator")?),
            epoch: Epoch::new(Revision::new(fields.need_unsigned("epoch")?)),
            shard: ShardId(fields.need_number("shard")?),
            resigned: fields.flag("resigned")?.unwrap_or(false),
            highest: fields.unsigned("highest")?.map_or(Revision::NONE, Revision::new),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::arbitrary;

    proptest! {
        #[test]
        fn heartbeats_round_trip(
            coordinator: u64, epoch in arbitrary::epoch(), shard: u16, resigned: bool, highest: u64,
        ) {
            let (coordinator, shard) = (CoordinatorId(coordinator), ShardId(shard));
            let highest = Revision::new(highest);
            let heartbeat = Heartbeat { coordinator, epoch, shard, resigned, highest };
            let body = heartbeat.encode();
            prop_assert_eq!(Heartbeat::decode(&body), Ok(heartbeat));
            for end in 0..body.len() {
                prop_assert!(Heartbeat::decode(&body[..end]).is_err());
            }
        }
    }
}

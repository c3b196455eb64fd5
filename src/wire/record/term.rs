//! The records of a shard's leadership: `epoch`, `lease` and `journal`.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::types::{AttemptId, CoordinatorId, Epoch, Revision};
use crate::wire::fields::need;
use crate::wire::format::{self, Format};
use crate::wire::value::DecodeError;

use super::{RecordError, SCHEMA_VERSION, attempt, attempt_body, epoch, fields};

/// Stored under `epoch`, by takeovers only. The epoch's number is this record's revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRecord {
    /// Who took over.
    pub coordinator: CoordinatorId,
    /// Names the write.
    pub attempt: AttemptId,
    /// The highest revision that it had seen, so that a store that went back in time is noticed (S11).
    pub highest: Revision,
    /// Why the shard is quarantined, where it is: whoever takes over next is bound by it (S11).
    pub quarantine: Option<String>,
    /// True where this record is the end of a recovery: its own revision is above all that were given before.
    pub recovers: bool,
    /// The revision of the latest such record, none where there never was one. Each takeover hands it on.
    pub recovered: Revision,
}

#[derive(Serialize)]
struct EpochBody<'a> {
    v: u64,
    coordinator: u64,
    attempt: [u64; 2],
    highest: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantine: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovers: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<u64>,
}

impl EpochRecord {
    /// Encodes it.
    pub fn encode(&self) -> Bytes {
        let body = EpochBody {
            v: SCHEMA_VERSION,
            coordinator: self.coordinator.0,
            attempt: attempt_body(self.attempt),
            highest: self.highest.get(),
            quarantine: self.quarantine.as_deref(),
            recovers: self.recovers.then_some(true),
            recovered: (self.recovered != Revision::NONE).then_some(self.recovered.get()),
        };
        format::encode(Format::MessagePack, &body)
    }

    /// Decodes a stored one.
    ///
    /// # Errors
    /// The bytes are no such record of this schema version.
    pub fn decode(stored: &[u8]) -> Result<Self, RecordError> {
        let fields = fields(stored)?;
        Ok(Self {
            coordinator: CoordinatorId(fields.need_unsigned("coordinator")?),
            attempt: attempt(&fields)?,
            highest: Revision::new(fields.need_unsigned("highest")?),
            quarantine: fields.text("quarantine")?.map(str::to_owned),
            recovers: fields.flag("recovers")?.unwrap_or(false),
            recovered: fields.unsigned("recovered")?.map_or(Revision::NONE, Revision::new),
        })
    }
}

/// Stored under `lease`: the leader's sign of life, and what its successor must know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Who leads.
    pub coordinator: CoordinatorId,
    /// On which host, for people.
    pub host: String,
    /// In which process, for people.
    pub pid: u32,
    /// In which term.
    pub epoch: Epoch,
    /// How long from now the leader may still act, or its predecessor's holders may not expire (S4). Stored in
    /// whole milliseconds, rounded up: a successor waits for it.
    pub t_l: Duration,
    /// Names the write.
    pub attempt: AttemptId,
    /// True where the leader has ended its term by itself.
    pub resigned: bool,
    /// How long from now nothing is granted or renewed, because the shard was recovered (S11). Stored like
    /// `t_l`.
    pub embargo: Duration,
}

#[derive(Serialize)]
struct LeaseBody<'a> {
    v: u64,
    coordinator: u64,
    host: &'a str,
    pid: u32,
    epoch: u64,
    t_l_ms: u64,
    attempt: [u64; 2],
    resigned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    embargo_ms: Option<u64>,
}

impl LeaseRecord {
    /// Encodes it.
    pub fn encode(&self) -> Bytes {
        let body = LeaseBody {
            v: SCHEMA_VERSION,
            coordinator: self.coordinator.0,
            host: &self.host,
            pid: self.pid,
            epoch: self.epoch.get(),
            t_l_ms: millis_up(self.t_l),
            attempt: attempt_body(self.attempt),
            resigned: self.resigned,
            embargo_ms: Some(millis_up(self.embargo)).filter(|ms| *ms > 0),
        };
        format::encode(Format::MessagePack, &body)
    }

    /// Decodes a stored one.
    ///
    /// # Errors
    /// The bytes are no such record of this schema version.
    pub fn decode(stored: &[u8]) -> Result<Self, RecordError> {
        let fields = fields(stored)?;
        Ok(Self {
            coordinator: CoordinatorId(fields.need_unsigned("coordinator")?),
            host: fields.need_text("host")?.to_owned(),
            pid: fields.need_number("pid")?,
            epoch: epoch(&fields)?,
            t_l: Duration::from_millis(fields.need_unsigned("t_l_ms")?),
            attempt: attempt(&fields)?,
            resigned: need("resigned", fields.flag("resigned")?)?,
            embargo: fields.unsigned("embargo_ms")?.map_or(Duration::ZERO, Duration::from_millis),
        })
    }
}

/// Whole milliseconds, rounded up: a successor waits for it.
fn millis_up(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(Duration::from_millis(1).as_nanos())).unwrap_or(u64::MAX)
}

/// Stored under `journal`: the last record of every guarded batch (S6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRecord {
    /// Names the batch.
    pub attempt: AttemptId,
    /// In which term.
    pub epoch: Epoch,
    /// How many locks the batch wrote.
    pub locks: usize,
}

#[derive(Serialize)]
struct JournalBody {
    v: u64,
    attempt: [u64; 2],
    epoch: u64,
    locks: usize,
}

impl JournalRecord {
    /// Encodes it.
    pub fn encode(&self) -> Bytes {
        let (attempt, epoch, locks) = (attempt_body(self.attempt), self.epoch.get(), self.locks);
        format::encode(Format::MessagePack, &JournalBody { v: SCHEMA_VERSION, attempt, epoch, locks })
    }

    /// Decodes a stored one.
    ///
    /// # Errors
    /// The bytes are no such record of this schema version.
    pub fn decode(stored: &[u8]) -> Result<Self, RecordError> {
        let fields = fields(stored)?;
        let locks: Result<usize, DecodeError> = fields.need_number("locks");
        Ok(Self { attempt: attempt(&fields)?, epoch: epoch(&fields)?, locks: locks? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::arbitrary;

    /// Every beginning of a record that is not all of it is refused.
    fn no_truncation_decodes<T>(stored: &[u8], decode: fn(&[u8]) -> Result<T, RecordError>) -> bool {
        (0..stored.len()).all(|end| decode(&stored[..end]).is_err())
    }

    #[test]
    fn the_lease_time_is_rounded_up() {
        let attempt = AttemptId { coordinator: CoordinatorId(1), number: 1 };
        let lease = |t_l| LeaseRecord {
            coordinator: CoordinatorId(1),
            host: "h".into(),
            pid: 1,
            epoch: Epoch::new(Revision::new(1)),
            t_l,
            attempt,
            resigned: true,
            embargo: t_l,
        };
        let stored = |t_l| LeaseRecord::decode(&lease(t_l).encode()).unwrap().t_l;
        assert_eq!(stored(Duration::from_nanos(1)), Duration::from_millis(1));
        assert_eq!(stored(Duration::from_millis(12_000)), Duration::from_millis(12_000));
        assert_eq!(stored(Duration::ZERO), Duration::ZERO);
        let embargo = LeaseRecord::decode(&lease(Duration::from_nanos(1)).encode()).unwrap().embargo;
        assert_eq!(embargo, Duration::from_millis(1));
    }

    #[test]
    fn another_kind_of_record_is_refused() {
        let attempt = AttemptId { coordinator: CoordinatorId(1), number: 1 };
        let journal = JournalRecord { attempt, epoch: Epoch::new(Revision::new(1)), locks: 1 }.encode();
        assert!(LeaseRecord::decode(&journal).is_err());
        assert!(EpochRecord::decode(&journal).is_err());
    }

    proptest! {
        #[test]
        fn epochs_round_trip(
            coordinator: u64, attempt in arbitrary::attempt(), highest: u64,
            (quarantine, recovers, recovered) in (prop::option::of(".*"), any::<bool>(), any::<u64>()),
        ) {
            let recovered = Revision::new(recovered);
            let (coordinator, highest) = (CoordinatorId(coordinator), Revision::new(highest));
            let record = EpochRecord { coordinator, attempt, highest, quarantine, recovers, recovered };
            let stored = record.encode();
            prop_assert!(no_truncation_decodes(&stored, EpochRecord::decode));
            prop_assert_eq!(EpochRecord::decode(&stored), Ok(record));
        }

        #[test]
        fn leases_round_trip(
            (coordinator, host, pid) in (any::<u64>().prop_map(CoordinatorId), ".*", any::<u32>()),
            (epoch, t_l, embargo) in (arbitrary::epoch(), arbitrary::span(), arbitrary::span()),
            (attempt, resigned) in (arbitrary::attempt(), any::<bool>()),
        ) {
            let record = LeaseRecord { coordinator, host, pid, epoch, t_l, attempt, resigned, embargo };
            let stored = record.encode();
            prop_assert!(no_truncation_decodes(&stored, LeaseRecord::decode));
            prop_assert_eq!(LeaseRecord::decode(&stored), Ok(record));
        }

        #[test]
        fn journals_round_trip(
            attempt in arbitrary::attempt(), epoch in arbitrary::epoch(), locks: usize,
        ) {
            let record = JournalRecord { attempt, epoch, locks };
            let stored = record.encode();
            prop_assert!(no_truncation_decodes(&stored, JournalRecord::decode));
            prop_assert_eq!(JournalRecord::decode(&stored), Ok(record));
        }
    }
}

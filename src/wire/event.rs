//! What everybody is told, in JSON (PROTOCOL.md section 4).

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::engine::message::Event;
use crate::types::{Epoch, LockName, OwnerName, Revision, Token, WallTime};

use super::fields::{Fields, parsed};
use super::format::{self, Format, millis};
use super::info::{Leader, decode_leader};
use super::mode;
use super::subject::event_kind;
use super::value::{self, DecodeError, shown};

/// What was heard on an event's subject.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Heard {
    /// Something happened to a lock.
    Lock {
        /// What.
        event: Event,
        /// In which term.
        epoch: Epoch,
    },
    /// A shard has a new leader.
    Leader {
        /// Which, and since which epoch.
        leader: Leader,
        /// When, by the new leader's wall clock.
        at: WallTime,
    },
}

#[derive(Serialize)]
struct EventBody<'a> {
    kind: &'static str,
    name: &'a str,
    owner: &'a str,
    token: u64,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_owner: Option<&'a str>,
    waiter_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    epoch: u64,
    at_ms: u64,
}

#[derive(Serialize)]
struct LeaderBody<'a> {
    kind: &'static str,
    shard: u16,
    epoch: u64,
    coordinator: String,
    host: &'a str,
    pid: u32,
    at_ms: u64,
}

/// Encodes the event of a lock.
pub fn encode(epoch: Epoch, event: &Event) -> Bytes {
    let body = EventBody {
        kind: event.kind.as_str(),
        name: event.name.as_str(),
        owner: event.owner.as_str(),
        token: event.token.get(),
        mode: event.mode.as_str(),
        capacity: mode::capacity(event.mode),
        held_ms: event.held.map(millis),
        next_owner: event.next_owner.as_ref().map(OwnerName::as_str),
        waiter_count: event.waiter_count,
        reason: event.reason.as_deref(),
        epoch: epoch.get(),
        at_ms: event.at.0,
    };
    format::encode(Format::Json, &body)
}

/// Encodes the event of a takeover.
pub fn encode_leader(leader: &Leader, at: WallTime) -> Bytes {
    let body = LeaderBody {
        kind: "leader",
        shard: leader.shard.0,
        epoch: leader.epoch.get(),
        coordinator: leader.coordinator.to_string(),
        host: &leader.host,
        pid: leader.pid,
        at_ms: at.0,
    };
    format::encode(Format::Json, &body)
}

/// Decodes an event. Unknown fields are ignored.
///
/// # Errors
/// The bytes are no event of natslock, or of a kind that this version does not know.
pub fn decode(payload: &[u8]) -> Result<Heard, DecodeError> {
    let fields = value::parse(Format::Json, payload)?;
    let at = WallTime(fields.need_unsigned("at_ms")?);
    match fields.need_text("kind")? {
        "leader" => Ok(Heard::Leader { leader: decode_leader(&fields)?, at }),
        kind => decode_lock(kind, &fields, at),
    }
}

fn decode_lock(kind: &str, fields: &Fields<'_>, at: WallTime) -> Result<Heard, DecodeError> {
    let unknown = || DecodeError::new(format!("unknown kind of event {}", shown(kind)));
    let owner = |field: &str, text: &str| parsed(field, OwnerName::from_encoded(text));
    let next_owner = fields.text("next_owner")?.map(|next| owner("next_owner", next)).transpose()?;
    let event = Event {
        kind: event_kind(kind).ok_or_else(unknown)?,
        name: parsed("name", LockName::from_encoded(fields.need_text("name")?))?,
        owner: owner("owner", fields.need_text("owner")?)?,
        token: Token::from_raw(fields.need_unsigned("token")?),
        mode: mode::decode(fields)?,
        held: fields.unsigned("held_ms")?.map(Duration::from_millis),
        next_owner,
        waiter_count: fields.need_number("waiter_count")?,
        reason: fields.text("reason")?.map(str::to_owned),
        at,
    };
    Ok(Heard::Lock { event, epoch: Epoch::new(Revision::new(fields.need_unsigned("epoch")?)) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::message::EventKind;
    use crate::types::{CoordinatorId, Mode, ShardId};
    use crate::wire::arbitrary;

    fn event() -> Event {
        Event {
            kind: EventKind::Released,
            name: LockName::encode("orders.42").unwrap(),
            owner: OwnerName::encode("alice@db").unwrap(),
            token: Token::from_raw(513),
            mode: Mode::Counting { capacity: 3 },
            held: Some(Duration::from_micros(1_999)),
            next_owner: Some(OwnerName::encode("bob").unwrap()),
            waiter_count: 2,
            reason: Some("expired".into()),
            at: WallTime(1_700_000_000_000),
        }
    }

    #[test]
    fn events_look_so() {
        assert_eq!(
            std::str::from_utf8(&encode(Epoch::new(Revision::new(9)), &event())).unwrap(),
            r#"{"kind":"released","name":"orders.42","owner":"alice=40db","token":513,"mode":"counting","capacity":3,"held_ms":1,"next_owner":"bob","waiter_count":2,"reason":"expired","epoch":9,"at_ms":1700000000000}"#
        );
    }

    #[test]
    fn leaders_round_trip() {
        let epoch = Epoch::new(Revision::new(9));
        let (shard, coordinator) = (ShardId(1), CoordinatorId(u64::MAX));
        let leader = Leader { shard, epoch, coordinator, host: "db-1".into(), pid: 42 };
        let body = encode_leader(&leader, WallTime(5));
        let Ok(Heard::Leader { leader: heard, at }) = decode(&body) else { panic!("not a leader") };
        assert_eq!((heard, at), (leader, WallTime(5)));
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"kind":"leader","shard":1,"epoch":9,"coordinator":"ffffffffffffffff","host":"db-1","pid":42,"at_ms":5}"#
        );
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for bad in ["", "{}", r#"{"kind":"borrowed","at_ms":1}"#, r#"{"kind":"leader","at_ms":1}"#, "[]"] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad:?} was taken");
        }
        let whole = encode(Epoch::new(Revision::new(9)), &event());
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_err(), "the first {end} bytes were taken");
        }
    }

    proptest! {
        #[test]
        fn events_round_trip(
            (kind, name, owner, token) in
                (arbitrary::event_kind(), arbitrary::lock_name(), arbitrary::owner(), arbitrary::token()),
            (mode, held, next_owner) in
                (arbitrary::mode(), prop::option::of(arbitrary::span()), prop::option::of(arbitrary::owner())),
            (waiter_count, reason) in (any::<usize>(), prop::option::of(".*")),
            (at, epoch) in (arbitrary::wall_time(), arbitrary::epoch()),
        ) {
            let event =
                Event { kind, name, owner, token, mode, held, next_owner, waiter_count, reason, at };
            let heard = decode(&encode(epoch, &event)).unwrap();
            prop_assert_eq!(format!("{heard:?}"), format!("{:?}", Heard::Lock { event, epoch }));
        }
    }
}

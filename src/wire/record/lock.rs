//! The record of a lock: who holds it, and by which write.
//!
//! ```text
//! {v: 1, attempt: [coordinator, number], epoch, mode?, capacity?,
//!  holders: [{id: 16 bytes, owner, permits?, token | index, ttl_ms, kept?, granted_at, note?}]}
//! ```
//!
//! `mode` and `capacity` are the same for all holders and stand beside them; a free record has neither.

use std::collections::HashSet;

use bytes::Bytes;
use serde::Serialize;

use crate::engine::message::{LockRecord, StoredHolder, StoredToken};
use crate::types::{Claim, IdHash, Mode, Note, OwnerName, Permits, Token, Ttl, WallTime};
use crate::wire::fields::{Fields, need, parsed};
use crate::wire::format::{self, Binary, Format};
use crate::wire::mode;
use crate::wire::value::DecodeError;

use super::{RecordError, SCHEMA_VERSION, attempt, attempt_body, epoch, fields};

/// A lock has at most so many holders.
pub const HOLDERS_MAX: usize = 1_000;

#[derive(Serialize)]
struct LockBody<'a> {
    v: u64,
    attempt: [u64; 2],
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<u16>,
    holders: Vec<HolderBody<'a>>,
}

#[derive(Serialize)]
struct HolderBody<'a> {
    id: Binary<'a>,
    owner: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    permits: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u8>,
    ttl_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<bool>,
    granted_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

/// Encodes a lock's record. Equal records give equal bytes.
pub fn encode_lock(record: &LockRecord) -> Bytes {
    debug_assert_eq!(contradiction(&record.holders), None, "such a record cannot be read again");
    let mode = record.holders.first().map(|holder| holder.claim.mode());
    let body = LockBody {
        v: SCHEMA_VERSION,
        attempt: attempt_body(record.attempt),
        epoch: record.epoch.get(),
        mode: mode.map(Mode::as_str),
        capacity: mode.and_then(mode::capacity),
        holders: record.holders.iter().map(holder_body).collect(),
    };
    format::encode(Format::MessagePack, &body)
}

fn holder_body(holder: &StoredHolder) -> HolderBody<'_> {
    let (token, index) = match holder.token {
        StoredToken::Known(token) => (Some(token.get()), None),
        StoredToken::Index(index) => (None, Some(index)),
    };
    HolderBody {
        id: Binary(holder.id.as_bytes()),
        owner: holder.owner.as_str(),
        permits: holder.claim.permits().map(Permits::permits),
        token,
        index,
        ttl_ms: holder.ttl.as_millis(),
        kept: holder.kept.then_some(true),
        granted_at: holder.granted_at.0,
        note: holder.note.as_ref().map(Note::as_str),
    }
}

/// Decodes the stored record of a lock.
///
/// # Errors
/// The bytes are no such record of this schema version, or its holders contradict each other. The lock is to be
/// quarantined, never taken for free.
pub fn decode_lock(stored: &[u8]) -> Result<LockRecord, RecordError> {
    let fields = fields(stored)?;
    let list = need("holders", fields.list("holders")?)?;
    if list.len() > HOLDERS_MAX {
        return Err(RecordError::Contradiction(format!("{} holders, over {HOLDERS_MAX}", list.len())));
    }
    let holders = if list.is_empty() {
        Vec::new()
    } else {
        let mode = mode::decode(&fields)?;
        fields.maps("holders", |fields| holder(mode, fields))?.unwrap_or_default()
    };
    match contradiction(&holders) {
        None => Ok(LockRecord { attempt: attempt(&fields)?, epoch: epoch(&fields)?, holders }),
        Some(text) => Err(RecordError::Contradiction(text)),
    }
}

fn holder(mode: Mode, fields: &Fields<'_>) -> Result<StoredHolder, DecodeError> {
    let id = IdHash::from_bytes(parsed("id", need("id", fields.bytes("id")?)?.try_into())?);
    let token = match (fields.unsigned("token")?, fields.unsigned("index")?) {
        (Some(token), None) => StoredToken::Known(Token::from_raw(token)),
        (None, Some(index)) => StoredToken::Index(parsed("index", u8::try_from(index))?),
        _ => return Err(DecodeError::new("a holder has either \"token\" or \"index\"")),
    };
    let note = match fields.text("note")? {
        Some(text) => Some(parsed("note", text.parse())?),
        None => None,
    };
    Ok(StoredHolder {
        id,
        owner: parsed("owner", OwnerName::from_encoded(fields.need_text("owner")?))?,
        claim: claim(mode, fields)?,
        token,
        ttl: parsed("ttl_ms", Ttl::from_millis(fields.need_unsigned("ttl_ms")?))?,
        kept: fields.flag("kept")?.unwrap_or(false),
        granted_at: WallTime(fields.need_unsigned("granted_at")?),
        note,
    })
}

fn claim(mode: Mode, fields: &Fields<'_>) -> Result<Claim, DecodeError> {
    match (mode, fields.unsigned("permits")?) {
        (Mode::Exclusive, None) => Ok(Claim::Exclusive),
        (Mode::Shared, None) => Ok(Claim::Shared),
        (Mode::Counting { capacity }, Some(permits)) => {
            parsed("permits", Permits::new(permits, capacity.into())).map(Claim::Counting)
        }
        (_, None) => Err(DecodeError::new("a holder of a counting lock has \"permits\"")),
        (_, Some(_)) => Err(DecodeError::new("only a holder of a counting lock has \"permits\"")),
    }
}

/// Why these cannot all hold one lock, where they cannot.
fn contradiction(holders: &[StoredHolder]) -> Option<String> {
    let first = holders.first()?.claim.mode();
    if holders.len() > HOLDERS_MAX {
        return Some(format!("{} holders, over {HOLDERS_MAX}", holders.len()));
    }
    if holders.iter().any(|holder| holder.claim.mode() != first) {
        return Some("holders of different modes".into());
    }
    if first == Mode::Exclusive && holders.len() > 1 {
        return Some(format!("{} exclusive holders", holders.len()));
    }
    let held =
        holders.iter().filter_map(|holder| holder.claim.permits()).map(|held| u64::from(held.permits()));
    let held: u64 = held.sum();
    if let Mode::Counting { capacity } = first
        && held > capacity.into()
    {
        return Some(format!("{held} permits are held of {capacity}"));
    }
    let ids: HashSet<_> = holders.iter().map(|holder| holder.id).collect();
    if ids.len() < holders.len() {
        return Some("an id is there twice".into());
    }
    repeated_token(holders)
}

/// Tokens are unique, and so are the indexes of those that this very write makes.
fn repeated_token(holders: &[StoredHolder]) -> Option<String> {
    let mut seen = HashSet::new();
    let repeated = holders.iter().map(|holder| match holder.token {
        StoredToken::Known(token) => (token.get(), None),
        StoredToken::Index(index) => (0, Some(index)),
    });
    repeated.into_iter().find(|token| !seen.insert(*token)).map(|token| match token {
        (_, Some(index)) => format!("index {index} is there twice"),
        (token, None) => format!("token {token} is there twice"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::types::{AttemptId, CoordinatorId, Epoch, Revision};
    use crate::wire::arbitrary;

    fn holder(number: u8, claim: Claim, token: StoredToken) -> StoredHolder {
        StoredHolder {
            id: IdHash::from_bytes([number; 16]),
            owner: OwnerName::encode("alice").unwrap(),
            claim,
            token,
            ttl: Ttl::default(),
            kept: false,
            granted_at: WallTime(1),
            note: None,
        }
    }

    fn record(holders: Vec<StoredHolder>) -> LockRecord {
        let attempt = AttemptId { coordinator: CoordinatorId(7), number: 8 };
        LockRecord { attempt, epoch: Epoch::new(Revision::new(9)), holders }
    }

    /// A record as another program would write it: ids are the byte of `id` sixteen times.
    fn stored(record: &serde_json::Value) -> Vec<u8> {
        let mut packed = rmp_serde::to_vec(record).unwrap();
        for id in 0..=u8::MAX {
            let (text, bytes) = (format!("{}{:02x}", "#".repeat(14), id), [id; 16]);
            let at = |packed: &[u8]| packed.windows(16).position(|window| window == text.as_bytes());
            while let Some(at) = at(&packed) {
                packed.splice(at - 1..at + 16, [0xc4, 16].into_iter().chain(bytes));
            }
        }
        packed
    }

    fn id(number: u8) -> String {
        format!("{}{number:02x}", "#".repeat(14))
    }

    fn refusal(record: &serde_json::Value) -> String {
        match decode_lock(&stored(record)) {
            Ok(decoded) => panic!("{record} was taken: {decoded:?}"),
            Err(error) => error.to_string(),
        }
    }

    /// A record with these holders, each with what every holder has.
    fn with_holders(mode: &str, capacity: Option<u16>, holders: &[serde_json::Value]) -> serde_json::Value {
        let holders = holders.iter().map(|holder| {
            let mut whole = json!({"owner": "alice", "ttl_ms": 1000, "granted_at": 1});
            let whole_fields = whole.as_object_mut().unwrap();
            whole_fields.extend(holder.as_object().unwrap().clone());
            whole
        });
        let holders: Vec<_> = holders.collect();
        json!({"v": 1, "attempt": [7, 8], "epoch": 9, "mode": mode, "capacity": capacity, "holders": holders})
    }

    #[test]
    fn a_record_looks_so() {
        let exclusive = holder(3, Claim::Exclusive, StoredToken::Index(0));
        let mut expected = with_holders("exclusive", None, &[json!({"id": id(3), "index": 0})]);
        expected["later"] = json!({"unknown": ["fields", "are", "ignored"]});
        let mut theirs = exclusive.clone();
        theirs.ttl = Ttl::from_millis(1000).unwrap();
        assert_eq!(decode_lock(&stored(&expected)), Ok(record(vec![theirs])));
        let encoded = encode_lock(&record(vec![exclusive]));
        assert_eq!(
            &encoded[..],
            b"\x85\xa1v\x01\xa7attempt\x92\x07\x08\xa5epoch\x09\xa4mode\xa9exclusive\xa7holders\x91\
              \x85\xa2id\xc4\x10\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\
              \xa5owner\xa5alice\xa5index\x00\xa6ttl_ms\xcdu0\xaagranted_at\x01"
        );
    }

    #[test]
    fn a_free_record_has_no_mode() {
        let free = record(Vec::new());
        let encoded = encode_lock(&free);
        assert_eq!(&encoded[..], b"\x84\xa1v\x01\xa7attempt\x92\x07\x08\xa5epoch\x09\xa7holders\x90");
        assert_eq!(decode_lock(&encoded), Ok(free));
    }

    #[test]
    fn another_version_is_not_guessed_at() {
        let mut later = with_holders("exclusive", None, &[]);
        later["v"] = json!(2);
        assert_eq!(decode_lock(&stored(&later)), Err(RecordError::Version { found: 2 }));
        later.as_object_mut().unwrap().remove("v");
        assert!(refusal(&later).contains("\"v\" is missing"));
    }

    #[test]
    fn contradictions_are_found() {
        let holder = |number: u8, token: u64| json!({"id": id(number), "token": token});
        let counted =
            |number: u8, permits: u64| json!({"id": id(number), "token": number, "permits": permits});
        let indexed = |number: u8, index: u64| json!({"id": id(number), "index": index});
        let shared = |holders: &[serde_json::Value]| refusal(&with_holders("shared", None, holders));
        let counting = |holders: &[serde_json::Value]| refusal(&with_holders("counting", Some(3), holders));
        let exclusive = with_holders("exclusive", None, &[holder(1, 1), holder(2, 2)]);
        assert!(refusal(&exclusive).contains("2 exclusive holders"));
        assert!(counting(&[counted(1, 2), counted(2, 2)]).contains("4 permits are held of 3"));
        assert!(counting(&[counted(1, 4)]).contains("permits must be 1 to the capacity of 3, not 4"));
        assert!(counting(&[holder(1, 1)]).contains("has \"permits\""));
        assert!(shared(&[counted(1, 1)]).contains("only a holder of a counting lock"));
        assert!(shared(&[holder(1, 1), holder(1, 2)]).contains("an id is there twice"));
        assert!(shared(&[holder(1, 5), holder(2, 5)]).contains("token 5 is there twice"));
        assert!(shared(&[indexed(1, 5), indexed(2, 5)]).contains("index 5 is there twice"));
        assert!(shared(&[indexed(1, 256)]).contains("\"index\""));
        assert!(shared(&[json!({"id": id(1)})]).contains("either \"token\" or \"index\""));
        assert!(shared(&[json!({"id": id(1), "token": 1, "index": 1})]).contains("either"));
        let many = vec![json!({}); HOLDERS_MAX + 1];
        assert!(shared(&many).contains("1001 holders"));
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_named() {
        let whole = with_holders("shared", None, &[json!({"id": id(1), "token": 1})]);
        assert!(decode_lock(&stored(&whole)).is_ok());
        for field in ["v", "attempt", "epoch", "mode", "holders"] {
            for bad in [json!(null), json!(1.5), json!({}), json!(-1)] {
                let mut record = whole.clone();
                record[field] = bad;
                assert!(refusal(&record).contains(field), "{record}");
            }
        }
        for field in ["id", "owner", "token", "ttl_ms", "granted_at"] {
            for bad in [json!(null), json!(1.5), json!({}), json!(-1)] {
                let mut record = whole.clone();
                record["holders"][0][field] = bad;
                assert!(refusal(&record).contains(field), "{record}");
            }
        }
        for attempt in [json!([]), json!([1]), json!([1, 2, 3]), json!([1, "2"]), json!([-1, 2])] {
            let mut record = whole.clone();
            record["attempt"] = attempt;
            assert!(refusal(&record).contains("two integers"), "{record}");
        }
    }

    /// Holders that can hold one lock together.
    fn holders() -> impl Strategy<Value = Vec<StoredHolder>> {
        let one = (any::<u16>(), arbitrary::owner(), arbitrary::ttl(), any::<bool>(), any::<bool>());
        let more = (arbitrary::wall_time(), prop::option::of(arbitrary::note()));
        let many = prop::collection::vec((one, more), 0..5);
        (arbitrary::claim(), many).prop_map(|(claim, many)| {
            let room = match claim {
                Claim::Exclusive => 1,
                Claim::Shared => usize::MAX,
                Claim::Counting(permits) => usize::from(permits.capacity() / permits.permits()),
            };
            let holders = many.into_iter().take(room).enumerate();
            let made = holders.map(|(at, ((id, owner, ttl, kept, known), (granted_at, note)))| {
                let mut hash = [at as u8; IdHash::BYTES];
                hash[..2].copy_from_slice(&id.to_be_bytes());
                let token = if known {
                    StoredToken::Known(Token::from_raw(u64::MAX - at as u64))
                } else {
                    StoredToken::Index(u8::MAX - at as u8)
                };
                StoredHolder {
                    id: IdHash::from_bytes(hash),
                    owner,
                    claim,
                    token,
                    ttl,
                    kept,
                    granted_at,
                    note,
                }
            });
            made.collect()
        })
    }

    proptest! {
        #[test]
        fn lock_records_round_trip(
            attempt in arbitrary::attempt(), epoch in arbitrary::epoch(), holders in holders(),
        ) {
            let record = LockRecord { attempt, epoch, holders };
            let stored = encode_lock(&record);
            for end in 0..stored.len() {
                prop_assert!(decode_lock(&stored[..end]).is_err(), "the first {} bytes were taken", end);
            }
            prop_assert_eq!(decode_lock(&stored), Ok(record));
        }

        #[test]
        fn flipped_bits_never_panic(holders in holders(), at: prop::sample::Index, bit in 0..8_u8) {
            let mut stored = encode_lock(&record(holders)).to_vec();
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            if let Ok(decoded) = decode_lock(&stored) {
                prop_assert_eq!(contradiction(&decoded.holders), None);
            }
        }
    }
}

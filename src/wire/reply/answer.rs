//! A reply as its receiver reads it: lenient towards what a later version adds.

use std::time::Duration;

use crate::engine::message::{Code, LockView, LostReason};
use crate::types::{Epoch, LeaseId, LockName, Permits, Revision, Token, Ttl};
use crate::wire::fields::{Fields, need, parsed};
use crate::wire::format::Format;
use crate::wire::info::{self, Info};
use crate::wire::stats::{self, Stats};
use crate::wire::value::{self, DecodeError, shown};
use crate::wire::view;

/// What a client was answered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Answer {
    /// The lock is held by the asker.
    Granted(Granted),
    /// The request waits.
    Queued {
        /// The acquisition.
        id: LeaseId,
        /// One is next.
        position: usize,
        /// How many hold the lock.
        holder_count: usize,
    },
    /// Others hold it.
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
        /// By the leader's clock, from its decision: shown to people, never counted from receipt.
        expires_in: Duration,
    },
    /// The answer to a renewal of many.
    RenewedMany {
        /// Those that were kept alive.
        renewed: Vec<LeaseId>,
        /// Those that are over. A reason that a later version adds is read as `Unknown`.
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
        /// The `after` of the next page, where there is one.
        next: Option<LockName>,
    },
    /// Who leads, and with which limits.
    Info(Box<Info>),
    /// What was counted.
    Stats(Box<Stats>),
    /// A refusal.
    Error(Refused),
}

/// A grant.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The acquisition.
    pub id: LeaseId,
    /// The fencing token.
    pub token: Token,
    /// The lease time.
    pub ttl: Ttl,
    /// From the leader's receipt of the request that this answers to its decision. The lease is good until the
    /// *sending* of that request + (`waited` + `ttl`) x 0.99: both are time of the leader's clock.
    pub waited: Duration,
    /// The permits of a counting lock.
    pub permits: Option<Permits>,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The code, where this version knows it.
    pub code: Option<Code>,
    /// The code's word.
    pub word: String,
    /// What was wrong and what to do.
    pub message: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The limit that was met.
    pub limit: Option<u64>,
}

/// Decodes a reply in either format, with the epoch that it speaks for. Unknown fields are ignored.
///
/// # Errors
/// The bytes are no reply of natslock, or one with a status that this version does not know.
pub fn decode(payload: &[u8]) -> Result<(Epoch, Answer), DecodeError> {
    let format = Format::of(payload).ok_or_else(|| DecodeError::new("neither JSON nor MessagePack"))?;
    let fields = value::parse(format, payload)?;
    let answer = match fields.need_text("status")? {
        "granted" => Answer::Granted(granted(&fields)?),
        "renewed" => renewed(&fields)?,
        "released" => Answer::Released {
            id: fields.text("id")?.map(lease_id).transpose()?,
            held: span(&fields, "held_ms")?,
        },
        "queued" => Answer::Queued {
            id: need_lease_id(&fields)?,
            position: fields.need_number("position")?,
            holder_count: fields.need_number("holder_count")?,
        },
        "held" => Answer::Held(view::decode(&fields)?),
        "timeout" => Answer::Timeout { view: view::decode(&fields)?, waited: span(&fields, "waited_ms")? },
        "free" => Answer::Free,
        "list" => Answer::List {
            locks: need("locks", fields.maps("locks", entry)?)?,
            next: fields.text("next")?.map(|next| lock_name("next", next)).transpose()?,
        },
        "info" => Answer::Info(Box::new(info::decode(&fields)?)),
        "stats" => Answer::Stats(Box::new(stats::decode(&fields)?)),
        "error" => Answer::Error(refused(&fields)?),
        other => return Err(DecodeError::new(format!("unknown status {}", shown(other)))),
    };
    Ok((Epoch::new(Revision::new(fields.need_unsigned("epoch")?)), answer))
}

fn granted(fields: &Fields<'_>) -> Result<Granted, DecodeError> {
    let permits = match (fields.unsigned("permits")?, fields.unsigned("capacity")?) {
        (Some(permits), Some(capacity)) => Some(parsed("permits", Permits::new(permits, capacity))?),
        _ => None,
    };
    Ok(Granted {
        id: need_lease_id(fields)?,
        token: Token::from_raw(fields.need_unsigned("token")?),
        ttl: ttl(fields)?,
        waited: span(fields, "waited_ms")?,
        permits,
    })
}

/// The answer for one name has an `id`, the one for many has `renewed`.
fn renewed(fields: &Fields<'_>) -> Result<Answer, DecodeError> {
    let Some(list) = fields.list("renewed")? else {
        let (ttl, expires_in) = (ttl(fields)?, span(fields, "expires_in_ms")?);
        return Ok(Answer::Renewed { id: need_lease_id(fields)?, ttl, expires_in });
    };
    let ids = list.iter().map(|item| match item {
        value::Value::Text(text) => lease_id(text),
        other => Err(DecodeError::new(format!("\"renewed\" must list ids, not {other}"))),
    });
    let lost =
        fields.maps("lost", |lost| Ok((need_lease_id(lost)?, lost_reason(lost.need_text("reason")?))))?;
    Ok(Answer::RenewedMany { renewed: ids.collect::<Result<_, _>>()?, lost: lost.unwrap_or_default() })
}

fn entry(fields: &Fields<'_>) -> Result<(LockName, LockView), DecodeError> {
    Ok((lock_name("name", fields.need_text("name")?)?, view::decode(fields)?))
}

fn refused(fields: &Fields<'_>) -> Result<Refused, DecodeError> {
    let word = fields.need_text("code")?;
    Ok(Refused {
        code: Code::ALL.into_iter().find(|code| code.as_str() == word),
        word: word.to_owned(),
        message: fields.need_text("message")?.to_owned(),
        retry_after: fields.unsigned("retry_after_ms")?.map(Duration::from_millis),
        limit: fields.unsigned("limit")?,
    })
}

/// A word of a later version is read as "unknown", which by itself ends no guard.
fn lost_reason(word: &str) -> LostReason {
    [LostReason::Expired, LostReason::Revoked, LostReason::Released]
        .into_iter()
        .find(|reason| reason.as_str() == word)
        .unwrap_or(LostReason::Unknown)
}

fn lease_id(text: &str) -> Result<LeaseId, DecodeError> {
    parsed("id", text.parse())
}

fn need_lease_id(fields: &Fields<'_>) -> Result<LeaseId, DecodeError> {
    lease_id(fields.need_text("id")?)
}

fn lock_name(field: &str, encoded: &str) -> Result<LockName, DecodeError> {
    parsed(field, LockName::from_encoded(encoded))
}

fn ttl(fields: &Fields<'_>) -> Result<Ttl, DecodeError> {
    parsed("ttl_ms", Ttl::from_millis(fields.need_unsigned("ttl_ms")?))
}

fn span(fields: &Fields<'_>, field: &str) -> Result<Duration, DecodeError> {
    fields.need_unsigned(field).map(Duration::from_millis)
}

//! What clients are answered (PROTOCOL.md section 2): the engine's replies to bytes, and bytes to what a client
//! makes of them.

mod answer;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::Serialize;

use crate::engine::message::{Grant, Refusal, Reply};
use crate::types::{Epoch, LeaseId, LockName, Permits};

use super::format::{self, Format, REPLY_BYTES_MAX, millis};
use super::view::ViewBody;

pub use answer::{Answer, Granted, Refused, decode};

/// Encodes a reply. Durations are rounded down to milliseconds.
///
/// A reply that lists more than fits into [`REPLY_BYTES_MAX`] lists less: fewer holders and waiters beside
/// their true counts, and fewer locks with `next` set to the last of them.
pub fn encode(format: Format, epoch: Epoch, reply: &Reply) -> Bytes {
    let mut encoded = encode_listing(format, epoch, reply, usize::MAX);
    let mut listed_max = LISTED_AT_FIRST;
    while encoded.len() > REPLY_BYTES_MAX && listed_max > 0 {
        encoded = encode_listing(format, epoch, reply, listed_max);
        listed_max /= 2;
    }
    encoded
}

/// Half of the most that can be asked for, about.
const LISTED_AT_FIRST: usize = 512;

/// Encodes a grant; the same bytes as `Reply::Granted`.
pub fn encode_grant(format: Format, epoch: Epoch, grant: &Grant) -> Bytes {
    let body = GrantedBody {
        status: "granted",
        id: grant.id.reveal(),
        token: grant.token.get(),
        ttl_ms: grant.ttl.as_millis(),
        waited_ms: millis(grant.waited),
        epoch: epoch.get(),
        permits: grant.permits.map(Permits::permits),
        capacity: grant.permits.map(Permits::capacity),
    };
    format::encode(format, &body)
}

/// Encodes a refusal; the same bytes as `Reply::Error`.
pub fn encode_refusal(format: Format, epoch: Epoch, refusal: &Refusal) -> Bytes {
    let body = ErrorBody {
        status: "error",
        code: refusal.code.as_str(),
        message: &refusal.message,
        retry_after_ms: refusal.retry_after.map(millis),
        limit: refusal.limit,
        epoch: epoch.get(),
    };
    format::encode(format, &body)
}

/// Encodes a reply with at most so many locks, and so many holders and waiters of each.
fn encode_listing(format: Format, epoch: Epoch, reply: &Reply, listed_max: usize) -> Bytes {
    let number = epoch.get();
    match reply {
        Reply::Granted(grant) => encode_grant(format, epoch, grant),
        Reply::Error(refusal) => encode_refusal(format, epoch, refusal),
        Reply::Queued { id, position, holder_count } => {
            let (position, holder_count) = (*position, *holder_count);
            let body =
                QueuedBody { status: "queued", id: id.reveal(), position, holder_count, epoch: number };
            format::encode(format, &body)
        }
        Reply::Held(view) => {
            format::encode(format, &ViewBody::new(view, listed_max).reply("held", number, None))
        }
        Reply::Timeout { view, waited } => {
            format::encode(format, &ViewBody::new(view, listed_max).reply("timeout", number, Some(*waited)))
        }
        Reply::Renewed { id, ttl, expires_in } => {
            let (ttl_ms, expires_in_ms) = (ttl.as_millis(), millis(*expires_in));
            let body =
                RenewedBody { status: "renewed", id: id.reveal(), ttl_ms, expires_in_ms, epoch: number };
            format::encode(format, &body)
        }
        Reply::RenewedMany { renewed, lost } => {
            let renewed = renewed.iter().map(LeaseId::reveal).collect();
            let lost = lost.iter().map(|(id, reason)| LostBody { id: id.reveal(), reason: reason.as_str() });
            let body = RenewedManyBody { status: "renewed", renewed, lost: lost.collect(), epoch: number };
            format::encode(format, &body)
        }
        Reply::Released { id, held } => {
            let id = id.as_ref().map(LeaseId::reveal);
            let body = ReleasedBody { status: "released", id, held_ms: millis(*held), epoch: number };
            format::encode(format, &body)
        }
        Reply::Free => format::encode(format, &FreeBody { status: "free", epoch: number }),
        Reply::List { locks, next } => {
            let cut = locks.len() > listed_max;
            let listed = &locks[..locks.len().min(listed_max)];
            let next = if cut { listed.last().map(|(name, _)| name) } else { next.as_ref() };
            let locks =
                listed.iter().map(|(name, view)| ViewBody::new(view, listed_max).named(name.as_str()));
            let (locks, next) = (locks.collect(), next.map(LockName::as_str));
            format::encode(format, &ListBody { status: "list", locks, next, epoch: number })
        }
    }
}

#[derive(Serialize)]
struct GrantedBody<'a> {
    status: &'static str,
    id: &'a str,
    token: u64,
    ttl_ms: u64,
    waited_ms: u64,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    permits: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<u16>,
}

#[derive(Serialize)]
struct QueuedBody<'a> {
    status: &'static str,
    id: &'a str,
    position: usize,
    holder_count: usize,
    epoch: u64,
}

#[derive(Serialize)]
struct RenewedBody<'a> {
    status: &'static str,
    id: &'a str,
    ttl_ms: u64,
    expires_in_ms: u64,
    epoch: u64,
}

#[derive(Serialize)]
struct RenewedManyBody<'a> {
    status: &'static str,
    renewed: Vec<&'a str>,
    lost: Vec<LostBody<'a>>,
    epoch: u64,
}

#[derive(Serialize)]
struct LostBody<'a> {
    id: &'a str,
    reason: &'static str,
}

#[derive(Serialize)]
struct ReleasedBody<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    held_ms: u64,
    epoch: u64,
}

#[derive(Serialize)]
struct FreeBody {
    status: &'static str,
    epoch: u64,
}

#[derive(Serialize)]
struct ListBody<'a> {
    status: &'static str,
    locks: Vec<ViewBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
    epoch: u64,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    status: &'static str,
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    epoch: u64,
}

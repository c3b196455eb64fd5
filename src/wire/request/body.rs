//! The bodies of requests, each decoded and encoded here.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::engine::message::{Acquire, Ask, Code, LeaseRef, Refusal};
use crate::types::{
    Claim, LeaseId, LockName, NAME_BYTES_MAX, NOTE_BYTES_MAX, Note, Permits, Token, Ttl, WAIT_MS_MAX, Wait,
};
use crate::wire::fields::{Fields, need, parsed};
use crate::wire::format::{self, Format, millis};
use crate::wire::value::{DecodeError, shown};

use super::{Asked, PROTOCOL_VERSION, bad_request, lock_name};

/// One renewal names at most so many leases.
pub const LEASES_MAX: usize = 1_000;
const LISTED: RangeInclusive<u64> = 1..=1_000;
const LISTED_DEFAULT: usize = 100;
const TOP: RangeInclusive<u64> = 0..=1_000;
const TOP_DEFAULT: usize = 10;
const KEEP_MS_MAX: u64 = Ttl::MS_MAX;

pub(super) fn acquire(name: LockName, fields: &Fields<'_>) -> Result<Asked, Refusal> {
    let id = match fields.text("id")? {
        Some(text) => lease_id(text)?,
        None => LeaseId::random(),
    };
    let claim = claim(fields)?;
    let (ttl, wait) = (ttl(fields)?, wait(fields)?);
    let note: Option<Note> = match fields.text("note")? {
        Some(text) => Some(parsed("note", text.parse())?),
        None => None,
    };
    let progress = fields.flag("progress")?.unwrap_or(false);
    // Reserved for direct hand-over (DESIGN.md section 3b): every hand-over is written as yet.
    fields.flag("direct")?;
    Ok(Asked::Engine(Ask::Acquire(Acquire { name, id, claim, ttl, wait, note, progress })))
}

/// `mode`, or `capacity` with or without `permits`.
fn claim(fields: &Fields<'_>) -> Result<Claim, Refusal> {
    let (mode, permits, capacity) =
        (fields.text("mode")?, fields.integer("permits")?, fields.integer("capacity")?);
    match (mode, permits, capacity) {
        (Some(_), None, None) | (None, None, None) => match mode.unwrap_or("exclusive") {
            "exclusive" => Ok(Claim::Exclusive),
            "shared" => Ok(Claim::Shared),
            "counting" => {
                Err(bad_request("a counting lock is asked for with \"capacity\" and without \"mode\""))
            }
            other => Err(bad_request(format!("\"mode\" must be exclusive or shared, not {}", shown(other)))),
        },
        (Some(_), ..) => Err(bad_request("\"mode\" does not go with \"permits\" and \"capacity\"")),
        (None, Some(_), None) => Err(bad_request("\"permits\" needs the \"capacity\" that they are part of")),
        (None, permits, Some(capacity)) => {
            let number = |field: &str, given: i128| {
                u64::try_from(given)
                    .map_err(|_| bad_request(format!("\"{field}\" must be at least 1, not {given}")))
            };
            let (permits, capacity) =
                (number("permits", permits.unwrap_or(1))?, number("capacity", capacity)?);
            let permits = Permits::new(permits, capacity);
            permits.map(Claim::Counting).map_err(|error| bad_request(error.to_string()))
        }
    }
}

fn ttl(fields: &Fields<'_>) -> Result<Ttl, Refusal> {
    let code = Code::InvalidTtl;
    match bounded(fields, "ttl_ms", Ttl::MS_MIN..=Ttl::MS_MAX, code)? {
        Some(ms) => Ttl::from_millis(ms).map_err(|error| Refusal::new(code, error.to_string())),
        None => Ok(Ttl::default()),
    }
}

fn wait(fields: &Fields<'_>) -> Result<Wait, Refusal> {
    let code = Code::InvalidWait;
    match bounded(fields, "wait_ms", 0..=WAIT_MS_MAX, code)? {
        Some(ms) => Wait::from_millis(ms).map_err(|error| Refusal::new(code, error.to_string())),
        None => Ok(Wait::TRY),
    }
}

pub(super) fn renew(name: LockName, fields: &Fields<'_>) -> Result<Asked, Refusal> {
    Ok(Asked::Engine(Ask::Renew { name, lease: lease(fields)? }))
}

pub(super) fn renew_many(fields: &Fields<'_>) -> Result<Asked, Refusal> {
    let count = match fields.list("leases")? {
        Some(list) => list.len(),
        None => return Err(bad_request("renew needs \"leases\", or a name behind the owner in the subject")),
    };
    match count {
        0 => Err(bad_request("\"leases\" must not be empty")),
        1..=LEASES_MAX => {
            let leases = need("leases", fields.maps("leases", lease)?)?;
            Ok(Asked::Engine(Ask::RenewMany { leases }))
        }
        _ => {
            let message =
                format!("\"leases\" has at most {LEASES_MAX} entries, not {count}; send several requests");
            Err(Refusal::new(Code::TooLarge, message).limit(LEASES_MAX as u64))
        }
    }
}

pub(super) fn release(name: LockName, fields: &Fields<'_>) -> Result<Asked, Refusal> {
    let lease = lease(fields)?;
    let keep_ms = bounded(fields, "keep_ms", 0..=KEEP_MS_MAX, Code::InvalidTtl)?;
    let keep = Duration::from_millis(keep_ms.unwrap_or(0));
    Ok(Asked::Engine(Ask::Release { name, lease, keep }))
}

pub(super) fn check(name: LockName, fields: &Fields<'_>) -> Result<Asked, Refusal> {
    Ok(Asked::Engine(Ask::Check { name, limit: limit(fields, "limit", LISTED, LISTED_DEFAULT)? }))
}

pub(super) fn list(fields: &Fields<'_>) -> Result<Asked, Refusal> {
    let prefix = prefix(fields)?;
    let limit = limit(fields, "limit", LISTED, LISTED_DEFAULT)?;
    let after = fields.text("after")?.map(lock_name).transpose()?;
    Ok(Asked::Engine(Ask::List { prefix, limit, after }))
}

pub(super) fn stats(fields: &Fields<'_>) -> Result<Asked, Refusal> {
    Ok(Asked::Stats { prefix: prefix(fields)?, top: limit(fields, "top", TOP, TOP_DEFAULT)? })
}

pub(super) fn admin_release(name: LockName, fields: &Fields<'_>) -> Result<Asked, Refusal> {
    let reason = fields.text("reason")?;
    if let Some(reason) = reason
        && reason.len() > NOTE_BYTES_MAX
    {
        let message = format!("\"reason\" has at most {NOTE_BYTES_MAX} bytes, not {}", reason.len());
        return Err(bad_request(message).limit(NOTE_BYTES_MAX as u64));
    }
    Ok(Asked::Engine(Ask::AdminRelease { name, reason: reason.map(str::to_owned) }))
}

/// `id`, and `token` where it is there.
fn lease(fields: &Fields<'_>) -> Result<LeaseRef, DecodeError> {
    let id = lease_id(fields.need_text("id")?)?;
    Ok(LeaseRef { id, token: fields.unsigned("token")?.map(Token::from_raw) })
}

fn lease_id(text: &str) -> Result<LeaseId, DecodeError> {
    parsed("id", text.parse())
}

/// The beginning of an encoded name: it may end anywhere, in a dot or within an escape too.
fn prefix(fields: &Fields<'_>) -> Result<String, Refusal> {
    let prefix = fields.text("prefix")?.unwrap_or_default();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/' | b'.' | b'=');
    let whole_tokens = !prefix.starts_with('.') && !prefix.contains("..");
    if prefix.len() <= NAME_BYTES_MAX && prefix.bytes().all(legal) && whole_tokens {
        return Ok(prefix.to_owned());
    }
    let message = format!(
        "\"prefix\" must be the beginning of a name in encoded form, of at most {NAME_BYTES_MAX} bytes, not {}",
        shown(prefix)
    );
    Err(Refusal::new(Code::InvalidName, message))
}

fn limit(
    fields: &Fields<'_>,
    field: &str,
    range: RangeInclusive<u64>,
    default: usize,
) -> Result<usize, Refusal> {
    let limit = bounded(fields, field, range, Code::BadRequest)?;
    Ok(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(default))
}

/// An integer that is refused with this code where it is outside the range; the limit that it broke goes along.
fn bounded(
    fields: &Fields<'_>,
    field: &str,
    range: RangeInclusive<u64>,
    code: Code,
) -> Result<Option<u64>, Refusal> {
    let Some(given) = fields.integer(field)? else { return Ok(None) };
    match u64::try_from(given) {
        Ok(number) if range.contains(&number) => Ok(Some(number)),
        _ => {
            let (min, max) = range.into_inner();
            let broken = if given > max.into() { max } else { min };
            let message = format!("\"{field}\" must be {min} to {max}, not {given}");
            Err(Refusal::new(code, message).limit(broken))
        }
    }
}

#[derive(Serialize)]
struct AcquireBody<'a> {
    v: u64,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permits: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<u16>,
    ttl_ms: u64,
    wait_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    progress: bool,
}

#[derive(Serialize)]
struct LeaseBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<u64>,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_ms: Option<u64>,
}

#[derive(Serialize)]
struct LeasesBody<'a> {
    v: u64,
    leases: Vec<LeaseBody<'a>>,
}

/// The bodies of the requests that only look, and of `admin_release`.
#[derive(Serialize, Default)]
struct OtherBody<'a> {
    v: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl OtherBody<'_> {
    const EMPTY: Self =
        Self { v: PROTOCOL_VERSION, prefix: None, limit: None, after: None, top: None, reason: None };
}

/// Encodes the body of a request. Owner and name stand in the subject (`SubjectSpace::request`).
pub fn encode(format: Format, ask: &Ask) -> Bytes {
    let v = PROTOCOL_VERSION;
    match ask {
        Ask::Acquire(acquire) => encode_acquire(format, acquire),
        Ask::Renew { lease, .. } => format::encode(format, &LeaseBody { v: Some(v), ..lease_body(lease) }),
        Ask::RenewMany { leases } => {
            format::encode(format, &LeasesBody { v, leases: leases.iter().map(lease_body).collect() })
        }
        Ask::Release { lease, keep, .. } => {
            let keep_ms = Some(millis(*keep)).filter(|&ms| ms > 0);
            format::encode(format, &LeaseBody { v: Some(v), keep_ms, ..lease_body(lease) })
        }
        Ask::Check { limit, .. } => {
            format::encode(format, &OtherBody { limit: Some(*limit), ..OtherBody::EMPTY })
        }
        Ask::List { prefix, limit, after } => {
            let after = after.as_ref().map(LockName::as_str);
            let body = OtherBody { prefix: Some(prefix), limit: Some(*limit), after, ..OtherBody::EMPTY };
            format::encode(format, &body)
        }
        Ask::AdminRelease { reason, .. } => {
            format::encode(format, &OtherBody { reason: reason.as_deref(), ..OtherBody::EMPTY })
        }
    }
}

fn encode_acquire(format: Format, acquire: &Acquire) -> Bytes {
    let permits = acquire.claim.permits();
    let mode = match acquire.claim {
        Claim::Counting(_) => None,
        Claim::Exclusive | Claim::Shared => Some(acquire.claim.mode().as_str()),
    };
    format::encode(
        format,
        &AcquireBody {
            v: PROTOCOL_VERSION,
            id: acquire.id.reveal(),
            mode,
            permits: permits.map(Permits::permits),
            capacity: permits.map(Permits::capacity),
            ttl_ms: acquire.ttl.as_millis(),
            wait_ms: millis(acquire.wait.get()),
            note: acquire.note.as_ref().map(Note::as_str),
            progress: acquire.progress,
        },
    )
}

fn lease_body(lease: &LeaseRef) -> LeaseBody<'_> {
    LeaseBody { v: None, id: lease.id.reveal(), token: lease.token.map(Token::get), keep_ms: None }
}

/// Encodes the body of an `info` request.
pub fn encode_info(format: Format) -> Bytes {
    format::encode(format, &OtherBody::EMPTY)
}

/// Encodes the body of a `stats` request.
pub fn encode_stats(format: Format, prefix: &str, top: usize) -> Bytes {
    format::encode(format, &OtherBody { prefix: Some(prefix), top: Some(top), ..OtherBody::EMPTY })
}

//! Who holds a lock and who waits: the part that `held`, `timeout` and `list` share.
//!
//! `waiters` is left out where waiters are counted but not listed (the answer to a try). Where nobody waits,
//! the empty list says all there is to say, so the answer to a check always has it.

use std::time::Duration;

use serde::Serialize;

use crate::engine::message::{HolderView, LockView, WaiterView};
use crate::types::{Note, OwnerName, Token};

use super::fields::{Fields, parsed};
use super::format::millis;
use super::mode;
use super::value::DecodeError;

/// The fields of a lock's view.
#[derive(Serialize)]
pub(super) struct ViewBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<u16>,
    holders: Vec<HolderBody<'a>>,
    holder_count: usize,
    waiter_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiters: Option<Vec<WaiterBody<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_ms: Option<u64>,
}

#[derive(Serialize)]
struct HolderBody<'a> {
    owner: &'a str,
    token: u64,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permits: Option<u16>,
    held_ms: u64,
    expires_in_ms: Option<u64>,
    note: Option<&'a str>,
}

#[derive(Serialize)]
struct WaiterBody<'a> {
    owner: &'a str,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<u16>,
    waited_ms: u64,
    position: usize,
}

impl<'a> ViewBody<'a> {
    /// The view with at most so many holders and waiters.
    pub(super) fn new(view: &'a LockView, listed_max: usize) -> Self {
        let waiters = view.waiters.iter().take(listed_max).map(waiter_body).collect();
        Self {
            status: None,
            name: None,
            mode: view.mode.as_str(),
            capacity: mode::capacity(view.mode),
            holders: view.holders.iter().take(listed_max).map(holder_body).collect(),
            holder_count: view.holder_count,
            waiter_count: view.waiter_count,
            waiters: (view.waiter_count == 0 || !view.waiters.is_empty()).then_some(waiters),
            epoch: None,
            waited_ms: None,
        }
    }

    /// As a reply of its own.
    pub(super) fn reply(self, status: &'static str, epoch: u64, waited: Option<Duration>) -> Self {
        Self { status: Some(status), epoch: Some(epoch), waited_ms: waited.map(millis), ..self }
    }

    /// As an entry of a list.
    pub(super) fn named(self, name: &'a str) -> Self {
        Self { name: Some(name), ..self }
    }
}

fn holder_body(holder: &HolderView) -> HolderBody<'_> {
    HolderBody {
        owner: holder.owner.as_str(),
        token: holder.token.get(),
        mode: holder.mode.as_str(),
        capacity: mode::capacity(holder.mode),
        permits: holder.permits,
        held_ms: millis(holder.held),
        expires_in_ms: holder.expires_in.map(millis),
        note: holder.note.as_ref().map(Note::as_str),
    }
}

fn waiter_body(waiter: &WaiterView) -> WaiterBody<'_> {
    WaiterBody {
        owner: waiter.owner.as_str(),
        mode: waiter.mode.as_str(),
        capacity: mode::capacity(waiter.mode),
        waited_ms: millis(waiter.waited),
        position: waiter.position,
    }
}

/// Reads a view.
pub(super) fn decode(fields: &Fields<'_>) -> Result<LockView, DecodeError> {
    Ok(LockView {
        mode: mode::decode(fields)?,
        holders: fields.maps("holders", decode_holder)?.unwrap_or_default(),
        holder_count: fields.need_number("holder_count")?,
        waiters: fields.maps("waiters", decode_waiter)?.unwrap_or_default(),
        waiter_count: fields.need_number("waiter_count")?,
    })
}

fn decode_holder(fields: &Fields<'_>) -> Result<HolderView, DecodeError> {
    let note = match fields.text("note")? {
        Some(text) => Some(parsed("note", text.parse())?),
        None => None,
    };
    let permits = match fields.unsigned("permits")? {
        Some(_) => Some(fields.need_number("permits")?),
        None => None,
    };
    Ok(HolderView {
        owner: owner(fields)?,
        token: Token::from_raw(fields.need_unsigned("token")?),
        mode: mode::decode(fields)?,
        permits,
        held: Duration::from_millis(fields.need_unsigned("held_ms")?),
        expires_in: fields.unsigned("expires_in_ms")?.map(Duration::from_millis),
        note,
    })
}

fn decode_waiter(fields: &Fields<'_>) -> Result<WaiterView, DecodeError> {
    Ok(WaiterView {
        owner: owner(fields)?,
        mode: mode::decode(fields)?,
        waited: Duration::from_millis(fields.need_unsigned("waited_ms")?),
        position: fields.need_number("position")?,
    })
}

fn owner(fields: &Fields<'_>) -> Result<OwnerName, DecodeError> {
    parsed("owner", OwnerName::from_encoded(fields.need_text("owner")?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::format::{Format, encode};
    use crate::wire::{arbitrary, value};

    proptest! {
        #[test]
        fn views_round_trip(view in arbitrary::lock_view()) {
            for format in [Format::Json, Format::MessagePack] {
                let body = encode(format, &ViewBody::new(&view, usize::MAX).named("x"));
                let decoded = decode(&value::parse(format, &body).unwrap()).unwrap();
                prop_assert_eq!(format!("{decoded:?}"), format!("{view:?}"));
            }
        }
    }
}

//! What is asked, and what comes out, in one line each.

use std::fmt::Write as _;
use std::time::Duration;

use natslock::engine::message::{
    Ask, EntryContent, Event, Grant, LeaseRef, LockRecord, LockView, Now, Output, Reply, StoredHolder,
    StoredToken,
};
use natslock::types::{Claim, LockName, Mode};

use super::{Delivered, Op, Sent};

/// `10s`, `2m`, `250ms`.
pub(crate) fn span(span: Duration) -> String {
    let ms = span.as_millis();
    if ms == 0 {
        "0s".into()
    } else if ms.is_multiple_of(60_000) {
        format!("{}m", ms / 60_000)
    } else if ms.is_multiple_of(1000) {
        format!("{}s", ms / 1000)
    } else {
        format!("{ms}ms")
    }
}

fn claim(claim: Claim) -> String {
    match claim {
        Claim::Exclusive => String::new(),
        Claim::Shared => " shared".into(),
        Claim::Counting(permits) => format!(" {} of {}", permits.permits(), permits.capacity()),
    }
}

fn holder(holder: &StoredHolder) -> String {
    let token = match holder.token {
        StoredToken::Known(token) => format!("@{token}"),
        StoredToken::Index(index) => format!("+{index}"),
    };
    let kept = if holder.kept { format!(" kept {}", span(holder.ttl.get())) } else { String::new() };
    format!("{}{token}{}{kept}", holder.owner, claim(holder.claim))
}

fn record(record: &LockRecord) -> String {
    if record.is_free() {
        return "free".into();
    }
    let holders: Vec<_> = record.holders.iter().map(holder).collect();
    format!("holders=[{}]", holders.join(", "))
}

pub(crate) fn content(content: &EntryContent) -> String {
    match content {
        EntryContent::Record(found) => record(found),
        EntryContent::Deleted => "a delete marker".into(),
        EntryContent::Garbled(why) => format!("garbled ({why})"),
    }
}

pub(crate) fn delivered(delivered: &Delivered) -> String {
    match delivered {
        Delivered::Lock(entry) => {
            format!("lock.{} at {}: {}", entry.name, entry.revision, content(&entry.content))
        }
        Delivered::Epoch(revision) => format!("epoch at {revision}"),
        Delivered::Other(revision) => format!("lease or journal at {revision}"),
    }
}

pub(crate) fn op(op: &Op) -> String {
    match op {
        Op::Write(write) => {
            format!("write lock.{} expect={} {}", write.name, write.expected, record(&write.record))
        }
        Op::Batch(batch) => {
            let mut line = format!("batch guard={}", batch.guard);
            for write in &batch.writes {
                let _ =
                    write!(line, "; lock.{} expect={} {}", write.name, write.expected, record(&write.record));
            }
            line
        }
    }
}

fn lease(lease: &LeaseRef) -> String {
    lease.token.map_or_else(
        || format!("id={}", lease.id.reveal()),
        |token| format!("id={} token={token}", lease.id.reveal()),
    )
}

pub(crate) fn ask(ask: &Ask) -> String {
    match ask {
        Ask::Acquire(acquire) => format!(
            "acquire {} id={}{} ttl={} wait={}",
            acquire.name,
            acquire.id.reveal(),
            claim(acquire.claim),
            span(acquire.ttl.get()),
            span(acquire.wait.get())
        ),
        Ask::Renew { name, lease: of } => format!("renew {name} {}", lease(of)),
        Ask::RenewMany { leases } => {
            format!("renew {}", leases.iter().map(lease).collect::<Vec<_>>().join(", "))
        }
        Ask::Release { name, lease: of, keep } => {
            format!("release {name} {} keep={}", lease(of), span(*keep))
        }
        Ask::Check { name, .. } => format!("check {name}"),
        Ask::List { prefix, .. } => format!("list {prefix:?}"),
        Ask::AdminRelease { name, .. } => format!("admin-release {name}"),
    }
}

/// One line for an output; answers begin with whom they go to.
pub(crate) fn output(output: &Output<u32>, requests: &[Sent], now: Now) -> String {
    let to = |number: &u32| {
        let Sent { owner, label, .. } = &requests[*number as usize];
        if label.is_empty() { owner.to_string() } else { format!("{owner}/{label}") }
    };
    match output {
        Output::Write(write) => op(&Op::Write(write.clone())),
        Output::Batch(batch) => op(&Op::Batch(batch.clone())),
        Output::Confirm(_) => "confirm the leadership".into(),
        Output::Event(event) => event_line(event, now),
        Output::Grant { to: number, grant: granted, .. } => format!("{} <- {}", to(number), grant(granted)),
        Output::Reply { to: number, reply: answer } => format!("{} <- {}", to(number), reply(answer)),
    }
}

fn event_line(event: &Event, _now: Now) -> String {
    let mut line = format!("event {} {} {}@{}", event.kind.as_str(), event.name, event.owner, event.token);
    if let Some(reason) = &event.reason {
        let _ = write!(line, " ({reason})");
    }
    if let Some(next) = &event.next_owner {
        let _ = write!(line, " next={next}");
    }
    line
}

fn grant(grant: &Grant) -> String {
    let permits = grant.permits.map_or_else(String::new, |permits| {
        format!(" permits={} capacity={}", permits.permits(), permits.capacity())
    });
    let Grant { id, token, ttl, waited, .. } = grant;
    format!(
        "granted id={} token={token}{permits} ttl={} waited={}",
        id.reveal(),
        span(ttl.get()),
        span(*waited)
    )
}

fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Granted(granted) => grant(granted),
        Reply::Queued { id, position, holder_count } => {
            format!("queued id={} position={position} holder_count={holder_count}", id.reveal())
        }
        Reply::Held(held) => format!("held {}", view(held)),
        Reply::Timeout { view: held, waited } => format!("timeout waited={} {}", span(*waited), view(held)),
        Reply::Renewed { id, expires_in, .. } => {
            format!("renewed id={} expires_in={}", id.reveal(), span(*expires_in))
        }
        Reply::RenewedMany { renewed, lost } => {
            let renewed: Vec<_> = renewed.iter().map(|id| id.reveal()).collect();
            let lost: Vec<_> =
                lost.iter().map(|(id, why)| format!("{}: {}", id.reveal(), why.as_str())).collect();
            format!("renewed [{}] lost [{}]", renewed.join(", "), lost.join(", "))
        }
        Reply::Released { id, held } => {
            let id = id.as_ref().map_or_else(String::new, |id| format!(" id={}", id.reveal()));
            format!("released{id} held={}", span(*held))
        }
        Reply::Free => "free".into(),
        Reply::List { locks, next } => list(locks, next.as_ref()),
        Reply::Error(refusal) => {
            let limit = refusal.limit.map_or_else(String::new, |limit| format!(" limit={limit}"));
            let retry = refusal.retry_after.map_or_else(String::new, |r| format!(" retry_after={}", span(r)));
            format!("{}{limit}{retry}: {}", refusal.code.as_str(), refusal.message)
        }
    }
}

fn list(locks: &[(LockName, LockView)], next: Option<&LockName>) -> String {
    let locks: Vec<_> = locks.iter().map(|(name, held)| format!("{name} {}", view(held))).collect();
    let next = next.map_or_else(String::new, |name| format!(" next={name}"));
    format!("list [{}]{next}", locks.join("; "))
}

fn mode(mode: Mode) -> String {
    match mode {
        Mode::Counting { capacity } => format!("counting({capacity})"),
        other => other.as_str().to_owned(),
    }
}

fn view(view: &LockView) -> String {
    let holders: Vec<_> = view
        .holders
        .iter()
        .map(|holder| {
            let left = holder.expires_in.map_or_else(|| "unknown".into(), span);
            let note = holder.note.as_ref().map_or_else(String::new, |note| format!(" {:?}", note.as_str()));
            format!("{}@{} held={} expires_in={left}{note}", holder.owner, holder.token, span(holder.held))
        })
        .collect();
    let mut line = format!("{} holders=[{}]", mode(view.mode), holders.join(", "));
    if view.holder_count != view.holders.len() {
        let _ = write!(line, " of {}", view.holder_count);
    }
    if view.waiter_count > 0 {
        let waiters: Vec<_> = view
            .waiters
            .iter()
            .map(|waiter| {
                let mode = match waiter.mode {
                    Mode::Exclusive => String::new(),
                    waiting => format!(" {}", mode(waiting)),
                };
                format!("{}. {}{mode} {}", waiter.position, waiter.owner, span(waiter.waited))
            })
            .collect();
        let _ = write!(line, " waiters={}", view.waiter_count);
        if !waiters.is_empty() {
            let _ = write!(line, "[{}]", waiters.join(", "));
        }
    }
    line
}

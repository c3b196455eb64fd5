//! Who was refused what, and who took what with authority: for the log, below the target [`TARGET`], of which
//! `NATSLOCK_LOG=natslock::audit=debug` shows everything. Never an id: whoever reads the log could release.

use super::outbox::Asker;
use crate::engine::message::{Ask, Code, Event, Refusal, Reply};
use crate::types::Epoch;
use crate::wire::subject::Verb;

/// Where to look.
pub(super) const TARGET: &str = "natslock::audit";

/// An administrator asks for what is not his to be taken away. There are few of them, so each is told.
pub(super) fn asked(asker: &Asker, ask: &Ask) {
    if let Ask::AdminRelease { name, reason } = ask {
        let (owner, lock, reason) = (asker.owner.as_str(), name.as_str(), reason.as_deref());
        tracing::info!(target: TARGET, owner, lock, reason, "admin_release was asked for");
    }
}

/// The engine answers. What it grants is told by its events.
pub(super) fn answered(asker: &Asker, reply: &Reply) {
    let (owner, verb) = (asker.owner.as_str(), asker.verb.as_str());
    let lock = asker.name.as_ref().map(|name| name.as_str());
    match reply {
        Reply::Error(Refusal { code, .. }) if asker.verb == Verb::AdminRelease => {
            tracing::info!(target: TARGET, owner, verb, lock, code = code.as_str(), "refused");
        }
        Reply::Error(Refusal { code, .. }) => {
            tracing::debug!(target: TARGET, owner, verb, lock, code = code.as_str(), "refused");
        }
        _ if asker.verb == Verb::AdminRelease => {
            tracing::info!(target: TARGET, owner, lock, "admin_release was carried out");
        }
        _ => {}
    }
}

/// A request is refused that did not come to the engine. Its subject says who asked for what.
pub(super) fn refused(subject: &str, code: Code) {
    tracing::debug!(target: TARGET, subject, code = code.as_str(), "refused");
}

/// What happens to locks.
pub(super) fn happened(epoch: Epoch, event: &Event) {
    tracing::debug!(
        target: TARGET,
        lock = event.name.as_str(),
        owner = event.owner.as_str(),
        token = event.token.get(),
        epoch = epoch.get(),
        held_ms = event.held.map(|held| u64::try_from(held.as_millis()).unwrap_or(u64::MAX)),
        waiters = event.waiter_count,
        reason = event.reason.as_deref(),
        "{}",
        event.kind.as_str(),
    );
}

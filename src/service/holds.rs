//! A span for each lease, from its grant to its end, for whoever traces a coordinator: the spans of acquiring,
//! waiting and releasing are those of the clients, which know how long it took for them.

use std::collections::BTreeMap;

use tracing::Span;
use tracing::field::Empty;

use crate::engine::message::{Event, EventKind};
use crate::types::{Epoch, Token};

/// The spans of the leases that this leader has granted. Where nobody wants them, there are none.
#[derive(Debug, Default)]
pub(super) struct Holds(BTreeMap<Token, Span>);

impl Holds {
    /// A lease began or ended. No ids: whoever reads the trace could release.
    pub(super) fn note(&mut self, epoch: Epoch, event: &Event) {
        match event.kind {
            EventKind::Granted => {
                let span = hold(epoch, event);
                if !span.is_disabled() {
                    self.0.insert(event.token, span);
                }
            }
            // Whatever ended it, this is told, too.
            EventKind::Released => {
                if let Some(span) = self.0.remove(&event.token) {
                    span.record("reason", event.reason.as_deref());
                }
            }
            EventKind::Expired | EventKind::Revoked => {}
        }
    }
}

fn hold(epoch: Epoch, event: &Event) -> Span {
    tracing::debug_span!(
        parent: None,
        "hold",
        lock = event.name.as_str(),
        owner = event.owner.as_str(),
        token = event.token.get(),
        epoch = epoch.get(),
        mode = event.mode.as_str(),
        reason = Empty,
    )
}

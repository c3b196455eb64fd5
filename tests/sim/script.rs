//! What a scripted schedule may do to the network and the store, message by message.

use std::collections::BTreeSet;

use natslock::engine::message::Ask;
use natslock::types::Key;
use natslock::wire::reply::{Answer, decode};

use super::net::Msg;
use super::stream::{Op, Purpose};

#[derive(Debug, Default)]
pub(super) struct Script {
    /// What becomes of the next grants to a client: lost, or late by so much.
    pub(super) grants: Vec<(usize, Option<u64>)>,
    /// Coordinators that do not reach the store.
    pub(super) storeless: BTreeSet<usize>,
    /// Coordinators whose `lease` writes do not reach the store.
    pub(super) leaseless: BTreeSet<usize>,
    /// Coordinators whose standing consumer delivers nothing.
    pub(super) blind: BTreeSet<usize>,
    /// Coordinators that do not get a client's requests: (client, coordinator).
    pub(super) deaf: BTreeSet<(usize, usize)>,
    /// By how much a 503 on a grant is late.
    pub(super) late_notices: u64,
    /// By how much the next guarded batch is late; until then the store refuses others of its locks for now.
    pub(super) late_batch: Option<u64>,
    /// How many acknowledgements of lock writes are lost.
    pub(super) lost_acks: u64,
    /// By how much the next acknowledgement of a `lease` write is late.
    pub(super) late_ack: Option<u64>,
    /// How many `lease` writes are refused by a server that knows only the record before.
    pub(super) denials: u64,
    /// No signs of life arrive.
    pub(super) no_beats: bool,
    /// By how much releases are late.
    pub(super) late_releases: u64,
}

impl Script {
    /// By how much a message is late; nothing where it is lost.
    pub(super) fn fate(&mut self, msg: &Msg) -> Option<u64> {
        match msg {
            Msg::Beat { .. } if self.no_beats => None,
            Msg::Request(asked) if matches!(asked.ask, Ask::Release { .. }) => Some(self.late_releases),
            Msg::Reply { to, body, .. } if !self.grants.is_empty() => {
                let granted = matches!(decode(body), Ok((_, Answer::Granted(_))));
                let rule = self.grants.iter().position(|(node, _)| granted && *node == to.node);
                rule.map_or(Some(0), |rule| self.grants.remove(rule).1)
            }
            _ => Some(0),
        }
    }

    /// True where this call of the store is lost.
    pub(super) fn loses(&self, node: usize, purpose: &Purpose) -> bool {
        self.storeless.contains(&node)
            || (self.leaseless.contains(&node) && matches!(purpose, Purpose::Lease { .. }))
    }

    /// True where the acknowledgement of this write is lost.
    pub(super) fn loses_ack(&mut self, purpose: &Purpose) -> bool {
        let loses = self.lost_acks > 0 && matches!(purpose, Purpose::Lock { .. });
        self.lost_acks -= u64::from(loses);
        loses
    }

    /// By how much the answer to this write is late.
    pub(super) fn ack_lateness(&mut self, purpose: &Purpose) -> u64 {
        let late = if matches!(purpose, Purpose::Lease { .. }) { self.late_ack.take() } else { None };
        late.unwrap_or(0)
    }

    /// True where this one is refused by a server that has slept.
    pub(super) fn denies(&mut self, op: &Op) -> bool {
        let denies = self.denials > 0 && matches!(op, Op::Write(write) if write.key == Key::Lease);
        self.denials -= u64::from(denies);
        denies
    }

    /// By how much this one is late.
    pub(super) fn lateness(&mut self, op: &Op) -> Option<u64> {
        if matches!(op, Op::Batch(batch) if batch.guard.is_some()) { self.late_batch.take() } else { None }
    }
}

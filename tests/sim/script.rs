//! What a scripted schedule may do to the network and the store, message by message.

use std::collections::BTreeSet;

use natslock::wire::reply::{Answer, decode};

use super::net::Msg;

#[derive(Debug, Default)]
pub(super) struct Script {
    /// What becomes of the next grants to a client: lost, or late by so much.
    pub(super) grants: Vec<(usize, Option<u64>)>,
    /// Coordinators that do not reach the store.
    pub(super) storeless: BTreeSet<usize>,
    /// Coordinators that do not get a client's requests: (client, coordinator).
    pub(super) deaf: BTreeSet<(usize, usize)>,
    /// By how much a 503 on a grant is late.
    pub(super) late_notices: u64,
    /// No signs of life arrive.
    pub(super) no_beats: bool,
}

impl Script {
    /// By how much a message is late; nothing where it is lost.
    pub(super) fn fate(&mut self, msg: &Msg) -> Option<u64> {
        match msg {
            Msg::Beat { .. } if self.no_beats => None,
            Msg::Reply { to, body, .. } => {
                let granted = matches!(decode(body), Ok((_, Answer::Granted(_))));
                let rule = self.grants.iter().position(|(node, _)| granted && *node == to.node);
                rule.map_or(Some(0), |rule| self.grants.remove(rule).1)
            }
            _ => Some(0),
        }
    }
}

//! What a coordinator is told at its start.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::engine::Limits;
use crate::types::{Namespace, ShardId};
use crate::wire::inbox::ReplyPrefix;

/// How a coordinator behaves. Every field has a default.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Whose requests it serves. Default: `default`.
    pub namespace: Namespace,
    /// Which slice of the names. There is one so far: 0.
    pub shard: ShardId,
    /// T_L: for how long the leader may act after sending its last acknowledged `lease` record, by its own
    /// clock. Default: 12 s, because elections of a replicated stream take 4 to 10 s; too short a time makes
    /// the coordinator fall silent in each of them.
    pub leader_lease: Duration,
    /// What every reply subject must begin with. Default: `_INBOX.`.
    pub reply_prefix: ReplyPrefix,
    /// Whether each owner is answered in inboxes of its own only: behind the prefix comes the owner. Default: no,
    /// because plain NATS clients do not name their inboxes so.
    pub reply_per_owner: bool,
    /// What bounds the shard.
    pub limits: Limits,
    /// How many requests a second one owner may send. Default: as many as it likes.
    pub owner_rate: Option<NonZeroU32>,
    /// Whether it counts and keeps what is to be looked at. Default: yes; it is no only where the cost is measured.
    #[doc(hidden)]
    pub counts: bool,
    /// Whether it sends the events of locks. Default: yes; it is no only where the cost is measured.
    #[doc(hidden)]
    pub tells: bool,
    /// The host name that `info` shows.
    pub host: String,
    /// The process id that `info` shows.
    pub pid: u32,
    /// The version of the message server that `info` shows.
    pub server_version: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namespace: Namespace::default(),
            shard: ShardId(0),
            leader_lease: Duration::from_secs(12),
            reply_prefix: ReplyPrefix::default(),
            reply_per_owner: false,
            limits: Limits::default(),
            owner_rate: None,
            counts: true,
            tells: true,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            server_version: String::new(),
        }
    }
}

impl Config {
    /// The same for another namespace.
    #[must_use]
    pub fn namespace(self, namespace: Namespace) -> Self {
        Self { namespace, ..self }
    }

    /// The same with another leadership lease, 1 s to 60 s.
    #[must_use]
    pub fn leader_lease(self, leader_lease: Duration) -> Self {
        Self { leader_lease, ..self }
    }

    /// The same with another prefix of reply subjects.
    #[must_use]
    pub fn reply_prefix(self, reply_prefix: ReplyPrefix) -> Self {
        Self { reply_prefix, ..self }
    }

    /// The same where each owner is answered in inboxes of its own only, or not.
    #[must_use]
    pub fn reply_per_owner(self, reply_per_owner: bool) -> Self {
        Self { reply_per_owner, ..self }
    }

    /// The same with another rate of requests of each owner.
    #[must_use]
    pub fn owner_rate(self, owner_rate: Option<NonZeroU32>) -> Self {
        Self { owner_rate, ..self }
    }

    /// The same with other limits.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

/// How often the leader sends a sign of life to other coordinators.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_millis(250);
/// After how long a silence of the leader another coordinator takes over.
pub(super) const TAKEOVER_AFTER: Duration = Duration::from_secs(1);

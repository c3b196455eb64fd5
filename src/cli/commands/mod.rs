//! The commands: one file each.

pub(super) mod acquire;
pub(super) mod admin;
pub(super) mod bench;
pub(super) mod check;
pub(super) mod dev;
pub(super) mod info;
pub(super) mod list;
pub(super) mod permissions;
pub(super) mod release;
pub(super) mod renew;
pub(super) mod run;
pub(super) mod serve;
pub(super) mod stats;
pub(super) mod top;
pub(super) mod torture;
pub(super) mod watch;

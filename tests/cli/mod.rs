//! The command line, run as people and scripts run it, against a real server and a real coordinator.
//!
//! What is printed is kept in `snapshots/`, with what differs from run to run taken out (see `redact`).

mod acquire;
mod admin;
mod bench;
mod check;
mod dev;
mod help;
mod http;
mod info;
mod list;
mod permissions;
pub(crate) mod program;
mod pty;
mod recover;
mod redact;
mod release;
mod renew;
mod run;
mod serve;
mod site;
mod stats;
mod takeover;
mod top;
mod unreachable;
mod usage;
mod watch;

use program::{Program, Ran, Running};
use site::Site;

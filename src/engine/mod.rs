//! The lock state machine of one shard: synchronous, without IO, clock or randomness of its own.
//!
//! ```text
//!            requests, outcomes of writes, delivered records, time
//!                                  |
//!                                  v          every call begins with one reading of the clocks
//!                              [ Engine ]
//!                                  |
//!                                  v
//!         replies, grants, writes, batches, events, wishes to have the leadership confirmed
//! ```
//!
//! The driver calls one `handle_*` function, then takes every output with `Engine::poll_output` and does it,
//! in order; it calls `Engine::handle_timeout` when the time of `Engine::poll_timeout` has come. It decides
//! nothing about locks itself.
//!
//! What holds (each has a name in `engine::invariants`, checked after every step of every test):
//!
//! - **Store first, answer after** (S2): a waiter becomes a holder, and gets a token, only when the write that
//!   says so is acknowledged (`commit.rs`).
//! - **One write at a time for a lock**; writes of different locks are independent and overlap.
//! - **A lease ends** by its owner's own request in a plain compare-and-set, and in every other case in the
//!   shard's guarded batch (S6), of which one is on its way at a time (`takeaway.rs`).
//! - **A refused write proves nothing**: the lock stands still until the leadership is confirmed and all that
//!   was written before is known (S7, S8; `refused.rs`).

#[cfg(feature = "coordinator")]
mod accounts;
#[cfg(feature = "coordinator")]
mod acquire;
#[cfg(feature = "coordinator")]
mod adopt;
#[cfg(feature = "coordinator")]
mod books;
#[cfg(feature = "coordinator")]
mod commit;
#[cfg(feature = "coordinator")]
mod deadlines;
#[cfg(feature = "coordinator")]
mod doubt;
#[cfg(feature = "coordinator")]
pub mod fact;
#[cfg(feature = "coordinator")]
mod finished;
#[cfg(feature = "coordinator")]
mod holder;
#[cfg(feature = "coordinator")]
pub mod invariants;
#[cfg(feature = "coordinator")]
mod limits;
#[cfg(feature = "coordinator")]
mod lock;
#[cfg(feature = "coordinator")]
mod locks;
pub mod message;
#[cfg(feature = "coordinator")]
mod outcome;
#[cfg(feature = "coordinator")]
mod parked;
#[cfg(feature = "coordinator")]
mod plan;
#[cfg(feature = "coordinator")]
mod put_off;
#[cfg(feature = "coordinator")]
mod queue;
#[cfg(feature = "coordinator")]
mod refused;
#[cfg(feature = "coordinator")]
mod release;
#[cfg(feature = "coordinator")]
mod renew;
#[cfg(feature = "coordinator")]
mod shard;
#[cfg(feature = "coordinator")]
mod takeaway;
#[cfg(feature = "coordinator")]
mod term;
#[cfg(feature = "coordinator")]
mod timeout;
#[cfg(feature = "coordinator")]
mod view;

#[cfg(feature = "coordinator")]
pub use self::limits::Limits;
#[cfg(feature = "coordinator")]
pub use self::shard::{Census, Engine};
#[cfg(feature = "coordinator")]
pub use self::term::Term;

/// How many holders, waiters or locks are listed where the request does not say.
pub const LISTED: usize = 100;

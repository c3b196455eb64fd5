//! Where NATS is wired in: a client and a coordinator, each on a connection of its own.
//!
//! The client and the coordinator know ports only; the ports on NATS know neither.

mod client;
#[cfg(feature = "coordinator")]
mod coordinator;

pub use self::client::ClientError;
#[cfg(feature = "coordinator")]
pub use self::coordinator::ServeError;

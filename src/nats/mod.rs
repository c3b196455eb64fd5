//! The store and the transport on NATS: the only place that names `async_nats`.
//!
//! What the server and the client library do on their own account, and where that differs from what one would
//! expect, was measured; the comments here give the reason for each departure from the library's ready-made
//! ways.

#[cfg(feature = "coordinator")]
mod acks;
#[cfg(feature = "coordinator")]
mod answer;
#[cfg(feature = "coordinator")]
mod api;
#[cfg(feature = "cli")]
mod bare;
#[cfg(feature = "coordinator")]
mod bucket;
mod connect;
#[cfg(feature = "coordinator")]
mod consumer;
mod denials;
#[cfg(feature = "coordinator")]
mod follow;
#[cfg(feature = "coordinator")]
mod gather;
#[cfg(feature = "coordinator")]
mod listener;
mod options;
#[cfg(feature = "coordinator")]
mod pace;
#[cfg(feature = "coordinator")]
pub mod permissions;
#[cfg(feature = "coordinator")]
mod record;
#[cfg(feature = "coordinator")]
mod repair;
#[cfg(feature = "coordinator")]
mod store;
mod transport;
mod version;

/// The client of the library, for applications that have a connection already.
pub use async_nats::Client as NatsClient;
#[cfg(feature = "cli")]
pub use bare::Carried;
#[cfg(feature = "coordinator")]
pub use bucket::BucketConfig;
pub use connect::{ConnectError, Connection, connect};
pub use denials::{Action, Denial, Denials};
pub use options::{ConnectOptions, Credentials, Tls};
#[cfg(feature = "coordinator")]
pub use store::NatsStore;
pub use transport::NatsTransport;
pub use version::{ServerVersion, VersionError};

#![doc = include_str!("../README.md")]

#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
pub mod clock;
pub mod connect;
pub mod docs;
pub mod engine;
#[cfg(feature = "coordinator")]
pub mod measures;
// Not a part of the interface: see the module.
#[doc(hidden)]
pub mod mutant;
pub mod nats;
#[cfg(feature = "coordinator")]
pub mod service;
#[cfg(feature = "coordinator")]
pub mod store;
pub mod transport;
pub mod types;
pub mod wire;

#![doc = include_str!("../README.md")]

#[cfg(feature = "blocking")]
pub mod blocking;
pub mod client;
pub mod clock;
pub mod connect;
pub mod docs;
pub mod engine;
pub mod nats;
pub mod service;
pub mod store;
pub mod transport;
pub mod types;
pub mod wire;

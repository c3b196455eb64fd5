//! natslock (crate documentation is written last)

pub mod cli;
pub mod client;
pub mod clock;
pub mod engine;
pub mod nats;
pub mod service;
pub mod store;
pub mod transport;
pub mod types;
pub mod wire;

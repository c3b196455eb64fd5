//! The lock state machine of one shard.

pub mod message;

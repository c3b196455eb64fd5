//! Bytes to types and back: no IO, no clock. With the command line the only module that knows serde.
//!
//! One home for each format: its encoding, its decoding and the test that one undoes the other stand in one
//! file (in the `tests.rs` beside it, where that is long). What arrives goes through two steps: the bytes become a `value` (strict about duplicate fields,
//! trailing bytes and nesting), then the `fields` become the types of the crate.
//!
//! | file | what |
//! |---|---|
//! | [`subject`], [`bucket`], [`inbox`] | subjects of requests, events and heartbeats; names of buckets; reply subjects |
//! | [`request`] | what clients ask |
//! | [`reply`], [`info`], [`stats`] | what they are answered |
//! | [`event`] | what everybody is told |
//! | `micro` | what coordinators tell `nats micro` |
//! | [`heartbeat`] | what coordinators tell each other |
//! | [`report`] | what a coordinator tells an operator who recovers its shard |
//! | [`record`] | what is stored |
//! | [`frame`] | what a NATS server says |

#[cfg(test)]
mod arbitrary;
pub mod bucket;
pub mod event;
mod fields;
pub mod format;
#[cfg(feature = "coordinator")]
pub mod frame;
#[cfg(feature = "coordinator")]
pub mod heartbeat;
pub mod inbox;
pub mod info;
#[cfg(feature = "coordinator")]
pub mod micro;
mod mode;
#[cfg(feature = "coordinator")]
pub mod record;
pub mod reply;
#[cfg(feature = "coordinator")]
pub mod report;
pub mod request;
pub mod stats;
pub mod subject;
mod value;
mod view;

pub use format::{BODY_BYTES_MAX, Format, REPLY_BYTES_MAX};
pub use value::DecodeError;

//! The chapters of the manual.

#[doc = include_str!("architecture.md")]
pub mod architecture {}
#[doc = include_str!("guarantees.md")]
pub mod guarantees {}
#[doc = include_str!("protocol.md")]
pub mod protocol {}
#[doc = include_str!("operations.md")]
pub mod operations {}
#[doc = include_str!("changelog.md")]
pub mod changelog {}

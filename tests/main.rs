//! The tests of natslock, in one binary.
#![allow(clippy::unwrap_used, reason = "a test that fails to unwrap has failed, also in its helpers")]

mod properties;
mod scenarios;
mod support;
mod tidy;

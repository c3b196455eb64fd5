//! The tests that need more than one module, or a real server.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something is not as it should be"
)]

#[cfg(test)]
mod clients;
#[cfg(test)]
mod live;
#[cfg(test)]
mod support;

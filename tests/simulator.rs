//! The simulator, in a binary of its own: it needs neither a server nor the command line, and is built optimised.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something is not as it should be"
)]

#[cfg(test)]
mod sim;

//! The simulator and the model, in a binary of their own: they need neither a server nor the command line, and are
//! built optimised.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something is not as it should be"
)]

#[cfg(test)]
mod model;
#[cfg(test)]
mod sim;

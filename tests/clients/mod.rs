//! The clients in other languages, `examples/clients/`, against the real coordinator and against a false one.

mod contention;
mod hardship;
mod protocol;
mod puppet;
mod setup;

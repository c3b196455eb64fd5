//! The tests that need more than one module, or a real server.

#[cfg(test)]
mod cli;
#[cfg(test)]
mod live;
#[cfg(test)]
mod support;

//! The exit codes (PROTOCOL.md section 5).

use std::process::ExitCode;

/// What a command tells its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done.
    Done = 0,
    /// Not acquired, not held.
    Refused = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// No server or no coordinator that can be worked with.
    Unreachable = 3,
    /// A fault of natslock or of its surroundings.
    Internal = 255,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

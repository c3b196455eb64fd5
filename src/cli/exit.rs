//! The exit codes (PROTOCOL.md section 5).

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

/// Which exit codes a command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codes {
    /// Those of [`Exit`] itself.
    General,
    /// Those of `run`, which keeps out of the way of the codes of what it runs.
    Run,
}

/// What `run` tells its caller when the lock was lost before what it ran had ended.
pub(super) const LOST: u8 = 124;

impl Exit {
    pub(super) const fn code(self, codes: Codes) -> u8 {
        match (codes, self) {
            (Codes::General, exit) => exit as u8,
            (Codes::Run, Self::Done) => 0,
            (Codes::Run, Self::Usage) => 64,
            (Codes::Run, Self::Unreachable) => 69,
            (Codes::Run, Self::Internal) => 70,
            (Codes::Run, Self::Refused) => 75,
        }
    }
}

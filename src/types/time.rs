//! Instants. Nothing here reads a clock; see `clock.rs`.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// An instant of the clock that counts suspend (CLOCK_BOOTTIME on Linux): what leases are reckoned in.
///
/// Instants of two machines, or of two boots, cannot be compared and are never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(Duration);

impl Timestamp {
    /// The instant this long after the clock's zero.
    pub const fn from_boot(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// The instant this many milliseconds after the clock's zero.
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// How long after the clock's zero.
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// How long after `earlier`; zero where it is not after.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The first instant from this one on that is a multiple of `step` after the clock's zero; this one where the
    /// step is zero.
    pub fn rounded_up(self, step: Duration) -> Self {
        let (nanos, step) = (self.0.as_nanos(), step.as_nanos());
        let beyond = if step == 0 { 0 } else { nanos.div_ceil(step) * step - nanos };
        self + Duration::from_nanos(u64::try_from(beyond).unwrap_or(u64::MAX))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0.as_millis())
    }
}

/// Wall-clock time in milliseconds since 1970: for people, never for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub u64);

//! Lengths of time that a request may ask for, and the note of a lease.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const TTL_MS_MIN: u64 = 1_000;
const TTL_MS_MAX: u64 = DAY_MS;
/// The longest wait that may be asked for, in milliseconds.
pub const WAIT_MS_MAX: u64 = DAY_MS;
/// The longest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 256;

/// A length of time outside its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {min_ms} to {max_ms} ms, not {given_ms}")]
pub struct SpanError {
    /// The field of the request.
    pub field: &'static str,
    /// What was given.
    pub given_ms: u64,
    /// The least that is allowed.
    pub min_ms: u64,
    /// The most that is allowed.
    pub max_ms: u64,
}

fn bounded(field: &'static str, given_ms: u64, min_ms: u64, max_ms: u64) -> Result<Duration, SpanError> {
    if (min_ms..=max_ms).contains(&given_ms) {
        Ok(Duration::from_millis(given_ms))
    } else {
        Err(SpanError { field, given_ms, min_ms, max_ms })
    }
}

/// A lease time: one second to 24 hours, 30 seconds where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(Duration);

impl Ttl {
    /// The shortest lease time, in milliseconds.
    pub const MS_MIN: u64 = TTL_MS_MIN;
    /// The longest lease time, in milliseconds.
    pub const MS_MAX: u64 = TTL_MS_MAX;

    /// A lease time of so many milliseconds.
    ///
    /// # Errors
    /// Under a second or over 24 hours.
    pub fn from_millis(ms: u64) -> Result<Self, SpanError> {
        bounded("ttl_ms", ms, TTL_MS_MIN, TTL_MS_MAX).map(Self)
    }

    /// Its length.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Its length in milliseconds.
    pub fn as_millis(self) -> u64 {
        millis(self.0)
    }
}

impl Default for Ttl {
    fn default() -> Self {
        Self(Duration::from_secs(30))
    }
}

/// How long a request is prepared to wait; zero is a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Wait(Duration);

impl Wait {
    /// Not at all.
    pub const TRY: Self = Self(Duration::ZERO);

    /// A wait of so many milliseconds.
    ///
    /// # Errors
    /// Over 24 hours.
    pub fn from_millis(ms: u64) -> Result<Self, SpanError> {
        bounded("wait_ms", ms, 0, WAIT_MS_MAX).map(Self)
    }

    /// Its length.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// True for a try.
    pub const fn is_try(self) -> bool {
        self.0.is_zero()
    }
}

/// A note of up to 256 bytes that is shown beside the holder.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note(Arc<str>);

/// A note that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a note has at most {NOTE_BYTES_MAX} bytes, this one has {len}")]
pub struct NoteError {
    /// Its length in bytes.
    pub len: usize,
}

impl Note {
    /// The text of the note.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Note {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        if text.len() > NOTE_BYTES_MAX { Err(NoteError { len: text.len() }) } else { Ok(Self(text.into())) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whole milliseconds, rounded down.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

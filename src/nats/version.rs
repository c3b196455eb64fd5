//! The versions of servers.

use std::fmt;
use std::str::FromStr;

/// A server's version. One with a suffix (`2.15.0-dev`, `2.14.4-RC.2`) comes before the release of that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    major: u32,
    minor: u32,
    patch: u32,
    /// False sorts before true.
    released: bool,
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not the version of a server")]
pub struct VersionError {
    /// What was given.
    pub given: String,
}

impl ServerVersion {
    /// The oldest server that will do: before it, the expectations of an atomic batch could be mixed up with
    /// those of others (nats-server #8376, #8377).
    pub const LEAST: Self = Self { major: 2, minor: 14, patch: 4, released: true };
}

impl FromStr for ServerVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let malformed = || VersionError { given: text.into() };
        let bare = text.strip_prefix('v').unwrap_or(text);
        let numbers = bare.split(['-', '+']).next().unwrap_or(bare);
        let mut parsed = numbers.split('.').map(str::parse::<u32>);
        let mut next = || parsed.next().and_then(Result::ok);
        let (Some(major), Some(minor), Some(patch)) = (next(), next(), next()) else {
            return Err(malformed());
        };
        if parsed.next().is_some() {
            return Err(malformed());
        }
        Ok(Self { major, minor, patch, released: !bare[numbers.len()..].starts_with('-') })
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if self.released { Ok(()) } else { f.write_str("-pre") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_come_before_their_release() {
        let order = ["2.9.10", "2.14.3", "2.14.4-RC.2", "2.14.4", "2.15.0-dev", "v2.15.0", "2.15.1+deb1"];
        let parsed: Vec<ServerVersion> = order.iter().map(|text| text.parse().unwrap()).collect();
        assert!(parsed.is_sorted_by(|one, other| one < other), "{parsed:?}");
        assert!(parsed[2] < ServerVersion::LEAST && parsed[3] == ServerVersion::LEAST);
    }

    #[test]
    fn other_texts_are_no_versions() {
        for text in ["", "2", "2.15", "2.15.x", "2.15.1.4", "latest"] {
            assert!(text.parse::<ServerVersion>().is_err(), "{text}");
        }
    }
}

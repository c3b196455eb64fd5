//! What a worker tells its parent: an event a line, in the order in which things happened. One home for the format.

use serde::{Deserialize, Serialize};

use crate::clock::SystemClock;
use crate::types::Timestamp;

/// Instants are nanoseconds of the clock that counts suspend: all processes of a run have the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// From now on it believes that it holds the lock.
    Granted {
        /// Counts the holdings of this process.
        hold: u64,
        lock: String,
        token: u64,
        ttl_ms: u64,
        /// When it began to ask.
        asked: u64,
        from: u64,
        /// The deadline as it is now.
        until: u64,
    },
    /// The deadline was put off.
    Extended { hold: u64, until: u64 },
    /// It has stopped believing at `until`; told before the lock is given back.
    Ended { hold: u64, until: u64, lost: Option<String> },
    /// A request without a lock.
    Failed { lock: String, at: u64, why: String },
}

pub(super) fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.since_boot().as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn now() -> u64 {
    nanos(SystemClock::boot())
}

impl Event {
    pub(super) fn encode(&self) -> String {
        // Numbers and texts only: that cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn decode(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_round_trip() {
        let lock = "hot.0".to_owned();
        let all = [
            Event::Granted { hold: 1, lock: lock.clone(), token: 2, ttl_ms: 3, asked: 4, from: 5, until: 6 },
            Event::Extended { hold: 1, until: 7 },
            Event::Ended { hold: 1, until: 8, lost: Some("expired".into()) },
            Event::Failed { lock, at: 9, why: "nobody".into() },
        ];
        for event in all {
            assert_eq!(Event::decode(&event.encode()), Some(event));
        }
        assert_eq!(Event::decode("{\"event\":\"gra"), None);
    }
}

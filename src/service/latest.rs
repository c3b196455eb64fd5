//! The latest events, for who looks at them: bounded in number, and in what keeping them costs.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::engine::message::{Event, EventKind};

/// How many are kept.
const KEPT_MAX: usize = 200;
/// How many grants and releases of one second are kept: nobody reads more, and a busy leader has thousands.
const COMMON_MAX: usize = KEPT_MAX;

/// The latest events, in JSON as they were sent.
#[derive(Debug, Default)]
pub(super) struct Latest {
    kept: VecDeque<Vec<u8>>,
    /// How many were kept before them.
    forgotten: u64,
    /// A second of the leader's wall clock, and how many grants and releases of it are kept.
    common: (u64, usize),
}

impl Latest {
    /// Keeps a copy in the room of the oldest: what is sent is freed as soon as it has left.
    pub(super) fn keep(&mut self, what: &Event, body: &[u8]) {
        if !self.has_room_for(what) {
            return;
        }
        let mut room = Vec::new();
        if self.kept.len() >= KEPT_MAX {
            room = self.kept.pop_front().unwrap_or_default();
            self.forgotten += 1;
        }
        room.clear();
        room.extend_from_slice(body);
        self.kept.push_back(room);
    }

    /// What is seldom is worth looking at, however much else there is.
    fn has_room_for(&mut self, what: &Event) -> bool {
        if !matches!(what.kind, EventKind::Granted | EventKind::Released) {
            return true;
        }
        let second = what.at.0 / 1_000;
        if self.common.0 != second {
            self.common = (second, 0);
        }
        self.common.1 += 1;
        self.common.1 <= COMMON_MAX
    }

    /// Those behind the first `seen` that are still known, and how many were kept altogether.
    pub(super) fn after(&self, seen: u64) -> (Vec<Bytes>, u64) {
        let known = usize::try_from(seen.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        (
            self.kept.iter().skip(known).map(|event| Bytes::copy_from_slice(event)).collect(),
            self.forgotten + self.kept.len() as u64,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LockName, Mode, OwnerName, Revision, Token, WallTime};

    fn event(kind: EventKind, at: u64) -> Event {
        Event {
            kind,
            name: LockName::encode("a").unwrap(),
            owner: OwnerName::encode("alice").unwrap(),
            token: Token::new(Revision::new(1), u8::MAX),
            mode: Mode::Exclusive,
            held: None,
            next_owner: None,
            waiter_count: 0,
            reason: None,
            at: WallTime(at),
        }
    }

    fn shown(latest: &Latest, seen: u64) -> (Vec<String>, u64) {
        let (events, seen) = latest.after(seen);
        (events.iter().map(|event| String::from_utf8_lossy(event).into_owned()).collect(), seen)
    }

    #[test]
    fn the_latest_are_kept_and_each_is_shown_once() {
        let mut latest = Latest::default();
        (0..300).for_each(|number| {
            latest.keep(&event(EventKind::Granted, number * 10), number.to_string().as_bytes());
        });
        let (all, seen) = shown(&latest, 0);
        assert_eq!((all.len(), all[0].as_str(), all[199].as_str(), seen), (200, "100", "299", 300));
        assert_eq!(shown(&latest, 298), (vec!["298".to_owned(), "299".to_owned()], 300));
        assert_eq!(shown(&latest, 300), (Vec::new(), 300));
    }

    #[test]
    fn a_flood_of_grants_hides_no_expiry() {
        let mut latest = Latest::default();
        (0..10_000).for_each(|_| latest.keep(&event(EventKind::Released, 5_000), b"released"));
        latest.keep(&event(EventKind::Expired, 5_500), b"expired");
        let (all, seen) = shown(&latest, 0);
        assert_eq!((all.last().map(String::as_str), seen), (Some("expired"), 201));
        latest.keep(&event(EventKind::Granted, 6_000), b"granted");
        assert_eq!(shown(&latest, 201).0, ["granted"]);
    }
}

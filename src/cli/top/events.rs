//! The latest events, and those that came while the view stood still.

use std::collections::VecDeque;

use crate::cli::commands::watch;
use crate::client::Seen;
use crate::wire::event::Heard;

/// So many are kept.
const KEPT: usize = 100;

/// One event: its columns as `natslock watch` prints them.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// The encoded name of the lock, if it is about one.
    lock: Option<String>,
    pub(super) columns: [String; 6],
}

/// The latest last.
#[derive(Debug, Default)]
pub(super) struct Events {
    shown: VecDeque<Line>,
    held_back: VecDeque<Line>,
}

impl Events {
    /// Adds one; while the view is paused, it is held back.
    pub(super) fn add(&mut self, seen: &Seen, paused: bool) {
        let columns = watch::columns(seen);
        let lock = match &seen.heard {
            Ok(Heard::Lock { event, .. }) => Some(event.name.as_str().to_owned()),
            _ => None,
        };
        let ring = if paused { &mut self.held_back } else { &mut self.shown };
        ring.push_back(Line { lock, columns });
        while ring.len() > KEPT {
            ring.pop_front();
        }
    }

    /// Shows what was held back.
    pub(super) fn resume(&mut self) {
        self.shown.append(&mut self.held_back);
        let surplus = self.shown.len().saturating_sub(KEPT);
        self.shown.drain(..surplus);
    }

    /// The latest first: those of locks whose encoded names begin so, and with an empty prefix all.
    pub(super) fn latest<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Line> {
        let about = move |line: &&Line| match &line.lock {
            Some(lock) => lock.starts_with(prefix),
            None => prefix.is_empty(),
        };
        self.shown.iter().rev().filter(about)
    }
}

//! The last minutes, second by second: what a chart is drawn from.

use std::collections::VecDeque;
use std::time::Duration;

use super::spread::Spread;
use crate::engine::fact::Happening;
use crate::types::Timestamp;

/// How many seconds are kept.
pub const RECENT_SECONDS: usize = 300;

/// One second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Second {
    /// Which, counted from the zero of the clock that leases are reckoned in.
    pub number: u64,
    /// Acquisitions that were let in.
    pub acquires: u64,
    /// Those that met others.
    pub contended: u64,
    /// Leases that began.
    pub grants: u64,
    /// Leases that ended.
    pub ended: u64,
    /// Tries, waits and requests that got nothing: held, timed out, refused.
    pub refused: u64,
    /// Half of the grants took no longer than this.
    pub acquire_p50: Option<Duration>,
    /// 99 of 100 grants took no longer than this.
    pub acquire_p99: Option<Duration>,
    /// 99 of 100 of those who stood in a queue stood no longer than this.
    pub wait_p99: Option<Duration>,
}

/// The ring of seconds.
#[derive(Debug, Default)]
pub(super) struct Recent {
    past: VecDeque<Second>,
    current: Second,
    acquire: Spread,
    wait: Spread,
}

impl Recent {
    pub(super) fn add(&mut self, at: Timestamp, what: Happening) {
        self.advance(at);
        match what {
            Happening::Asked { contended } => {
                self.current.acquires += 1;
                self.current.contended += u64::from(contended);
            }
            Happening::Granted { took, stood, .. } => {
                self.current.grants += 1;
                self.acquire.add(took);
                self.stood(stood);
            }
            Happening::GaveUp { stood, .. } => {
                self.current.refused += 1;
                self.stood(stood);
            }
            Happening::Held | Happening::Refused(_) => self.current.refused += 1,
            Happening::Ended { .. } => self.current.ended += 1,
            Happening::HandedOver | Happening::InDoubt | Happening::Conflict => {}
        }
    }

    /// The seconds that are over.
    pub(super) fn up_to(&mut self, now: Timestamp) -> Vec<Second> {
        self.advance(now);
        self.past.iter().cloned().collect()
    }

    fn stood(&mut self, stood: Option<Duration>) {
        if let Some(stood) = stood {
            self.wait.add(stood);
        }
    }

    fn advance(&mut self, now: Timestamp) {
        let second = now.since_boot().as_secs();
        if second <= self.current.number {
            return;
        }
        if self.past.is_empty() && self.current == Second::default() {
            // The first that is heard of.
            self.current.number = second;
            return;
        }
        let (acquire, wait) = (std::mem::take(&mut self.acquire), std::mem::take(&mut self.wait));
        let [acquire_p50, acquire_p99] =
            acquire.quantiles([0.5, 0.99]).map_or([None; 2], |both| both.map(Some));
        let over = Second {
            acquire_p50,
            acquire_p99,
            wait_p99: wait.quantiles([0.99]).map(|[p99]| p99),
            ..std::mem::take(&mut self.current)
        };
        let kept_from = second.saturating_sub(RECENT_SECONDS as u64);
        let idle = (over.number + 1).max(kept_from)..second;
        self.past.push_back(over);
        self.past.extend(idle.map(|number| Second { number, ..Second::default() }));
        while self.past.front().is_some_and(|first| first.number < kept_from) {
            self.past.pop_front();
        }
        self.current.number = second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(ms: u64) -> Happening {
        Happening::Granted { took: Duration::from_millis(ms), stood: None, wanted: true }
    }

    #[test]
    fn seconds_follow_each_other_without_gaps() {
        let (mut recent, at) = (Recent::default(), Timestamp::from_millis);
        recent.add(at(5_500), granted(3));
        recent.add(at(5_900), granted(5));
        recent.add(at(8_000), granted(7));
        let seconds = recent.up_to(at(9_100));
        let shown: Vec<_> = seconds.iter().map(|second| (second.number, second.grants)).collect();
        assert_eq!(shown, [(5, 2), (6, 0), (7, 0), (8, 1)]);
        assert_eq!(seconds[0].acquire_p99, Some(Duration::from_millis(5)));
        assert_eq!(seconds[1].acquire_p50, None);
    }

    #[test]
    fn no_more_than_the_last_minutes_are_kept() {
        let (mut recent, at) = (Recent::default(), Timestamp::from_millis);
        (0..1_000).for_each(|second| recent.add(at(second * 1_000), granted(1)));
        assert_eq!(recent.up_to(at(1_000_000)).len(), RECENT_SECONDS);
        // A machine that slept for a year.
        let seconds = recent.up_to(at(31_536_000_000));
        assert_eq!((seconds.len(), seconds[0].number), (RECENT_SECONDS, 31_536_000 - 300));
    }
}

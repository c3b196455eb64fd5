//! Time: the world's, in microseconds, and what the clock of each machine makes of it.

use std::time::Duration;

use natslock::engine::message::Now;
use natslock::types::{Timestamp, WallTime};

pub(super) const MS: u64 = 1_000;
pub(super) const SECOND: u64 = 1_000 * MS;

/// Wall clocks show this much more than the world's time.
pub(super) const WALL_AHEAD_MS: u64 = 1_700_000_000_000;

/// The boot clock of one machine. The clocks of two machines differ in rate by at most 1 %, which is what the
/// design allows for; so each is off by at most half of that.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    ahead: u64,
    rate_ppm: i64,
    /// How long it has stood still: only a clock that does not count suspend does (S1).
    lag: u64,
}

impl Clock {
    pub(super) const fn new(ahead: u64, rate_ppm: i64) -> Self {
        Self { ahead, rate_ppm, lag: 0 }
    }

    pub(super) const fn stand_still(&mut self, span: u64) {
        self.lag += span;
    }

    pub(super) fn boot(&self, time: u64) -> Timestamp {
        let drift = i128::from(time) * i128::from(self.rate_ppm) / 1_000_000;
        let shown = i128::from(time + self.ahead) + drift - i128::from(self.lag);
        Timestamp::from_boot(Duration::from_micros(u64::try_from(shown).unwrap()))
    }

    pub(super) fn now(&self, time: u64) -> Now {
        Now { boot: self.boot(time), wall: WallTime(WALL_AHEAD_MS + time / MS) }
    }

    /// When it will show this much; never before.
    pub(super) fn when(&self, shown: Timestamp) -> u64 {
        let shown = i128::try_from(shown.since_boot().as_nanos().div_ceil(1_000)).unwrap();
        let shown = (shown - i128::from(self.ahead) + i128::from(self.lag)).max(0);
        let time = shown * 1_000_000 / (1_000_000 + i128::from(self.rate_ppm)) + 2;
        u64::try_from(time).unwrap_or(u64::MAX)
    }
}

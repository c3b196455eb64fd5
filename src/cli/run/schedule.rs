//! When a command that runs under a lock is told to end, and when it is killed: pure.

use std::time::Duration;

use crate::types::{Timestamp, Ttl};

/// How long it may take to end once it was told to.
const GRACE: Duration = Duration::from_secs(5);
/// How long before the deadline it is killed, at most.
const SPARE_MAX: Duration = Duration::from_millis(500);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before then.
    Wait(Timestamp),
    /// No renewal gets through: tell it to end.
    Terminate,
    /// Kill it.
    Kill,
}

/// What is known of the end.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// It is told to end so long before the deadline.
    notice: Duration,
    /// It is killed so long before the deadline.
    spare: Duration,
    told: bool,
    lost: bool,
    end_by: Option<Timestamp>,
}

impl Schedule {
    pub(super) fn new(ttl: Ttl) -> Self {
        let ttl = ttl.get();
        let (notice, spare) = (GRACE.min(ttl / 3), SPARE_MAX.min(ttl / 20));
        Self { notice, spare, told: false, lost: false, end_by: None }
    }

    /// The coordinator says that the lock is lost: others may have it already.
    pub(super) fn lose(&mut self, now: Timestamp, deadline: Timestamp) {
        self.lost = true;
        self.end_within_grace(now);
        self.end_by = self.end_by.min(Some(deadline));
    }

    /// It was told to end, for whatever reason.
    pub(super) fn end_within_grace(&mut self, now: Timestamp) {
        self.told = true;
        let by = now + GRACE;
        self.end_by = Some(self.end_by.map_or(by, |earlier| earlier.min(by)));
    }

    /// True once it was told to end.
    pub(super) const fn has_told(&self) -> bool {
        self.told
    }

    /// What is to be done, with the deadline as renewals have put it off until now.
    ///
    /// Whoever was told because no renewal got through is not told otherwise when one does: it ends in its own
    /// time, and is killed only if the lease comes to its end again.
    pub(super) fn due(&mut self, now: Timestamp, deadline: Timestamp) -> Due {
        let in_time = before(deadline, self.spare);
        let kill_at = match self.end_by {
            Some(by) if self.lost => by,
            Some(by) => by.min(in_time),
            None => in_time,
        };
        if kill_at <= now {
            return Due::Kill;
        }
        if self.told {
            return Due::Wait(kill_at);
        }
        let tell_at = before(deadline, self.notice);
        if tell_at <= now {
            self.told = true;
            return Due::Terminate;
        }
        Due::Wait(tell_at)
    }
}

fn before(at: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_boot(at.since_boot().saturating_sub(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(100_000 + ms)
    }

    fn schedule(ttl_ms: u64) -> Schedule {
        Schedule::new(Ttl::from_millis(ttl_ms).unwrap())
    }

    #[test]
    fn whoever_is_cut_off_is_told_and_then_killed_before_the_deadline() {
        for (ttl, notice, spare) in [(30_000, 5_000, 500), (9_000, 3_000, 450), (1_200, 400, 60)] {
            let (mut schedule, end) = (schedule(ttl), at(ttl));
            assert_eq!(schedule.due(at(0), end), Due::Wait(at(ttl - notice)));
            assert_eq!(schedule.due(at(ttl - notice), end), Due::Terminate);
            assert_eq!(schedule.due(at(ttl - notice), end), Due::Wait(at(ttl - spare)), "told once");
            assert_eq!(schedule.due(at(ttl - spare), end), Due::Kill);
        }
    }

    #[test]
    fn renewals_put_it_off() {
        let mut schedule = schedule(30_000);
        assert_eq!(schedule.due(at(0), at(30_000)), Due::Wait(at(25_000)));
        assert_eq!(schedule.due(at(25_000), at(40_000)), Due::Wait(at(35_000)));
    }

    #[test]
    fn whoever_was_told_may_end_in_its_own_time_if_a_renewal_gets_through() {
        let mut schedule = schedule(30_000);
        assert_eq!(schedule.due(at(25_000), at(30_000)), Due::Terminate);
        assert_eq!(schedule.due(at(26_000), at(56_000)), Due::Wait(at(55_500)));
        assert_eq!(schedule.due(at(55_500), at(56_000)), Due::Kill);
    }

    #[test]
    fn a_loss_that_is_told_leaves_five_seconds_but_not_beyond_the_old_deadline() {
        let mut early = schedule(30_000);
        early.lose(at(1_000), at(30_000));
        assert_eq!(early.due(at(1_000), at(30_000)), Due::Wait(at(6_000)));
        assert_eq!(early.due(at(6_000), at(30_000)), Due::Kill);
        let mut late = schedule(30_000);
        late.lose(at(27_000), at(30_000));
        assert_eq!(late.due(at(27_000), at(30_000)), Due::Wait(at(30_000)));
    }

    #[test]
    fn after_a_long_pause_there_is_no_notice() {
        assert_eq!(schedule(30_000).due(at(90_000), at(30_000)), Due::Kill);
    }

    #[test]
    fn what_is_left_running_has_five_seconds_and_never_more_than_the_lease() {
        let mut left = schedule(30_000);
        left.end_within_grace(at(1_000));
        assert_eq!(left.due(at(1_000), at(30_000)), Due::Wait(at(6_000)));
        let mut late = schedule(30_000);
        late.end_within_grace(at(26_000));
        assert_eq!(late.due(at(26_000), at(30_000)), Due::Wait(at(29_500)));
    }
}

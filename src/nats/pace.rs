//! Whether writes go one by one or together: decided by what either costs here and now. Pure.
//!
//! A server that syncs every message to its disk takes a batch of 64 in little more time than a batch of one, so
//! writes that would queue behind each other's syncs are better off together. On a stream in the page cache a
//! batch costs as much as hundreds of single writes. No flag tells the two apart, and a disk may change its mind,
//! so both ways are measured:
//!
//! - *alone*: the time between two acknowledgements while more are awaited. As many as are in flight wait that
//!   often for each other.
//! - *together*: how long a batch takes.
//!
//! Where many are in flight and would have to wait long, batches are tried. They stay where they are half as fast
//! again, and go as soon as they are not faster any more. A trial that failed is repeated after a pause that
//! doubles; and because writing alone is not measured meanwhile, it is looked at again from time to time.

use std::time::Duration;

use crate::types::Timestamp;

/// Fewer in flight than this are never worth a batch.
const CROWD_MIN: usize = 16;
/// Nor is a shorter wait for each other: a batch takes longer anywhere.
const WAIT_MIN: Duration = Duration::from_millis(2);
/// Acknowledgements that make one measurement.
const WINDOW: u32 = 32;
/// The first batches of a trial are not measured: they meet single writes that are still in flight.
const WARM_UP: u32 = 2;
/// The batches of a trial.
const TRIAL: u32 = 6;
/// Batches must be so many times as fast to stay after a trial.
const GAIN_TO_STAY: f64 = 1.5;
/// And so many times to stay later.
const GAIN_TO_GO_ON: f64 = 1.1;
/// The pause after the first trial that failed.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(64);
/// After so long together, writing alone is measured again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How a write goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Alone,
    Together,
}

/// What is known, and what follows from it.
#[derive(Debug)]
pub(super) struct Pace {
    mode: Mode,
    /// Single writes without an answer.
    in_flight: usize,
    /// Since when acknowledgements are counted, and how many there have been. There is no count while nothing is in
    /// flight: an idle store is not a slow one.
    counted: Option<(Timestamp, u32)>,
    /// The time of one single write among many.
    alone: Option<Duration>,
    try_at: Timestamp,
    pause: Duration,
    /// Nothing is decided: all go together.
    always_together: bool,
}

#[derive(Debug)]
enum Mode {
    Alone,
    /// Together, since then; the batches so far, and how many times as fast they were on average.
    Together {
        since: Timestamp,
        batches: u32,
        gain: f64,
    },
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self {
            mode: Mode::Alone,
            in_flight: 0,
            counted: None,
            alone: None,
            try_at: Timestamp::from_millis(0),
            pause: PAUSE_MIN,
            always_together: false,
        }
    }

    /// Decides no more.
    pub(super) const fn always_together(&mut self) {
        self.always_together = true;
    }

    /// A write has come. One that goes alone is counted as in flight.
    pub(super) fn choose(&mut self, now: Timestamp) -> Way {
        if self.always_together {
            return Way::Together;
        }
        match self.mode {
            Mode::Together { since, .. } if now.since(since) > LOOK_AGAIN_AFTER => {
                (self.mode, self.alone) = (Mode::Alone, None);
            }
            Mode::Together { .. } => return Way::Together,
            Mode::Alone if self.is_worth_a_trial(now) => {
                self.mode = Mode::Together { since: now, batches: 0, gain: 0.0 };
                return Way::Together;
            }
            Mode::Alone => {}
        }
        self.in_flight += 1;
        if self.in_flight == 1 {
            self.counted = None;
        }
        Way::Alone
    }

    fn is_worth_a_trial(&self, now: Timestamp) -> bool {
        let wait = |alone: Duration| alone.saturating_mul(u32::try_from(self.in_flight).unwrap_or(u32::MAX));
        self.in_flight >= CROWD_MIN
            && now >= self.try_at
            && self.alone.is_some_and(|alone| wait(alone) >= WAIT_MIN)
    }

    /// A single write has an outcome. One that says nothing of the store's speed spoils the measurement.
    pub(super) fn alone_answered(&mut self, now: Timestamp, taken: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.in_flight == 0 || !taken {
            self.counted = None;
            return;
        }
        let Some((since, count)) = &mut self.counted else {
            self.counted = Some((now, 0));
            return;
        };
        *count += 1;
        if *count < WINDOW {
            return;
        }
        let measured = now.since(*since) / *count;
        self.alone = Some(self.alone.map_or(measured, |before| (before + measured) / 2));
        self.counted = Some((now, 0));
    }

    /// A batch of so many was stored, and took so long.
    pub(super) fn together_answered(&mut self, now: Timestamp, count: usize, took: Duration) {
        let (Mode::Together { batches, gain, .. }, Some(alone)) = (&mut self.mode, self.alone) else {
            return;
        };
        *batches += 1;
        if *batches <= WARM_UP {
            return;
        }
        let times = alone.as_secs_f64() * count as f64 / took.as_secs_f64().max(f64::EPSILON);
        *gain = if *batches == WARM_UP + 1 { times } else { *gain * 0.75 + times * 0.25 };
        let (batches, gain) = (*batches, *gain);
        if batches == TRIAL && gain >= GAIN_TO_STAY {
            self.pause = PAUSE_MIN;
        } else if batches == TRIAL || (batches > TRIAL && gain < GAIN_TO_GO_ON) {
            self.give_up(now);
        }
    }

    /// A batch was refused, or has no answer: one by one, each gets its own.
    pub(super) fn together_failed(&mut self, now: Timestamp) {
        if matches!(self.mode, Mode::Together { .. }) {
            self.give_up(now);
        }
    }

    fn give_up(&mut self, now: Timestamp) {
        self.mode = Mode::Alone;
        self.try_at = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that serves one single write after another, and a batch in `fixed` and so much more for each.
    struct Disk {
        single: Duration,
        fixed: Duration,
        each: Duration,
    }

    /// Syncs every message, as measured: 5.5 k/s alone, 24 k/s in batches of 64.
    const SYNCED: Disk = disk(180, 2_300, 6);
    /// In the page cache.
    const CACHED: Disk = disk(7, 2_300, 6);

    const fn disk(single: u64, fixed: u64, each: u64) -> Disk {
        let micros = Duration::from_micros;
        Disk { single: micros(single), fixed: micros(fixed), each: micros(each) }
    }

    /// So many writers, each of which writes again when it is answered; how many writes went together, and how many
    /// alone.
    fn run(
        pace: &mut Pace,
        now: &mut Timestamp,
        disk: &Disk,
        writers: usize,
        span: Duration,
    ) -> (usize, usize) {
        let until = *now + span;
        let (mut alone, mut waiting, mut done) = (0, 0, (0, 0));
        for _ in 0..writers {
            match pace.choose(*now) {
                Way::Alone => alone += 1,
                Way::Together => waiting += 1,
            }
        }
        while *now < until {
            if alone > 0 {
                *now = *now + disk.single;
                alone -= 1;
                done.1 += 1;
                pace.alone_answered(*now, true);
                match pace.choose(*now) {
                    Way::Alone => alone += 1,
                    Way::Together => waiting += 1,
                }
            } else {
                let (batch, took) = (waiting, disk.fixed + disk.each * waiting as u32);
                *now = *now + took;
                done.0 += batch;
                waiting = 0;
                pace.together_answered(*now, batch, took);
                for _ in 0..batch {
                    match pace.choose(*now) {
                        Way::Alone => alone += 1,
                        Way::Together => waiting += 1,
                    }
                }
            }
        }
        done
    }

    fn begin() -> (Pace, Timestamp) {
        (Pace::new(), Timestamp::from_millis(1_000))
    }

    #[test]
    fn many_go_together_where_every_message_is_synced() {
        let (mut pace, mut now) = begin();
        let (together, alone) = run(&mut pace, &mut now, &SYNCED, 64, Duration::from_secs(9));
        assert!(together > 20 * alone, "{together} together, {alone} alone");
    }

    #[test]
    fn few_go_alone_everywhere() {
        for disk in [SYNCED, CACHED] {
            let (mut pace, mut now) = begin();
            let (together, _) = run(&mut pace, &mut now, &disk, 8, Duration::from_secs(5));
            assert_eq!(together, 0);
        }
    }

    #[test]
    fn nobody_is_held_up_in_the_page_cache() {
        let (mut pace, mut now) = begin();
        let (together, _) = run(&mut pace, &mut now, &CACHED, 128, Duration::from_secs(5));
        assert_eq!(together, 0, "the wait for each other is too short to try");
        let (together, alone) = run(&mut pace, &mut now, &CACHED, 1_000, Duration::from_secs(120));
        // Two trials a minute at the most, of six batches each.
        assert!(together < alone / 50, "{together} together, {alone} alone");
    }

    #[test]
    fn a_crowd_that_shrinks_goes_back_to_single_writes() {
        let (mut pace, mut now) = begin();
        run(&mut pace, &mut now, &SYNCED, 64, Duration::from_secs(1));
        let mut fresh = 0;
        for _ in 0..200 {
            // Three at a time: 180 us each alone, 2.3 ms together.
            if pace.choose(now) == Way::Together {
                now = now + Duration::from_micros(2_318);
                pace.together_answered(now, 3, Duration::from_micros(2_318));
            } else {
                fresh += 1;
                pace.alone_answered(now, true);
            }
        }
        assert!(fresh > 150, "{fresh}");
    }

    #[test]
    fn a_disk_that_became_fast_is_noticed() {
        let (mut pace, mut now) = begin();
        run(&mut pace, &mut now, &SYNCED, 64, Duration::from_secs(5));
        run(&mut pace, &mut now, &CACHED, 64, LOOK_AGAIN_AFTER);
        let (together, _) = run(&mut pace, &mut now, &CACHED, 64, Duration::from_secs(5));
        assert_eq!(together, 0);
    }

    #[test]
    fn a_failure_ends_it_for_a_while() {
        let (mut pace, mut now) = begin();
        run(&mut pace, &mut now, &SYNCED, 64, Duration::from_secs(1));
        assert_eq!(pace.choose(now), Way::Together);
        pace.together_failed(now);
        assert_eq!(pace.choose(now), Way::Alone);
    }
}

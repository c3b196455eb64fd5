//! What was seen while a step ran, as it was seen.

use std::time::Duration;

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lap {
    /// When it ended, since the step began.
    pub(super) ended: Duration,
    /// How long it took.
    pub(super) took: Duration,
}

/// What one owner did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) acquires: Vec<Lap>,
    pub(super) releases: Vec<Lap>,
    /// From the call of release to the return of the next owner's acquire.
    pub(super) gaps: Vec<Lap>,
}

/// What counts of a step: it warms up first, and in the end those who wait are let through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    from: Duration,
    to: Duration,
}

impl Window {
    /// So long, after a fifth of that.
    pub(super) fn of(span: Duration) -> Self {
        let from = span / 5;
        Self { from, to: from + span }
    }

    /// What ended before does not count.
    pub(super) const fn begin(self) -> Duration {
        self.from
    }

    /// Nothing new is begun after it.
    pub(super) const fn end(self) -> Duration {
        self.to
    }

    pub(super) fn seconds(self) -> f64 {
        (self.to - self.from).as_secs_f64()
    }

    fn has(self, lap: &Lap) -> bool {
        self.from < lap.ended && lap.ended <= self.to
    }

    /// How long the operations took that ended in it.
    pub(super) fn spans<'a>(self, laps: impl IntoIterator<Item = &'a Lap>) -> Vec<Duration> {
        laps.into_iter().filter(|lap| self.has(lap)).map(|lap| lap.took).collect()
    }

    /// How many ended in it.
    pub(super) fn count(self, laps: &[Lap]) -> u64 {
        laps.iter().filter(|lap| self.has(lap)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_outside_the_window_does_not_count() {
        let ms = Duration::from_millis;
        let window = Window::of(ms(1_000));
        let laps = [200, 201, 1_200, 1_201].map(|ended| Lap { ended: ms(ended), took: ms(ended) });
        assert_eq!(window.spans(&laps), [ms(201), ms(1_200)]);
        assert_eq!((window.count(&laps), window.seconds(), window.end()), (2, 1.0, ms(1_200)));
    }
}

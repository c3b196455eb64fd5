//! When to send a request again: pure.

use std::time::Duration;

use crate::mutant::{self, Mutant};

/// The pause after "nobody listens": short, and different for each client.
const NOBODY: Duration = Duration::from_millis(100);
/// The first pause without any answer.
const SILENCE_MIN: Duration = Duration::from_millis(500);
/// The longest pause without any answer.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// The pace of one request.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    silence: Duration,
    /// How often a waiting request is repeated to stay alive.
    alive_every: Duration,
    jitter: u64,
}

impl Pace {
    /// `seed` makes the pauses of different clients differ.
    pub(super) const fn new(seed: u64, alive_every: Duration) -> Self {
        Self { silence: SILENCE_MIN, alive_every, jitter: seed }
    }

    /// Nothing has been heard since the last sending.
    pub(super) fn after_silence(&mut self) -> Duration {
        let pause = self.silence.min(self.alive_every);
        self.silence = (self.silence * 2).min(SILENCE_MAX);
        self.jittered(pause)
    }

    /// The coordinator has said that the request waits.
    pub(super) fn after_queued(&mut self) -> Duration {
        self.silence = SILENCE_MIN;
        let pause =
            if mutant::is(Mutant::NoReannounce) { Duration::from_secs(86_400) } else { self.alive_every };
        self.jittered(pause)
    }

    /// Nobody listened, or a new leader has appeared.
    pub(super) fn at_once(&mut self) -> Duration {
        self.jittered(NOBODY)
    }

    /// The pace of another request of the same client.
    pub(super) fn fork(&mut self, alive_every: Duration) -> Self {
        let seed = self.step();
        Self::new(seed, alive_every)
    }

    /// Some part of the span.
    pub(super) fn within(&mut self, span: Duration) -> Duration {
        span * u32::try_from(self.step() % 1024).unwrap_or(0) / 1024
    }

    /// Between half the pause and all of it.
    fn jittered(&mut self, pause: Duration) -> Duration {
        pause / 2 + self.within(pause / 2)
    }

    /// A splitmix generator: it keeps clients apart also where their seeds are alike.
    const fn step(&mut self) -> u64 {
        self.jitter = self.jitter.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.jitter ^ (self.jitter >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_in_silence_and_never_exceed_the_keep_alive() {
        let mut pace = Pace::new(7, Duration::from_secs(1));
        let pauses: Vec<_> = (0..5).map(|_| pace.after_silence()).collect();
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(1)));
        assert!(pauses[4] >= Duration::from_millis(500));
        assert!(pace.at_once() <= NOBODY);
    }

    #[test]
    fn clients_differ() {
        let pause = |seed| Pace::new(seed, Duration::from_secs(9)).after_queued();
        assert_ne!(pause(1), pause(1 << 20));
    }
}
